"""Neurons of transistors under test: operating points, then transients, of every sample.

Deviations are those of the matching of the process. They are measured at operating points: of synapses and
slope source as currents, of the comparator as its trip voltage (`circuits.benches.operating_points`).
Read-outs, whose potentials are sampled, have synapses and a capacitor only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from circuits.benches import device_noise as noise
from circuits.benches.bias_lines import LINES, reference_currents
from circuits.benches.neuron import NeuronBench, neuron_bench
from circuits.benches.neuron_waveforms import DOMAINS, SUPPLIES, Measured, measure
from circuits.benches.operating_points import TOGETHER, Static, static
from circuits.benches.readout import HOLD, ReadoutBench, hold_capacitor, readout_bench
from circuits.benches.synapses import explicit_capacitance
from circuits.benches.testbench import CAMPAIGN, CONVERGED, Accuracy, Device
from circuits.biasing.choose import of_units
from circuits.biasing.transistor_layer import TYPICAL
from circuits.errors import InputError, SimulatorError
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.conditions import FACTOR, Settings, point_at
from montecarlo.campaign.neuron_under_test import (
    NOMINAL,
    RETRIES,
    SAMPLE,
    TRIAL,
    Batch,
    Part,
    Work,
    attempt,
    reason,
    unmeasured,
)
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.schema import Values
from montecarlo.campaign.transistor_protocol import TransistorStimuli, stimuli
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.mismatch.transistors import draw, draw_capacitor

Copies = Sequence[dict[str, tuple[float, float]]]
SWITCHING = ("n_cmp_", "n_latch_")
"""What a comparator's delay depends on."""
CHUNK = 8
"""Nominal runs, or trials, in one batch."""
STANDARD = {"random": 3, "nominal": 48, "trials": 40, "batch": 16, "threshold": 1.0, "comparator": "ota"}
"""Of the standard plan."""


