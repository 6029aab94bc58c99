"""The dataset format: units on everything, nothing measured at first, and strangers are refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from circuits.errors import InputError
from montecarlo.campaign.schema import (
    CHARACTERIZATION,
    INPUTS,
    VARIABLES,
    empty,
    open_dataset,
    save_dataset,
)
from montecarlo.mismatch.law import UNIT

COORDS = {"stimulus": ["a", "b", "c"], "synapse": np.arange(2), "supply": ["source"], "phase": ["p", "q"]}
PATTERN = {"pattern": np.arange(1)}
ABSENT = {"deviation_reference", "shift", "factor"}
"""Without bias lines, devices of a comparator, runs without mismatch, and trials."""


def blank() -> xr.Dataset:
    return empty({"sample": 4}, dict(COORDS), {"theta": np.ones(3)}, {"entropy": 7})


def test_an_empty_dataset_has_every_variable_of_its_dimensions_with_units_and_name():
    dataset, tables = blank(), VARIABLES | INPUTS
    wanted = {n for n in VARIABLES if not n.startswith(("nominal", "trial"))} - ABSENT | {"theta"}
    assert set(dataset.data_vars) == wanted
    for name in wanted:
        dims, units, long_name = tables[name]
        assert dataset[name].dims == dims
        assert dataset[name].attrs == {"units": units, "long_name": long_name}
    more = {**COORDS, **PATTERN, "line": ["n"], "device": ["m"]}
    assert set(empty({"sample": 1, "nominal": 1, "trial": 1}, more, {}, {}).data_vars) == set(VARIABLES)


def test_one_quantity_has_the_unit_of_the_law():
    assert all(VARIABLES[f"deviation_{term}"][1] == UNIT[term] for term in ("threshold", "delay"))
    assert VARIABLES["deviation_slope"][1] == "1"


def test_nothing_is_measured_in_an_empty_dataset():
    dataset = blank()
    assert np.all(dataset["status"] == -1)
    assert np.all(dataset["reason"] == "")
    assert np.all(dataset["retried"] == 0)
    assert np.all(dataset["alone"] == 0)
    for name in set(dataset.data_vars) - {"status", "reason", "retried", "alone", "theta"}:
        assert np.all(np.isnan(dataset[name])), name
    assert dataset.attrs == {"schema": CHARACTERIZATION, "entropy": 7}


@pytest.mark.parametrize("kind", ["zarr", "nc"])
def test_a_dataset_comes_back_as_it_was_written(tmp_path, kind):
    path = tmp_path / f"data.{kind}"
    dataset = blank()
    dataset["spike_time"][:] = np.arange(12.0).reshape(4, 3)
    dataset["spike_time"][0, 0] = np.inf  # silent is a value, not a hole
    if kind == "zarr":
        dataset.to_zarr(path, consolidated=False, zarr_format=2)
    else:
        dataset.to_netcdf(path)
    with open_dataset(str(path)) as back:
        assert back.attrs == dataset.attrs
        for name in dataset.data_vars:
            assert np.array_equal(back[name], dataset[name], equal_nan=name != "reason"), name


@pytest.mark.parametrize(
    "old", ["ttfs-analog/characterization/1", "ttfs-analog/transistor-characterization/1"]
)
def test_an_old_dataset_is_refused_in_one_line(tmp_path, old):
    blank().assign_attrs(schema=old).to_zarr(tmp_path / "d", consolidated=False, zarr_format=2)
    with pytest.raises(
        InputError, match=rf"d has schema '{old}', '{CHARACTERIZATION}' was expected; characterize again$"
    ):
        open_dataset(tmp_path / "d")


def test_what_is_no_such_dataset_is_refused(tmp_path):
    blank().to_zarr(tmp_path / "d", consolidated=False, zarr_format=2)
    with pytest.raises(InputError, match=rf"schema '{CHARACTERIZATION}', 'other/1' was expected$"):
        open_dataset(tmp_path / "d", "other/1")
    xr.Dataset({"x": 1.0}).to_zarr(tmp_path / "none", consolidated=False, zarr_format=2)
    with pytest.raises(InputError, match="schema None"):
        open_dataset(tmp_path / "none")
    with pytest.raises(InputError, match="gone does not exist"):
        open_dataset(tmp_path / "gone")
    (tmp_path / "file.nc").write_text("not a dataset")
    (tmp_path / "folder").mkdir()
    for name in ("file.nc", "folder"):
        with pytest.raises(InputError, match=rf"{name} (cannot be read|has schema)"):
            open_dataset(tmp_path / name)


def test_a_seed_that_no_file_holds_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="entropy is 1180591620717411303424, a file holds numbers below 2"):
        save_dataset(xr.Dataset(attrs={"entropy": 2**70}), tmp_path / "a.nc")
