"""What `verify_transistors` found, in figures: spike times, coverage, decisions, energy."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from circuits.model.layer import Array
from montecarlo.statistics.intervals import proportion_interval


def summarize(result: xr.Dataset) -> dict[str, Any]:
    """Figures of `verify_transistors`.

    Parameters
    ----------
    result : Dataset

    Returns
    -------
    dict
        JSON-serializable; see the command `verify`.
    """
    spice, model, nominal = (result[f"spike_time_{k}"].values for k in ("spice", "model", "nominal"))
    residual, without = _apart(spice, model), _apart(spice, nominal)
    window, layer, fires = (result[k].values for k in ("window", "layer", "spiking"))
    hidden = fires == 1
    carried, claimed = (_carried(times, window)[..., hidden] for times in (spice, model))
    differs = (np.isfinite(spice) != np.isfinite(model))[..., hidden]
    one_sided = np.where(differs, np.maximum(carried, claimed), 0.0)
    low, high = result["interval_low"].values, result["interval_high"].values
    inside = (spice >= low - 1e-9) & (spice <= high + 1e-9)
    # a neuron that is silent or fires at t_min on every chip is no test of an interval
    timed = np.isfinite(spice) & ((spice > 0) | ~hidden)
    covered = np.where(timed & ~np.isnan(low), inside, np.nan)
    known = not np.isnan(covered).all()
    label = result["label"].values
    decided = {k: result[f"predicted_{k}"].values for k in ("spice", "model")}
    right = decided["spice"] == label
    same = decided["spice"] == decided["model"]
    measured, expected = result["energy_spice"].values, result["energy_model"].values
    by_image = (
        np.corrcoef(measured.sum(-1).ravel(), expected.sum(-1).ravel())[0, 1] if same.size > 2 else np.nan
    )
    return {
        "spike_time_rms_tau_c": rms(residual[..., hidden]),
        "spike_time_rms_by_layer": {
            f"layer{n}": rms(residual[..., layer == n]) for n in np.unique(layer[hidden])
        },
        "spike_time_rms_without_mismatch": {
            f"layer{n}": rms(result["residual_perfect"].values[:, layer == n])
            for n in np.unique(layer[hidden])
        },
        "spike_time_rms_by_chip": [rms(chip) for chip in residual[..., hidden]],
        "spike_time_rms_without_deviations": rms(without[..., hidden]),
        **({} if hidden.all() else {"read_out_rms": rms(residual[..., ~hidden])}),
        "one_sided_spikes": int((one_sided > 0).sum()),
        "one_sided_activation": float(one_sided.sum() / max(carried.sum(), 1e-30)),
        "coverage_95": float(np.nanmean(covered)) if known else None,
        "coverage_95_by_chip": np.nanmean(covered, axis=(1, 2)).tolist() if known else None,
        "class_agreement": float(same.mean()),
        "class_agreement_ci95": list(proportion_interval(int(same.sum()), same.size)),
        "accuracy_spice": float(right.mean()),
        "accuracy_spice_ci95": list(proportion_interval(int(right.sum()), right.size)),
        "accuracy_model": float((decided["model"] == label).mean()),
        "rejected_spice": float((decided["spice"] < 0).mean()),
        "energy_spice_j": float(measured.sum(-1).mean()),
        "energy_ratio": float(expected.sum() / measured.sum()),
        "energy_ratio_by_supply": {
            str(s): float(expected[..., k].sum() / measured[..., k].sum())
            for k, s in enumerate(result["supply"].values)
        },
        "energy_correlation": float(by_image),
        "chips": int(result.sizes["chip"]),
        "images": int(result.sizes["image"]),
    }


def _apart(times: Array, others: Array) -> Array:
    """Differences of spike times; NaN where a spike is on one side only or on none."""
    both = np.isfinite(times) & np.isfinite(others)
    return np.where(both, np.where(both, times, 0.0) - np.where(both, others, 0.0), np.nan)


def _carried(times: Array, window: Array) -> Array:
    """Activations of spikes, 0 where there is none, the shape of `times` [tau_c]."""
    fired = np.isfinite(times)
    return np.where(fired, window - np.where(fired, times, 0.0), 0.0)


def rms(residual: Array) -> float:
    """Root mean square of what is finite; 0 if nothing is.

    Parameters
    ----------
    residual : array
    """
    finite = residual[np.isfinite(residual)]
    return float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0
