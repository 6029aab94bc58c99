r"""How small the devices of placed networks can be, remedy by remedy, for a yield.

Of the silicon that a placement has, gates shrink by a factor a and capacitors stay; the sigmas of transistors
grow as

.. math:: \sigma \propto 1 / \sqrt{a}

(Pelgrom et al., IEEE JSSC 24, 1989). The smallest of AREAS that reaches the yield is found by bisection, and
judged again on chips that the search never met. Windows and capacitors are those of a placement: to vary
them, several placements are searched together, and the front of silicon and energy is that of all of their
points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from numpy.typing import NDArray
from scipy import stats

from circuits.errors import InputError
from montecarlo.statistics.intervals import LEVEL, proportion_interval
from ttfs_analog.evaluation.accuracy import ROUNDING
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.lot import Lot
from ttfs_analog.remedies.cost import joules, silicon
from ttfs_analog.remedies.remedies import Setting, apply, judge, parse

AREAS = tuple(2.0 ** (-k / 2) for k in range(13))
"""Of gates, relative to the placement: 1 to 1 / 64."""
USUAL = ("windows", "trim-3", "trim-4", "trim-6")
FRESH = 2_000_000
"""Numbers of chips from here on judge what was found."""
LEAST = ("silicon", "energy")


@dataclass(frozen=True)
class Candidate:
    """One placement."""

    name: str
    net: TTFSNetwork
    setting: Setting  #: its noise model is of this placement


@dataclass(frozen=True)
class Point:
    """The smallest devices of one placement with one remedy, and what they were found to be worth."""

    net: str
    remedy: str
    area: float  #: of gates, relative to the placement
    silicon_m2: float
    parts_m2: dict[str, float]
    energy_j: float  #: of an inference; what the gates charge is that of the placement
    yield_found: float
    yield_promised: tuple[float, float]  #: 95 % prediction interval of the yield on as many fresh chips
    yield_fresh: float
    yield_fresh_ci95: tuple[float, float]
    accuracy_fresh: float
    worst_fresh: float
    holds: bool  #: whether the fresh yield lies in the promised interval
    on_front: bool = True  #: no other point takes less silicon and less energy


class _Judged(NamedTuple):
    """Share of good chips, their accuracies, and the energy of an inference."""

    share: float
    accuracy: NDArray[Any]
    energy_j: float


def size(
    candidates: Sequence[Candidate],
    *,
    target: float,
    wanted: float,
    remedies: Sequence[str] = USUAL,
    chips: int = 200,
    least: str = "silicon",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Point], list[dict[str, str]]]:
    """The smallest devices with every remedy, the cheapest first.

    Parameters
    ----------
    candidates : sequence of Candidate
        Placements of one network, such as with several windows, areas or objectives.
    target, wanted : float
        Accuracy that a good chip reaches, and the share of good chips, in [0, 1].
    remedies : sequence of str
        See `ttfs_analog.remedies.remedies`.
    chips : int
        Of every judging.
    least : {"silicon", "energy"}
        What the cheapest takes least of.
    progress : callable, optional
        (done, total) of the judgings, of which some are not needed in the end.

    Returns
    -------
    points, out_of_reach
        `net` and `remedy` of those that do not reach the yield at the area of the placement.

    Raises
    ------
    InputError
        If a network is not placed, or target or yield lie outside of [0, 1].
    """
    if not (0 <= target <= 1 and 0 <= wanted <= 1):
        raise InputError(f"target and yield lie in [0, 1], got {target} and {wanted}")
    if least not in LEAST:
        raise InputError(f"unknown cost {least!r}; choose from {', '.join(LEAST)}")
    for remedy in remedies:
        if any(stage.split("@")[0] == "trim" for stage in parse(remedy)):
            raise InputError(f"remedy {remedy!r}: DACs without a number of bits have no area; say trim-4")
        for candidate in candidates:
            silicon(candidate.net, remedy, 1.0)
    searches = [(candidate, remedy) for candidate in candidates for remedy in remedies]
    total = len(searches) * (len(AREAS).bit_length() + 1)
    points, beyond = [], []
    for k, (candidate, remedy) in enumerate(searches):
        found = _smallest(candidate, remedy, target, wanted, chips)
        if found is None:
            beyond.append({"net": candidate.name, "remedy": remedy})
        else:
            points.append(_checked(candidate, remedy, AREAS[found[0]], target, chips, found[1]))
        if progress:
            progress((k + 1) * total // len(searches), total)
    points = [replace(p, on_front=not any(_cheaper(q, p) for q in points)) for p in points]
    return sorted(points, key=lambda p: p.silicon_m2 if least == "silicon" else p.energy_j), beyond


def _smallest(
    candidate: Candidate, remedy: str, target: float, wanted: float, chips: int
) -> tuple[int, float] | None:
    """Place in AREAS, and share of good chips there; None: not even the largest is good."""
    values: dict[int, float] = {}

    def good(place: int) -> bool:
        values[place] = _judged(candidate, remedy, AREAS[place], target, chips, 0).share
        return values[place] >= wanted - ROUNDING

    if not good(0):
        return None
    first, last = 0, len(AREAS) - 1  # the largest that is good, and the smallest that may be
    while first < last:
        middle = (first + last + 1) // 2
        first, last = (middle, last) if good(middle) else (first, middle - 1)
    return first, values[first]


def _cheaper(one: Point, other: Point) -> bool:
    """Whether one costs no more in anything and less in something."""
    a, b = (one.silicon_m2, one.energy_j), (other.silicon_m2, other.energy_j)
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def _judged(candidate: Candidate, remedy: str, area: float, target: float, chips: int, first: int) -> _Judged:
    """A remedy with gates of an area, on `chips` chips from number `first` on."""
    setting = candidate.setting
    at = replace(setting, noise=setting.noise.scaled(area**-0.5))
    lot = Lot.of(at.noise, candidate.net, chips, setting.seed, first)
    state = apply(remedy, candidate.net, lot, at, lambda: None)
    values, _ = judge(state, setting.data, lambda: None)
    return _Judged(float((values >= target - ROUNDING).mean()), values, joules(state, at))


def _checked(
    candidate: Candidate, remedy: str, area: float, target: float, chips: int, found: float
) -> Point:
    """The same devices on fresh chips."""
    good = round(found * chips)
    law = stats.betabinom(chips, good + 0.5, chips - good + 0.5)
    ends = (float(law.ppf((1 - LEVEL) / 2)) / chips, float(law.ppf((1 + LEVEL) / 2)) / chips)
    fresh = _judged(candidate, remedy, area, target, chips, FRESH)
    parts = silicon(candidate.net, remedy, area)
    return Point(
        candidate.name,
        remedy,
        area,
        sum(parts.values()),
        parts,
        fresh.energy_j,
        found,
        ends,
        fresh.share,
        proportion_interval(round(fresh.share * chips), chips),
        float(fresh.accuracy.mean()),
        float(fresh.accuracy.min()),
        ends[0] - ROUNDING <= fresh.share <= ends[1] + ROUNDING,
    )


def described(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Points as JSON."""
    return [asdict(point) for point in points]
