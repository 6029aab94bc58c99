"""Is the noise model true on what it has not seen? Other chips, stimuli and weight patterns.

Every weight pattern is held out in turn: terms and constants are fitted to the neurons and nominal runs of
the other patterns, and judged on the random stimuli of those that carry this one. So every sample is judged
once, by a fit that knows neither it nor its pattern, and the figures rest on all of them.

Two predictions are judged: the spike time of one neuron from its own measured deviations, and the interval in
which a neuron that was never measured will fire; of read-outs, the potential that is sampled, likewise.
Samples of transistors have perfect references and no noise, and so have the neurons of those intervals.

Source: Stone, J. R. Stat. Soc. B 36(2), 111-147 (1974), cross-validation.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.layer import Array, LayerMismatch
from montecarlo.extraction import delay_law, energy_fit
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.prediction import (
    Extraction,
    patterns_of,
    potentials,
    spike_times,
    spiking,
    weights_of,
)
from montecarlo.extraction.terms import law_of, spreads, unit_devices
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.statistics.intervals import bootstrap, proportion_interval

LEVELS = (50, 90, 95)
VIRTUAL = 4000
"""Neurons drawn from the model for the prediction intervals."""


class Judged(NamedTuple):
    """Held-out neurons of one weight pattern: arrays (neuron, stimulus) [tau_c], of read-outs [1]."""

    measured: Array
    predicted: Array  #: from each neuron's own deviations, but its delay
    by_law: Array  #: the same with its delay as the law of delays has it
    without: dict[str, Array]  #: the same without one term; "all": without any
    virtual: Array  #: (virtual neuron, stimulus): neurons of the fitted law
    energy: Array  #: (neuron, 2): supply energy, measured and predicted [J]


def validate(dataset: xr.Dataset, rng: np.random.Generator) -> dict[str, Any]:
    """Held-out figures of a campaign.

    Parameters
    ----------
    dataset : xarray.Dataset
        Good samples, all of whose devices are known.
    rng : numpy.random.Generator
        Of the virtual neurons and of the bootstrap.

    Returns
    -------
    dict
        `rms_tau_c` with all terms but the delay, `rms_delay_law_tau_c` with that of the law of delays,
        `rms_known_delay_tau_c` with one number more a neuron, taken from the first stimulus under which it
        fires and used for the others, `rms_without_model_tau_c`, and
        `rms_without_term_tau_c` by term; `coverage_50`, `_90`, `_95` of the prediction intervals, each with a
        bootstrap interval over neurons (`_ci`); silent and early spikes; `energy_relative_rms` over neurons
        and `energy_relative_bias`. Of read-outs `rms_potential`, `rms_without_model_potential` and
        `rms_without_term_potential` by term, in units of potential, the coverage and the energies.

    Raises
    ------
    InputError
        If there are fewer than two weight patterns, or too few spikes to judge.
    """
    patterns = patterns_of(dataset)
    if len(set(patterns.tolist())) < 2:
        raise InputError("held-out figures need at least two weight patterns")
    devices = extract(dataset)
    folds = [_judge(dataset, devices, k, rng) for k in sorted(set(patterns.tolist()))]
    measured = np.concatenate([f.measured for f in folds])
    figures = _spikes(measured, folds) if spiking(dataset) else _samples(measured, folds)
    figures |= {"n_neurons": len(measured), "n_stimuli": measured.shape[1]}
    for level in LEVELS:
        share = np.concatenate([_inside(f.measured, f.virtual, level / 100).mean(1) for f in folds])
        figures[f"coverage_{level}"] = float(share.mean())
        if np.ptp(share) > 0:
            ends = bootstrap(np.mean, share, rng)
        else:  # resamples of equal shares know no spread
            ends = proportion_interval(round(share.sum()), len(share))
        figures[f"coverage_{level}_ci"] = list(ends)
    energy = np.concatenate([f.energy for f in folds])
    error = (energy[:, 1] - energy[:, 0]) / energy[:, 0].mean()
    return figures | {"energy_relative_rms": _rms(error), "energy_relative_bias": float(error.mean())}


def _spikes(measured: Array, folds: list[Judged]) -> dict[str, Any]:
    """Figures of spike times."""
    predicted = np.concatenate([f.predicted for f in folds])
    residual, fired = _residual(measured, predicted), np.isfinite(measured)
    first = np.isfinite(residual).argmax(1)[:, None]  # of the stimuli under which a neuron fires
    late = np.take_along_axis(residual, first, 1)
    others = np.where(np.arange(residual.shape[1]) == first, np.nan, residual)
    return {
        "rms_tau_c": _rms(residual),
        "rms_delay_law_tau_c": _rms(_residual(measured, np.concatenate([f.by_law for f in folds]))),
        "rms_known_delay_tau_c": _rms(others - late),
        **_without(measured, folds, "tau_c"),
        "wrongly_silent_or_firing": int(np.sum(np.isfinite(predicted) != fired)),
        "silent": int(np.sum(~fired)),
        "early": int(np.sum(measured <= 0)),
    }


def _samples(measured: Array, folds: list[Judged]) -> dict[str, Any]:
    """Figures of what read-outs sample."""
    predicted = np.concatenate([f.predicted for f in folds])
    return {
        "rms_potential": _rms(_residual(measured, predicted)),
        **_without(measured, folds, "potential"),
    }


def _without(measured: Array, folds: list[Judged], unit: str) -> dict[str, Any]:
    """What is left without all terms, and without each of them."""
    parts = {name: np.concatenate([f.without[name] for f in folds]) for name in folds[0].without}
    left = {name: _rms(_residual(measured, values)) for name, values in parts.items()}
    return {f"rms_without_model_{unit}": left.pop("all"), f"rms_without_term_{unit}": left}


def _judge(dataset: xr.Dataset, devices: Extraction, pattern: int, rng: np.random.Generator) -> Judged:
    """Fit to all weight patterns but one, and predict that one.

    Parameters
    ----------
    dataset : xarray.Dataset
        All good samples.
    devices : Extraction
        Theirs; deviations are each neuron's own measurement, so they know nothing of the others.
    """
    test = patterns_of(dataset) == pattern
    train = dataset.isel(sample=~test)
    if "run" in dataset.sizes:
        others = np.arange(dataset.sizes["run"]) % dataset.sizes["pattern"] != pattern
        train = train.isel(run=others, nominal=others)
    fitted = extract(train)
    law = law_of(spreads(train, fitted), unit_devices(train))
    random = [str(s).startswith(("random_", "input_")) for s in dataset["stimulus"].values]
    delay = float(fitted.constants.delay)
    judged = dataset.isel(sample=test, stimulus=random)
    weights, neurons = weights_of(judged), devices.isel(np.flatnonzero(test))
    neurons = dataclasses.replace(neurons, constants=fitted.constants)

    predict = spike_times if spiking(dataset) else potentials

    def times(mismatch: LayerMismatch, weights: Array = weights) -> Array:
        return predict(judged, weights, mismatch, fitted.constants)

    mismatch = neurons.mismatch
    none = {f.name: np.zeros_like(getattr(mismatch, f.name)) for f in dataclasses.fields(mismatch)}
    known = dataclasses.replace(mismatch, delay=none["delay"])
    without = {name: dataclasses.replace(known, **{name: none[name]}) for name in devices.required}
    population = _population(law, weights[0], rng)
    law_of_delays = delay_law.fit(train, fitted.deviations["delay"].values, delay) if delay else {}
    columns = delay_law.of_samples(judged) if law_of_delays else None
    late = mismatch.delay if columns is None else delay_law.late_by(law_of_delays, columns, delay)[None]
    energies = energy_fit.predict(judged, neurons, energy_fit.estimates(train, fitted))
    measured = judged["spike_time" if spiking(dataset) else "v_t_min"].values
    if "pattern_theta" in judged and spiking(
        dataset
    ):  # what arrives before the windows open counts from there
        measured = np.maximum(measured, delay)
    return Judged(
        measured,
        times(known),
        times(dataclasses.replace(mismatch, delay=none["delay"] if columns is None else late)),
        {name: times(m) for name, m in {**without, "all": LayerMismatch(**none)}.items()},
        times(population, np.repeat(weights[:1], VIRTUAL, axis=0)),
        np.stack([energy_fit.measured(judged).sum(1), energies.sum(1)], axis=1),
    )


def _population(law: MismatchLaw, weights: Array, rng: np.random.Generator) -> LayerMismatch:
    """Virtual neurons, as one layer."""
    drawn = law.draw(np.repeat(weights[None], VIRTUAL, axis=0), rng)
    return LayerMismatch(**{name: values[None] for name, values in drawn.items()})


def _residual(measured: Array, predicted: Array) -> Array:
    """NaN where a spike is not in both: those are counted apart."""
    both = np.isfinite(measured) & np.isfinite(predicted)
    return np.where(both, measured, np.nan) - np.where(both, predicted, np.nan)


def _rms(residual: Array) -> float:
    finite = residual[np.isfinite(residual)]
    if not finite.size:
        raise InputError(
            "held-out figures need neurons that fire under two of their random stimuli, as measured and as "
            "predicted, and there is none: characterize with a longer window or less mismatch"
        )
    return float(np.sqrt(np.mean(finite**2)))


def _inside(measured: Array, virtual: Array, level: float) -> np.ndarray:
    """Whether each measured time lies in the central interval of the virtual ones.

    Widened by rounding only, so that a technology without spread covers its one value.
    """
    ranked = np.sort(virtual, axis=0)
    last = len(ranked) - 1
    low = ranked[int(np.floor((1 - level) / 2 * last))]
    high = ranked[int(np.ceil((1 + level) / 2 * last))]
    return (measured >= low - 1e-9) & (measured <= high + 1e-9)
