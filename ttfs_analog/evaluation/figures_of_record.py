"""Figures of record of a demo: each is an expression over a file that stands beside it.

`summary.json` repeats the expression with the value, so anyone can work a figure out again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits import whole_file

HIDDEN = "np.isfinite(ds.spike_time_spice) & np.isfinite(ds.spike_time_model)"
BY_LAYER = (
    "float(((ds.spike_time_spice - ds.spike_time_{0}).where(np.isfinite(ds.spike_time_spice) & "
    "np.isfinite(ds.spike_time_{0}){1}) ** 2).mean() ** 0.5)"
)
CHIPS, LEDGER = "transistors/verification.nc", "transistors/energy.nc"
FIGURES: tuple[tuple[str, str, str, str], ...] = (
    ("relu_accuracy", "relu.json", "1", "js['accuracy']"),
    ("ttfs_accuracy", "net.json", "1", "js['accuracy']"),
    ("ttfs_relu_agreement", "net.json", "1", "js['agreement']"),
    ("logits_relative_error", "net.json", "1", "js['logits_relative_error']"),
    ("spikes_per_neuron", "net.json", "1", "js['spikes_per_neuron']"),
    ("samples", "characterization.zarr", "1", "ds.sizes['sample']"),
    ("samples_failed", "characterization.zarr", "1", "int((ds.status != 0).sum())"),
    ("sigma_slope", "noise_model.json", "1", "js['terms']['slope']['std']"),
    ("sigma_slope_ci95", "noise_model.json", "1", "js['terms']['slope']['std_ci']"),
    ("sigma_threshold", "noise_model.json", "1", "js['terms']['threshold']['std']"),
    ("sigma_threshold_ci95", "noise_model.json", "1", "js['terms']['threshold']['std_ci']"),
    ("sigma_capacitance", "noise_model.json", "1", "js['terms']['capacitance']['std']"),
    ("sigma_synapse_source", "noise_model.json", "1", "js['terms']['synapse_source']['std']"),
    ("sigma_synapse_sink", "noise_model.json", "1", "js['terms']['synapse_sink']['std']"),
    ("holdout_rms", "noise_model.json", "tau_c", "js['holdout']['rms_tau_c']"),
    (
        "holdout_rms_without_model",
        "noise_model.json",
        "tau_c",
        "js['holdout']['rms_without_model_tau_c']",
    ),
    ("holdout_coverage_95", "noise_model.json", "1", "js['holdout']['coverage_95']"),
    ("chips_before", "evaluation_1_before.nc", "1", "ds.sizes['chip']"),
    ("accuracy_before", "evaluation_1_before.nc", "1", "float(ds.accuracy.mean())"),
    ("worst_chip_before", "evaluation_1_before.nc", "1", "float(ds.accuracy.min())"),
    ("yield_before", "evaluation_1_before.nc", "1", "float((ds.accuracy >= ds.target - 1e-9).mean())"),
    ("accuracy_windows_only", "evaluation_2_windows.nc", "1", "float(ds.accuracy.mean())"),
    ("yield_windows_only", "evaluation_2_windows.nc", "1", "float((ds.accuracy >= ds.target - 1e-9).mean())"),
    ("accuracy_control", "evaluation_3_control.nc", "1", "float(ds.accuracy.mean())"),
    ("accuracy_after", "evaluation_4_tuned.nc", "1", "float(ds.accuracy.mean())"),
    (
        "accuracy_after_without_mismatch",
        "evaluation_4_tuned.nc",
        "1",
        "float((ds.nominal == ds.label).mean())",
    ),
    ("worst_chip_after", "evaluation_4_tuned.nc", "1", "float(ds.accuracy.min())"),
    ("yield_after", "evaluation_4_tuned.nc", "1", "float((ds.accuracy >= ds.target - 1e-9).mean())"),
    ("yield_target", "evaluation_4_tuned.nc", "1", "float(ds.target)"),
    ("energy_per_inference", "energy.nc", "J", "float(ds.energy.sum(('layer', 'part')).mean())"),
    ("verified_chips", "verification.nc", "1", "ds.sizes['chip']"),
    ("verified_images", "verification.nc", "1", "ds.sizes['image']"),
    (
        "spike_time_rms",
        "verification.nc",
        "tau_c",
        f"float(((ds.spike_time_spice - ds.spike_time_model).where({HIDDEN}) ** 2).mean() ** 0.5)",
    ),
    (
        "class_agreement",
        "verification.nc",
        "1",
        "float((ds.predicted_spice == ds.predicted_model).mean())",
    ),
    ("accuracy_spice", "verification.nc", "1", "float((ds.predicted_spice == ds.label).mean())"),
    ("accuracy_model", "verification.nc", "1", "float((ds.predicted_model == ds.label).mean())"),
    ("energy_ratio", "verification.nc", "1", "float(ds.energy_model.sum() / ds.energy_spice.sum())"),
    (
        "energy_account_ratio",
        "verification.nc",
        "1",
        "float(ds.energy_account.sum() / ds.energy_sensed.sum())",
    ),
    ("transistor_samples", "transistors/characterization/layer0", "1", "ds.sizes['sample']"),
    ("transistor_samples_failed", "transistors/characterization/layer0", "1", "int((ds.status != 0).sum())"),
    ("transistor_accuracy_placed", "transistors/evaluation_1_placed.nc", "1", "float(ds.accuracy.mean())"),
    (
        "transistor_accuracy_thresholds",
        "transistors/evaluation_2_thresholds.nc",
        "1",
        "float(ds.accuracy.mean())",
    ),
    ("transistor_accuracy_control", "transistors/evaluation_3_control.nc", "1", "float(ds.accuracy.mean())"),
    ("transistor_accuracy_tuned", "transistors/evaluation_4_tuned.nc", "1", "float(ds.accuracy.mean())"),
    ("transistor_worst_chip_placed", "transistors/evaluation_1_placed.nc", "1", "float(ds.accuracy.min())"),
    ("transistor_worst_chip_tuned", "transistors/evaluation_4_tuned.nc", "1", "float(ds.accuracy.min())"),
    ("transistor_energy_per_inference", LEDGER, "J", "float(ds.energy_mean)"),
    ("transistor_verified_chips", CHIPS, "1", "ds.sizes['chip']"),
    ("transistor_verified_images", CHIPS, "1", "ds.sizes['image']"),
    ("transistor_spike_time_rms_layer0", CHIPS, "tau_c", BY_LAYER.format("model", " & (ds.layer == 0)")),
    ("transistor_spike_time_rms_layer1", CHIPS, "tau_c", BY_LAYER.format("model", " & (ds.layer == 1)")),
    ("transistor_spike_time_rms_without_deviations", CHIPS, "tau_c", BY_LAYER.format("nominal", "")),
    ("transistor_class_agreement", CHIPS, "1", "float((ds.predicted_spice == ds.predicted_model).mean())"),
    ("transistor_accuracy_spice", CHIPS, "1", "float((ds.predicted_spice == ds.label).mean())"),
    ("transistor_energy_ratio", CHIPS, "1", "float(ds.energy_model.sum() / ds.energy_spice.sum())"),
)
"""(name, file, unit, expression): `ds` is the file as a dataset, `js` as JSON."""


def evaluate(folder: Path, file: str, expression: str) -> Any:
    """The value of one expression over one file.

    Parameters
    ----------
    folder : Path
    file : str
        A dataset (.nc, .zarr) or JSON, in `folder`.
    expression : str
        Python; only the names ds (dataset), js (JSON), np, float and int exist in it.
    """
    path = folder / file
    names: dict[str, Any] = {"np": np, "float": float, "int": int, "__builtins__": {}}
    if path.suffix == ".json":
        return eval(expression, {**names, "js": json.loads(path.read_text())})
    options: dict[str, Any] = {"consolidated": False, "use_zarr_fill_value_as_mask": False}
    opened = xr.open_zarr(path, **options) if path.is_dir() else xr.open_dataset(path)
    with opened as ds, np.errstate(invalid="ignore"):
        return eval(expression, {**names, "ds": ds.load()})


def summarize(folder: Path) -> dict[str, dict[str, Any]]:
    """All figures, from the files in `folder`."""
    return {
        name: {"value": evaluate(folder, file, code), "unit": unit, "file": file, "recompute": code}
        for name, file, unit, code in FIGURES
    }


def write(folder: Path) -> dict[str, dict[str, Any]]:
    """Write `summary.json` and return it."""
    summary = summarize(folder)
    whole_file.write(folder / "summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return summary
