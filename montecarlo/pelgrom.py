r"""Pelgrom's area laws: the spread of a device from its size.

.. math:: \sigma_{single} = \frac{A}{\sqrt{2\,W L}}, \qquad \sigma_{pair} = \sqrt 2\,\sigma_{single}
          = \frac{A}{\sqrt{W L}}

Matching papers quote A of the difference of a *pair*; the two devices share that variance equally.
Names say which is meant. A drain current varies by its threshold voltage and its current factor:

.. math:: \left(\frac{\sigma_I}{I}\right)^2 = \left(\frac{g_m}{I}\,\sigma_{VT}\right)^2 + \sigma_\beta^2

so that it follows an area law too. Lengths in m, areas in m^2.

Not modeled: the distance term; sizes near the minimum, where the law ends; gm/I that changes with size.

Source: Pelgrom, Duinmaijer & Welbers, JSSC 24(5), 1433-1439 (1989); Kinget, JSSC 40(6), 1212-1224
(2005), eq. 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.layer import Array

LENGTHS = (1e-9, 1e-3)
"""Widths and lengths outside 1 nm to 1 mm are slips of the unit [m]."""
COEFFICIENT = 1e-6
"""No coefficient reaches 1 V um or 100 % um."""
GM_OVER_I = 60.0
"""Weak inversion ends at q / kT: 39 / V at 27 C, 50 / V at -40 C."""


def _positive(what: str, value: float, low: float, high: float, hint: str) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a number > 0, got {value!r}; {hint}")
    if not low <= value <= high:
        raise InputError(f"{what} of {value:g} looks like a slip of the unit: {hint}")


@dataclass(frozen=True)
class AreaLaw:
    """Spread of one quantity (a voltage, or the logarithm of a current) over device area."""

    single: float  #: sigma of one device x sqrt(area) [V m] or [m]

    def __post_init__(self) -> None:
        if self.single != 0:
            hint = "it is in V m or m: 3.5 mV um is 3.5e-9, 0.5 % um is 5e-9"
            _positive("coefficient", self.single, 0.0, COEFFICIENT, hint)

    @classmethod
    def of_single(cls, coefficient: float) -> AreaLaw:
        """From A / sqrt(W L) = sigma of one device, as process kits quote it."""
        return cls(coefficient)

    @classmethod
    def of_pair(cls, coefficient: float) -> AreaLaw:
        """From A / sqrt(W L) = sigma of the difference of two, as matching papers quote A_VT."""
        return cls(coefficient / math.sqrt(2))

    def sigma_single(self, area: float) -> float:
        """Sigma of one device of an area [m^2]."""
        return self.single / math.sqrt(_area(area))

    def sigma_pair(self, area: float) -> float:
        """Sigma of the difference of two devices, each of an area [m^2]."""
        return math.sqrt(2) * self.sigma_single(area)

    def area_for_single(self, sigma: float) -> float:
        """Area that gives one device a sigma [m^2]."""
        _positive("sigma", sigma, 0.0, math.inf, "no area makes a spread vanish")
        return _area((self.single / sigma) ** 2)

    def area_for_pair(self, sigma: float) -> float:
        """Area of each of two devices whose difference has a sigma [m^2]."""
        return self.area_for_single(sigma / math.sqrt(2))

    def scaled(self, factor: float) -> AreaLaw:
        """The law of a quantity `factor` times this one, such as an offset in units of potential."""
        return AreaLaw(abs(factor) * self.single)


def _area(area: float) -> float:
    low, high = (length**2 for length in LENGTHS)
    _positive("area", area, low, high, "it is in m^2: 1 um x 1 um is 1e-12")
    return area


def current_law(vt: AreaLaw, beta: AreaLaw, gm_over_i: float) -> AreaLaw:
    """Law of ln(I) of a current source.

    Parameters
    ----------
    vt : AreaLaw
        Of the threshold voltage [V].
    beta : AreaLaw
        Of the current factor, relative.
    gm_over_i : float
        Transconductance efficiency at the operating point [1/V]: about 25 in weak inversion, 5 to 15
        in strong inversion.
    """
    _positive("gm/I", gm_over_i, 0.0, GM_OVER_I, f"it is in 1/V and below q/kT, so below {GM_OVER_I:g}")
    return AreaLaw(math.hypot(gm_over_i * vt.single, beta.single))


def sigma_mirror(law: AreaLaw, area_in: float, area_out: float) -> float:
    """Sigma of ln(I_out / I_in) of a current mirror, from the areas of its two sides [m^2].

    Equal areas: sigma_pair. Outputs that share one input have its part in common.
    """
    return math.hypot(law.sigma_single(area_in), law.sigma_single(area_out))


@dataclass(frozen=True)
class Device:
    """`count` equal unit devices in parallel; their role names the law they follow."""

    role: str  #: such as a term of `montecarlo.mismatch`
    width: float  #: of a unit [m]
    length: float  #: of a unit [m]
    count: float = 1  #: units in parallel: |W| / W_unit for a synapse

    def __post_init__(self) -> None:
        hint = "sizes are in m: 1 um is 1e-6"
        _positive(f"width of {self.role}", self.width, *LENGTHS, hint)
        _positive(f"length of {self.role}", self.length, *LENGTHS, hint)
        _positive(f"count of {self.role}", self.count, 0.0, math.inf, "units in parallel")

    @property
    def area(self) -> float:
        """Gate area of all units [m^2]."""
        return self.width * self.length * self.count


def device_sigmas(devices: Sequence[Device], laws: Mapping[str, AreaLaw]) -> Array:
    """Sigma of each device by the law of its role, shape (device,)."""
    if missing := sorted({d.role for d in devices} - set(laws)):
        raise InputError(f"no area law for {', '.join(missing)}; there is one for {', '.join(sorted(laws))}")
    return np.array([laws[d.role].sigma_single(d.area) for d in devices])


def term_sigmas(devices: Sequence[Device], laws: Mapping[str, AreaLaw]) -> dict[str, float]:
    """Sigma by role, one device each: what `Campaign.characterize(sigma=...)` takes."""
    sigmas = device_sigmas(devices, laws)
    found = {d.role: float(s) for d, s in zip(devices, sigmas, strict=True)}
    if len(found) < len(devices):
        raise InputError("a role has several devices; a term has one size")
    return found


def draw_devices(devices: Sequence[Device], laws: Mapping[str, AreaLaw], rng: np.random.Generator) -> Array:
    """A deviation of each device, shape (device,): of a voltage, or of the logarithm of a current.

    One normal per device whatever the sizes: larger devices are the same chip with smaller deviations.
    """
    return device_sigmas(devices, laws) * rng.standard_normal(len(devices))


def synapse_sigmas(law: AreaLaw, unit: Device, weights: Array, step: float) -> Array:
    r"""Sigma of each synapse made of \|W\| / step unit devices, the shape of `weights`; 0 where W = 0.

    Parameters
    ----------
    step : float
        Weight of one unit device.
    """
    if not step > 0:
        raise InputError(f"the weight of a unit device must be > 0, got {step!r}")
    units = np.abs(np.asarray(weights, dtype=np.float64)) / step
    one = law.sigma_single(unit.area)
    return np.divide(one, np.sqrt(units), out=np.zeros_like(units), where=units > 0)
