"""Rare failures: exact probabilities inside the intervals, at a fraction of the samples, or a refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from circuits.errors import InputError
from montecarlo.analysis.importance_sampling import find_shifts, importance, plain

SEEDS = 20
ENOUGH = 16
"""Of 20 intervals of 95 %: fewer happen once in 400 times."""


def half_space(dimensions, distance, seed=1):
    direction = np.random.default_rng(seed).normal(size=dimensions)
    direction /= np.linalg.norm(direction)
    return lambda u: u @ direction > distance


def judged(fails, dimensions, exact, samples=2000):
    """Estimates over seeds, and how many of their intervals hold the exact value."""
    estimates = [importance(fails, dimensions, samples, np.random.default_rng(s)) for s in range(SEEDS)]
    return estimates, sum(e.low <= exact <= e.high for e in estimates)


@pytest.mark.parametrize("dimensions", [1, 11, 40])
def test_four_sigma_of_a_linear_failure_is_inside_the_interval_at_a_fraction_of_the_samples(dimensions):
    exact = stats.norm.sf(4)
    estimates, inside = judged(half_space(dimensions, 4.0), dimensions, exact)
    assert inside >= ENOUGH
    for e in estimates:
        # the standard error is the true one: plain sampling needs p (1 - p) / se^2, the search counted too
        assert e.plain_evaluations > 20 * e.evaluations
        assert (1 - exact) * exact / (0.2 * exact) ** 2 > 20 * e.evaluations  # at a relative error of 20 %
        assert e.se < 0.2 * exact


def test_the_standard_error_is_the_spread_of_the_estimates():
    """(estimate - exact) / se over 100 seeds: mean 0 +- 0.1 and std 1 +- 0.07, 4 of each."""
    exact = stats.norm.sf(4)
    estimates = [importance(half_space(5, 4.0), 5, 1000, np.random.default_rng(s)) for s in range(100)]
    z = np.array([(e.probability - exact) / e.se for e in estimates])
    assert abs(z.mean()) < 0.4
    assert 0.72 < z.std() < 1.28


@pytest.mark.parametrize("distance", [0.5, 2.0, 6.0])
def test_common_and_very_rare_failures_are_estimated_too(distance):
    assert judged(half_space(8, distance), 8, stats.norm.sf(distance))[1] >= ENOUGH


def test_failures_on_two_sides_are_both_found():
    exact = 2 * stats.norm.sf(4)
    estimates, inside = judged(lambda u: np.abs(u[:, 2]) > 4, 6, exact)
    assert inside >= ENOUGH
    shifts, _ = find_shifts(lambda u: np.abs(u[:, 2]) > 4, 6, 500, np.random.default_rng(0))
    assert sorted(np.round(shifts[:, 2] / 4)) == [-1, 1]
    assert all(e.plain_evaluations > 20 * e.evaluations for e in estimates)


def test_plain_sampling_has_the_interval_of_clopper_and_pearson():
    exact = stats.norm.sf(1.5)
    estimates = [plain(half_space(3, 1.5), 3, 500, np.random.default_rng(s)) for s in range(100)]
    assert sum(e.low <= exact <= e.high for e in estimates) >= 88  # 95 at least on average
    none = plain(half_space(3, 9.0), 3, 500, np.random.default_rng(0))
    assert (none.probability, none.low, none.plain_evaluations) == (0.0, 0.0, math.inf)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 500))


def test_the_same_generator_gives_the_same_estimate():
    one, other = (importance(half_space(3, 4.0), 3, 500, np.random.default_rng(7)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("fails", "samples", "message"),
    [
        (lambda u: np.zeros(len(u), bool), 500, "0 of 250 samples failed at 6 times"),
        (half_space(3, 30.0), 500, "further than 9 sigma"),
        (half_space(3, 4.0), 99, "at least 100 samples"),
        (lambda u: u[:, 0], 500, "must return 250 booleans, got float64"),
        (lambda u: u > 4, 500, r"must return 250 booleans, got bool \(250, 3\)"),
    ],
)
def test_failures_that_cannot_be_found_are_refused(fails, samples, message):
    with pytest.raises(InputError, match=message):
        importance(fails, 3, samples, np.random.default_rng(0))


def test_an_estimate_on_few_failures_is_refused_and_said():
    """100 samples have about 10 effective failures at 6 sigma."""
    with pytest.raises(
        InputError, match=r"effective failures of 100 samples \(estimate .* cannot be trusted"
    ):
        importance(half_space(3, 6.0), 3, 100, np.random.default_rng(0))
