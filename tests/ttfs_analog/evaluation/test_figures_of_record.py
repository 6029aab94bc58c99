"""Figures of record: expressions over files, worked out again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from ttfs_analog.evaluation import figures_of_record as summary


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "relu.json").write_text(json.dumps({"accuracy": 0.75}))
    times = np.array([1.0, 2.0, np.inf])
    xr.Dataset(
        {"spike_time_spice": ("n", times), "spike_time_model": ("n", times + np.array([0.3, 0.0, 0.0]))}
    ).to_netcdf(tmp_path / "verification.nc")
    xr.Dataset({"status": ("sample", np.array([0, 1, 0]))}).to_zarr(
        tmp_path / "characterization.zarr", consolidated=False, zarr_format=2
    )
    return tmp_path


def expression(name):
    return next((file, code) for n, file, _, code in summary.FIGURES if n == name)


def test_a_figure_comes_from_json_netcdf_or_zarr(folder):
    assert summary.evaluate(folder, *expression("relu_accuracy")) == 0.75
    assert summary.evaluate(folder, *expression("samples")) == 3
    assert summary.evaluate(folder, *expression("samples_failed")) == 1


def test_the_spike_time_rms_leaves_silent_neurons_out(folder):
    # two neurons fire in both, one of them 0.3 late; rounding only
    figures = summary.evaluate(folder, *expression("spike_time_rms"))
    assert figures == pytest.approx(0.3 / np.sqrt(2), rel=1e-12)


def test_an_expression_reaches_nothing_but_its_file(folder):
    for code in ("open('x')", "__import__('os')", "print(1)", "folder"):
        with pytest.raises(NameError):
            summary.evaluate(folder, "relu.json", code)


def test_names_are_unique_and_expressions_use_their_kind_of_file():
    names = [name for name, *_ in summary.FIGURES]
    assert len(set(names)) == len(names)
    for _, file, _, code in summary.FIGURES:
        assert ("js[" in code) == file.endswith(".json")
        compile(code, file, "eval")


def test_a_missing_file_is_not_passed_over(folder):
    with pytest.raises(FileNotFoundError):
        summary.summarize(folder)


def test_write_repeats_each_expression_with_its_value(folder, monkeypatch):
    chosen = tuple(f for f in summary.FIGURES if f[0] in ("relu_accuracy", "samples"))
    monkeypatch.setattr(summary, "FIGURES", chosen)
    figures = summary.write(folder)
    assert figures["samples"] == {
        "value": 3,
        "unit": "1",
        "file": "characterization.zarr",
        "recompute": "ds.sizes['sample']",
    }
    assert json.loads((folder / "summary.json").read_text()) == figures


def test_a_value_that_json_cannot_hold_is_refused(folder, monkeypatch):
    monkeypatch.setattr(summary, "FIGURES", (("bad", "relu.json", "1", "float('nan')"),))
    with pytest.raises(ValueError, match="JSON"):
        summary.write(folder)
