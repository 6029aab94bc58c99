r"""Whole chips of a placed network in ngspice, layer by layer, beside the equation with each chip's devices.

A layer takes the spikes that the circuit of the layer before has given. The equation is asked three times:

* for a layer, with the circuit's own input spikes: its residual is that of this layer alone;
* the same without the chip's deviations, for comparison;
* for the network, with its own spikes all the way: what class it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from circuits.benches.bias_lines import reference_current
from circuits.benches.neuron_waveforms import DOMAINS
from circuits.biasing.transistor_layer import TransistorMismatch, TransistorNeuron
from circuits.model.closed_form import charges, fire, ramp_times, read_out
from circuits.model.coding import decode, encode, relative
from circuits.model.layer import Array, Layer, LayerMismatch
from circuits.spice.ngspice import Ngspice, parallel
from montecarlo.extraction.delay_law import Law
from montecarlo.extraction.known_chip import known, perfect
from montecarlo.mismatch.transistors import draw_chip


@dataclass(frozen=True)
class Chip:
    """One chip: its transistors, and what they are in the terms of the equation."""

    number: int
    transistors: tuple[TransistorMismatch | None, ...]  #: by layer; None: perfect devices
    known: tuple[LayerMismatch | None, ...]  #: by layer, one sample
    tails: tuple[Array, ...]  #: by layer, (neuron,) relative deviation of the comparators' currents

    @classmethod
    def perfect(cls, layers: int) -> Chip:
        """A chip whose devices do not deviate."""
        return cls(-1, (None,) * layers, (None,) * layers, ())


class LayerRun(NamedTuple):
    """One layer of one chip under one image: spike times in tau_c from when its windows count, inf = silent.

    Of a sampled read-out: potentials [1], without its biases.
    """

    spice: Array  #: (neuron,)
    equation: Array  #: (neuron,) with the chip's devices, on the circuit's own inputs
    nominal: Array  #: (neuron,) without
    inputs: Array  #: (synapse,) activations that arrived in the circuit
    energy: Array  #: (neuron, domain) [J]


@dataclass(frozen=True)
class Run:
    """One image through one chip."""

    chip: int  #: place in the list of chips
    image: int
    layers: list[LayerRun]
    outputs: Array  #: (class,) of the equation with its own spikes: activations, or potentials


def draw_chips(
    kinds: Sequence[TransistorNeuron],
    laws: Sequence[Law],
    numbers: Sequence[int],
    entropy: int,
    simulator: Ngspice,
    progress: Callable[[int, int], None] | None = None,
) -> list[Chip]:
    """Chips of a placed network, drawn from the matching of its process.

    Parameters
    ----------
    kinds : sequence of TransistorNeuron
        One a layer, with the constants of the equation.
    laws : sequence of mapping
        Of delays, one a layer.
    numbers : sequence of int
        Of the chips.
    entropy : int
        Seed.
    progress : callable, optional
        (done, total) of the chips.
    """
    devices = [kind.devices() for kind in kinds]
    nominal = [perfect(kind, simulator=simulator) for kind in kinds]
    chips = []
    for number in numbers:
        drawn, solved = [], []
        for n, kind in enumerate(kinds):
            process = kind.bias.technology.transistors()
            chip = draw_chip(devices[n], kind.bias.capacitors, process, entropy, number, n)
            drawn.append(chip)
            solved.append(known(kind, chip, laws[n], nominal[n], simulator=simulator))
        terms, tails = zip(*solved, strict=True)
        chips.append(Chip(number, tuple(drawn), terms, tails))
        if progress:
            progress(len(chips), len(numbers))
    return chips


def run_chips(
    kinds: Sequence[Sequence[TransistorNeuron]],
    chips: Sequence[Chip],
    x: Array,
    workers: int,
    simulator: Ngspice,
) -> Iterator[Run]:
    """Every image through every chip, in order of completion.

    Parameters
    ----------
    kinds : sequence of sequences of TransistorNeuron
        Of every chip: one a layer.
    chips : sequence of Chip
    x : array, shape (image, n_in)
        Activations [tau_c].
    workers : int
        ngspice processes at a time.
    """
    jobs = [(c, i) for c in range(len(chips)) for i in range(len(x))]
    tasks = (partial(_through, kinds[c], chips[c], x[i], c, i, simulator) for c, i in jobs)
    for _, run in parallel(tasks, workers, simulator):
        yield run


def _through(
    kinds: Sequence[TransistorNeuron], chip: Chip, x: Array, place: int, image: int, simulator: Ngspice
) -> Run:
    active, own, layers = x, x, []
    for kind, devices, terms in zip(kinds, chip.transistors, chip.known, strict=True):
        layer = kind.layer
        measured = kind.measured(encode(active[None], layer.t_min)[0], devices, simulator=simulator)
        spice = np.array([m.v_t_min for m in measured])
        if layer.spiking:
            time = np.array([m.spike_time for m in measured])
            spice = fire(time - kind.bias.delays, layer.window)
        energy = np.array([[sum(m.energy[d]) for d in DOMAINS] for m in measured])
        expected = equation(kind, active, terms)
        layers.append(LayerRun(spice, expected, equation(kind, active), active, energy))
        active = activation(spice, layer)
        own = activation(equation(kind, own, terms), layer)
    return Run(place, image, layers, own)


def equation(kind: TransistorNeuron, x: Array, terms: LayerMismatch | None = None) -> Array:
    """Spike times or potentials of a layer by the equation, (neuron,), or (sample, neuron) of several.

    Parameters
    ----------
    kind : TransistorNeuron
    x : array, shape (synapse,)
        Activations [tau_c].
    terms : LayerMismatch, optional
        None: no device deviates.
    """
    layer, constants = kind.layer, kind.constants
    charge = charges(layer, x, terms, constants)
    if layer.spiking:
        said = fire(ramp_times(layer, charge, terms, constants), layer.window)
    else:
        said = read_out(layer, charge, terms, constants)
    return said[0] if terms is not None and terms.samples == 1 else said


def activation(times: Array, layer: Layer) -> Array:
    """What the next layer meets of spike times [tau_c]: x = T - s, 0 where there is none; of a read-out
    potentials as they are."""
    return relative(decode(times, layer.window), layer.dummies) if layer.spiking else times


def reference_energy(kind: TransistorNeuron) -> float:
    """What a layer's references take in one inference, a known current over both its windows [J]."""
    layer, point = kind.layer, kind.point
    current = reference_current(kind.bias.technology.transistors(), point, layer.spiking)
    return point.vdd * current * (layer.t_min + layer.window + kind.bias.delay) * point.tau_c
