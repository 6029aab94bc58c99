"""Moments, quantiles and tolerance intervals of a sample, each with its standard error or interval.

Every function takes finite values only and says so: failed (NaN) and silent (inf) samples are counted
and set aside by `montecarlo.statistics.by_dimension`, never dropped in here.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from circuits.errors import InputError
from circuits.model.layer import Array

LEVEL = 0.95
NODES = 64
"""Gauss-Hermite nodes of the tolerance factor; 32 give the same six digits."""


class Moments(NamedTuple):
    """First four moments and their standard errors; units of the values, or 1."""

    mean: float
    mean_se: float
    std: float
    std_se: float
    skewness: float
    skewness_se: float
    kurtosis: float  #: excess: 0 for a normal law
    kurtosis_se: float


def finite(values: Array, least: int, what: str) -> Array:
    """The values as one row (n,), refused if they are too few or not all finite.

    Parameters
    ----------
    values : array
    least : int
        Values that are needed.
    what : str
        What takes them, for the message.

    Raises
    ------
    InputError
        If there are fewer, or one is NaN or infinite.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    if not np.all(np.isfinite(flat)):
        raise InputError(
            f"{what} takes finite values; {int(np.sum(~np.isfinite(flat)))} of {len(flat)} are not: count "
            "failed and silent samples first (montecarlo.statistics.by_dimension.describe does)"
        )
    if len(flat) < least:
        raise InputError(f"{what} needs at least {least} values, got {len(flat)}")
    return flat


def varies(values: Array) -> bool:
    """Whether the spread is more than rounding of the values themselves."""
    return float(np.ptp(values)) > 1e-12 * max(float(np.abs(values).max()), 1e-300)


def moments(values: Array) -> Moments:
    r"""Mean, std, skewness and excess kurtosis (bias corrected) with standard errors.

    .. math:: se(s) = \frac{s}{2} \sqrt{\frac{g_2}{n} + \frac{2}{n-1}}

    holds for any law with a fourth moment. The errors of skewness and kurtosis are those of a normal
    sample: what a normal law would show by chance.

    Parameters
    ----------
    values : array
        At least 4 finite values.

    Source: Cramer, Mathematical Methods of Statistics (1946), sec. 27.4; Joanes & Gill, The
    Statistician 47 (1998), eqs. 6-8.
    """
    x = finite(values, 4, "moments")
    n = len(x)
    mean, std = float(x.mean()), float(x.std(ddof=1))
    skew_se = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    kurtosis_se = 2 * skew_se * math.sqrt((n * n - 1) / ((n - 3) * (n + 5)))
    if not varies(x):
        return Moments(mean, std / math.sqrt(n), std, 0.0, math.nan, skew_se, math.nan, kurtosis_se)
    skewness = float(stats.skew(x, bias=False))
    kurtosis = float(stats.kurtosis(x, bias=False))
    spread = max(kurtosis / n + 2 / (n - 1), 0.0)  # very few values can make the estimate negative
    std_se = 0.5 * std * math.sqrt(spread)
    return Moments(mean, std / math.sqrt(n), std, std_se, skewness, skew_se, kurtosis, kurtosis_se)


def quantile_interval(values: Array, q: float, level: float = LEVEL) -> tuple[float, float, float]:
    """Quantile with a distribution-free interval between two order statistics.

    Parameters
    ----------
    values : array
        Finite.
    q : float
        In (0, 1).
    level : float
        Confidence, in (0, 1).

    Returns
    -------
    quantile, low, high
        An end is -inf or inf where the sample is too small to hold one: q = 0.05 needs 72 values.

    Raises
    ------
    InputError
        If q is not in (0, 1), or a value is not finite.

    Source: Conover, Practical Nonparametric Statistics (1999), sec. 3.2, as in scipy.stats.quantile_test,
    whose numbers these are, without the milliseconds it takes.
    """
    if not 0 < q < 1:
        raise InputError(f"a quantile must lie in (0, 1), got {q}")
    x = np.sort(finite(values, 1, "a quantile"))
    low, high = _ranks(len(x), q, level)
    ends = (float(x[low]) if low >= 0 else -math.inf, float(x[high]) if high < len(x) else math.inf)
    return float(np.quantile(x, q)), *ends


@lru_cache(maxsize=4096)
def _ranks(n: int, q: float, level: float) -> tuple[int, int]:
    """Indices of the two order statistics; -1 and n where there is none."""
    tail = (1 - level) / 2
    return int(stats.binom.ppf(tail, n, q)) - 1, int(stats.binom.isf(tail, n, q))


@lru_cache(maxsize=4096)
def tolerance_factor(n: int, content: float = 0.95, level: float = LEVEL) -> float:
    r"""k such that mean +- k s holds a part `content` of a normal population, with confidence `level`.

    .. math:: E_x\, P\left(\chi^2_\nu > \nu r^2(x) / k^2\right) = level, \quad x \sim N(0, 1/n), \quad
              \Phi(x + r) - \Phi(x - r) = content

    Solved as it stands (Howe's closed form is 0.4 % low at n = 10).

    Parameters
    ----------
    n : int
        Values of the sample, >= 2.
    content, level : float
        Both in (0, 1).

    Raises
    ------
    InputError
        Outside these ranges.

    Source: Wald & Wolfowitz, Ann. Math. Stat. 17 (1946); Howe, JASA 64 (1969); ISO 16269-6, annex F.
    """
    _unit(content=content, level=level)
    if n < 2:
        raise InputError(f"a tolerance interval needs at least 2 values, got {n}")
    node, weight = np.polynomial.hermite_e.hermegauss(NODES)
    weight = weight / weight.sum()
    r2 = stats.ncx2.ppf(content, 1, node**2 / n)

    def confidence(log_k: float) -> float:
        return float(weight @ stats.chi2.sf((n - 1) * r2 * math.exp(-2 * log_k), n - 1)) - level

    return math.exp(float(optimize.brentq(confidence, math.log(0.01), math.log(1e6), xtol=1e-12)))


def normal_tolerance(values: Array, content: float = 0.95, level: float = LEVEL) -> tuple[float, float]:
    """Limits that hold a part `content` of the population with confidence `level`, if it is normal.

    Parameters
    ----------
    values : array
        At least 2 finite values.
    content, level : float
        Both in (0, 1).

    Source: see `tolerance_factor`.
    """
    x = finite(values, 2, "a tolerance interval")
    half = tolerance_factor(len(x), content, level) * float(x.std(ddof=1))
    return float(x.mean()) - half, float(x.mean()) + half


def free_tolerance(values: Array, content: float = 0.95, level: float = LEVEL) -> tuple[float, float]:
    """The same for any continuous law: two order statistics, as many cut off each side as allowed.

    Parameters
    ----------
    values : array
        Finite.
    content, level : float
        Both in (0, 1).

    Returns
    -------
    low, high
        -inf, inf where there are too few values: 93 are needed for 95 % with 95 % confidence.

    Source: Wilks, Ann. Math. Stat. 12 (1941): the part between them is Beta(n + 1 - m, m).
    """
    _unit(content=content, level=level)
    x = np.sort(finite(values, 1, "a tolerance interval"))
    cut = np.arange(1, len(x) // 2 + 1)  # values left outside each side, plus one
    allowed = cut[stats.beta.sf(content, len(x) + 1 - 2 * cut, 2 * cut) >= level]
    if not len(allowed):
        return -math.inf, math.inf
    k = int(allowed.max())
    return float(x[k - 1]), float(x[-k])


def _unit(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < 1:
            raise InputError(f"{name} must lie in (0, 1), got {value}")
