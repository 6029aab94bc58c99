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
from circuits.measure import crossing
from circuits.netlist import Deck, Devices, devices, step_table
from circuits.ngspice import Ngspice, parallel
from circuits.operating_point import OperatingPoint
from circuits.rawfile import Plot
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

    def task(part: LayerMismatch):
        return lambda: _simulate_part(layer, stim, point, part, simulator)

    found = dict(parallel((task(p) for p in parts), workers, simulator))
    return join([found[k] for k in range(len(parts))])


def join(parts: list[LayerResponse]) -> LayerResponse:
    """Samples of several responses, in order."""
    fields = ("delay", "v_t_min", "slope", "energy_synapse", "energy_slope")
    return LayerResponse(*(np.concatenate([getattr(p, f) for p in parts]) for f in fields))


def _simulate_part(
    layer: Layer, stim: Stimulus, point: OperatingPoint, mismatch: LayerMismatch, sim: Ngspice
) -> LayerResponse:
    dev = devices(layer, point, mismatch)
    deck = step_table(dev, stim, point)
    return read(layer, stim, point, dev, deck, sim.run(deck), mismatch.samples)


def read(
    layer: Layer,
    stim: Stimulus,
    point: OperatingPoint,
    dev: Devices,
    deck: Deck,
    plot: Plot,
    samples: int,
) -> LayerResponse:
    """Measure one deck's waveforms.

    Energy closes on charge: what the supply gave is what the capacitor holds (measured) plus what the
    sinks took to ground; the slope source draws from the supply alone until the spike.
    """
    volts = plot.columns([f"v({n})" for n in deck.nodes])
    start = stim.n_min * stim.tick
    m = crossing(plot["time"], volts, dev.threshold, start, stim.tick)
    delay = m.time / point.tau_c
    v_end, slope = m.v_end, m.slope * point.tau_c / point.v_unit
    if layer.spiking:
        delay = closed_form.fire(delay, layer.window)
        silent = ~np.isfinite(delay)
        at_t_max = m.v_start + m.slope * layer.window * point.tau_c
        v_end = np.where(silent, at_t_max, v_end)
    else:
        delay, slope, v_end = np.full_like(delay, np.inf), np.full_like(slope, np.nan), m.v_start
    on_time = np.where(stim.start >= 0, stim.n_min - stim.start, 0) * stim.gain * stim.tick
    sink = np.minimum(dev.synapse, 0.0) @ on_time
    sink += np.minimum(dev.drive, 0.0) * stim.phase_gain * start
    shape = (samples, layer.n_out)
    stored = dev.capacitance * (m.v_start - point.v_reset)
    return LayerResponse(
        delay=delay.reshape(shape),
        v_t_min=point.unit_free(m.v_start).reshape(shape),
        slope=slope.reshape(shape),
        energy_synapse=(point.vdd * (stored - sink)).reshape(shape),
        energy_slope=(point.vdd * dev.capacitance * (v_end - m.v_start)).reshape(shape),
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
    stim = stimulus(layer, spike_times, point)
    dev = devices(layer, point, mismatch)
    deck = step_table(dev, stim, point, waveform=True)
    plot = (simulator or Ngspice()).run(deck)
    return plot["time"] / point.tau_c, plot.columns([f"v({n})" for n in deck.nodes]), dev.threshold


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
