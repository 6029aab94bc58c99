"""Statistics by dimension name: `moments` and `goodness_of_fit` for labeled arrays.

Failed samples (NaN) and silent neurons (inf) are counted in `n_failed` and `n_silent`; everything else
describes the `n` values that are left, so read it as "of those that were measured and fired".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.statistics.goodness_of_fit import LEAST, anderson_darling, tails
from montecarlo.statistics.moments import (
    LEVEL,
    Moments,
    free_tolerance,
    moments,
    normal_tolerance,
    quantile_interval,
)

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
COUNTS = {
    "n": "values that were measured and are finite",
    "n_failed": "not measured (NaN)",
    "n_silent": "silent (inf)",
}
SHAPE = {
    "tolerance_low": "lower limit of a normal tolerance interval",
    "tolerance_high": "upper limit of a normal tolerance interval",
    "free_tolerance_low": "lower limit of a distribution-free tolerance interval",
    "free_tolerance_high": "upper limit of a distribution-free tolerance interval",
    "normality_p": "p of the Anderson-Darling test of normality",
}
TAILS = {
    "freedom": "degrees of freedom of the fitted Student-t; inf = normal",
    "tail_p": "p of the likelihood ratio Student-t against normal",
    "kurtosis_p": "p of the kurtosis test for heavy tails",
}
WITHOUT_UNIT = {"skewness", "skewness_se", "kurtosis", "kurtosis_se", "normality_p", *TAILS, *COUNTS}


def describe(
    array: xr.DataArray,
    dim: str | Sequence[str] = "sample",
    *,
    quantiles: Sequence[float] = QUANTILES,
    content: float = 0.95,
    level: float = LEVEL,
    heavy_tails: bool = False,
) -> xr.Dataset:
    """Counts, moments, quantiles, tolerance limits and tests along named dimensions.

    Parameters
    ----------
    array : xarray.DataArray
        NaN = failed, inf = silent.
    dim : str or sequence of str
        Dimensions whose values are draws of one population; the others remain.
    quantiles : sequence of float
        Each in (0, 1).
    content, level : float
        Of the tolerance intervals; `level` also of the quantiles' intervals.
    heavy_tails : bool
        Also fit Student's t (some milliseconds a cell).

    Returns
    -------
    xarray.Dataset
        `n`, `n_failed`, `n_silent`, moments and their `_se`, `quantile_value` with `quantile_low` and
        `quantile_high` along dimension `quantile`, tolerance limits, `normality_p`. Units and long_name are
        the array's. Fewer than 8 finite values: counts only, the rest is NaN.

    Raises
    ------
    InputError
        If the array has no such dimension.
    """
    dims: list[Hashable] = [dim] if isinstance(dim, str) else list(dim)
    if missing := [d for d in dims if d not in array.dims]:
        raise InputError(f"{array.name or 'array'} has no dimension {missing}; it has {list(array.dims)}")
    chance = tuple(float(q) for q in quantiles)
    single = [*COUNTS, *Moments._fields, *SHAPE, *(TAILS if heavy_tails else ())]

    def cell(values: Array) -> tuple[Array, Array]:
        return _cell(values.ravel(), chance, content, level, heavy_tails)

    statistics, spread = xr.apply_ufunc(
        cell,
        array.drop_vars(dims, errors="ignore").compute(),
        input_core_dims=[dims],
        output_core_dims=[["statistic"], ["bound", "quantile"]],
        vectorize=True,
        output_dtypes=[np.float64, np.float64],
    )
    units, name = array.attrs.get("units", "1"), array.attrs.get("long_name", str(array.name or "value"))
    dataset = xr.Dataset(coords={"quantile": ("quantile", np.array(chance), {"units": "1"})})
    words = {**COUNTS, **SHAPE, **TAILS}
    for k, statistic in enumerate(single):
        data = statistics.isel(statistic=k)
        dataset[statistic] = data.astype(np.int64) if statistic in COUNTS else data
        what = words.get(statistic, statistic.replace("_se", ", standard error"))
        dataset[statistic].attrs = {
            "units": "1" if statistic in WITHOUT_UNIT else units,
            "long_name": f"{name}: {what}",
        }
    for k, (bound, what) in enumerate((("value", ""), ("low", ", lower end"), ("high", ", upper end"))):
        dataset[f"quantile_{bound}"] = spread.isel(bound=k)
        dataset[f"quantile_{bound}"].attrs = {"units": units, "long_name": f"{name}: quantile{what}"}
    dataset.attrs = {"level": level, "content": content, "described": str(array.name or "")}
    return dataset


def _cell(
    values: Array, quantiles: tuple[float, ...], content: float, level: float, heavy: bool
) -> tuple[Array, Array]:
    good = values[np.isfinite(values)]
    counts = [len(good), int(np.isnan(values).sum()), int(np.isinf(values).sum())]
    if len(good) < LEAST:
        rest = len(Moments._fields) + len(SHAPE) + (len(TAILS) if heavy else 0)
        return np.array([*counts, *[math.nan] * rest]), np.full((3, len(quantiles)), math.nan)
    shape = [
        *normal_tolerance(good, content, level),
        *free_tolerance(good, content, level),
        anderson_darling(good).p,
    ]
    if heavy:
        fit = tails(good)
        shape += [fit.freedom, fit.p, fit.kurtosis_p]
    spread = np.array([quantile_interval(good, q, level) for q in quantiles]).reshape(-1, 3)
    return np.array([*counts, *moments(good), *shape]), spread.T
