"""A campaign on neurons of transistors: samples that deviate, neurons without mismatch, trials with noise.

A sample is first measured at operating points, then in one transient a stimulus.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from circuits.benches import device_noise as noise
from circuits.benches.bias_lines import LINES
from circuits.benches.neuron_waveforms import DOMAINS, SUPPLIES, Measured, measure
from circuits.benches.operating_points import TOGETHER, Static
from circuits.benches.readout import hold_capacitor
from circuits.benches.synapses import explicit_capacitance
from circuits.benches.testbench import CAMPAIGN, CONVERGED, Accuracy
from circuits.errors import InputError, SimulatorError
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.conditions import FACTOR, Settings, point_at
from montecarlo.campaign.neuron_under_test import (
    NOMINAL,
    SAMPLE,
    TRIAL,
    Batch,
    Part,
    Work,
    attempt,
    reason,
    unmeasured,
)
from montecarlo.campaign.schema import Values
from montecarlo.campaign.transistor_neuron import TransistorNeurons
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.mismatch.seeds import PLAN, generator

CHUNK = 8
"""Nominal runs, or trials, in one batch."""
STANDARD = {"random": 3, "nominal": 48, "trials": 40, "batch": 16, "threshold": 1.0, "comparator": "ota"}
"""Of the standard plan."""


class TransistorsUnderTest(TransistorNeurons):
    """Neurons of a process in a campaign."""

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
    def extraction(self) -> str:
        """Where a model takes its devices from."""
        return "operating_points" if self.spiking else "samples"

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
            stim.weights[0], times[0], theta=float(theta[0]), deviations=without_references(devices),
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
        run = {NOMINAL: nominal, TRIAL: trials, SAMPLE: samples}[batch.part]
        return Work(
            [partial(run, self, range(batch.first, batch.last), simulator)], lambda results: results[0]
        )


class Transients(NamedTuple):
    """Several transients of one neuron."""

    measured: list[Measured]
    again: int = 0  #: run again, more exactly
    alone: int = 0  #: run alone, after the process that ran them together had failed


def samples(test: TransistorsUnderTest, numbers: range, simulator: Ngspice) -> Values:
    """Operating points and transients of neurons that deviate.

    Parameters
    ----------
    test : TransistorNeurons
    numbers : range
        Of the samples.
    simulator : Ngspice

    Returns
    -------
    dict
        What `montecarlo.campaign.neuron_under_test.unmeasured` makes, filled.
    """
    n, plan, stim = len(numbers), test.plan, test.stimuli
    # whole groups, so that a sample's numbers do not depend on how many there are
    members = range(numbers.start, numbers.start + -(-plan.batch // TOGETHER) * TOGETHER)
    drawn = [test.draw(k) for k in members]
    copies = [without_references(devices) for devices, _ in drawn]
    pattern = np.array(members) % plan.patterns
    values = unmeasured(test, SAMPLE, n)

    references = [devices for devices, _ in drawn]
    solved = attempt(partial(test.points, pattern, copies, references, simulator))
    if isinstance(solved, SimulatorError):
        values["status"][:], values["reason"][:] = 1, reason(solved)
        return values
    points, lines = solved
    deviations = _deviations(test, points, lines, pattern, np.array([c for _, c in drawn]))
    for name, deviation in deviations.items():
        values[name][:] = deviation[:n]
    for name, part in (("shift", 0), ("factor", 1)) if test.devices else ():
        values[name][:] = [[c[path][part] for path in test.devices] for c in copies[:n]]
    for k in range(n):
        times, thetas = stim.of(int(pattern[k]))
        transients = partial(
            _transients, test, stim.weights[pattern[k]], times, simulator, float(points.trip[k]),
            theta=float(thetas[0]), deviations=copies[k], capacitor=drawn[k][1],
        )  # fmt: skip
        result = attempt(transients)
        if isinstance(result, SimulatorError):
            values["status"][k], values["reason"][k] = 1, reason(result)
            continue
        measured, values["retried"][k], values["alone"][k] = result
        values["status"][k] = 0
        for s, one in enumerate(measured):
            for name in ("spike_time", "v_t_min", "slope", "delay"):
                values[name][k, s] = getattr(one, name)
            values["energy"][k, s] = [one.energy[d] for d in DOMAINS]
    return values


def _deviations(
    test: TransistorsUnderTest, points: Static, lines: np.ndarray, pattern: np.ndarray, capacitor: np.ndarray
) -> Values:
    """Deviations of neurons from those without mismatch, in the terms of the equation."""
    nominal, nominal_lines = test.nominal_points
    # only the drawn capacitor deviates, not what hangs on the membrane beside it
    point, absent = test.plan.point, test.stimuli.weights[pattern] == 0
    c = test.capacitors[pattern] / point.c_mem * capacitor
    return {
        "deviation_synapse": np.where(absent, 0.0, points.synapse / nominal.synapse[pattern] - 1.0),
        "deviation_slope": points.slope / nominal.slope[pattern] - 1.0,
        "deviation_threshold": (points.trip - nominal.trip[pattern]) / point.v_unit * (1.0 + c),
        "deviation_capacitance": c,
        "deviation_tail": points.tail / nominal.tail[pattern] - 1.0,
        "deviation_reference": lines / nominal_lines - 1.0,
    }


def nominal(test: TransistorsUnderTest, runs: range, simulator: Ngspice) -> Values:
    """Transients without mismatch, as exact as they get; arguments as of `samples`."""
    stim, values = test.stimuli, unmeasured(test, NOMINAL, len(runs))
    for i, k in enumerate(runs):
        transient = partial(
            _transients, test, stim.nominal_weight[k], stim.nominal_input_time[[k]], simulator, None,
            CONVERGED, theta=float(stim.nominal_theta[k]),
        )  # fmt: skip
        _note(values, NOMINAL, i, attempt(transient))
    return values


def trials(test: TransistorsUnderTest, numbers: range, simulator: Ngspice) -> Values:
    """The first pattern under the first input, again and again with new noise; arguments as of `samples`."""
    plan, values = test.plan, unmeasured(test, TRIAL, len(numbers))
    weights, (inputs, thetas) = test.stimuli.weights[0], test.stimuli.of(0)
    times, theta = inputs[0], float(thetas[0])
    phases, at, share, gm = test.bench(weights, times, theta=theta).phases, test.conditions, 1.0, None
    if test.spiking:
        gm = noise.pair_transconductance(
            test.technology, corner=at["corner"], temperature=at["temperature"], simulator=simulator
        )
    else:
        fan_in, process = int(np.count_nonzero(weights)), test.technology.transistors()
        share = hold_capacitor(plan.point, fan_in, process) / plan.point.c_mem
    for i, k in enumerate(numbers):
        rng = generator(plan.entropy, PLAN, 11, k)
        trial = noise.draw(
            weights, times, phases, plan.point, test.technology, gm, rng,
            temperature=at["temperature"], share=share,
        )  # fmt: skip
        transient = partial(
            _transients, test, weights, times[None], simulator, None, theta=theta, noise=trial
        )
        _note(values, TRIAL, i, attempt(transient))
    return values


def _transients(
    test: TransistorsUnderTest,
    weights: np.ndarray,
    inputs: np.ndarray,
    simulator: Ngspice,
    trip: float | None,
    accuracy: Accuracy = CAMPAIGN,
    **options: Any,
) -> Transients:
    """One neuron under several inputs in one process; alone, and more exactly, what fails there."""
    benches = [test.bench(weights, t, accuracy=accuracy, **options) for t in inputs]
    plots = attempt(partial(simulator.run_many, [b.deck for b in benches]))
    if not isinstance(plots, SimulatorError):
        return Transients([measure(b, p, trip) for b, p in zip(benches, plots, strict=True)])
    measured, again = [], 0
    for bench, times in zip(benches, inputs, strict=True):
        plot = attempt(partial(simulator.run, bench.deck, keep=False))
        if isinstance(plot, SimulatorError):
            bench = test.bench(weights, times, accuracy=CONVERGED, **options)
            plot, again = simulator.run(bench.deck), again + 1
        measured.append(measure(bench, plot, trip))
    return Transients(measured, again, len(benches))


def _note(values: Values, part: str, row: int, result: Transients | SimulatorError) -> None:
    """Write one transient, or its failure, into the values of a part that has one transient a run."""
    values[f"{part}_status"][row] = int(isinstance(result, SimulatorError))
    if isinstance(result, SimulatorError):
        return
    (one,), _, values[f"{part}_alone"][row] = result
    for name in ("spike_time", "slope", "v_t_min"):
        if f"{part}_{name}" in values:
            values[f"{part}_{name}"][row] = getattr(one, name)
    if f"{part}_energy" in values:
        values[f"{part}_energy"][row] = [one.energy[d] for d in DOMAINS]


def without_references(devices: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """A neuron alone: its bias lines are common to a layer.

    Parameters
    ----------
    devices : deviations by path
    """
    return {path: d for path, d in devices.items() if not path.startswith("ref_")}
