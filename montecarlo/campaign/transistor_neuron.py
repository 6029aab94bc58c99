"""Neurons of transistors that a campaign looks at: weights, deviations, benches, operating points.

Deviations are those of the matching of the process. They are measured at operating points: of synapses and
slope source as currents, of the comparator as its trip voltage (`circuits.benches.operating_points`).
Read-outs, whose potentials are sampled, have synapses and a capacitor only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from circuits.benches.bias_lines import reference_currents
from circuits.benches.neuron import NeuronBench, neuron_bench
from circuits.benches.operating_points import Static, static
from circuits.benches.readout import HOLD, ReadoutBench, readout_bench
from circuits.benches.synapses import explicit_capacitance
from circuits.benches.testbench import Device
from circuits.biasing.choose import of_units
from circuits.biasing.transistor_layer import TYPICAL
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.neuron_under_test import (
    RETRIES,
)
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.transistor_protocol import TransistorStimuli, stimuli
from montecarlo.mismatch.seeds import generator
from montecarlo.mismatch.transistors import draw, draw_capacitor

Copies = Sequence[dict[str, tuple[float, float]]]
SWITCHING = ("n_cmp_", "n_latch_")
"""What a comparator's delay depends on."""


@dataclass(frozen=True)
class TransistorNeurons:
    """Neurons of a process, at the corner, temperature and supply of the plan."""

    plan: Plan

    @property
    def spiking(self) -> bool:
        """Whether the neurons spike; False: read-outs."""
        return self.plan.rows is None or self.plan.rows.spiking

    @cached_property
    def technology(self) -> Technology:
        """The technology, with its matched transistors at the plan's size, and the layer's unit devices."""
        resized = Technology.load(self.plan.technology).resized(self.plan.area or 1.0)
        return of_units(resized, self.plan.rows.units) if self.plan.rows else resized

    @cached_property
    def stimuli(self) -> TransistorStimuli:
        """Weights and inputs of all parts."""
        p, units = self.plan, self.technology.transistors().units
        if p.rows:
            return p.rows.stimuli(p.nominal, p.entropy, p.point)
        return stimuli(p.synapses, p.patterns, p.random, p.nominal, p.entropy, units, p.point)

    def draw(self, sample: int) -> tuple[dict[str, tuple[float, float]], float]:
        """Deviations of every transistor of a sample, its references included, and of its capacitor."""
        rng = generator(self.plan.entropy, sample)
        transistors = draw(self._devices[sample % self.plan.patterns], rng)
        farads = float(self.capacitors[sample % self.plan.patterns])
        return transistors, draw_capacitor(farads, self.technology.transistors(), rng)

    def bench(
        self, weights: np.ndarray, times: np.ndarray, theta: float = 0.0, **options: Any
    ) -> NeuronBench | ReadoutBench:
        """The bench of one transient of the plan.

        Parameters
        ----------
        weights, times : array, shape (synapse,)
            Weights [1] and input times [tau_c].
        theta : float
            Threshold, of neurons that spike [1].
        **options
            Of `circuits.benches.neuron.neuron_bench`, or `circuits.benches.readout.readout_bench`.
        """
        common = {"input_window": self.stimuli.t_min, "leave_out": self._leaves_out, **self.conditions}
        if not self.spiking:
            return readout_bench(self.technology, weights, times, hold=HOLD, **common, **options)
        return neuron_bench(
            self.technology, weights, times, window=self.stimuli.window, theta=theta,
            comparator=str(self.plan.comparator), **common, **options,
        )  # fmt: skip

    @property
    def _leaves_out(self) -> bool:
        """Silent synapses of a layer's neurons are many: where they may, they are capacitance only."""
        cool = float(self.plan.temperature or TYPICAL) <= TYPICAL
        return self.plan.rows is not None and cool and self.technology.transistors().silent_alike

    @property
    def conditions(self) -> dict[str, Any]:
        """Operating point, corner and temperature."""
        return {
            "point": self.plan.point,
            "corner": self.plan.corner,
            "temperature": self.plan.temperature,
        }

    @property
    def devices(self) -> tuple[str, ...]:
        """Transistors of comparator and latch."""
        return tuple(d.path for d in self._devices[0] if d.path.startswith(SWITCHING))

    @cached_property
    def _devices(self) -> list[Sequence[Device]]:
        """Transistors of the neuron, by weight pattern."""
        benches = []
        for k, weights in enumerate(self.stimuli.weights):
            times, theta = self.stimuli.of(k)
            all_on = np.where(np.isfinite(times[0]), times[0], 0.0)  # all synapses are there
            benches.append(self.bench(weights, all_on, theta=float(theta[0])))
        return [b.bench.devices for b in benches]

    @cached_property
    def capacitors(self) -> np.ndarray:
        """What is drawn of the membrane, shape (pattern,) [F]."""
        point, process = self.plan.point, self.technology.transistors()
        fan_in = np.count_nonzero(self.stimuli.weights, axis=1)
        return np.array([explicit_capacitance(point, int(n), process) for n in fan_in])

    @property
    def _thetas(self) -> np.ndarray:
        """Thresholds at which comparators are looked at, shape (pattern,)."""
        return np.array([self.stimuli.of(k)[1][0] for k in range(self.plan.patterns)])

    @cached_property
    def nominal_points(self) -> tuple[Static, np.ndarray]:
        """Currents and trip voltage of each weight pattern without mismatch, and the references' currents."""
        patterns = np.arange(self.plan.patterns)
        return self.points(patterns, [{}] * len(patterns), [{}], Ngspice(retries=RETRIES))

    def points(
        self, patterns: np.ndarray, neurons: Copies, references: Copies, simulator: Ngspice
    ) -> tuple[Static, np.ndarray]:
        """Operating points of copies of a neuron, and currents behind copies of the references.

        Parameters
        ----------
        patterns : array, shape (copy,)
            Weight pattern of each copy.
        neurons, references : sequence of mappings
            Deviations by path.
        simulator : Ngspice

        Returns
        -------
        Static, array of shape (reference, 5)
        """
        at = self.conditions
        currents = static(
            self.technology, self.stimuli.weights[patterns], neurons, comparator=self.plan.comparator,
            theta=self._thetas[patterns], simulator=simulator, **at,
        )  # fmt: skip
        return currents, reference_currents(self.technology, references, simulator=simulator, **at)
