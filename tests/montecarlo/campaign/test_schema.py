"""The dataset format: units on everything, nothing measured at first, and strangers are refused."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pytest
import xarray as xr

from circuits.errors import InputError
from montecarlo.campaign.schema import (
    CHARACTERIZATION,
    MEASURED,
    VARIABLES,
    empty,
    open_dataset,
    package_version,
)

COORDS = {"stimulus": np.array(["a", "b", "c"]), "synapse": np.arange(2)}


def blank() -> xr.Dataset:
    return empty(4, dict(COORDS), {"entropy": 7})


def test_an_empty_dataset_has_every_variable_with_units_and_name():
    dataset = blank()
    assert set(dataset.data_vars) == set(VARIABLES)
    for name, (dims, units, long_name) in VARIABLES.items():
        assert dataset[name].dims == dims
        assert dataset[name].attrs == {"units": units, "long_name": long_name}


def test_nothing_is_measured_in_an_empty_dataset():
    dataset = blank()
    assert dataset.sizes == {"sample": 4, "stimulus": 3, "synapse": 2}
    assert np.all(dataset["status"] == -1)
    assert np.all(dataset["reason"] == "")
    for name in set(VARIABLES) - {"status", "reason"}:
        assert np.all(np.isnan(dataset[name])), name


def test_measured_is_what_depends_on_the_stimulus():
    assert set(MEASURED) == {n for n in VARIABLES if "stimulus" in blank()[n].dims}
    assert "spike_time" in MEASURED


def test_attributes_name_the_schema():
    assert blank().attrs == {"schema": CHARACTERIZATION, "entropy": 7}


def test_the_version_is_that_of_the_installed_package():
    assert package_version() == version("ttfs-analog")


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
    with open_dataset(path, CHARACTERIZATION) as back:
        assert back.attrs == dataset.attrs
        for name in dataset.data_vars:
            assert np.array_equal(back[name], dataset[name], equal_nan=name != "reason"), name


def test_a_path_may_be_text(tmp_path):
    blank().to_zarr(tmp_path / "d", consolidated=False, zarr_format=2)
    assert open_dataset(str(tmp_path / "d"), CHARACTERIZATION).sizes["sample"] == 4


def test_another_schema_is_refused_and_both_are_named(tmp_path):
    blank().to_zarr(tmp_path / "d", consolidated=False, zarr_format=2)
    with pytest.raises(InputError, match=rf"schema '{CHARACTERIZATION}', 'other/1' was expected"):
        open_dataset(tmp_path / "d", "other/1")


def test_a_dataset_without_a_schema_is_refused(tmp_path):
    xr.Dataset({"x": 1.0}).to_zarr(tmp_path / "d", consolidated=False, zarr_format=2)
    with pytest.raises(InputError, match="schema None"):
        open_dataset(tmp_path / "d", CHARACTERIZATION)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="gone does not exist"):
        open_dataset(tmp_path / "gone", CHARACTERIZATION)


def test_what_is_no_dataset_is_refused(tmp_path):
    (tmp_path / "file.nc").write_text("not a dataset")
    (tmp_path / "folder").mkdir()
    for name in ("file.nc", "folder"):
        with pytest.raises(InputError, match=rf"{name} (cannot be read|has schema)"):
            open_dataset(tmp_path / name, CHARACTERIZATION)
