"""Estimates and intervals: exact cases, invariances, and coverage counted on planted laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from circuits.errors import InputError
from montecarlo.statistics.intervals import (
    bootstrap,
    correlation_interval,
    mean_interval,
    normality,
    proportion_interval,
    samples_for_std,
    std_interval,
)

FEW = settings(max_examples=30, deadline=None)
SEED = st.integers(0, 2**32 - 1)
LEVELS = st.floats(0.5, 0.999)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@FEW
@given(SEED, st.integers(10, 60), st.integers(1, 4))
def test_the_std_lies_in_its_interval_and_is_that_of_numpy(seed, rows, columns):
    """1e-12: sums of squares in another order."""
    values = rng(seed).normal(size=(rows, columns))
    std, low, high = std_interval(values, rng(seed), resamples=200)
    assert low <= std <= high
    assert std == pytest.approx(values.std(ddof=1), rel=1e-12)


@FEW
@given(SEED, st.floats(-100, 100), st.floats(1e-6, 1e6))
def test_the_std_follows_the_scale_and_not_the_place(seed, place, scale):
    """1e-6: moving values by up to 1e8 of their spread (100 / 1e-6) costs as many digits of sixteen."""
    values = rng(seed).normal(size=20)
    one = np.array(std_interval(values, rng(1), resamples=100))
    other = np.array(std_interval(place + scale * values, rng(1), resamples=100))
    np.testing.assert_allclose(other, scale * one, rtol=1e-6)


def test_values_that_were_not_measured_are_left_out():
    """1e-12 of rounding: NaN columns and NaN rows change neither std nor interval."""
    values = rng().normal(size=(30, 2))
    holes = np.hstack([values, np.full((30, 1), np.nan)])
    one, other = (std_interval(v, rng(1), resamples=200) for v in (values, holes))
    np.testing.assert_allclose(one, other, rtol=1e-12)
    with_row = np.vstack([values, np.full((1, 2), np.nan)])
    assert std_interval(with_row, rng(1))[0] == pytest.approx(one[0], rel=1e-12)


def test_values_that_do_not_vary_have_no_interval():
    assert std_interval(np.zeros(10), rng()) == (0.0, 0.0, 0.0)
    assert max(std_interval(np.full(10, 0.3), rng())) < 1e-12


def test_repeats_of_one_neuron_do_not_pass_for_independent_ones():
    """Five equal repeats of each of 40 neurons are 40 values, not 200: the interval stays as wide. Were
    repeats independent, it would shrink by sqrt(5) to 0.45 of its width; 0.85 leaves room for resampling
    noise and for the chi-square part, which counts values."""
    values = rng(2).normal(size=(40, 1))
    _, low, high = std_interval(values, rng(1))
    _, low5, high5 = std_interval(np.repeat(values, 5, axis=1), rng(1))
    assert math.log(high5 / low5) > 0.85 * math.log(high / low)


def test_95_percent_intervals_of_a_std_cover_95_percent():
    """300 trials of 100 normal values: 285 expected, sd 3.8; 270 is four of them below."""
    draw = rng(5)
    inside = 0
    for _ in range(300):
        _, low, high = std_interval(2.0 * draw.normal(size=100), draw, resamples=400)
        inside += low <= 2.0 <= high
    assert inside >= 270


@FEW
@given(SEED, st.integers(4, 30), LEVELS)
def test_the_interval_of_a_std_is_never_narrower_than_normal_theory(seed, n, level):
    """Chi-square with n - 1 degrees of freedom; 1e-12 of rounding."""
    std, low, high = std_interval(rng(seed).normal(size=n), rng(seed), resamples=200, level=level)
    tails = [(1 + level) / 2, (1 - level) / 2]
    normal_low, normal_high = std * np.sqrt((n - 1) / stats.chi2.ppf(tails, n - 1))
    assert low <= normal_low * (1 + 1e-12)
    assert high >= normal_high * (1 - 1e-12)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 2.0, math.nan], [math.nan] * 9])
def test_a_spread_of_two_values_is_refused(values):
    with pytest.raises(InputError, match="at least 3 values"):
        std_interval(np.array(values), rng())


@FEW
@given(SEED, st.integers(2, 40), LEVELS)
def test_the_interval_of_a_mean_is_students(seed, n, level):
    """scipy's own, from the same data: 1e-9 relative to the spread."""
    values = rng(seed).normal(3.0, 2.0, n)
    mean, low, high = mean_interval(values, level)
    wanted = stats.ttest_1samp(values, 0.0).confidence_interval(level)
    assert low <= mean <= high
    np.testing.assert_allclose([low, high], [wanted.low, wanted.high], rtol=1e-9, atol=1e-9)


