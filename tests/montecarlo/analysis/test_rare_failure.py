"""Rare failures: exact probabilities inside the intervals, in any number of regions, or a refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from circuits.errors import InputError
from montecarlo.analysis.design_points import design_points, roots
from montecarlo.analysis.limit_state import LimitState, plain
from montecarlo.analysis.rare_failure import failure_probability

SEEDS = 20
ENOUGH = 16
"""Of 20 intervals of 95 %: fewer happen once in 400 times."""
FAR = stats.norm.sf


def half_space(dimensions, distance, seed=1):
    direction = np.random.default_rng(seed).normal(size=dimensions)
    direction /= np.linalg.norm(direction)
    return lambda u: distance - u @ direction


def union(*distances):
    """Half spaces across the first axes: any of them fails."""
    b = np.array(distances)
    return lambda u: np.min(b - u[:, : len(b)], axis=1), float(-np.expm1(np.log1p(-FAR(b)).sum()))


def curved(distance, bend):
    """A boundary that is a parabola, and its probability by quadrature."""
    p = integrate.quad(lambda z: stats.norm.pdf(z) * FAR(distance + bend * z * z), -12, 12, epsabs=1e-15)[0]
    return lambda u: distance + bend * u[:, 1] ** 2 - u[:, 0], p


def judged(margin, dimensions, exact, seeds=SEEDS, **options):
    """Estimates over seeds, and how many of their intervals hold the exact value."""
    estimates = [
        failure_probability(margin, dimensions, np.random.default_rng(s), **options) for s in range(seeds)
    ]
    return estimates, sum(e.low <= exact <= e.high for e in estimates)


@pytest.mark.parametrize(("dimensions", "most"), [(1, 400), (11, 500), (40, 900)])
def test_four_sigma_of_a_linear_failure_by_a_few_hundred_samples(dimensions, most):
    exact = FAR(4)
    estimates, inside = judged(half_space(dimensions, 4.0), dimensions, exact)
    assert inside >= ENOUGH
    for e in estimates:
        assert (e.method, e.regions) == ("lines", 1)
        assert e.distance == pytest.approx(4, abs=1e-3)
        assert e.se <= 0.051 * exact * 1.2
        assert e.evaluations < most
        assert e.gain > 20


@pytest.mark.parametrize("distance", [0.5, 2.0, 6.0])
def test_common_and_very_rare_failures_are_estimated_too(distance):
    assert judged(half_space(8, distance), 8, FAR(distance))[1] >= ENOUGH


@pytest.mark.parametrize("bend", [-0.03, 0.05, 0.2])
def test_a_boundary_that_bends(bend):
    margin, exact = curved(3.5, bend)
    assert judged(margin, 8, exact)[1] >= ENOUGH


def test_the_standard_error_is_the_spread_of_the_estimates():
    """(estimate - exact) / se over 100 seeds: mean 0 +- 0.1 and std 1 +- 0.07, 4 of each."""
    margin, exact = curved(4.0, 0.03)
    z = np.array([(e.probability - exact) / e.se for e in judged(margin, 5, exact, 100)[0]])
    assert abs(z.mean()) < 0.4
    assert 0.72 < z.std() < 1.28


@pytest.mark.parametrize(
    ("distances", "dimensions"),
    [
        ((4,) * 3, 6),
        ((4,) * 4, 20),
        ((4,) * 8, 20),
        ((4,) * 16, 20),
        ((3.5, 3.7, 3.9, 4.2), 10),
        ((3.5, 4.2), 5),
    ],
)
def test_failures_in_many_regions_are_all_counted_once(distances, dimensions):
    margin, exact = union(*distances)
    estimates, inside = judged(margin, dimensions, exact)
    assert inside >= ENOUGH
    assert all(e.regions == len(distances) for e in estimates)
    assert np.mean([e.probability for e in estimates]) == pytest.approx(exact, rel=0.05)  # 4 errors


def test_a_bent_boundary_hides_no_other_region():
    """A sum of 40 lognormals, whose wide failures lie far before its plane, and a half space across it."""
    total, beyond = np.log(40 * 1.15), 3.8

    def alone(u):
        return total - np.log(np.exp(0.2 * u[:, :40]).sum(axis=1))

    one = failure_probability(alone, 40, np.random.default_rng(1), method="lines", error=0.02)
    exact = one.probability + FAR(beyond)
    estimates, inside = judged(lambda u: np.minimum(alone(u), 0.02 * (beyond - u[:, 40])), 41, exact)
    assert inside >= ENOUGH
    assert all(e.regions == 2 for e in estimates)


def test_failures_on_two_sides_are_both_found():
    margin = lambda u: 4 - np.abs(u[:, 2])  # noqa: E731
    assert judged(margin, 6, 2 * FAR(4))[1] >= ENOUGH
    regions = design_points(LimitState(margin, 6), np.random.default_rng(0))
    assert sorted(np.round(regions.direction[:, 2], 6)) == [-1, 1]
    assert regions.doubt == ""


def test_plain_sampling_agrees_on_overlapping_regions():
    """At 1.5 sigma regions overlap: what lies in two of them is counted once."""
    margin, exact = union(1.5, 1.5, 1.7)
    assert judged(margin, 4, exact)[1] >= ENOUGH
    other = plain(margin, 4, 20_000, np.random.default_rng(1))
    assert other.low <= exact <= other.high


def sphere(radius):
    return lambda u: radius - np.linalg.norm(u, axis=1)


@pytest.mark.parametrize(
    ("margin", "dimensions", "exact"),
    [
        (sphere(6.0), 10, stats.chi2.sf(36, 10)),
        (sphere(8.2), 30, stats.chi2.sf(8.2**2, 30)),
        (lambda u: np.abs(u[:, 0] - 4.2) - 0.2, 6, FAR(4) - FAR(4.4)),  # good again behind the failures
    ],
)
def test_where_failures_are_no_half_spaces_lines_are_refused_and_subsets_do(margin, dimensions, exact):
    """10 intervals of 95 %: fewer than 7 happen once in 1000 times."""
    estimates, inside = judged(margin, dimensions, exact, 10)
    assert {e.method for e in estimates} == {"subset"}
    assert inside >= 7
    assert np.mean([e.probability for e in estimates]) == pytest.approx(exact, rel=0.1)
    with pytest.raises(InputError, match="a wrong probability; use method 'subset'"):
        failure_probability(margin, dimensions, np.random.default_rng(0), method="lines")


def test_a_ring_is_covered_by_as_many_regions_as_it_takes():
    exact = math.exp(-(4.3**2) / 2)
    estimates, inside = judged(lambda u: 4.3 - np.hypot(u[:, 0], u[:, 1]), 4, exact)
    assert inside >= ENOUGH
    assert all(e.regions > 6 for e in estimates)


def test_subsets_know_many_regions_and_margins_in_steps():
    """The share of 400 parts that work: margins are multiples of 1/400, and have no slope."""
    margin, exact = union(*(4.0,) * 8)
    assert judged(margin, 20, exact, 10, method="subset")[1] >= 7
    parts = np.random.default_rng(3).normal(2.0, 0.7, 400)

    def working(u):
        return (u[:, :1] < parts).mean(axis=1) - 0.2

    exact = FAR(np.sort(parts)[400 - 80])  # fewer than 80 work
    assert judged(working, 3, exact, 10)[1] >= 7


def test_the_same_generator_gives_the_same_estimate():
    for method in ("lines", "subset"):
        one, other = (
            failure_probability(half_space(3, 4.0), 3, np.random.default_rng(7), method=method)
            for _ in range(2)
        )
        assert one == other


def test_plain_sampling_has_the_interval_of_clopper_and_pearson():
    exact = FAR(1.5)
    estimates = [plain(half_space(3, 1.5), 3, 500, np.random.default_rng(s)) for s in range(100)]
    assert sum(e.low <= exact <= e.high for e in estimates) >= 88  # 95 at least on average
    none = plain(half_space(3, 9.0), 3, 500, np.random.default_rng(0))
    assert (none.probability, none.low, none.plain_evaluations) == (0.0, 0.0, math.inf)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 500))


@pytest.mark.parametrize("jump", [0.0, 0.5])
def test_roots_of_lines(jump):
    """Of a smooth margin and of one that jumps at its root; where there is none."""
    state = LimitState(
        lambda u: np.where(u[:, 0] < 3 + 0.1 * u[:, 1], 3 + 0.1 * u[:, 1] - u[:, 0], -jump - 1), 2
    )
    base = np.array([[0.0, 0.0], [0.0, 10.0], [0.0, -100.0], [0.0, 1000.0], [0.0, -1000.0]])
    t = roots(state, base, np.array([1.0, 0.0]), np.full(5, 2.0), 1.0)
    assert t[:3] == pytest.approx([3, 4, -7], abs=0.02)
    assert t[3:].tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize(
    ("margin", "options", "message"),
    [
        (lambda u: np.ones(len(u)), {}, r"the margin does not lead to failures: 1000 of 1000 samples"),
        (lambda u: np.where(u[:, 0] > 4, -1.0, 1.0), {}, "does not lead to failures"),
        (half_space(3, 30.0), {"method": "subset"}, "no failure within 40 levels"),
        (half_space(3, 4.0), {"samples": 99}, "at least 100 samples"),
        (half_space(3, 4.0), {"error": 0.0}, "between 0 and 1"),
        (half_space(3, 4.0), {"method": "magic"}, "unknown method 'magic'"),
        (lambda u: u[:, 0] > 4, {}, "must give 1 floats, got bool"),
        (lambda u: u, {}, r"must give 1 floats, got float64 of shape \(1, 3\)"),
        (lambda u: u[:, 0] * np.nan, {}, "1 of 1 samples is not a finite number"),
        (lambda u: np.full(len(u), np.inf), {}, "not a finite number"),
        (half_space(3, 20.0), {"method": "lines"}, "the nearest failures that were met are 20 sigma away"),
    ],
)
def test_what_cannot_be_answered_is_refused(margin, options, message):
    with pytest.raises(InputError, match=message):
        failure_probability(margin, 3, np.random.default_rng(0), **options)


def test_more_likely_than_not_is_answered_too():
    assert judged(half_space(3, -1.0), 3, FAR(-1), 10)[1] >= 7
    assert judged(lambda u: -u[:, 0], 3, 0.5, 10)[1] >= 7  # the nominal sample is the boundary
    always = failure_probability(half_space(3, -9.0), 3, np.random.default_rng(0))
    assert (always.probability, always.high) == (1.0, 1.0)
    assert always.low == pytest.approx(0.025 ** (1 / 10_000))
