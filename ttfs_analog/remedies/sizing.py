r"""How small the devices of a placed network can be, remedy by remedy, for a yield.

Of the silicon that a placement has, gates shrink by a factor a and capacitors stay; the sigmas of transistors
grow as

.. math:: \sigma \propto 1 / \sqrt{a}

(Pelgrom et al., IEEE JSSC 24, 1989). A trim DAC of b bits is counted as 2^b - 1 unit devices of the layer's
synapses, one DAC a neuron that has one. The smallest of AREAS that reaches the yield is found by bisection,
and judged again on chips that the search never met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scipy import stats

from circuits.errors import InputError
from montecarlo.statistics.intervals import LEVEL, proportion_interval
from ttfs_analog.evaluation.accuracy import ROUNDING
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.remedies.remedies import TRIM, Setting, apply, judge, parse

AREAS = tuple(2.0 ** (-k / 2) for k in range(13))
"""Of gates, relative to the placement: 1 to 1 / 64."""
USUAL = ("windows", "trim-3", "trim-4", "trim-6")
FRESH = 2_000_000
"""Numbers of chips from here on judge what was found."""
GATES = ("synapses", "neurons", "references")


@dataclass(frozen=True)
class Point:
    """The smallest devices with one remedy, and what they were found to be worth."""

    remedy: str
    area: float  #: of gates, relative to the placement
    silicon_m2: float
    parts_m2: dict[str, float]
    yield_found: float
    yield_promised: tuple[float, float]  #: 95 % prediction interval of the yield on as many fresh chips
    yield_fresh: float
    yield_fresh_ci95: tuple[float, float]
    accuracy_fresh: float
    worst_fresh: float
    holds: bool  #: whether the fresh yield lies in the promised interval


def silicon(net: TTFSNetwork, remedy: str, area: float) -> dict[str, float]:
    """Silicon of a placed network by part [m^2].

    Parameters
    ----------
    net : TTFSNetwork
    remedy : str
        Its trims need DACs.
    area : float
        Of gates, relative to the placement.
    """
    layers = net.metadata.get("placement", {}).get("layers")
    if not layers:
        raise InputError("silicon is that of a network on transistors: place it first ('place')")
    parts: dict[str, float] = {}
    neurons = [layer.n_out if layer.spiking else 0 for layer in net.layers]
    dacs = 0.0
    for about, layer, weight, count in zip(layers, net.layers, net.weights(), neurons, strict=True):
        for name, value in about["area_parts_m2"].items():
            parts[name] = parts.get(name, 0.0) + value * (area if name in GATES else 1.0)
        units = float((layer.taps(weight).detach().abs() * about["units"]).round().sum())
        unit = about["area_parts_m2"]["synapses"] * area / max(units, 1.0)
        for stage in remedy.split("+"):
            match = TRIM.fullmatch(stage)
            bits, most = (None, None) if match is None else match.groups()
            share = 1.0 if most is None else min(int(most) / max(sum(neurons), 1), 1.0)
            dacs += unit * count * share * (2 ** int(bits) - 1 if bits else 0)
    return parts | {"trim DACs": dacs}


def size(
    net: TTFSNetwork,
    setting: Setting,
    *,
    target: float,
    wanted: float,
    remedies: Sequence[str] = USUAL,
    chips: int = 200,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Point], list[str]]:
    """The smallest devices with every remedy, the least silicon first.

    Parameters
    ----------
    net : TTFSNetwork
        Placed.
    setting : Setting
        Its noise model is of this placement.
    target, wanted : float
        Accuracy that a good chip reaches, and the share of good chips, in [0, 1].
    remedies : sequence of str
        See `ttfs_analog.remedies.remedies`.
    chips : int
        Of every judging.
    progress : callable, optional
        (done, total) of the judgings, of which some are not needed in the end.

    Returns
    -------
    points, out_of_reach
        Remedies that do not reach the yield at the area of the placement.

    Raises
    ------
    InputError
        If the network is not placed, or target or yield lie outside of [0, 1].
    """
    if not (0 <= target <= 1 and 0 <= wanted <= 1):
        raise InputError(f"target and yield lie in [0, 1], got {target} and {wanted}")
    for remedy in remedies:
        parse(remedy)
        if any(stage.split("@")[0] == "trim" for stage in remedy.split("+")):
            raise InputError(f"remedy {remedy!r}: DACs without a number of bits have no area; say trim-4")
        silicon(net, remedy, 1.0)
    total = len(remedies) * (len(AREAS).bit_length() + 1)
    points, beyond = [], []
    for k, remedy in enumerate(remedies):
        values: dict[int, float] = {}

        def good(place: int, remedy: str = remedy, values: dict[int, float] = values) -> bool:
            values[place], _ = _yield(net, setting, remedy, AREAS[place], target, chips, 0)
            return values[place] >= wanted - ROUNDING

        first, last = 0, len(AREAS) - 1  # the largest that is good, and the smallest that may be
        if not good(0):
            beyond.append(remedy)
        else:
            while first < last:
                middle = (first + last + 1) // 2
                first, last = (middle, last) if good(middle) else (first, middle - 1)
            points.append(_checked(net, setting, remedy, AREAS[first], target, chips, values[first]))
        if progress:
            progress((k + 1) * total // len(remedies), total)
    return sorted(points, key=lambda p: p.silicon_m2), beyond


def _yield(
    net: TTFSNetwork, setting: Setting, remedy: str, area: float, target: float, chips: int, first: int
) -> tuple[float, Any]:
    """Share of good chips, and their accuracies."""
    noise = setting.noise.scaled(area**-0.5)
    drawn = noise.sample(net, chips, setting.seed, first=first)
    at = replace(setting, noise=noise)
    values, _ = judge(apply(remedy, net, drawn, at, lambda: None), setting.data, lambda: None)
    return float((values >= target - ROUNDING).mean()), values


def _checked(
    net: TTFSNetwork, setting: Setting, remedy: str, area: float, target: float, chips: int, found: float
) -> Point:
    """The same devices on fresh chips."""
    good = round(found * chips)
    law = stats.betabinom(chips, good + 0.5, chips - good + 0.5)
    ends = (float(law.ppf((1 - LEVEL) / 2)) / chips, float(law.ppf((1 + LEVEL) / 2)) / chips)
    fresh, values = _yield(net, setting, remedy, area, target, chips, FRESH)
    parts = silicon(net, remedy, area)
    return Point(
        remedy,
        area,
        sum(parts.values()),
        parts,
        found,
        ends,
        fresh,
        proportion_interval(round(fresh * chips), chips),
        float(values.mean()),
        float(values.min()),
        ends[0] - ROUNDING <= fresh <= ends[1] + ROUNDING,
    )


def described(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Points as JSON."""
    return [asdict(point) for point in points]
