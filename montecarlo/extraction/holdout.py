"""Is the noise model true on what it has not seen? Other chips, stimuli and weight patterns.

Two predictions are judged on random stimuli: the spike time of one neuron from its own extracted
deviations, and the interval in which a neuron that was never measured will fire.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import xarray as xr

from circuits.model import closed_form
from circuits.model.layer import LayerMismatch
from circuits.model.operating_point import OperatingPoint
from montecarlo.campaign.protocol import Stimuli
from montecarlo.extraction.from_spike_times import DIMS, as_mismatch, extract
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.statistics.intervals import bootstrap

LEVELS = (50, 90, 95)
VIRTUAL = 4000
"""Neurons drawn from the model for the prediction intervals."""


def validate(held: xr.Dataset, law: MismatchLaw, rng: np.random.Generator) -> dict[str, Any]:
    """Figures on held-out samples.

    Parameters
    ----------
    held : xarray.Dataset
        Samples of a weight pattern that the fit did not see.
    law : MismatchLaw
        The fitted model.

    Returns
    -------
    dict
        Residual RMS in tau_c with all terms, without any, and without each in turn; coverage of the
        prediction intervals with a bootstrap interval over neurons; silent and early spikes.
    """
    random = [k for k, s in enumerate(held["stimulus"].values) if str(s).startswith("random_")]
    measured = held["spike_time"].values[:, random]
    stim = Stimuli(
        tuple(str(s) for s in held["stimulus"].values),
        held["input_time"].values,
        held["theta"].values,
        held["weight"].values,
    )
    own = as_mismatch(extract(held))
    none = LayerMismatch(*(np.zeros_like(getattr(own, f.name)) for f in dataclasses.fields(own)))
    samples = held["sample"].values

    def predict(mismatch: LayerMismatch) -> np.ndarray:
        return np.stack([_times(stim, s, samples, mismatch)[0] for s in random], axis=1)

    with_all = predict(own)
    fired = np.isfinite(measured)
    result: dict[str, Any] = {
        "rms_tau_c": _rms(with_all, measured),
        "rms_without_model_tau_c": _rms(predict(none), measured),
        "rms_without_term_tau_c": {
            name: _rms(predict(dataclasses.replace(own, **{name: getattr(none, name)})), measured)
            for name in DIMS
        },
        "wrongly_silent_or_firing": int(np.sum(np.isfinite(with_all) != fired)),
        "silent": int(np.sum(~fired)),
        "early": int(np.sum(measured == 0)),
        "n_neurons": len(samples),
        "n_stimuli": len(random),
    }
    # every held-out neuron carries the same pattern: one virtual population per stimulus
    one = held["weight"].values[[-1]]
    drawn = [law.draw(one, rng) for _ in range(VIRTUAL)]
    fields = [f.name for f in dataclasses.fields(own)]
    population = LayerMismatch(**{f: np.stack([d[f] for d in drawn]) for f in fields})
    pattern = np.array([len(stim.weights) - 1])
    virtual = np.stack([_times(stim, s, pattern, population)[:, 0] for s in random], axis=1)
    for level in LEVELS:
        inside = _inside(measured, virtual, level / 100)
        result[f"coverage_{level}"] = float(inside.mean())
        share = inside.mean(1)
        varies = len(share) > 1 and np.ptp(share) > 0
        result[f"coverage_{level}_ci"] = (
            list(bootstrap(np.mean, (share,), rng)) if varies else [float(share.mean())] * 2
        )
    return result


def _times(stim: Stimuli, s: int, samples: np.ndarray, mismatch: LayerMismatch) -> np.ndarray:
    layer = stim.layer(s, samples)
    return closed_form.response(layer, stim.input_time[s], OperatingPoint(), mismatch).delay


def _rms(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Over spikes that both have; those in one only are counted apart."""
    both = np.isfinite(predicted) & np.isfinite(measured)
    return float(np.sqrt(np.mean((predicted[both] - measured[both]) ** 2))) if both.any() else 0.0


def _inside(measured: np.ndarray, virtual: np.ndarray, level: float) -> np.ndarray:
    """Whether each measured time lies in the central interval of the virtual ones.

    Widened by rounding only, so that a technology without spread covers its one value.
    """
    ranked = np.sort(virtual, axis=0)
    last = len(ranked) - 1
    low = ranked[int(np.floor((1 - level) / 2 * last))]
    high = ranked[int(np.ceil((1 + level) / 2 * last))]
    return (measured >= low - 1e-9) & (measured <= high + 1e-9)