@dataclass(frozen=True)
class TransistorsUnderTest:
    """Neurons of a process, at the corner, temperature and supply of the plan."""

    plan: Plan
    supplies: ClassVar[tuple[str, ...]] = SUPPLIES
    lines: ClassVar[tuple[str, ...]] = LINES

    @staticmethod
    def fields(
        technology: Technology, synapses: int, settings: Settings, law: MismatchLaw, design: str
    ) -> dict[str, Any]:
        """Fields of the standard plan.

        Parameters
        ----------
        technology, synapses, settings, law, design
            As in `montecarlo.campaign.campaign.Campaign.characterize`.

        Raises
        ------
        InputError
            If a law or design is set, or the capacitor would be smaller than what hangs on it.
        """
        if law != MismatchLaw() or design != "plain":
            raise InputError(
                f"the transistors of {technology.name!r} deviate by the matching of their process: no "
                "sigmas, distributions or designs to set; change their area with the axis size"
            )
        point = point_at(settings, technology.operating_point, factor=FACTOR)
        explicit_capacitance(point, synapses, technology.transistors())  # refused before anything is drawn
        return {
            **STANDARD,
            "point": point,
            "corner": settings.get("corner") or technology.corners[0],
            "temperature": float(settings.get("temperature", 27.0)),
            "area": float(settings.get("size", 1.0)),
        }

    @property
    def spiking(self) -> bool:
        """Whether the neurons spike; False: read-outs."""
        return self.plan.rows is None or self.plan.rows.spiking

    @property
    def extraction(self) -> str:
        """Where a model takes its devices from."""
        return "operating_points" if self.spiking else "samples"

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

    @property
    def parts(self) -> tuple[Part, ...]:
        """The short ones first."""
        p = self.plan
        parts = (
            Part(NOMINAL, p.nominal, CHUNK),
            Part(TRIAL, p.trials, CHUNK),
            Part(SAMPLE, p.samples, p.batch),
        )
        return tuple(part for part in parts if part.count)

    def check_level(self, level: str) -> None:
        """The constants of the closed form are what a campaign measures."""
        if level != "ngspice":
            raise InputError(
                f"level {level!r}: the constants of {self.plan.technology} are what its campaign measures; "
                "use level 'ngspice', or the technology 'ideal'"
            )

    def origin(self, simulator: Ngspice) -> dict[str, str]:
        """The deck of sample 0: model cards, sizes and, through the deviations, the matching."""
        stim, (devices, capacitor) = self.stimuli, self.draw(0)
        times, theta = stim.of(0)
        bench = self.bench(
            stim.weights[0], times[0], theta=float(theta[0]), deviations=_without_references(devices),
            capacitor=capacitor,
        )  # fmt: skip
        return {"deck_form": "transistors", "deck": bench.deck.text}

    def work(self, batch: Batch, simulator: Ngspice | None) -> Work:
        """One simulation after the other: transients need the trip voltages of the operating points.

        Parameters
        ----------
        batch : Batch
        simulator : Ngspice
            Never None, see `check_level`.
        """
        assert simulator is not None, "see check_level"
        run = {NOMINAL: self._nominal, TRIAL: self._trials, SAMPLE: self._samples}[batch.part]
        return Work([partial(run, range(batch.first, batch.last), simulator)], lambda results: results[0])

    def draw(self, sample: int) -> tuple[dict[str, tuple[float, float]], float]:
        """Deviations of every transistor of a sample, its references included, and of its capacitor."""
        rng = generator(self.plan.entropy, sample)
        transistors = draw(self._devices[sample % self.plan.patterns], rng)
        farads = float(self._capacitors[sample % self.plan.patterns])
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
        common = {"input_window": self.stimuli.t_min, "leave_out": self._leaves_out, **self._conditions}
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
    def _conditions(self) -> dict[str, Any]:
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
    def _capacitors(self) -> np.ndarray:
        """What is drawn of the membrane, shape (pattern,) [F]."""
        point, process = self.plan.point, self.technology.transistors()
        fan_in = np.count_nonzero(self.stimuli.weights, axis=1)
        return np.array([explicit_capacitance(point, int(n), process) for n in fan_in])

    @property
    def _thetas(self) -> np.ndarray:
        """Thresholds at which comparators are looked at, shape (pattern,)."""
        return np.array([self.stimuli.of(k)[1][0] for k in range(self.plan.patterns)])

    @cached_property
    def _nominal_points(self) -> tuple[Static, np.ndarray]:
        """Currents and trip voltage of each weight pattern without mismatch, and the references' currents."""
        patterns = np.arange(self.plan.patterns)
        return self._points(patterns, [{}] * len(patterns), [{}], Ngspice(retries=RETRIES))

    def _points(
        self, patterns: np.ndarray, neurons: Copies, references: Copies, simulator: Ngspice
    ) -> tuple[Static, np.ndarray]:
        """Operating points of copies of a neuron, and currents behind copies of the references."""
        at = self._conditions
        currents = static(
            self.technology, self.stimuli.weights[patterns], neurons, comparator=self.plan.comparator,
            theta=self._thetas[patterns], simulator=simulator, **at,
        )  # fmt: skip
        return currents, reference_currents(self.technology, references, simulator=simulator, **at)

    def _samples(self, samples: range, simulator: Ngspice) -> Values:
        n, plan, stim = len(samples), self.plan, self.stimuli
        # whole groups, so that a sample's numbers do not depend on how many there are
        members = range(samples.start, samples.start + -(-plan.batch // TOGETHER) * TOGETHER)
        drawn = [self.draw(k) for k in members]
        copies = [_without_references(devices) for devices, _ in drawn]
        pattern = np.array(members) % plan.patterns
        values = unmeasured(self, SAMPLE, n)

        references = [devices for devices, _ in drawn]
        solved = attempt(partial(self._points, pattern, copies, references, simulator))
        if isinstance(solved, SimulatorError):
            values["status"][:], values["reason"][:] = 1, reason(solved)
            return values
        points, lines = solved
        deviations = self._deviations(points, lines, pattern, np.array([c for _, c in drawn]))
        for name, deviation in deviations.items():
            values[name][:] = deviation[:n]
        for name, part in (("shift", 0), ("factor", 1)) if self.devices else ():
            values[name][:] = [[c[path][part] for path in self.devices] for c in copies[:n]]
        for k in range(n):
            times, thetas = stim.of(int(pattern[k]))
            transients = partial(
                self._transients, stim.weights[pattern[k]], times, simulator, float(points.trip[k]),
                theta=float(thetas[0]), deviations=copies[k], capacitor=drawn[k][1],
            )  # fmt: skip
            result = attempt(transients)
            if isinstance(result, SimulatorError):
                values["status"][k], values["reason"][k] = 1, reason(result)
                continue
            measured, values["retried"][k] = result
            values["status"][k] = 0
            for s, one in enumerate(measured):
                for name in ("spike_time", "v_t_min", "slope", "delay"):
                    values[name][k, s] = getattr(one, name)
                values["energy"][k, s] = [one.energy[d] for d in DOMAINS]
        return values

    def _deviations(
        self, points: Static, lines: np.ndarray, pattern: np.ndarray, capacitor: np.ndarray
    ) -> Values:
        """Deviations of neurons from those without mismatch, in the terms of the equation."""
        nominal, nominal_lines = self._nominal_points
        # only the drawn capacitor deviates, not what hangs on the membrane beside it
        point, absent = self.plan.point, self.stimuli.weights[pattern] == 0
        c = self._capacitors[pattern] / point.c_mem * capacitor
        return {
            "deviation_synapse": np.where(absent, 0.0, points.synapse / nominal.synapse[pattern] - 1.0),
            "deviation_slope": points.slope / nominal.slope[pattern] - 1.0,
            "deviation_threshold": (points.trip - nominal.trip[pattern]) / point.v_unit * (1.0 + c),
            "deviation_capacitance": c,
            "deviation_tail": points.tail / nominal.tail[pattern] - 1.0,
            "deviation_reference": lines / nominal_lines - 1.0,
        }

    def _nominal(self, runs: range, simulator: Ngspice) -> Values:
        stim, values = self.stimuli, unmeasured(self, NOMINAL, len(runs))
        for i, k in enumerate(runs):
            transient = partial(
                self._transients, stim.nominal_weight[k], stim.nominal_input_time[[k]], simulator, None,
                CONVERGED, theta=float(stim.nominal_theta[k]),
            )  # fmt: skip
            _note(values, NOMINAL, i, attempt(transient))
        return values

    def _trials(self, trials: range, simulator: Ngspice) -> Values:
        """The first pattern under the first input, again and again with new noise."""
        plan, values = self.plan, unmeasured(self, TRIAL, len(trials))
        weights, (inputs, thetas) = self.stimuli.weights[0], self.stimuli.of(0)
        times, theta = inputs[0], float(thetas[0])
        phases, at, share, gm = self.bench(weights, times, theta=theta).phases, self._conditions, 1.0, None
        if self.spiking:
            gm = noise.pair_transconductance(
                self.technology, corner=at["corner"], temperature=at["temperature"], simulator=simulator
            )
        else:
            fan_in, process = int(np.count_nonzero(weights)), self.technology.transistors()
            share = hold_capacitor(plan.point, fan_in, process) / plan.point.c_mem
        for i, k in enumerate(trials):
            rng = generator(plan.entropy, PLAN, 11, k)
            trial = noise.draw(
                weights, times, phases, plan.point, self.technology, gm, rng,
                temperature=at["temperature"], share=share,
            )  # fmt: skip
            transient = partial(
                self._transients, weights, times[None], simulator, None, theta=theta, noise=trial
            )
            _note(values, TRIAL, i, attempt(transient))
        return values

    def _transients(
        self,
        weights: np.ndarray,
        inputs: np.ndarray,
        simulator: Ngspice,
        trip: float | None,
        accuracy: Accuracy = CAMPAIGN,
        **options: Any,
    ) -> tuple[list[Measured], int]:
        """One neuron under several inputs in one process, and how many had to be run again, more exactly."""
        benches = [self.bench(weights, t, accuracy=accuracy, **options) for t in inputs]
        plots = attempt(partial(simulator.run_many, [b.deck for b in benches]))
        if not isinstance(plots, SimulatorError):
            return [measure(b, p, trip) for b, p in zip(benches, plots, strict=True)], 0
        measured, again = [], 0
        for bench, times in zip(benches, inputs, strict=True):
            plot = attempt(partial(simulator.run, bench.deck, keep=False))
            if isinstance(plot, SimulatorError):
                bench = self.bench(weights, times, accuracy=CONVERGED, **options)
                plot, again = simulator.run(bench.deck), again + 1
            measured.append(measure(bench, plot, trip))
        return measured, again


def _note(values: Values, part: str, row: int, result: tuple[list[Measured], int] | SimulatorError) -> None:
    """Write one transient, or its failure, into the values of a part that has one transient a run."""
    values[f"{part}_status"][row] = int(isinstance(result, SimulatorError))
    if isinstance(result, SimulatorError):
        return
    (one,), _ = result
    for name in ("spike_time", "slope", "v_t_min"):
        if f"{part}_{name}" in values:
            values[f"{part}_{name}"][row] = getattr(one, name)
    if f"{part}_energy" in values:
        values[f"{part}_energy"][row] = [one.energy[d] for d in DOMAINS]


def _without_references(devices: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """A neuron alone: its bias lines are common to a layer."""
    return {path: d for path, d in devices.items() if not path.startswith("ref_")}
