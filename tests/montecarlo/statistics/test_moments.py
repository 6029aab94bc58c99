"""Moments, quantiles and tolerance intervals: known values, and coverage counted on planted laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from circuits.errors import InputError
from montecarlo.statistics.moments import (
    free_tolerance,
    moments,
    normal_tolerance,
    quantile_interval,
    tolerance_factor,
)

FEW = settings(max_examples=30, deadline=None)
SEED = st.integers(0, 2**32 - 1)
LAWS = {
    "normal": stats.norm(3.0, 2.0),
    "uniform": stats.uniform(),
    "lognormal": stats.lognorm(0.3),
    "t9": stats.t(9),
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_moments_are_those_of_scipy():
    x = rng().gamma(3.0, size=200)
    m = moments(x)
    assert (m.mean, m.std) == (x.mean(), x.std(ddof=1))
    assert m.mean_se == pytest.approx(stats.sem(x), rel=1e-12)
    assert (m.skewness, m.kurtosis) == (stats.skew(x, bias=False), stats.kurtosis(x, bias=False))


def test_normal_theory_errors_are_those_of_the_textbook():
    """n = 30: skewness 0.4269, kurtosis 0.8327 (SPSS prints .427 and .833); 1e-4 of rounding."""
    m = moments(rng().normal(size=30))
    assert m.skewness_se == pytest.approx(0.4269, abs=1e-4)
    assert m.kurtosis_se == pytest.approx(0.8327, abs=1e-4)


@pytest.mark.parametrize("name", LAWS)
def test_the_error_of_a_std_is_its_spread_over_samples(name):
    """1000 samples of 400: the spread of s is known to 2.2 %; 4 of these and the bias of 1/n: 10 %.

    The error of a normal sample, s / sqrt(2 (n - 1)), is wrong for the uniform law by 58 % and for t9 by
    22 %: it must fail there."""
    estimates = [moments(x) for x in LAWS[name].rvs(size=(1000, 400), random_state=rng(3))]
    spread = np.std([m.std for m in estimates])
    assert np.mean([m.std_se for m in estimates]) == pytest.approx(spread, rel=0.1)
    assert np.mean([m.mean_se for m in estimates]) == pytest.approx(
        np.std([m.mean for m in estimates]), rel=0.1
    )
    normal = np.mean([m.std for m in estimates]) / math.sqrt(2 * 399)
    assert (normal == pytest.approx(spread, rel=0.1)) == (name == "normal")


def test_what_does_not_vary_has_no_shape():
    m = moments(np.full(10, 0.1))
    assert (m.std_se, m.mean) == (0.0, pytest.approx(0.1))
    assert math.isnan(m.skewness)
    assert math.isnan(m.kurtosis)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("function", [moments, normal_tolerance, free_tolerance])
def test_values_are_never_dropped_silently(function, bad):
    with pytest.raises(InputError, match="1 of 11 are not"):
        function(np.append(np.arange(10.0), bad))


def test_too_few_values_are_refused():
    with pytest.raises(InputError, match="at least 4 values, got 3"):
        moments(np.arange(3.0))
    with pytest.raises(InputError, match="at least 2 values"):
        normal_tolerance(np.array([1.0]))


@FEW
@given(SEED, st.integers(1, 120), st.sampled_from([0.01, 0.05, 0.25, 0.5, 0.9]), st.floats(0.5, 0.99))
def test_a_quantile_has_the_interval_of_scipy(seed, n, q, level):
    """Exact: the same order statistics; scipy says nan where there is none."""
    x = rng(seed).normal(size=n)
    value, low, high = quantile_interval(x, q, level)
    wanted = stats.quantile_test(x, p=q).confidence_interval(level)
    assert value == np.quantile(x, q)
    assert low == wanted.low or (np.isnan(wanted.low) and low == -math.inf)
    assert high == wanted.high or (np.isnan(wanted.high) and high == math.inf)


@pytest.mark.parametrize("law", ["normal", "lognormal"])
@pytest.mark.parametrize("q", [0.05, 0.5])
def test_intervals_of_a_quantile_cover_it_whatever_the_law(law, q):
    """At least 95 % of 2000 samples: 1900 less 4 x sqrt(2000 x 0.95 x 0.05) = 39."""
    true = LAWS[law].ppf(q)
    samples = LAWS[law].rvs(size=(2000, 100), random_state=rng(1))
    inside = sum(low <= true <= high for _, low, high in (quantile_interval(x, q) for x in samples))
    assert inside >= 1861


@pytest.mark.parametrize("q", [0.0, 1.0, -0.5, math.nan])
def test_a_quantile_outside_0_to_1_is_refused(q):
    with pytest.raises(InputError, match=r"must lie in \(0, 1\)"):
        quantile_interval(np.arange(9.0), q)


@pytest.mark.parametrize(("n", "k"), [(2, 36.519), (10, 3.393), (20, 2.760), (100, 2.234), (10**6, 1.9623)])
def test_tolerance_factors_are_those_of_the_tables(n, k):
    """Two-sided 95 % / 95 %, Odeh & Owen (1980): three decimals; at 1e6 the normal quantile 1.96 + 0.0023."""
    assert tolerance_factor(n) == pytest.approx(k, abs=6e-4)


def content(law, low: float, high: float) -> float:
    return float(law.cdf(high) - law.cdf(low))


def test_normal_tolerance_intervals_hold_what_they_say():
    """95 % of 2000 samples hold 99 %: 1900 +- 39. Of a lognormal law they do not: the wrong law fails."""
    holding = {}
    for name in ("normal", "lognormal"):
        samples = LAWS[name].rvs(size=(2000, 60), random_state=rng(2))
        holding[name] = sum(content(LAWS[name], *normal_tolerance(x, 0.99)) >= 0.99 for x in samples)
    assert abs(holding["normal"] - 1900) <= 39
    assert holding["lognormal"] < 1861


@pytest.mark.parametrize("name", LAWS)
def test_free_tolerance_intervals_hold_for_any_law(name):
    samples = LAWS[name].rvs(size=(2000, 150), random_state=rng(4))
    holding = sum(content(LAWS[name], *free_tolerance(x, 0.9)) >= 0.9 for x in samples)
    assert holding >= 1861


def test_the_smallest_free_tolerance_interval_needs_93_values():
    assert free_tolerance(np.arange(92.0)) == (-math.inf, math.inf)
    assert free_tolerance(np.arange(93.0)) == (0.0, 92.0)
    assert free_tolerance(np.arange(1000.0))[0] > 0


@pytest.mark.parametrize("options", [{"content": 1.0}, {"level": 0.0}])
def test_a_part_of_all_or_nothing_is_refused(options):
    for function in (normal_tolerance, free_tolerance):
        with pytest.raises(InputError, match="must lie in"):
            function(np.arange(9.0), **options)
