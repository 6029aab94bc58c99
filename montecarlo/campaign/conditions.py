r"""Axes of a sweep: which there are, which a technology has, and what a value of each does.

.. math:: \sigma(a) = \sigma(1) / \sqrt{a} \qquad I_u = s_V C / \tau_c

A device that is `size` times as large has the first law (area a): its own spread shrinks, the part that a
whole chip shares (`common`) does not. The swing fixes volts per unit s_V, so a larger `current` makes the
circuit faster and a larger `capacitance` alone takes more of it.

Technologies of transistors have `corners` and `temperatures`; both axes are refused by name where there
are none.

Source of the area law: Pelgrom et al., IEEE JSSC 24(5), 1433 (1989), area term only.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from montecarlo.mismatch.law import TERMS, MismatchLaw

SIGMAS = ("sigma", *(f"sigma_{term}" for term in TERMS))
COMMONS = ("common", *(f"common_{term}" for term in TERMS))
ELECTRICAL = ("current", "capacitance", "supply")
CORNER, TEMPERATURE = "corner", "temperature"
AXES = {**dict.fromkeys((*SIGMAS, *COMMONS), "1"), "size": "1", "window": "tau_c"}
AXES |= {"current": "A", "capacitance": "F", "supply": "V", "bits": "1", CORNER: "1", TEMPERATURE: "degC"}
"""Axis -> unit. `window` is the threshold of neurons, and a factor on the windows of a network."""
CONDITIONS = (CORNER, TEMPERATURE, "supply")
"""Axes of a network that is placed on transistors: where it is operated."""
WHERE = "; of a network that is placed on transistors say where: technology = '...'"
OF_TRANSISTORS = ("size", *ELECTRICAL, CORNER, TEMPERATURE)
"""Axes of a neuron of transistors: its spread follows from its size."""
FACTOR = 10.0
"""How far from a technology's own the current and the capacitance of transistors may be."""
ZERO = (*SIGMAS, *COMMONS, "bits")
"""Axes that may be 0."""
Settings = dict[str, Any]
"""One value by axis: a number, or the name of a corner."""


def check_axis(technology: Technology, name: str, values: tuple[Any, ...], *, network: bool = False) -> None:
    """Refuse an axis that does not exist, or values that it cannot have.

    Parameters
    ----------
    technology : Technology
    name, values : str, tuple
        A key of AXES, and its points [SI units, tau_c or degC; see AXES].
    network : bool
        Whether chips of a network are swept, and not neurons.

    Raises
    ------
    InputError
        Naming the axis, the value and, where there is one, the remedy.
    """
    if name not in AXES:
        raise InputError(f"sweep: unknown axis {name!r}; known: {', '.join(AXES)}")
    if name in (CORNER, TEMPERATURE):
        _check_condition(technology, name, values, WHERE if network else "")
    if technology.process and not network and name not in (*OF_TRANSISTORS, "bits"):
        raise InputError(
            f"the transistors of {technology.name!r} have no {name!r} to set; their spread follows from "
            f"their area. Axes: {', '.join(OF_TRANSISTORS)}"
        )
    if network and technology.process and name in ELECTRICAL and name not in CONDITIONS:
        raise InputError(
            f"sweep: the {name} of a placed network is that of its operating points, which 'place' chooses; "
            f"sweep it without a network, or {', '.join(CONDITIONS)} with it"
        )
    if network and not technology.process and name in ELECTRICAL:
        raise InputError(
            f"sweep: the {name} of a linear technology does not change what a network decides; sweep it "
            f"without a network{WHERE if name in CONDITIONS else ''}"
        )
    if name == "bits" and not network:
        raise InputError("sweep: bits are those of a network's weights: name one with network = 'net.pt'")
    if not values or len(set(values)) != len(values) or (name != CORNER and not all(map(_number, values))):
        what = "names" if name == CORNER else "numbers"
        raise InputError(f"sweep: {name} must be a list of different {what}, got {list(values)!r:.80}")
    if name in (CORNER, TEMPERATURE):
        return
    if min(values) < 0 or (min(values) == 0 and name not in ZERO):
        raise InputError(f"sweep: {name} must be > 0, got {min(values)}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_condition(technology: Technology, name: str, values: tuple[Any, ...], more: str) -> None:
    kind, corners, span = technology.name, technology.corners, technology.temperatures
    if name == CORNER:
        if not corners:
            raise InputError(
                f"the {kind} technology has no corner: its devices have no process corners{more}"
            )
        if wrong := [v for v in values if v not in corners]:
            raise InputError(f"the {kind} technology has no corner {wrong[0]!r}; it has {', '.join(corners)}")
        return
    if span is None:
        raise InputError(f"the {kind} technology has no temperature: its devices know none{more}")
    if wrong := [v for v in values if not _number(v) or not span[0] <= v <= span[1]]:
        raise InputError(
            f"temperature {wrong[0]!r} is outside {span[0]:g} to {span[1]:g} degC, the range of the {kind} "
            "technology"
        )


def law_at(settings: Settings, base: MismatchLaw) -> MismatchLaw:
    """The mismatch of one point: a sigma of one term goes before `sigma`, and `sigma` before the base.

    Parameters
    ----------
    settings : dict
        Value by axis; `size` is an area and divides by its square root (Pelgrom et al., 1989).
    base : MismatchLaw
        Where an axis is not set.
    """
    sigma = base.sigma | {term: settings["sigma"] for term in TERMS if "sigma" in settings}
    sigma |= {term: settings[f"sigma_{term}"] for term in TERMS if f"sigma_{term}" in settings}
    shrink = math.sqrt(settings.get("size", 1.0))
    common = dict(base.common)
    common |= {term: settings["common"] for term in TERMS if "common" in settings}
    common |= {term: settings[f"common_{term}"] for term in TERMS if f"common_{term}" in settings}
    shared = tuple((term, float(value)) for term, value in common.items() if value)
    single: dict[str, Any] = {term: value / shrink for term, value in sigma.items()}
    reference = tuple((term, value / shrink) for term, value in base.reference)
    return dataclasses.replace(base, **single, delay=base.delay / shrink, common=shared, reference=reference)


def point_at(
    settings: Settings,
    point: OperatingPoint,
    *,
    reach: tuple[float, float] | None = None,
    factor: float = math.inf,
) -> OperatingPoint:
    """The operating point under the conditions of an axis.

    Parameters
    ----------
    settings : dict
        Value by axis.
    point : OperatingPoint
        The technology's own.
    reach : (float, float), optional
        Potentials that must fit the swing: they set the volts per unit, and `current` then sets the speed.
        None: `current` alone changes the volts per unit.
    factor : float
        How far from the technology's own a current or a capacitance may be.

    Raises
    ------
    InputError
        For a value so far from the technology's own that its circuit cannot work.
    """
    point = point.at_supply(settings.get("supply"))
    for axis, field in (("current", "i_unit"), ("capacitance", "c_mem")):
        usual = getattr(point, field)
        if axis in settings and not usual / factor <= settings[axis] <= usual * factor:
            raise InputError(
                f"{axis} {settings[axis]:g}: these cells are made for {usual:g}; stay within "
                f"{usual / factor:.3g} to {usual * factor:.3g} (SI units)"
            )
    point = dataclasses.replace(point, c_mem=float(settings.get("capacitance", point.c_mem)))
    current = settings.get("current")
    if reach is None:
        return point if current is None else dataclasses.replace(point, i_unit=float(current))
    point = point.fit_swing(*reach)
    if current is None:
        return point
    return dataclasses.replace(point, i_unit=current, tau_c=point.v_unit * point.c_mem / current)
