"""Simulate a layer at a chosen level of fidelity: F0 closed form, or F1 ideal netlist in ngspice.

Feed-forward networks are simulated layer by layer: a neuron depends only on the spikes that arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from circuits import closed_form
from circuits.errors import InputError
from circuits.layer import Array, Layer, LayerMismatch, LayerResponse
from circuits.measure import Crossing, crossing
from circuits.netlist import Deck, build
from circuits.ngspice import Ngspice, parallel
from circuits.operating_point import OperatingPoint
from circuits.rawfile import Plot
from circuits.sources import NEVER, Cell, Sources
from circuits.stimulus import Stimulus, stimulus

LEVELS = ("closed-form", "ngspice")
NEURONS_PER_DECK = 512
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
    form: str = "table",
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
    form : {"table", "pwl", "pulse"}
        How the deck is written, see `circuits.netlist`.
    """
    if level not in LEVELS:
        raise InputError(f"unknown level {level!r}; choose from {', '.join(LEVELS)}")
    mismatch = mismatch or LayerMismatch.none(layer)
    if level == "closed-form":
        return closed_form.respond(layer, spike_times, point, mismatch)
    simulator = simulator or Ngspice()
    stim = stimulus(layer, spike_times, point)
    per_deck = max(NEURONS_PER_DECK // layer.n_out, 1)
    parts = [mismatch[k : k + per_deck] for k in range(0, mismatch.samples, per_deck)]
    tasks = (partial(_simulate_part, layer, stim, point, part, simulator, form) for part in parts)
    found = dict(parallel(tasks, workers, simulator))
    return join([found[k] for k in range(len(parts))])


def join(parts: list[LayerResponse]) -> LayerResponse:
    """Samples of several responses, in order."""
    fields = ("delay", "v_t_min", "slope", "energy_synapse", "energy_slope")
    return LayerResponse(*(np.concatenate([getattr(p, f) for p in parts]) for f in fields))


def layer_cell(layer: Layer, stim: Stimulus, point: OperatingPoint, mismatch: LayerMismatch) -> Cell:
    """Amperes, farads and volts of every sample of a layer; neuron = sample-major (sample, n_out).

    Columns of the sources: one a synapse, then the phase-1 drive, then the slope source.
    """
    mismatch.fits(layer)
    samples, n_out = mismatch.slope.shape
    neuron = samples * n_out
    slope = layer.slope * (1.0 + mismatch.slope) if layer.spiking else np.zeros((samples, n_out))
    synapse = (layer.weights * (1.0 + mismatch.synapse)).reshape(neuron, layer.n_in)
    drive = np.tile(layer.drive, samples)
    columns = [synapse * stim.inputs.gain, drive[:, None] * stim.phase_gain, slope.reshape(neuron, 1)]
    stop = stim.grid.stop
    return Cell(
        Sources(
            amps=point.i_unit * np.hstack(columns),
            on=np.concatenate([stim.inputs.on, [0, stim.n_min]]),
            off=np.concatenate([stim.inputs.off, [stim.n_min, 2 * stop]]),
            labels=(*(f"w{j}" for j in range(layer.n_in)), "a", "b"),
        ),
        capacitance=point.c_mem * (1.0 + mismatch.capacitance).reshape(neuron),
        threshold=point.volts((layer.theta + mismatch.threshold).reshape(neuron)),
        grid=stim.grid,
        v_reset=point.v_reset,
        armed=stim.n_min,
    )


def _simulate_part(
    layer: Layer,
    stim: Stimulus,
    point: OperatingPoint,
    mismatch: LayerMismatch,
    simulator: Ngspice,
    form: str,
) -> LayerResponse:
    cell = layer_cell(layer, stim, point, mismatch)
    deck = build(cell, form)
    return read(layer, point, cell, measure(cell, deck, simulator.run(deck)), mismatch.samples)


def measure(cell: Cell, deck: Deck, plot: Plot) -> Crossing:
    """First crossing of every neuron of a deck."""
    volts = plot.columns([f"v({n})" for n in deck.nodes])
    start = cell.armed * cell.grid.tick
    return crossing(plot["time"], volts, cell.threshold, start, cell.grid.tick)


def read(layer: Layer, point: OperatingPoint, cell: Cell, m: Crossing, samples: int) -> LayerResponse:
    """Measured crossings -> the response of a layer.

    Energy closes on charge: what the supply gave is what the capacitor holds (measured) plus what the
    sinks took to ground; the slope source draws from the supply alone until the spike.
    """
    delay = m.time / point.tau_c
    v_end, slope = m.v_end, m.slope * point.tau_c / point.v_unit
    if layer.spiking:
        delay = closed_form.fire(delay, layer.window)
        at_t_max = m.v_start + m.slope * layer.window * point.tau_c
        v_end = np.where(np.isfinite(delay), v_end, at_t_max)
    else:
        delay, slope, v_end = np.full_like(delay, np.inf), np.full_like(slope, np.nan), m.v_start
    sources = cell.sources
    used = (sources.on != NEVER) & (sources.on < cell.armed)
    seconds = np.where(used, sources.off - sources.on, 0) * cell.grid.tick
    sink = np.minimum(sources.amps, 0.0) @ seconds
    shape = (samples, layer.n_out)
    stored = cell.capacitance * (m.v_start - point.v_reset)
    return LayerResponse(
        delay=delay.reshape(shape),
        v_t_min=point.unit_free(m.v_start).reshape(shape),
        slope=slope.reshape(shape),
        energy_synapse=(point.vdd * (stored - sink)).reshape(shape),
        energy_slope=(point.vdd * cell.capacitance * (v_end - m.v_start)).reshape(shape),
    )


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
    deck = build(cell, waveform=True)
    plot = (simulator or Ngspice()).run(deck)
    return plot["time"] / point.tau_c, plot.columns([f"v({n})" for n in deck.nodes]), cell.threshold


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
        chips = mismatch[0].samples
        responses: list[LayerResponse] = []
        active: Array = image[None, :]
        for layer, point, deviation in zip(layers, points, mismatch, strict=True):
            times = np.where(active > 0, layer.t_min - active, np.inf)
            if len(times) == 1:  # all chips see the same input: one deck
                batch = [simulate(layer, times[0], point, deviation, level=level, simulator=simulator)]
            else:
                batch = [
                    simulate(layer, times[c], point, deviation[c], level=level, simulator=simulator)
                    for c in range(chips)
                ]
            responses.append(join(batch))
            active = responses[-1].activation(layer.window)
        return responses

    if simulator is None:
        for k, image in enumerate(x):
            yield k, one(image)
    else:
        yield from parallel((partial(one, image) for image in x), workers, simulator)
