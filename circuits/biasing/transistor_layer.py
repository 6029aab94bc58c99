"""A layer at transistor level (F3): one deck a neuron, and what the equation with known constants expects.

The operating point is chosen as a designer would: at the typical corner, 27 C and the nominal supply
(`circuits.biasing.choose`). The circuit then runs at the corner, temperature and supply that are asked for,
with the same bias currents, capacitors and windows. A response counts from t_min plus each neuron's expected
delay, which the windows of the layers are shifted by. Read-outs do not spike: their potentials are sampled at
t_min, and a bias is added to the converted values, by no current of the circuit.

Several neurons in one deck would be slower: every neuron would step at the events of all. The threshold of
each neuron is a node of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from circuits.benches.neuron import NeuronBench, neuron_bench
from circuits.benches.neuron_waveforms import DOMAINS, SUPPLIES, Measured, measure, ramp_slope
from circuits.benches.readout import HOLD, ReadoutBench, readout_bench
from circuits.benches.testbench import CAMPAIGN, CONVERGED, Accuracy, Device
from circuits.benches.two_layers import Stage
from circuits.biasing.choose import LayerBias
from circuits.errors import InputError, Notice, SimulatorError
from circuits.model.closed_form import Constants, fire
from circuits.model.layer import Array, Layer, LayerResponse, join
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import TEMPERATURES
from circuits.spice.deck import Deck
from circuits.spice.ngspice import Canceled, HostError, Ngspice, parallel
from circuits.spice.rawfile import Plot

TYPICAL = 27.0
"""Temperature that circuits are designed for [degrees C]."""
BATCH = 16
"""Transients in one process."""
POINTS = 600
"""Of a waveform that is shown."""
AnyBench = NeuronBench | ReadoutBench
"""Of a neuron that spikes, or of a read-out."""


@dataclass(frozen=True)
class TransistorMismatch:
    """Frozen deviations of the transistors and capacitors of one layer of one chip."""

    transistors: tuple[Mapping[str, tuple[float, float]], ...]
    """By neuron: path -> (threshold shift [V], current factor)."""
    capacitors: Array  #: (n_out,) relative deviation of the drawn capacitors


@dataclass(frozen=True)
class TransistorNeuron:
    """Neurons of one biased layer, and where they are operated."""

    bias: LayerBias
    corner: str | None = None  #: None: the typical one
    temperature: float | None = None  #: [degrees C]; None: 27
    supply: float | None = None  #: [V]; None: the one it is biased for
    accuracy: Accuracy = CAMPAIGN
    leave_out: bool = False  #: silent synapses are capacitance only, where the process allows it

    def __post_init__(self) -> None:
        corners, (low, high) = self.bias.technology.corners, TEMPERATURES
        if self.corner is not None and self.corner not in corners:
            raise InputError(
                f"{self.bias.technology.name} has no corner {self.corner!r}; it has {', '.join(corners)}"
            )
        if not low <= self.celsius <= high:
            raise InputError(f"temperature {self.celsius:g} C is outside {low:g}..{high:g} C")
        self.bias.point.at_supply(self.supply)

    @property
    def layer(self) -> Layer:
        """The layer as it is built, in whole unit devices."""
        return self.bias.layer

    @property
    def celsius(self) -> float:
        """Temperature at which the circuit is operated [degrees C]."""
        return TYPICAL if self.temperature is None else self.temperature

    @property
    def point(self) -> OperatingPoint:
        """Where the circuit is operated."""
        return self.bias.point.at_supply(self.supply)

    @property
    def nominal(self) -> bool:
        """Whether the closed form holds: where the layer is biased for."""
        return self.corner in (None, self.bias.technology.corners[0]) and (
            (self.celsius, self.point.vdd) == (TYPICAL, self.bias.point.vdd)
        )

    @property
    def constants(self) -> Constants:
        """Systematic terms at the point that the layer is biased for."""
        return self.bias.constants

    def benches(
        self,
        spike_times: Array,
        mismatch: TransistorMismatch | None = None,
        *,
        neurons: Sequence[int] | None = None,
        whole: bool = False,
    ) -> list[AnyBench]:
        """One bench a neuron, for one input [tau_c] and the devices of one chip.

        Parameters
        ----------
        spike_times : array, shape (n_in,) [tau_c]; inf = silent
        mismatch : None = perfect devices
        neurons : which ones; None: all
        whole : with all synapses, silent ones too

        Raises
        ------
        InputError
            For inputs outside the window.
        """
        bias, layer = self.bias, self.layer
        times, process = layer.inputs(spike_times), bias.technology.transistors()
        leave_out = self.leave_out and not whole and process.silent_alike and self.celsius <= TYPICAL
        common: dict[str, Any] = {
            "point": self.point,
            "input_window": layer.t_min,
            "corner": self.corner or bias.technology.corners[0],
            "temperature": self.celsius,
            "accuracy": self.accuracy,
            "leave_out": leave_out,
        }

        def bench(i: int) -> AnyBench:
            options = {"heading": f"neuron {i}", **common}
            if mismatch:
                options |= {
                    "deviations": mismatch.transistors[i],
                    "capacitor": float(mismatch.capacitors[i]),
                }
            if not layer.spiking:
                return readout_bench(bias.technology, layer.weights[i], times, hold=HOLD, **options)
            return neuron_bench(
                bias.technology, layer.weights[i], times, window=layer.window + bias.delay,
                theta=float(layer.theta[i]), slope_units=int(bias.slope_units[i]), **options,
            )  # fmt: skip

        return [bench(i) for i in (range(layer.n_out) if neurons is None else neurons)]

    def stage(self, mismatch: TransistorMismatch | None = None) -> Stage:
        """The layer in one circuit with another one; its window is longer by the longest delay.

        Parameters
        ----------
        mismatch : None = perfect devices

        Raises
        ------
        InputError
            For a read-out layer.
        """
        bias, layer = self.bias, self.layer
        if not layer.spiking:
            raise InputError("a layer in one circuit with another one spikes; this is a read-out layer")
        return Stage(
            bias.technology, self.point, layer.weights, layer.theta, layer.t_min, layer.window + bias.delay,
            bias.slope_units,
            deviations=mismatch.transistors if mismatch else (),
            capacitors=mismatch.capacitors if mismatch else None,
        )  # fmt: skip

    def built(self, layer: Layer) -> Layer:
        """The layer as it is built, in whole unit devices.

        Raises
        ------
        InputError
            If the neurons are biased for a layer of another shape.
        """
        if layer.weights.shape != self.layer.weights.shape:
            raise InputError(
                f"these neurons are biased for weights {self.layer.weights.shape}, not "
                f"{layer.weights.shape}; bias them for this layer"
            )
        return self.layer

    def devices(self) -> list[tuple[Device, ...]]:
        """Transistors of each neuron's bench, its references included: what mismatch is drawn for."""
        return [tuple(b.bench.devices) for b in self.benches(np.full(self.layer.n_in, np.inf), whole=True)]

    def decks(
        self,
        layer: Layer,
        spike_times: Array,
        mismatch: TransistorMismatch | None = None,
        *,
        prefix: str = "",
    ) -> dict[str, Deck]:
        """One deck a neuron. Parameters: see `circuits.simulation.Neuron`."""
        self.built(layer)
        benches = self.benches(spike_times, mismatch, whole=True)
        return {f"neuron{i}": b.deck for i, b in enumerate(benches)}

    def measured(
        self,
        spike_times: Array,
        mismatch: TransistorMismatch | None = None,
        *,
        neurons: Sequence[int] | None = None,
        simulator: Ngspice,
    ) -> list[Measured]:
        """Transients of one chip in one process, those that fail once more and more exactly.

        Parameters
        ----------
        spike_times, mismatch, neurons
            As of `benches`.
        """
        benches = self.benches(spike_times, mismatch, neurons=neurons)
        try:
            plots = [
                p
                for k in range(0, len(benches), BATCH)
                for p in simulator.run_many([b.deck for b in benches[k : k + BATCH]])
            ]
            return [measure(b, p) for b, p in zip(benches, plots, strict=True)]
        except (Canceled, HostError):
            raise
        except SimulatorError as error:
            warnings.warn(
                f"{len(benches)} neurons that were simulated in one process are simulated alone, which takes "
                f"up to three times as long: {str(error).splitlines()[0]}",
                Notice,
                stacklevel=2,
            )
            exact = replace(self, accuracy=CONVERGED).benches(spike_times, mismatch, neurons=neurons)
            return [self._again(*pair, simulator) for pair in zip(benches, exact, strict=True)]

    @staticmethod
    def _again(bench: AnyBench, exact: AnyBench, simulator: Ngspice) -> Measured:
        try:
            return measure(bench, simulator.run(bench.deck, keep=False))
        except (Canceled, HostError):
            raise
        except SimulatorError:
            return measure(exact, simulator.run(exact.deck))

    def simulate(
        self,
        layer: Layer,
        spike_times: Array,
        mismatch: TransistorMismatch | Sequence[TransistorMismatch] | None = None,
        *,
        simulator: Ngspice,
        workers: int = 1,
    ) -> LayerResponse:
        """Response of the layer on one chip or several. Parameters: see `circuits.simulation.Neuron`."""
        self.built(layer)
        chips = [mismatch] if mismatch is None or isinstance(mismatch, TransistorMismatch) else list(mismatch)
        benches = [b for chip in chips for b in self.benches(spike_times, chip)]
        plots = _record(benches, simulator, workers)
        return self._response(benches, plots, len(chips))

    def simulate_each(
        self, layer: Layer, spike_times: Array, mismatch: Sequence[TransistorMismatch], *, simulator: Ngspice
    ) -> LayerResponse:
        """Each chip with its own input. Parameters: see `circuits.simulation.Neuron`."""
        rows = zip(spike_times, mismatch, strict=True)
        return join([self.simulate(layer, times, chip, simulator=simulator) for times, chip in rows])

    def waveforms(
        self,
        layer: Layer,
        spike_times: Array,
        mismatch: TransistorMismatch | None,
        *,
        simulator: Ngspice,
        workers: int = 1,
    ) -> tuple[Array, Array, Array]:
        """Waveforms of one chip. Parameters and returns: see `circuits.simulation.Neuron`."""
        self.built(layer)
        benches, phases = self.benches(spike_times, mismatch), self.bias.phases
        plots = _record(benches, simulator, workers)
        time = np.linspace(0.0, self.layer.t_max + self.bias.delay, POINTS)
        seconds = phases.start + time * phases.tau_c
        volts = np.column_stack([np.interp(seconds, p["time"], p["v(vm)"]) for p in plots])
        return time, volts, self.bias.v_th

    def electrical(self) -> dict[str, Any]:
        """Electrical numbers of the layer beside its operating point."""
        bias = self.bias
        return {
            "unit_devices": bias.technology.transistors().units,
            "unit_current": bias.unit_current,
            "rounded": bias.rounded,
            "comparator_delay": bias.delays.tolist(),
            "threshold": "a node of each neuron's own",
            "thresholds_v": bias.v_th.tolist(),
            "thresholds_beyond_swing": bias.unreached,
            "capacitors_f": bias.capacitors.tolist(),
            "corner": self.corner or "typical",
            "temperature": self.celsius,
            "supply": self.point.vdd,
        }

    def _response(self, benches: Sequence[AnyBench], plots: Sequence[Plot], chips: int) -> LayerResponse:
        """Of a read-out v_t_min are the sampled potentials: its bias, if any, is added to them elsewhere."""
        shape, layer = (chips, self.layer.n_out), self.layer
        measured = [measure(b, p) for b, p in zip(benches, plots, strict=True)]
        times = np.array([m.spike_time for m in measured]).reshape(shape)
        slopes = [
            ramp_slope(b, p, m) if isinstance(b, NeuronBench) else np.nan
            for b, p, m in zip(benches, plots, measured, strict=True)
        ]
        joules = np.array([[m.energy[d] for d in DOMAINS] for m in measured])
        return LayerResponse(
            delay=fire(times - self.bias.delays, layer.window),
            v_t_min=np.array([m.v_t_min for m in measured]).reshape(shape),
            slope=np.array(slopes).reshape(shape),
            energy_by_supply=joules.reshape(*shape, len(DOMAINS), 2),
            supplies=SUPPLIES,
        )


def _record(benches: Sequence[AnyBench], simulator: Ngspice, workers: int = 1) -> list[Plot]:
    """Simulate benches, several at a time, in their order."""
    plots = dict(parallel((partial(simulator.run, b.deck) for b in benches), workers, simulator))
    return [plots[k] for k in range(len(benches))]


def read(benches: Sequence[AnyBench], simulator: Ngspice, workers: int = 1) -> list[Measured]:
    """Simulate benches and measure them.

    Parameters
    ----------
    workers : ngspice processes at a time
    """
    return [measure(b, p) for b, p in zip(benches, _record(benches, simulator, workers), strict=True)]
