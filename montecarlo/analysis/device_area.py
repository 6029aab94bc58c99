r"""What a larger device buys: the parts of a variance against area.

.. math:: \mathrm{Var}(x) = \mathrm{Var} - P\,(1 - 1/x)

where P is the part of the device (or of all devices of a term) and x its area over the present one: a
device's own variance goes as 1 / area (Pelgrom1989, area term only). What is left of Var beside all parts
stays as it is, but Var is of a sample: where it and the sum of the parts differ by no more than WITHIN of
its standard errors, they are taken as equal, and the parts are scaled to it.
Nominal currents, volts and the tau_c stay: a larger capacitor then needs currents, and energy, that grow
along with it.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from circuits.errors import InputError

ALL = "all"
WITHIN = 2.0
CUT = 0.01
"""Share of silent and early samples up to which areas are worked out: a normal law less 1 % on one side has
94 % of its variance."""


def part(attribution: xr.Dataset, device: str, quantity: str = "spike_time") -> float:
    """Variance from one device or a group of them [quantity's unit squared].

    Parameters
    ----------
    attribution : xarray.Dataset
        From `montecarlo.analysis.attribution.attribute`.
    device : str
        A device, a term (all of its devices) or "all".
    quantity : str
        A name of its dimension `quantity`.

    Raises
    ------
    InputError
        If the attribution has no such quantity or device.
    """
    if f"{quantity}_part" not in attribution:
        known = ", ".join(map(str, attribution["quantity"].values))
        raise InputError(f"unknown quantity {quantity!r}; known: {known}")
    names, terms = attribution["device"].values, attribution["term"].values
    chosen = np.ones(len(names), bool) if device == ALL else (names == device) | (terms == device)
    if not chosen.any():
        all_names = [*dict.fromkeys(map(str, terms)), *map(str, names)]
        raise InputError(f"unknown device {device!r}; known: {ALL}, {', '.join(all_names[:12])}, ...")
    return float(attribution[f"{quantity}_part"].values[chosen].sum())


def enlarged(attribution: xr.Dataset, area: dict[str, float], quantity: str = "spike_time") -> float:
    """Variance of a quantity with some devices made larger.

    Parameters
    ----------
    attribution : xarray.Dataset
        From `montecarlo.analysis.attribution.attribute`.
    area : dict
        Device or term -> area over the present one, > 0; 2 halves that device's variance. Device names
        go before the name of their term.
    quantity : str
        A name of its dimension `quantity`.

    Returns
    -------
    float
        Variance [quantity's unit squared].

    Raises
    ------
    InputError
        If an area is not positive, a name is unknown, or over 1 % of the samples were silent or early.

    Source: Pelgrom1989 (JSSC 24(5), 1433-1439), area term only.
    """
    for device, factor in area.items():
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"area of {device} must be > 0, got {factor}")
        part(attribution, device, quantity)
    total, scale = _whole(attribution, quantity)
    rows = (attribution[f"{quantity}_part"].values, attribution["device"].values, attribution["term"].values)
    for value, name, term in zip(*rows, strict=True):
        factor = area.get(str(name), area.get(str(term), area.get(ALL, 1.0)))
        total -= scale * float(value) * (1 - 1 / factor)
    return max(total, 0.0)


def _whole(attribution: xr.Dataset, quantity: str) -> tuple[float, float]:
    """Monte Carlo variance of a quantity, and the factor of its parts.

    Raises
    ------
    InputError
        If the firing window cuts off so many spikes that the variance is not that of the devices.
    """
    cut, samples = int(attribution["n_silent"] + attribution["n_early"]), attribution.attrs["samples"]
    if quantity != "slope" and cut > CUT * samples:
        raise InputError(
            f"{cut} of {samples} samples were silent or early: what is left of {quantity} varies less than "
            "the devices make it, and no area follows; take another input, or a longer window (t_max)"
        )
    total, error = (float(attribution[f"{quantity}_total_variance{k}"]) for k in ("", "_se"))
    parts = part(attribution, ALL, quantity)
    alike = parts > total or abs(total - parts) <= WITHIN * error
    return total, total / parts if alike and parts > 0 else 1.0


def area_for(attribution: xr.Dataset, device: str, sigma: float, quantity: str = "spike_time") -> float:
    """Area of one device (or term, or "all") that brings a quantity's total std to `sigma`.

    Parameters
    ----------
    attribution : xarray.Dataset
        From `montecarlo.analysis.attribution.attribute`.
    device, quantity : str
        As in `part`.
    sigma : float
        Target std of the quantity [its unit], > 0.

    Returns
    -------
    float
        Over the present area; below 1 if there is room; inf if what else varies is too much already.

    Raises
    ------
    InputError
        If sigma is not positive, a name is unknown, or over 1 % of the samples were silent or early.

    Source: as `enlarged`, solved for the area.
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise InputError(f"target sigma must be > 0, got {sigma}")
    total, scale = _whole(attribution, quantity)
    variance = scale * part(attribution, device, quantity)
    room = sigma**2 - (total - variance)
    return variance / room if room > 0 else math.inf
