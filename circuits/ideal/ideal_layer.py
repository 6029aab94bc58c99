"""A layer of ideal sources and capacitors in ngspice (F1): all samples of one input share a deck."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from circuits.ideal.crossings import cross, fast_form
from circuits.ideal.layer_circuit import layer_cell, read
from circuits.ideal.netlist import build
from circuits.ideal.stimulus import stimulus
from circuits.model.closed_form import IDEAL, Constants
from circuits.model.layer import Array, Layer, LayerMismatch, LayerResponse, join
from circuits.model.operating_point import OperatingPoint
from circuits.spice.deck import Deck
from circuits.spice.ngspice import Ngspice, parallel
from circuits.spice.waveforms import supply_energy

NEURONS_PER_DECK = 1024
"""Where the cost per neuron is lowest: parsing grows faster than linearly beyond some thousand."""


@dataclass(frozen=True)
class IdealNeuron:
    """Neurons of ideal sources at an operating point."""

    point: OperatingPoint
    form: str | None = None  #: of the deck, see `circuits.ideal.netlist`; None: the fastest that ngspice runs

    @property
    def constants(self) -> Constants:
        """No systematic terms."""
        return IDEAL

    @property
    def nominal(self) -> bool:
        """Whether the closed form holds: always."""
        return True

    def built(self, layer: Layer) -> Layer:
        """The layer as it is built: any weights."""
        return layer

    def simulate(
        self,
        layer: Layer,
        spike_times: Array,
        mismatch: LayerMismatch | None,
        *,
        simulator: Ngspice,
        workers: int = 1,
    ) -> LayerResponse:
        """Response of all samples to one input. Parameters: see `circuits.simulation.Neuron`."""
        mismatch = mismatch or LayerMismatch.none(layer)
        stim = stimulus(layer, spike_times, self.point)
        per_deck = max(NEURONS_PER_DECK // layer.n_out, 1)
        parts = [mismatch[k : k + per_deck] for k in range(0, mismatch.samples, per_deck)]

        def one(part: LayerMismatch) -> LayerResponse:
            cell = layer_cell(layer, stim, self.point, part)
            return read(layer, self.point, cell, cross([cell], simulator, self.form)[0], part.samples)

        if len(parts) == 1:  # no pool, which would cancel the caller's other runs when this one fails
            return one(parts[0])
        responses = dict(parallel((partial(one, part) for part in parts), workers, simulator))
        return join([responses[k] for k in range(len(parts))])

    def simulate_each(
        self, layer: Layer, spike_times: Array, mismatch: LayerMismatch, *, simulator: Ngspice
    ) -> LayerResponse:
        """One deck a sample, many a process. Parameters: see `circuits.simulation.Neuron`."""
        samples = range(mismatch.samples)
        cells = [
            layer_cell(layer, stimulus(layer, spike_times[k], self.point), self.point, mismatch[k])
            for k in samples
        ]
        crossings = cross(cells, simulator, self.form)
        return join([read(layer, self.point, cell, m, 1) for cell, m in zip(cells, crossings, strict=True)])

    def decks(
        self, layer: Layer, spike_times: Array, mismatch: LayerMismatch | None = None, *, prefix: str = "t"
    ) -> dict[str, Deck]:
        """The readable deck of one sample, named "". Parameters: see `circuits.simulation.Neuron`."""
        mismatch = mismatch or LayerMismatch.none(layer)
        cell = layer_cell(layer, stimulus(layer, spike_times, self.point), self.point, mismatch)
        form = self.form or "pulse"
        options: dict[str, dict[str, Any]] = {
            "table": {"prefix": prefix},
            "pulse": {"vdd": self.point.vdd},
            "pwl": {},
        }
        return {"": build(cell, form, waveform=True, **options[form])}

    def waveforms(
        self,
        layer: Layer,
        spike_times: Array,
        mismatch: LayerMismatch | None,
        *,
        simulator: Ngspice,
        workers: int = 1,
    ) -> tuple[Array, Array, Array]:
        """Waveforms of one sample. Parameters and returns: see `circuits.simulation.Neuron`."""
        mismatch = mismatch or LayerMismatch.none(layer)
        cell = layer_cell(layer, stimulus(layer, spike_times, self.point), self.point, mismatch)
        deck = build(cell, fast_form(simulator.program), waveform=True)
        plot = simulator.run(deck)
        volts = plot.columns([f"v({n})" for n in deck.nodes])
        return plot["time"] / self.point.tau_c, volts, cell.threshold

    def electrical(self) -> dict[str, Any]:
        """Electrical numbers of the layer beside its operating point."""
        return {}


def sense_supply(
    layer: Layer,
    spike_times: Array,
    point: OperatingPoint,
    mismatch: LayerMismatch,
    delay: Array,
    simulator: Ngspice,
) -> Array:
    """Energy of each neuron as the integral of vdd * i(vdd) until its spike, in ngspice [J].

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
