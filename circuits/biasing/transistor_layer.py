r"""A layer at transistor level (F3): one deck a neuron, and what the equation with known constants expects.

.. math:: t_i - t_{min} = \frac{\vartheta_i + k - e_{B,i} - l_i
          - \sum_{j\,active} (g_{ij} W_{ij} x_j + e_{ij})}{g_{B,i} B_i} + t_d

with DC gains g, charges e beyond the current (turn-on and gate feed-through), leakage l, and k, what the
comparator takes from the membrane at t_min (`circuits.biasing.cell_figures`).

Several neurons in one deck would be slower: every neuron would step at the
events of all. The threshold of each neuron is a node of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from circuits.benches.neuron import NeuronBench, neuron_bench
from circuits.benches.neuron_waveforms import Measured, measure
from circuits.benches.testbench import CAMPAIGN, Accuracy
from circuits.biasing.choose import LayerBias
from circuits.errors import InputError
from circuits.model.closed_form import fire
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.spice.ngspice import Ngspice, parallel
from circuits.spice.rawfile import Plot

Deviations = Mapping[str, tuple[float, float]]


def decks(
    bias: LayerBias,
    spike_times: Array,
    *,
    point: OperatingPoint | None = None,
    corner: str | None = None,
    temperature: float = 27.0,
    deviations: Sequence[Deviations] | None = None,
    capacitors: Array | None = None,
    accuracy: Accuracy = CAMPAIGN,
    heading: str = "neuron",
) -> list[NeuronBench]:
    """The decks of a layer's neurons for one input.

    Parameters
    ----------
    spike_times : array, shape (n_in,)
        [tau_c] from the start of the input window; inf = silent.
    point : OperatingPoint, optional
        Where the circuit is operated, such as at another supply; default: the one it is biased for.
    deviations : sequence of mappings, optional
        Of every neuron's transistors, by path.
    capacitors : array, shape (n_out,), optional
        Relative deviations of the drawn capacitors.
    """
    layer = bias.layer
    if not layer.spiking:
        raise InputError("the deck of a neuron is that of a spiking one; a read-out layer has none")
    times = layer.inputs(spike_times)
    window = (bias.phases.t_max - bias.phases.t_min) / bias.point.tau_c
    return [
        neuron_bench(
            bias.technology, layer.weights[i], times,
            point=point or bias.point, input_window=layer.t_min, window=window,
            theta=float(layer.theta[i]), corner=corner or bias.technology.corners[0], temperature=temperature,
            deviations=deviations[i] if deviations else None,
            capacitor=float(capacitors[i]) if capacitors is not None else 0.0,
            slope_units=int(bias.slope_units[i]), accuracy=accuracy, heading=f"{heading} {i}",
        )
        for i in range(layer.n_out)
    ]  # fmt: skip


def record(benches: Sequence[NeuronBench], simulator: Ngspice, workers: int = 1) -> list[Plot]:
    """Simulate decks, several at a time."""
    found = dict(parallel((partial(simulator.run, b.deck) for b in benches), workers, simulator))
    return [found[k] for k in range(len(benches))]


def run(benches: Sequence[NeuronBench], simulator: Ngspice, workers: int = 1) -> list[Measured]:
    """Simulate decks and read them."""
    return [measure(b, p) for b, p in zip(benches, record(benches, simulator, workers), strict=True)]


def expected(bias: LayerBias, x: Array) -> Array:
    """Spike times after t_min [tau_c] of the circuit, its delay included; inf = silent.

    Parameters
    ----------
    x : array, shape (..., n_in)
        Activations.
    """
    layer = bias.layer
    weights = layer.weights * bias.gain
    numerator = layer.theta + bias.kick - bias.slope_extra - bias.leakage - x @ weights.T
    numerator -= (x > 0).astype(float) @ bias.extra.T
    late = numerator / (layer.slope * bias.slope_gain) + bias.delays
    return fire(late, layer.window + bias.delay)


def activation(bias: LayerBias, found: Sequence[Measured]) -> Array:
    """x = t_max - t of measured spikes, each neuron's expected delay taken off; 0 = silent."""
    times, window = np.array([m.spike_time for m in found]) - bias.delays, bias.layer.window
    return np.where(np.isfinite(times), np.clip(window - times, 0.0, window), 0.0)
