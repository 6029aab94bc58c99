"""Simulate a layer at a chosen level of fidelity: F0 closed form, or F1 ideal netlist in ngspice.

Feed-forward networks are simulated layer by layer: a neuron depends only on the spikes that arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from circuits.errors import InputError
from circuits.ideal.crossings import cross, fast_form
from circuits.ideal.layer_circuit import layer_cell, read
from circuits.ideal.netlist import build
from circuits.ideal.stimulus import stimulus
from circuits.model import closed_form
from circuits.model.coding import encode
from circuits.model.layer import Array, Layer, LayerMismatch, LayerResponse
from circuits.model.operating_point import OperatingPoint
from circuits.spice.ngspice import Ngspice, parallel
from circuits.spice.waveforms import supply_energy

LEVELS = ("closed-form", "ngspice")
NEURONS_PER_DECK = 1024
"""Where the cost per neuron is lowest: parsing grows faster than linearly beyond some thousand."""


def simulate(
    layer: Layer,
    spike_times: Array,
    point: OperatingPoint,
    mismatch: LayerMismatch | None = None,
    *,
    level: str = "ngspice",
    workers: int = 1,
    simulator: Ngspice | None = None,
    form: str | None = None,
) -> LayerResponse:
    """Response of every sample of a layer to one input pattern.

    Parameters
    ----------
    layer : Layer
    spike_times : array, shape (n_in,)
        Input spike times [tau_c] in [0, t_min]; inf = silent.
    point : OperatingPoint
        Volts, amperes and seconds of this layer.
    mismatch : LayerMismatch, optional
        Deviations of `sample` copies; none = one perfect copy.
    level : {"closed-form", "ngspice"}
    workers : int
        ngspice processes at a time.
    form : {"table", "pwl", "pulse"}, optional
        How the deck is written, see `circuits.ideal.netlist`; default: the fastest that this ngspice runs.
    """
    if level not in LEVELS:
        raise InputError(f"unknown level {level!r}; choose from {', '.join(LEVELS)}")
    mismatch = mismatch or LayerMismatch.none(layer)
    if level == "closed-form":
        return closed_form.response(layer, spike_times, point, mismatch)
    simulator = simulator or Ngspice()
    stim = stimulus(layer, spike_times, point)
    per_deck = max(NEURONS_PER_DECK // layer.n_out, 1)
    parts = [mismatch[k : k + per_deck] for k in range(0, mismatch.samples, per_deck)]

    def one(part: LayerMismatch) -> LayerResponse:
        cell = layer_cell(layer, stim, point, part)
        return read(layer, point, cell, cross([cell], simulator, form)[0], part.samples)

    if len(parts) == 1:  # no pool, which would cancel the caller's other runs when this one fails
        return one(parts[0])
    found = dict(parallel((partial(one, part) for part in parts), workers, simulator))
    return join([found[k] for k in range(len(parts))])


def join(parts: list[LayerResponse]) -> LayerResponse:
    """Samples of several responses, in order."""
    arrays = ("delay", "v_t_min", "slope", "energy_by_supply")
    joined = {a: np.concatenate([getattr(p, a) for p in parts]) for a in arrays}
    return LayerResponse(**joined, supplies=parts[0].supplies)


def waveform(
    layer: Layer,
    spike_times: Array,
    point: OperatingPoint,
    mismatch: LayerMismatch | None = None,
    simulator: Ngspice | None = None,
) -> tuple[Array, Array, Array]:
    """Membrane waveforms of one deck: time [tau_c], volts (point, neuron), thresholds [V]."""
    mismatch = mismatch or LayerMismatch.none(layer)
    cell = layer_cell(layer, stimulus(layer, spike_times, point), point, mismatch)
    simulator = simulator or Ngspice()
    deck = build(cell, fast_form(simulator.program), waveform=True)
    plot = simulator.run(deck)
    return plot["time"] / point.tau_c, plot.columns([f"v({n})" for n in deck.nodes]), cell.threshold


def sense_supply(
    layer: Layer,
    spike_times: Array,
    point: OperatingPoint,
    mismatch: LayerMismatch,
    delay: Array,
    simulator: Ngspice,
) -> Array:
    """Energy of every neuron as the integral of vdd * i(vdd) until its spike, in ngspice [J].

    One source per synapse, so it suits some neurons of one chip; it checks the charge account that
    `circuits.ideal.layer_circuit.read` keeps for all of them.

    Parameters
    ----------
    mismatch : LayerMismatch
        One sample.
    delay : array, shape (n_out,)
        Spike times after t_min [tau_c]; inf = silent, the account then ends at t_max.
    """
    cell = layer_cell(layer, stimulus(layer, spike_times, point), point, mismatch)
    plot = simulator.run(build(cell, "pulse", vdd=point.vdd, waveform=True))
    ends = cell.armed * cell.grid.tick + np.minimum(delay, layer.window) * point.tau_c
    return np.array(
        [supply_energy(plot["time"], plot[f"i(vdd{i})"], point.vdd, float(end)) for i, end in enumerate(ends)]
    )


def feed_forward(
    layers: list[Layer],
    points: list[OperatingPoint],
    x: Array,
    mismatch: list[LayerMismatch],
    *,
    level: str = "ngspice",
    workers: int = 1,
    simulator: Ngspice | None = None,
) -> Iterator[tuple[int, list[LayerResponse]]]:
    """Images through whole chips, layer by layer.

    Parameters
    ----------
    x : array, shape (image, n_in)
        Input activations in [0, t_min] [tau_c]; 0 = silent.
    mismatch : list of LayerMismatch
        One per layer, with the same number of chips (samples).

    Yields
    ------
    image, responses
        In order of completion; responses[n] holds layer n, arrays (chip, neuron).
    """
    simulator = simulator or (Ngspice() if level == "ngspice" else None)

    def one(image: Array) -> list[LayerResponse]:
        responses: list[LayerResponse] = []
        active: Array = image[None, :]
        for layer, point, deviation in zip(layers, points, mismatch, strict=True):
            times = encode(active, layer.t_min)
            if len(times) == 1:  # all chips see the same input: one deck
                response = simulate(layer, times[0], point, deviation, level=level, simulator=simulator)
            else:
                response = _each(layer, times, point, deviation, simulator)
            responses.append(response)
            active = response.activation(layer.window)
        return responses

    if simulator is None:
        for k, image in enumerate(x):
            yield k, one(image)
    else:
        yield from parallel((partial(one, image) for image in x), workers, simulator)


def _each(
    layer: Layer,
    times: Array,
    point: OperatingPoint,
    mismatch: LayerMismatch,
    simulator: Ngspice | None,
) -> LayerResponse:
    """Every chip with its own input: one deck a chip, many decks a process. times (chip, n_in)."""
    chips = range(mismatch.samples)
    if simulator is None:
        return join([closed_form.response(layer, times[c], point, mismatch[c]) for c in chips])
    cells = [layer_cell(layer, stimulus(layer, times[c], point), point, mismatch[c]) for c in chips]
    found = cross(cells, simulator)
    return join([read(layer, point, cell, m, 1) for cell, m in zip(cells, found, strict=True)])
