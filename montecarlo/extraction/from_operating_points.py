r"""What a transistor-level characterization says: systematic constants, spreads, and whether they predict.

.. math:: t - t_{min} = \tau_c \left\{ \frac{k\,(\vartheta (1 + c) + o)
          - \sum_j W_j (1 + e_j)(g_\pm x_j + \delta_\pm)\,[x_j > 0] - \kappa_+ n_+ - \kappa_- n_-}{1 + \beta}
          + d \right\}

The constants (k, d, g, delta, kappa; + sources, - sinks) come from runs without mismatch alone, by least
squares; the frozen errors (e, beta, o, c) of every neuron from operating points. Nothing is fitted to the
transients of the samples: what is left there is the model's error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.campaign.transistor_protocol import INPUT_WINDOW
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.statistics.intervals import std_interval

CONSTANTS = (
    "scale",
    "delay",
    "gain_source",
    "gain_sink",
    "delta_source",
    "delta_sink",
    "kappa_source",
    "kappa_sink",
)
UNITS = ("1", "tau_c", "1", "1", "tau_c", "tau_c", "tau_c", "tau_c")


@dataclass(frozen=True)
class Systematic:
    """Constants of the nominal circuit."""

    value: Array  #: (constant,) in the order of CONSTANTS
    error: Array  #: (constant,) standard errors
    rms: float  #: residual of the nominal runs [tau_c]

    def __getitem__(self, name: str) -> float:
        return float(self.value[CONSTANTS.index(name)])


def _columns(weights: Array, times: Array) -> Array:
    """What each constant but the first two multiplies, shape (run, constant - 2)."""
    active = np.isfinite(times)
    x = np.where(active, INPUT_WINDOW - np.where(active, times, 0.0), 0.0)
    parts = []
    for sign in (1.0, -1.0):
        own = np.where(weights * sign > 0, weights, 0.0)
        parts.append(((own * x).sum(-1), (own * active).sum(-1), (active & (own != 0)).sum(-1)))
    (g0, d0, k0), (g1, d1, k1) = parts
    return -np.stack([g0, g1, d0, d1, k0, k1], axis=-1).astype(float)


def systematic(dataset: xr.Dataset) -> Systematic:
    """Fit the constants to the nominal runs that fired.

    Raises
    ------
    InputError
        If too few of them did.
    """
    if "nominal_spike_time" not in dataset:
        raise InputError(
            "this campaign has no runs without mismatch (the points of a sweep have none), and so no "
            "systematic constants: characterize at that condition with --at"
        )
    time = dataset["nominal_spike_time"].values
    theta = dataset["nominal_theta"].values
    columns = _columns(dataset["nominal_weight"].values, dataset["nominal_input_time"].values)
    design = np.column_stack([theta, np.ones_like(theta), columns])
    fired = np.isfinite(time) & (time > 0)
    if fired.sum() < 2 * len(CONSTANTS):
        raise InputError(
            f"{fired.sum()} of {len(time)} nominal runs fired; {2 * len(CONSTANTS)} are needed for the "
            "systematic constants"
        )
    a, y = design[fired], time[fired]
    value, _, rank, _ = np.linalg.lstsq(a, y, rcond=None)
    if rank < len(CONSTANTS):
        raise InputError("the nominal runs do not tell all systematic constants apart; use more synapses")
    residual = y - a @ value
    spread = residual @ residual / (len(y) - len(value))
    error = np.sqrt(np.diag(np.linalg.inv(a.T @ a)) * spread)
    return Systematic(value, error, float(np.sqrt(np.mean(residual**2))))


def predict(dataset: xr.Dataset, constants: Systematic, frozen: bool = True) -> Array:
    """Spike times of every sample and stimulus from constants and frozen errors, shape (sample, stimulus).

    Parameters
    ----------
    frozen : bool
        False: as if no neuron deviated.
    """
    pattern = dataset["sample"].values % dataset.sizes["pattern"]
    weights, times = dataset["weight"].values[pattern], dataset["input_time"].values
    zero = 0.0 if frozen is False else 1.0
    e = zero * dataset["deviation_synapse"].values
    beta, offset = (zero * dataset[n].values[:, None] for n in ("deviation_slope", "deviation_threshold"))
    capacitance = zero * dataset["deviation_capacitance"].values[:, None]
    scale, delay, *rest = constants.value
    given = np.stack(
        [_columns(weights * (1.0 + e), t) for t in times], axis=1
    )  # (sample, stimulus, constant)
    charge = given @ np.array(rest)
    return (scale * (1.0 + capacitance + offset) + charge) / (1.0 + beta) + delay


def summary(dataset: xr.Dataset, seed: int = 0) -> dict[str, object]:
    """Everything a designer asks first, JSON-serializable."""
    dataset = dataset.load()
    good = dataset.isel(sample=dataset["status"].values == 0)
    constants = systematic(dataset)
    time = good["spike_time"].values
    inside = np.isfinite(time) & (time > 0)
    rng = generator(seed, PLAN, 12)

    def spread(values: Array) -> dict[str, object]:
        values = np.asarray(values, float)
        values = values[np.isfinite(values)]
        if len(values) < 3:
            return {"std": None, "std_ci": None, "mean": None}
        std, low, high = std_interval(values, rng)
        return {"std": float(std), "std_ci": [float(low), float(high)], "mean": float(values.mean())}

    units = json.loads(dataset.attrs["plan"])
    pattern = good["sample"].values % good.sizes["pattern"]
    weight = good["weight"].values[pattern]
    relative = np.log1p(good["deviation_synapse"].values)
    model = time - predict(good, constants)
    # one number more a neuron, its delay, taken from the first transient and used for the others
    known = np.where(inside[:, :1], model[:, :1] - np.nanmean(model[:, 0][inside[:, 0]]), 0.0)
    rest = (model - known)[:, 1:][inside[:, 1:]]
    ideal = time - predict(good, constants, frozen=False)
    energy = good["energy"].mean(("sample", "stimulus"))
    trial = good["trial_spike_time"].values
    reference = good["deviation_reference"].values
    return {
        "technology": dataset.attrs["technology"],
        "corner": units["corner"],
        "temperature": units["temperature"],
        "supply": units["point"]["vdd"],
        "size": units["area"],
        "comparator": units["comparator"],
        "n_samples": int(dataset.sizes["sample"]),
        "n_failed": int(np.sum(dataset["status"].values == 1)),
        "n_retried": int(np.sum(good["retried"].values)),
        "n_silent": int(np.sum(np.isinf(time))),
        "n_early": int(np.sum(time <= 0)),
        "systematic": {
            n: {"value": float(v), "se": float(s), "unit": u}
            for n, v, s, u in zip(CONSTANTS, constants.value, constants.error, UNITS, strict=True)
        },
        "nominal_rms_tau_c": constants.rms,
        "terms": {
            "synapse_source": spread(_per_unit(relative, weight, 1.0)),
            "synapse_sink": spread(_per_unit(relative, weight, -1.0)),
            "slope": spread(np.log1p(good["deviation_slope"].values)),
            "threshold": spread(good["deviation_threshold"].values),
            "capacitance": spread(np.log1p(good["deviation_capacitance"].values)),
            "delay": spread(good["delay"].values[:, 0]),
            "jitter": spread(trial),
            **{f"reference_{line}": spread(reference[:, i]) for i, line in enumerate(good["line"].values)},
        },
        "check": {
            "spike_time_rms_without_model_tau_c": float(np.sqrt(np.mean(ideal[inside] ** 2))),
            "spike_time_rms_tau_c": float(np.sqrt(np.mean(model[inside] ** 2))),
            "spike_time_mean_error_tau_c": float(np.mean(model[inside])),
            "spike_time_rms_known_delay_tau_c": float(np.sqrt(np.mean(rest**2))) if len(rest) else None,
        },
        "energy_j": {
            "mean": float(energy.sum()),
            "by_supply": {str(d): float(energy.sel(supply=d).sum()) for d in energy["supply"].values},
            "by_phase": {str(p): float(energy.sel(phase=p).sum()) for p in energy["phase"].values},
        },
    }


def _per_unit(relative: Array, weight: Array, sign: float) -> Array:
    """ln(1 + e) of all synapses of one sign, scaled to a weight of one: sigma(W) = sigma_1 / sqrt(|W|)."""
    own = weight * sign > 0
    return relative[own] * np.sqrt(np.abs(weight[own]))