def test_the_units_of_a_mean_are_its_rows():
    """Repeats of a row are averaged first; a row never measured does not count. 1e-12 of rounding."""
    values = rng(1).normal(size=(12, 3))
    holes = np.vstack([values, np.full((2, 3), np.nan)])
    np.testing.assert_allclose(mean_interval(holes), mean_interval(values.mean(1)), rtol=1e-12)
    assert mean_interval(np.array([0.7])) == (0.7, -math.inf, math.inf)  # one row shows no spread


@FEW
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), LEVELS)
def test_a_proportion_lies_in_its_interval_within_0_and_1(counts, level):
    """At each bound the tail of the binomial is half of 1 - level: what Clopper and Pearson ask, 1e-6."""
    k, n = counts
    low, high = proportion_interval(k, n, level)
    assert 0 <= low <= k / n <= high <= 1
    tail = (1 - level) / 2
    if k > 0:
        assert stats.binom.sf(k - 1, n, low) == pytest.approx(tail, rel=1e-6)
    if k < n:
        assert stats.binom.cdf(k, n, high) == pytest.approx(tail, rel=1e-6)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_counts_that_are_no_proportion_are_refused(k, n):
    with pytest.raises(InputError, match="not a proportion"):
        proportion_interval(k, n)


def test_normality_tells_normal_from_skewed():
    """Fixed draws: p far from its limits in both; 1e-6 for an exponential of 300 values is loose."""
    assert normality(rng(0).normal(size=300)) > 0.01
    assert normality(rng(0).exponential(size=300)) < 1e-6


def test_normality_needs_20_measured_values_that_vary():
    assert math.isnan(normality(np.full(50, 0.1)))
    assert math.isnan(normality(rng().normal(size=19)))
    assert math.isnan(normality(np.full(50, np.nan)))
    values = rng(4).normal(size=40)
    assert normality(np.append(values, [np.nan] * 5)) == normality(values)


@pytest.mark.parametrize(("half", "samples"), [(0.1, 194), (0.05, 770), (0.2, 50)])
def test_samples_wanted_for_a_std(half, samples):
    """(1.96 / half)**2 / 2 + 1, rounded up: exact."""
    assert samples_for_std(half) == samples


@pytest.mark.parametrize("half", [0.0, 1.0, -0.1, math.nan])
def test_a_half_width_out_of_range_is_refused(half):
    with pytest.raises(InputError, match="half width"):
        samples_for_std(half)


@FEW
@given(SEED, st.floats(-0.95, 0.95))
def test_a_correlation_lies_in_fishers_interval(seed, r):
    """tanh(atanh(r) -+ 1.96 / sqrt(n - 3)); 1e-9 of rounding."""
    x, noise = rng(seed).normal(size=(2, 40))
    y = r * x + math.sqrt(1 - r * r) * noise
    estimate, low, high = correlation_interval(x, y)
    assert low <= estimate <= high
    half = stats.norm.ppf(0.975) / math.sqrt(37)
    wanted = np.tanh(np.arctanh(estimate) + np.array([-half, half]))
    np.testing.assert_allclose([low, high], wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [3, 10])
def test_a_correlation_with_a_constant_or_of_three_is_not_a_number(n):
    x = rng().normal(size=n)
    y = x if n == 3 else np.full(n, 0.5)
    assert all(math.isnan(v) for v in correlation_interval(x, y))


def test_a_bootstrap_of_a_mean_is_near_normal_theory():
    """Percentiles of 999 resamples of 200 values: 10 % of the half width."""
    values = rng(6).normal(size=200)
    low, high = bootstrap(np.mean, values, rng())
    half = 1.96 * values.std() / math.sqrt(200)
    assert low < values.mean() < high
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_the_same_generator_gives_the_same_interval():
    values = rng(6).normal(size=50)
    assert std_interval(values, rng(9)) == std_interval(values, rng(9))
    assert bootstrap(np.mean, values, rng(9)) == bootstrap(np.mean, values, rng(9))
