"""By name: the numbers of the arrays, whatever the order of dimensions; losses are counted."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from circuits.errors import InputError
from montecarlo.statistics.by_dimension import describe
from montecarlo.statistics.goodness_of_fit import anderson_darling, tails
from montecarlo.statistics.moments import (
    Moments,
    free_tolerance,
    moments,
    normal_tolerance,
    quantile_interval,
)


@pytest.fixture
def array(rng) -> xr.DataArray:
    values = rng.gamma(4.0, size=(60, 3, 2))
    values[:4, 0, 0], values[4:9, 1, 1] = np.nan, np.inf
    coords = {"sample": np.arange(60), "stimulus": list("abc"), "status": ("sample", np.zeros(60))}
    attrs = {"units": "tau_c", "long_name": "spike time"}
    return xr.DataArray(values, coords, ("sample", "stimulus", "pattern"), "spike_time", attrs)


def test_every_cell_is_what_the_functions_of_arrays_say(array):
    """Exact: the same functions."""
    statistics = describe(array, heavy_tails=True, quantiles=(0.1, 0.5))
    for s, p in np.ndindex(3, 2):
        cell, row = array.values[:, s, p], statistics.isel(stimulus=s, pattern=p)
        good = cell[np.isfinite(cell)]
        counts = [len(good), np.isnan(cell).sum(), np.isinf(cell).sum()]
        assert [int(row[k]) for k in ("n", "n_failed", "n_silent")] == counts
        assert tuple(float(row[k]) for k in Moments._fields) == moments(good)
        assert (row["tolerance_low"], row["tolerance_high"]) == normal_tolerance(good)
        assert (row["free_tolerance_low"], row["free_tolerance_high"]) == free_tolerance(good)
        assert row["normality_p"] == anderson_darling(good).p
        assert tuple(float(row[k]) for k in ("freedom", "tail_p")) == (tails(good).freedom, tails(good).p)
        for k, q in enumerate((0.1, 0.5)):
            spread = tuple(float(row[f"quantile_{b}"][k]) for b in ("value", "low", "high"))
            assert spread == quantile_interval(good, q)


def test_the_order_of_dimensions_does_not_matter(array):
    other = describe(array.transpose("pattern", "sample", "stimulus"))
    xr.testing.assert_equal(describe(array), other.transpose("stimulus", "pattern", "quantile"))


def test_several_dimensions_make_one_population(array):
    statistics = describe(array, ("sample", "pattern"))
    assert statistics["n"].dims == ("stimulus",)
    cell = array.sel(stimulus="c").values
    assert float(statistics["mean"].sel(stimulus="c")) == pytest.approx(cell.mean(), rel=1e-12)


def test_units_and_names_are_kept(array):
    statistics = describe(array)
    assert statistics["mean_se"].attrs == {"units": "tau_c", "long_name": "spike time: mean, standard error"}
    assert statistics["quantile_low"].attrs["units"] == "tau_c"
    assert {statistics[k].attrs["units"] for k in ("n", "skewness", "kurtosis_se", "normality_p")} == {"1"}
    assert all(v.attrs["long_name"].startswith("spike time") for v in statistics.data_vars.values())


def test_too_few_values_leave_the_counts(array):
    statistics = describe(array.where(array["sample"] < 7))
    assert int(statistics["n"].min()) == 3  # of 7, the first 4 failed
    assert int(statistics["n_failed"].max()) == 57
    assert np.isnan(statistics["mean"]).all()
    assert np.isnan(statistics["quantile_value"]).all()


def test_an_unknown_dimension_is_refused(array):
    with pytest.raises(InputError, match=r"spike_time has no dimension \['chip'\]; it has \['sample'"):
        describe(array, "chip")


def test_a_stored_dataset_is_described_like_one_in_memory(array, tmp_path):
    array.drop_vars("status").to_dataset().to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as stored:
        xr.testing.assert_equal(describe(stored["spike_time"]), describe(array.drop_vars("status")))
