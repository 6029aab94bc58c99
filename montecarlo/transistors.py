r"""Mismatch of every transistor of a bench: what one frozen copy of its circuit is.

.. math:: \Delta V_{th} \sim N(0, \sigma_{VT}^2), \qquad \ln \mu \sim N(0, \sigma_\beta^2)

independent of each other and between devices; the sigmas are those of the process for the device's gate
area, all its units together (`circuits.cells.bench.Device`). They enter as `delvto` and `mulu0`. The
current factor is lognormal, so that no draw turns a device off.

Not modeled: gradients over a chip, correlation between threshold and current factor.

Source: Pelgrom, Duinmaijer & Welbers, JSSC 24(5), 1433-1439 (1989).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from circuits.cells.bench import Device
from circuits.technology import Process


def draw(devices: Sequence[Device], rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Deviations of one copy: what `neuron_bench(deviations=...)` takes.

    Two normals a device, in the order of `devices`, whatever the sigmas: larger devices are the same chip
    with smaller deviations, and devices added at the end leave those before them as they were.

    Returns
    -------
    dict
        Path -> (threshold shift [V], current factor).
    """
    normal = rng.standard_normal((len(devices), 2))
    return {
        d.path: (float(d.sigma_vth * z[0]), math.exp(d.sigma_beta * z[1]))
        for d, z in zip(devices, normal, strict=True)
    }


def draw_capacitor(farads: float, process: Process, rng: np.random.Generator) -> float:
    """Relative deviation of one capacitor, by its plate area; lognormal: it cannot vanish."""
    area = farads / process.capacitor["density"]
    return math.expm1(process.capacitor["matching"] / math.sqrt(area) * rng.standard_normal())
