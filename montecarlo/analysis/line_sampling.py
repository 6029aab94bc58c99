r"""Probability of a failure from lines through the design points.

.. math:: \hat p = \sum_j \frac{1}{n_j} \sum_i \Phi(-\max(t_{ij}, c_{ij}))

Line i of region j runs along alpha_j through a random point of the plane across it; t is where it begins to
fail. A line counts only in the cell of its own region, the points that lie further beyond its plane than
beyond any other: they begin at c, and no failure is counted twice. What is left to chance is the curvature
of the boundary, so that tens of lines do, of about three samples each.

In its cell a line must fail from t on; and every region must have its design point. The search for those,
`montecarlo.analysis.design_points`, tells where that is in doubt.

Source: Koutsourelakis, Pradlwarter & Schueller, Prob. Eng. Mech. 19 (2004), 409-417, for one region.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special, stats

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.analysis.design_points import Regions, roots
from montecarlo.analysis.limit_state import Estimate, LimitState
from montecarlo.statistics.moments import LEVEL

PILOT = 24
"""Lines of every region that say where its boundary bends towards nominal."""
WIDER = (1.3, 2.0)
"""How much wider the most bent direction is drawn."""
LEAST = 16
"""Lines of every region before it is known how much they differ; four times as many in all."""
HEAVIEST = 0.15
"""Share of one line beyond which a standard error cannot be trusted."""
FLOOR = 2e-3
"""Relative standard error that roots leave, however many lines agree."""


class Uneven(InputError):
    """A few lines carry the estimate: its standard error cannot be trusted."""


def line_sampling(
    state: LimitState, regions: Regions, lines: int, rng: np.random.Generator, *, error: float = 0.05
) -> Estimate:
    """Probability of a failure in regions that are known.

    Parameters
    ----------
    state : LimitState
    regions : Regions
        Without doubt.
    lines : int
        At most; a region has at least 16.
    rng : numpy.random.Generator
    error : float
        Relative standard error at which to stop.

    Raises
    ------
    InputError
        If no line fails; `Uneven` if one of them carries much of the estimate.
    """
    many = len(regions.distance)
    wide = [_curved(state, regions, j, rng) for j in range(many)]
    chances = [np.empty(0)] * many
    counts = np.full(many, max(LEAST, math.ceil(4 * LEAST / many)))
    while counts.any():
        for j, count in enumerate(counts):
            chances[j] = np.append(chances[j], _chances(state, regions, j, int(count), rng, wide[j])[0])
        size = np.array([len(c) for c in chances])
        spread = np.array([np.std(c, ddof=1) for c in chances])
        p, parts = float(sum(c.mean() for c in chances)), spread**2 / size
        if not p > 0:
            raise InputError(f"none of {size.sum()} lines fails: there is no probability to see")
        se, room = math.hypot(math.sqrt(parts.sum()), FLOOR * p), lines - size.sum()
        if se <= error * p or room <= 0:
            break
        wanted = spread * spread.sum() / (error * p) ** 2  # Neyman's shares
        wanted = np.maximum(wanted * 1.1 - size, 0)
        wanted *= min(1.0, room / max(wanted.sum(), 1.0))
        counts = np.ceil(np.minimum(wanted, 2 * size)).astype(int)
    if (largest := max(float(c.max() / len(c)) for c in chances)) > HEAVIEST * p:
        raise Uneven(
            f"one line of {size.sum()} carries {largest / p:.0%} of the estimate {p:.3g} +- {se:.2g}: the "
            "boundary bends around nominal"
        )
    # the logarithm of the estimate is nearer to normal than the estimate, and keeps the ends above 0
    # freedom of the region of fewest lines: on the safe side, since chances are skewed
    half = float(stats.t.ppf((1 + LEVEL) / 2, size.min() - 1)) * se / p
    ends = p * math.exp(-half), min(p * math.exp(half), 1.0)
    return Estimate(
        p, se, *ends, state.evaluations, "lines", regions=many, distance=float(regions.distance[0])
    )


def _curved(state: LimitState, regions: Regions, j: int, rng: np.random.Generator) -> Array:
    """Direction along which lines that fail early spread most, its length how much wider it is drawn."""
    if state.dimensions == 1:
        return np.zeros(1)
    chance, base = _chances(state, regions, j, PILOT, rng, np.zeros(state.dimensions))
    if not chance.sum() > 0:
        return np.zeros(state.dimensions)
    axis, sizes, _ = np.linalg.svd((base * np.sqrt(chance / chance.sum())[:, None]).T, full_matrices=False)
    return axis[:, 0] * float(np.clip(sizes[0], *WIDER))


def _chances(
    state: LimitState, regions: Regions, j: int, count: int, rng: np.random.Generator, wide: Array
) -> tuple[Array, Array]:
    """Probability of a failure in the cell of region j on each of some lines, weighted; and their bases."""
    a, b = regions.direction, regions.distance
    z = rng.standard_normal((count, state.dimensions))
    base = z - np.outer(z @ a[j], a[j])
    weight, spread = np.ones(count), float(np.linalg.norm(wide))
    if spread > 0:
        x = spread * (base @ wide / spread)
        base = base + np.outer(x * (1 - 1 / spread), wide / spread)
        weight = spread * np.exp(-(x**2) * (1 - 1 / spread**2) / 2)
    others = np.arange(len(b)) != j
    # beyond its own plane further than beyond another: t - b_j >= a_i . base + t a_i . a_j - b_i
    cell = (base @ a[others].T - b[others] + b[j]) / (1 - a[others] @ a[j])
    begin = np.max(cell, axis=1, initial=-np.inf)
    t = roots(state, base, a[j], np.full(count, b[j]), float(regions.slope[j]))
    return weight * special.ndtr(-np.maximum(t, begin)), base
