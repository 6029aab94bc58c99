"""Tests of a law: is it normal, are its tails heavier, does it agree with a model?

All take finite values (see `montecarlo.statistics.moments`). Nothing is decided here: a p-value is given, and
with many samples every law of a real circuit fails some test, so look at the size of the departure as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.statistics.moments import finite, varies

LEAST = 8
HEAVIEST, LIGHTEST = 1.0, 1000.0
"""Degrees of freedom of Student's t that are tried; 1000 cannot be told from a normal law."""


class Outcome(NamedTuple):
    """A statistic of a test and the probability of one as large by chance."""

    statistic: float
    p: float


class Tails(NamedTuple):
    """Student-t against normal, by likelihood."""

    freedom: float  #: fitted degrees of freedom; inf where the normal law fits as well
    likelihood_ratio: float  #: 2 (ln L_t - ln L_normal) >= 0
    p: float  #: of a ratio as large from a normal law
    kurtosis_p: float  #: of an excess kurtosis as large from a normal law; nan below 20 values


def anderson_darling(values: Array) -> Outcome:
    """Anderson-Darling test of a normal law whose mean and std are estimated: looks at the tails too.

    Returns
    -------
    statistic, p
        A^2 with the small-sample factor; nan where the values do not vary.

    Source: D'Agostino & Stephens, Goodness-of-Fit Techniques (1986), table 4.7 and table 4.9 (p).
    """
    x = np.sort(finite(values, LEAST, "a test of normality"))
    if not varies(x):
        return Outcome(math.nan, math.nan)
    n = len(x)
    z = (x - x.mean()) / x.std(ddof=1)
    rank = 2 * np.arange(1, n + 1) - 1
    a = float(-n - np.mean(rank * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1]))))
    a *= 1 + 0.75 / n + 2.25 / n**2
    if a >= 0.6:
        b = min(a, 153.0)  # the fit turns up again beyond; p is 0 long before
        return Outcome(a, math.exp(1.2937 - 5.709 * b + 0.0186 * b * b))
    if a >= 0.34:
        return Outcome(a, math.exp(0.9177 - 4.279 * a - 1.38 * a * a))
    if a >= 0.2:
        return Outcome(a, 1 - math.exp(-8.318 + 42.796 * a - 59.938 * a * a))
    return Outcome(a, 1 - math.exp(-13.436 + 101.14 * a - 223.73 * a * a))


def tails(values: Array) -> Tails:
    r"""Whether Student's t fits better than the normal law, and with how many degrees of freedom.

    The normal law is t at :math:`1/\nu = 0`, the end of the range, so that the likelihood ratio is 0 half
    the time and :math:`\chi^2_1` otherwise.

    Source: Self & Liang, JASA 82 (1987), case 5; Anscombe & Glynn, Biometrika 70 (1983), kurtosis.
    """
    x = finite(values, LEAST, "a test of tails")
    if not varies(x):
        return Tails(math.nan, math.nan, math.nan, math.nan)
    z = (x - x.mean()) / x.std()
    excess = max(float(np.mean(z**4)) - 3, 0.05)
    start = (min(1 / (4 + 6 / excess), 0.2), 0.0, 0.0)

    def cost(parameter: Array) -> float:
        inverse, place, log_scale = parameter
        return -float(stats.t.logpdf(z, 1 / inverse, place, math.exp(log_scale)).sum()) / len(z)

    bounds = ((1 / LIGHTEST, 1 / HEAVIEST), (-3, 3), (-5, 2))
    fit = optimize.minimize(cost, start, method="L-BFGS-B", bounds=bounds)
    ratio = max(2 * len(z) * (float(stats.norm.entropy()) - float(fit.fun)), 0.0)
    kurtosis_p = float(stats.kurtosistest(z, alternative="greater").pvalue) if len(z) >= 20 else math.nan
    if ratio <= 1e-6:
        return Tails(math.inf, 0.0, 1.0, kurtosis_p)
    return Tails(1 / float(fit.x[0]), ratio, 0.5 * float(stats.chi2.sf(ratio, 1)), kurtosis_p)


def kolmogorov_smirnov(values: Array, model: Callable[[Array], Array] | Array) -> Outcome:
    """Largest distance between the sample's distribution and a model's.

    Parameters
    ----------
    values : array
        Finite.
    model : callable or array
        The model's distribution function (`scipy.stats.norm(0, 0.05).cdf`), or a sample of it. It must not
        have been fitted to these very values: p would then be far too large.

    Raises
    ------
    InputError
        If the model is neither.

    Source: Kolmogorov (1933), Smirnov (1939); exact p from scipy.stats.
    """
    x = finite(values, 1, "a Kolmogorov-Smirnov test")
    if callable(model):
        test = stats.ks_1samp(x, model)
    elif isinstance(model, np.ndarray):
        test = stats.ks_2samp(x, finite(model, 1, "a Kolmogorov-Smirnov test"))
    else:
        raise InputError(f"model must be a distribution function or an array, got {type(model).__name__}")
    return Outcome(float(test.statistic), float(test.pvalue))
