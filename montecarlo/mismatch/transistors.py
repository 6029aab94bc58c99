r"""Mismatch of every transistor of a bench: what one frozen copy of its circuit is.

.. math:: \Delta V_{th} \sim N(0, \sigma_{VT}^2), \qquad \ln \mu \sim N(0, \sigma_\beta^2)

independent of each other and between devices; the sigmas are those of the process for the device's gate
area, all its units together (`circuits.benches.testbench.Device`). They enter as `delvto` and `mulu0`. The
current factor is lognormal, so that no draw turns a device off.

Not modeled: gradients over a chip, correlation between threshold and current factor.

Source: Pelgrom, Duinmaijer & Welbers, JSSC 24(5), 1433-1439 (1989).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from circuits.benches.testbench import Device
from circuits.biasing.transistor_layer import TransistorMismatch
from circuits.pdk.technology import Process
from montecarlo.mismatch.seeds import CHIP, COMMON, generator


def draw(devices: Sequence[Device], rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Deviations of one copy: what `neuron_bench(deviations=...)` takes.

    Two normals a device, in the order of `devices`, whatever the sigmas: larger devices are the same chip
    with smaller deviations, and devices added at the end leave those before them as they were.

    Parameters
    ----------
    devices : sequence of Device
        Of a bench, with the sigmas of their areas.
    rng : numpy.random.Generator

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
    """Relative deviation of one capacitor, by its plate area; lognormal: it cannot vanish.

    Parameters
    ----------
    farads : float
        Drawn capacitance [F].
    process : Process
        Its density [F/m^2] and matching coefficient [m].
    rng : numpy.random.Generator
    """
    area = farads / process.capacitor["density"]
    return math.expm1(process.capacitor["matching"] / math.sqrt(area) * rng.standard_normal())


def draw_chip(
    neurons: Sequence[Sequence[Device]],
    capacitors: Sequence[float] | np.ndarray,
    process: Process,
    entropy: int,
    chip: int,
    layer: int = 0,
) -> TransistorMismatch:
    """The devices of one layer of one chip; its references ("ref_...") are common to all its neurons.

    Neuron i of a layer of a chip is always the same one, and keeps its own devices when its fan-in changes:
    they are drawn before its synapses. Layers of a chip share no draws.

    Parameters
    ----------
    neurons : sequence of sequences of Device
        Of each neuron's bench.
    capacitors : sequence of float
        Drawn capacitor of each neuron [F].
    process : Process
        Matching of the capacitors.
    entropy, chip : int
        Seed of the campaign, and number of the chip.
    layer : int
        Its number in the network.
    """
    shared: dict[str, tuple[float, float]] = {}
    transistors, plates = [], np.zeros(len(neurons))
    for i, (devices, farads) in enumerate(zip(neurons, capacitors, strict=True)):
        references = [d for d in devices if d.path.startswith("ref_")]
        shared = shared or draw(references, generator(entropy, COMMON, CHIP, chip, layer))
        rng = generator(entropy, CHIP, chip, layer, i)
        plates[i] = draw_capacitor(farads, process, rng)
        cells = [d for d in devices if d.path.startswith("n_")]
        synapses = [d for d in devices if d not in references and d not in cells]
        transistors.append(shared | draw([*cells, *synapses], rng))
    return TransistorMismatch(tuple(transistors), plates)
