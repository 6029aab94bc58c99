r"""Silicon and energy of every remedy at one accuracy: what it is worth, in square millimeters and joules.

Comparisons of one network at several areas (placed anew at each, or with scaled sigmas) are points of a curve
of mean accuracy over silicon. Where it falls below the accuracy that is asked for,

.. math:: \ln A^* = \ln A_k + \frac{a_k - a^*}{a_k - a_{k+1}} \left( \ln A_{k+1} - \ln A_k \right)

between the last point above and the next below it; energy likewise. Intervals are percentiles of a bootstrap
over chips: all remedies of one comparison keep the same chips, so that ratios are of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from circuits.errors import InputError
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.statistics.intervals import LEVEL
from ttfs_analog.evaluation.remedy_table import require_complete

RESAMPLES = 2000
STREAM = 22
LOSS = 0.005
"""Of the accuracy without mismatch."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Iso:
    """One remedy at the accuracy; values with the ends of their 95 % intervals."""

    remedy: str
    silicon_m2: tuple[float, float, float]  #: infinite: more than the largest
    energy_j: tuple[float, float, float]
    times_less: tuple[float, float, float]  #: silicon of the reference over its own
    at_most: bool  #: good even at the smallest: it may need less
    out_of_reach: bool  #: not good even at the largest


@dataclass(frozen=True)
class _Point:
    """One comparison at one scale."""

    accuracy: Array  #: (remedy, chip)
    silicon: Array  #: (remedy,)
    energy: Array
    source: int  #: its comparison


def iso_accuracy(
    comparisons: Sequence[xr.Dataset], accuracy: float | None = None, against: str = "control", seed: int = 0
) -> tuple[list[Iso], float]:
    """The least silicon of every remedy at an accuracy, least first.

    Parameters
    ----------
    comparisons : sequence of Dataset
        Of `ttfs_analog.remedies.comparison.run`, of placed networks; remedies that all of them hold count.
    accuracy : float, optional
        Mean over chips that is asked for; default: the best without mismatch of remedy windows, less LOSS.
    against : str
        Remedy that the others are compared with.
    seed : int
        Of the bootstrap.

    Returns
    -------
    rows, accuracy

    Raises
    ------
    InputError
        If a comparison has no silicon or was stopped before its end, or what to compare with is missing.
    """
    names = [
        str(name)
        for name in comparisons[0]["remedy"].values
        if all(name in c["remedy"].values for c in comparisons)
    ]
    if against not in names:
        raise InputError(f"{against!r} is not in all comparisons; they share {', '.join(names) or 'nothing'}")
    if accuracy is None:
        where = "windows" if "windows" in names else against
        accuracy = max(float(c["clean"].sel(remedy=where).max()) for c in comparisons) - LOSS
    points = [p for n, c in enumerate(comparisons) for p in _points(c, names, n)]
    if len(points) < 2:
        raise InputError("one area is no curve: give comparisons of several areas, or of several --scale")
    rng = generator(seed, PLAN, STREAM)
    found = np.array(
        [_crossings([p.accuracy.mean(1) for p in points], points, accuracy)]
        + [_crossings(_resampled(points, rng), points, accuracy) for _ in range(RESAMPLES)]
    )  # (draw, remedy, [silicon, energy, smallest])
    reference = found[:, names.index(against), 0]
    largest = max(float(p.silicon[names.index(against)]) for p in points)
    reference = np.where(np.isfinite(reference), reference, largest)
    rows = [
        Iso(
            name,
            _interval(found[:, r, 0]),
            _interval(found[:, r, 1]),
            _interval(reference / found[:, r, 0]),
            bool(found[0, r, 2]),
            bool(np.isinf(found[0, r, 0])),
        )
        for r, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: row.silicon_m2[0]), accuracy


def _points(comparison: xr.Dataset, names: list[str], source: int) -> list[_Point]:
    require_complete(comparison)
    if "silicon" not in comparison or comparison["silicon"].isnull().any():
        raise InputError("a comparison has no silicon: compare remedies of a placed network ('place')")
    one = comparison.sel(remedy=names)
    columns = (one[v].transpose("scale", "remedy", ...).values for v in ("accuracy", "silicon", "energy"))
    return [_Point(a, s, e, source) for a, s, e in zip(*columns, strict=True)]


def _resampled(points: list[_Point], rng: np.random.Generator) -> list[Array]:
    """Mean accuracy of every remedy at every point, over chips drawn again: the same of one comparison."""
    picks: dict[int, NDArray[np.int64]] = {}
    means = []
    for p in points:
        chips = p.accuracy.shape[1]
        pick = picks.setdefault(p.source, np.asarray(rng.integers(chips, size=chips)))
        means.append(p.accuracy[:, pick].mean(1))
    return means


def _crossings(means: list[Array], points: list[_Point], accuracy: float) -> list[tuple[float, float, float]]:
    """Silicon and energy of every remedy, and whether it is good even at the smallest."""
    return [
        _crossing(
            np.array([m[r] for m in means]),
            np.array([p.silicon[r] for p in points]),
            np.array([p.energy[r] for p in points]),
            accuracy,
        )
        for r in range(len(means[0]))
    ]


def _crossing(mean: Array, silicon: Array, energy: Array, accuracy: float) -> tuple[float, float, float]:
    order = np.argsort(-silicon, kind="stable")
    mean, silicon, energy = mean[order], silicon[order], energy[order]
    below = np.flatnonzero(mean < accuracy)
    if not len(below):
        return float(silicon[-1]), float(energy[-1]), 1.0
    k = int(below[0])
    if k == 0:
        return np.inf, np.inf, 0.0
    share = (mean[k - 1] - accuracy) / (mean[k - 1] - mean[k])
    area, joules = (float(v[k - 1] * (v[k] / v[k - 1]) ** share) for v in (silicon, energy))
    return area, joules, 0.0


def _interval(draws: Array) -> tuple[float, float, float]:
    """The first as the value, percentiles of the others; infinite ones count as large."""
    low, high = np.quantile(draws[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return float(draws[0]), float(low), float(high)


def described(rows: Sequence[Iso]) -> list[dict[str, Any]]:
    """Rows as JSON: what is infinite is null."""
    return [
        {
            k: [None if np.isinf(v) else v for v in value] if isinstance(value, tuple) else value
            for k, value in asdict(row).items()
        }
        for row in rows
    ]
