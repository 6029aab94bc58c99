"""Estimates with their uncertainty. Resampling and intervals come from scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from circuits.errors import InputError
from circuits.model.layer import Array

LEVEL = 0.95


def std_interval(
    values: Array, rng: np.random.Generator, *, resamples: int = 2000, level: float = LEVEL
) -> tuple[float, float, float]:
    r"""Standard deviation with a bootstrap interval that resamples whole rows.

    Rows are the independent units (neurons), columns their repeats (synapses of one neuron). The
    interval is a bootstrap-t on ln(std): the log makes the spread of the estimate nearly independent
    of its value. Each end is the wider of this and the chi-square interval of normal theory, because a
    bootstrap of n rows knows no more than they show: alone it covered 94 to 95 % instead of 95 %.

    Parameters
    ----------
    values : array, shape (n,) or (n, repeat)
        NaN = not measured; left out.

    Returns
    -------
    std, low, high
        low = high = std if the values do not vary.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 12 and sec. 12.6.
    """
    rows = values.reshape(len(values), -1)
    if np.isfinite(rows).sum() < 3:
        raise InputError(f"a spread needs at least 3 values, got {np.isfinite(rows).sum()}")
    finite = np.where(np.isfinite(rows), rows, 0.0)
    center = float(finite.sum() / np.isfinite(rows).sum())
    deviation = np.where(np.isfinite(rows), rows - center, 0.0)
    # per-row sufficient statistics: count, sum, sum of squares
    n = np.isfinite(rows).sum(1).astype(np.float64)
    s, q = deviation.sum(1), (deviation**2).sum(1)
    estimate, error = _log_std(n, s, q)
    if not math.isfinite(estimate) or math.exp(estimate) <= 1e-12 * max(abs(center), 1e-300):
        std = math.exp(estimate) if math.isfinite(estimate) else 0.0
        return std, std, std
    share = np.full(len(rows), 1 / len(rows))
    pick = rng.multinomial(len(rows), share, size=resamples).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws, errors = _log_std_many(pick, n, s, q)
        t = (draws - estimate) / errors
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    low_t, high_t = np.quantile(t[np.isfinite(t)], tails)
    std, freedom = math.exp(estimate), n.sum() - 1
    normal_high, normal_low = std * np.sqrt(freedom / stats.chi2.ppf(tails, freedom))
    return (
        std,
        min(math.exp(estimate - high_t * error), float(normal_low)),
        max(math.exp(estimate - low_t * error), float(normal_high)),
    )


def _log_std(n: Array, s: Array, q: Array) -> tuple[float, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        value, error = _log_std_many(np.ones((1, len(n)), dtype=np.float64), n, s, q)
    return float(value[0]), float(error[0])


def _log_std_many(weight: Array, n: Array, s: Array, q: Array) -> tuple[Array, Array]:
    """ln(std) and its delta-method standard error, for each row of multiplicities in `weight`."""
    count, total, square = weight @ n, weight @ s, weight @ q
    mean = total / count
    variance = (square - count * mean**2) / (count - 1)
    # influence of each unit on the sum of squares about the mean
    influence = q - 2 * mean[:, None] * s + (mean**2)[:, None] * n - variance[:, None] * n
    error = np.sqrt((weight * influence**2).sum(1)) / (2 * variance * count)
    return 0.5 * np.log(variance), error


def mean_interval(values: Array, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean with Student's t interval over the first dimension's units."""
    rows = values.reshape(len(values), -1)
    rows = rows[np.isfinite(rows).any(1)]
    units = np.nanmean(rows, axis=1)
    mean = float(units.mean())
    if len(units) < 2:
        return mean, -math.inf, math.inf
    half = stats.t.ppf((1 + level) / 2, len(units) - 1) * units.std(ddof=1) / math.sqrt(len(units))
    return mean, mean - float(half), mean + float(half)


def proportion_interval(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion such as a yield."""
    if not 0 <= successes <= trials or trials < 1:
        raise InputError(f"{successes} successes of {trials} trials is not a proportion")
    interval = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)


def normality(values: Array) -> float:
    """p-value of the D'Agostino-Pearson test of normality; nan where the values do not vary.

    Source: D'Agostino & Pearson, Biometrika 60 (1973).
    """
    flat = values[np.isfinite(values)].ravel()
    if len(flat) < 20 or np.ptp(flat) <= 1e-9 * max(np.abs(flat).max(), 1e-300):
        return math.nan
    return float(stats.normaltest(flat).pvalue)


def samples_for_std(relative_half_width: float, level: float = LEVEL) -> int:
    """Samples for a std known to +-`relative_half_width`, normal values: about 190 for 10 %."""
    if not 0 < relative_half_width < 1:
        raise InputError(f"relative half width must lie in (0, 1), got {relative_half_width}")
    z = stats.norm.ppf((1 + level) / 2)
    return math.ceil(0.5 * (z / relative_half_width) ** 2) + 1


def samples_for_proportion(expected: float, half_width: float, level: float = LEVEL) -> int:
    """Samples for a yield near `expected` known to +-`half_width`: 606 for 0.95 +- 0.02.

    Both ends of the Clopper-Pearson interval lie within the half width if the count is as expected.

    Raises
    ------
    InputError
        If `expected` is outside [0, 1] or the half width outside (0, 0.5).
    """
    if not (0 <= expected <= 1 and 0 < half_width < 0.5):
        raise InputError(
            f"expected proportion must lie in [0, 1] and the half width in (0, 0.5), got {expected} and "
            f"{half_width}"
        )

    def enough(n: int) -> bool:
        low, high = proportion_interval(round(expected * n), n, level)
        return max(expected - low, high - expected) <= half_width

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:  # rounding of the count makes this a step or two more than the least
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def samples_for_tolerance(content: float = 0.95, level: float = LEVEL) -> int:
    """Samples whose smallest and largest hold a part `content` of any law: 93 for 95 % at 95 %.

    Source: Wilks, Ann. Math. Stat. 12 (1941).
    """
    if not (0 < content < 1 and 0 < level < 1):
        raise InputError(f"content and level must lie in (0, 1), got {content} and {level}")
    n = 2
    while stats.beta.sf(content, n - 1, 2) < level:
        n += max(n // 64, 1)
    while stats.beta.sf(content, n - 2, 2) >= level:
        n -= 1
    return n


def correlation_interval(x: Array, y: Array, level: float = LEVEL) -> tuple[float, float, float]:
    """Pearson correlation with Fisher's z interval; nan if either does not vary."""
    if np.ptp(x) <= 1e-9 or np.ptp(y) <= 1e-9 or len(x) < 4:
        return math.nan, math.nan, math.nan
    found = stats.pearsonr(x, y)
    interval = found.confidence_interval(level)
    return float(found.statistic), float(interval.low), float(interval.high)


def bootstrap(
    statistic: Callable[..., Array],
    data: tuple[Array, ...],
    rng: np.random.Generator,
    *,
    level: float = LEVEL,
    method: str = "percentile",
    resamples: int = 999,
) -> tuple[float, float]:
    """Interval of any statistic of one or more arrays resampled together, scipy's implementation.

    Parameters
    ----------
    statistic : callable
        Of as many arrays as `data` holds; its first dimension is resampled.
    method : {"percentile", "basic", "BCa"}
    """
    found = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=False,
        confidence_level=level,
        method=method,
        n_resamples=resamples,
        rng=rng,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
