r"""Where failures are nearest: the design points, and a search for others by wider normals.

.. math:: u_j = \beta_j \alpha_j, \qquad \alpha_j = -\nabla g / |\nabla g| \text{ at } u_j

The first one is found by following the slope of the margin g from nominal. Then samples of normals wider
by beta / 1.3, of which a half space at beta fails one in ten, look for what it does not explain: a failing
sample that lies before every known tangent plane is followed to its own design point. Batches are drawn
until one holds nothing new. A region as likely as the nearest then has a share below 3 / (its failures) of
what is known; where regions have no end (a sphere), or do not fail beyond their planes, the search says so.

Source: Hasofer & Lind, J. Eng. Mech. 100 (1974); Rackwitz & Fiessler, Comput. Struct. 9 (1978); several
points: Der Kiureghian & Dakessian, Structural Safety 20 (1998); wider normals: Bucher, Structural Safety 5
(1988).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from circuits.model.layer import Array
from montecarlo.analysis.limit_state import LimitState

BATCH = 300
"""Wide samples of one look."""
WIDEN = 1.3
"""Distance of the nearest failures over the spread of the wide samples."""
FEWEST = 10
"""Failures of a batch below which nothing is learned of other regions; a half space has 29."""
MOST = 40
"""Regions, beyond which they have no end."""
FOLLOWED = 15
"""Gradients on the way to one design point."""
SEARCHES = 80
"""Followed samples, likewise."""
ROUNDS = 8
BLOCK = 256
"""Dimensions that a gradient steps along at a time: memory."""
STEP = 0.05
"""Of a difference quotient [sigma]."""
FAR = 12.0
"""Where no failure counts any more [sigma]; its probability is 2e-33."""
BEYOND = 40.0
"""Where nothing is followed any more [sigma]; what lies between is known not to count."""
TURNED = 2e-3
"""1 - cosine between the last two directions of a design point."""
TOLERANCE = 0.01
"""Last step of a root [sigma]; the next one would be about its square."""
EXPLAINED = -0.5
"""Of a distance: failures further back along a direction are followed, however bent its boundary is; of
another region, one in four lies there."""
SAME = 0.95
"""Cosine between directions of one region."""
NEGLIGIBLE = 1e-3
"""Probability over that of the nearest, below which a region is left out."""


@dataclass(frozen=True)
class Regions:
    """Half spaces alpha . u > beta that failures lie in, nearest first."""

    direction: Array  #: alpha, shape (region, dimension), of length 1
    distance: Array  #: beta, shape (region,)
    slope: Array  #: of the margin along alpha, shape (region,), > 0
    doubt: str  #: why they may not be all, or not be half spaces; "" = no doubt


def design_points(state: LimitState, rng: np.random.Generator) -> Regions:
    """All regions whose probability counts, or those that were met and a doubt.

    Parameters
    ----------
    state : LimitState
    rng : numpy.random.Generator
    """
    n = state.dimensions
    nominal = float(state(np.zeros((1, n)))[0])
    if nominal < 0:
        return _regions([], "the nominal sample fails")
    # a little beside nominal: there alike regions, such as those of alike neurons, are not equally near
    points = [p for p in [_follow(state, 0.3 * rng.standard_normal(n), nominal, False)] if p]
    slack = [p[1] for p in points]
    spread = points[0][1] / WIDEN if points else 1.0
    searches = 0
    for _ in range(ROUNDS):
        u = max(spread, 1.0) * rng.standard_normal((BATCH, n))
        failing = (margin := state(u)) < 0
        if not points and failing.sum() < FEWEST:
            spread *= 1.5
            if spread > FAR / 2:
                break
            continue
        new = False
        for sample in sorted(u[failing], key=np.linalg.norm):
            if any(a @ sample >= room for (a, _, _), room in zip(points, slack, strict=True)):
                continue
            searches += 1
            point = _follow(state, sample, nominal, True)
            if point is None:
                return _regions(points, "failures lead to no nearest point")
            if len(points) == MOST or searches > SEARCHES:
                return _regions(points, f"failures lie in more than {len(points)} regions")
            same = [k for k, (a, _, _) in enumerate(points) if a @ point[0] > SAME]
            if same:  # a curved boundary: this far out it lies before its plane
                k, lowest = same[0], point[1] * EXPLAINED
                slack[k] = min(slack[k], max(float(points[k][0] @ sample), lowest))
                continue
            points.append(point)
            slack.append(point[1])
            nearest = min(p[1] for p in points)
            new |= bool(special.ndtr(-point[1]) > NEGLIGIBLE * special.ndtr(-nearest))
            spread = nearest / WIDEN
        if not new:
            return _regions(points, _odd(state, points, u, margin))
    if points:
        return _regions(points, "failures lie in ever more regions")
    return _regions([], f"no failure was met within {FAR / 2:g} times the spread")


def _regions(points: list[tuple[Array, float, float]], doubt: str) -> Regions:
    points = sorted(points, key=lambda p: p[1])
    if points and points[0][1] > FAR:
        points, doubt = [], f"the nearest failures that were met are {points[0][1]:.3g} sigma away"
    points = [p for p in points if special.ndtr(-p[1]) > NEGLIGIBLE * special.ndtr(-points[0][1])]
    direction, distance, slope = zip(*points, strict=True) if points else ((), (), ())
    return Regions(np.array(direction), np.array(distance), np.array(slope), doubt)


def _odd(state: LimitState, points: list[tuple[Array, float, float]], u: Array, margin: Array) -> str:
    """Whether the samples beyond a plane fail for good, as those of a half space do."""
    if (failing := int((margin < 0).sum())) < FEWEST:
        return f"only {failing} of {len(u)} wide samples fail: their regions are small"
    over = np.stack([u @ a - b for a, b, _ in points], axis=1)
    own, over = over.argmax(axis=1), over.max(axis=1)
    good = np.flatnonzero((over > 0) & (margin >= 0))
    back = [u[i] - part * over[i] * points[own[i]][0] for i in good for part in (0.3, 0.6, 0.9)]
    if len(good) and (state(np.stack(back)) < 0).sum() > 0.02 * (over > 0).sum():
        return "samples beyond failures are good again: failures are no half spaces"
    return ""


def _follow(
    state: LimitState, start: Array, nominal: float, failing: bool
) -> tuple[Array, float, float] | None:
    """Direction, distance and slope of the design point near a start; None if there is none."""
    n = state.dimensions
    point, direction, turn = start, np.zeros(n), np.zeros(n)
    if failing:  # back to the boundary, towards nominal
        size = float(np.linalg.norm(start))
        direction, guess = start / size, np.array([size])
        length = float(roots(state, np.zeros((1, n)), direction, guess, nominal / size, far=size)[0])
        point = max(length - 4 * STEP, 0.0) * direction
    for _ in range(FOLLOWED):
        value = float(state(point[None])[0])
        blocks = [np.arange(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]
        steps = (state(point + STEP * (np.arange(n) == block[:, None])) for block in blocks)
        gradient = (np.concatenate(list(steps)) - value) / STEP
        slope = float(np.linalg.norm(gradient))
        if not (np.isfinite(slope) and slope > 0):
            return None
        turned = -gradient / slope
        moved = 1 - turned @ direction
        if turn @ (turned - direction) < 0:  # to and fro: half of it
            turned = (turned + direction) / np.linalg.norm(turned + direction)
        turn, direction = turned - direction, turned
        guess = np.array([min(float(direction @ point) + value / slope, BEYOND)])
        length = float(roots(state, np.zeros((1, n)), direction, guess, slope, far=BEYOND)[0])
        if not 0 < length <= BEYOND:
            return None
        if moved < TURNED:
            return direction, length, slope
        point = max(length - 4 * STEP, 0.0) * direction  # before the boundary, where g may jump
    return None


def roots(
    state: LimitState, base: Array, direction: Array, guess: Array, slope: float, far: float = FAR
) -> Array:
    """Where the margin falls below 0 on lines; inf: nowhere within `far`, -inf: everywhere.

    Secants, and halving where they leave what is known or stop helping.

    Parameters
    ----------
    base : array, shape (line, dimension)
    direction : array, shape (dimension,)
        Of length 1: a line is base + t direction.
    guess : array, shape (line,)
        First t of each line.
    slope : float
        By which the margin falls along the lines, about.
    """
    slope = max(slope, 1e-300)
    t, root = guess.astype(float), np.full(len(guess), np.nan)
    good, bad = np.full(len(t), -np.inf), np.full(len(t), np.inf)
    before, value = np.full(len(t), np.nan), np.full(len(t), np.nan)
    for step in range(30):
        on = np.isnan(root)
        if not on.any():
            break
        g = np.full(len(t), np.nan)
        g[on] = state(base[on] + t[on, None] * direction)
        good, bad = np.where(g >= 0, np.maximum(good, t), good), np.where(g < 0, np.minimum(bad, t), bad)
        with np.errstate(divide="ignore", invalid="ignore"):
            fall = (value - g) / (t - before)
        fall = np.where((fall > 0) & np.isfinite(fall), fall, slope)
        new = t + np.clip(g / fall, -2.0, 2.0)
        between = np.isfinite(good) & np.isfinite(bad)
        halve = between & ((new <= good) | (new >= bad) | (step % 4 == 3))
        with np.errstate(invalid="ignore"):
            new = np.where(halve, (good + bad) / 2, new)
            done = np.where(between, bad - good, np.inf) < TOLERANCE
        done |= (np.abs(new - t) < TOLERANCE) & ~halve
        root = np.where(on & done, new, root)
        root = np.where(on & (good >= far), np.inf, root)
        root = np.where(on & (bad <= -far), -np.inf, root)
        before, value, t = np.where(on, t, before), np.where(on, g, value), np.where(on, new, t)
    return np.where(np.isnan(root), t, root)
