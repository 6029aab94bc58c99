"""The parts of a transistor-level campaign: nominal runs, samples, trials with noise; each in batches.

A batch is the unit of what can be lost or handed out; its numbers depend on the plan and its place only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from circuits.benches import device_noise as noise
from circuits.benches.bias_line_errors import reference_currents
from circuits.benches.neuron import NeuronBench, explicit_capacitance, neuron_bench
from circuits.benches.neuron_waveforms import DOMAINS, Measured, measure
from circuits.benches.operating_points import TOGETHER, Static, static
from circuits.benches.testbench import CAMPAIGN, CONVERGED, Accuracy, Device
from circuits.errors import SimulatorError
from circuits.spice.ngspice import Canceled, HostError, Ngspice
from montecarlo.campaign.transistor_plan import INPUT_WINDOW, WINDOW, TransistorPlan
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.mismatch.transistors import draw, draw_capacitor

Values = dict[str, np.ndarray]
Deviations = Mapping[str, tuple[float, float]]
NOMINAL, SAMPLE, TRIAL = "nominal", "sample", "trial"
CHUNK = 8
"""Nominal runs, or trials, in one batch."""


def batches(plan: TransistorPlan) -> list[tuple[str, int, int]]:
    """(part, first, last + 1) of every batch, the short parts first."""
    found = []
    for part, total, step in (
        (NOMINAL, plan.nominal, CHUNK),
        (TRIAL, plan.trials, CHUNK),
        (SAMPLE, plan.samples, plan.batch),
    ):
        found += [(part, k, min(k + step, total)) for k in range(0, total, step)]
    return found


def run_batch(plan: TransistorPlan, batch: tuple[str, int, int], simulator: Ngspice) -> Values:
    """Simulate one batch."""
    part, first, last = batch
    work: dict[str, Callable[[TransistorPlan, range, Ngspice], Values]] = {
        NOMINAL: _nominal,
        TRIAL: _trials,
        SAMPLE: _samples,
    }
    return work[part](plan, range(first, last), simulator)


def bench_of(plan: TransistorPlan, weights: np.ndarray, times: np.ndarray, **options: Any) -> NeuronBench:
    """The bench of one transient of this plan."""
    return neuron_bench(
        plan.sized,
        weights,
        times,
        point=plan.point,
        input_window=INPUT_WINDOW,
        window=WINDOW,
        corner=plan.corner,
        temperature=plan.temperature,
        comparator=plan.comparator,
        **options,
    )


def transients(
    plan: TransistorPlan,
    weights: np.ndarray,
    inputs: np.ndarray,
    simulator: Ngspice,
    trip: float | None,
    accuracy: Accuracy = CAMPAIGN,
    **options: Any,
) -> tuple[list[Measured], int]:
    """One neuron under several inputs in one process, and how many had to be run again, more exactly."""
    benches = [bench_of(plan, weights, t, accuracy=accuracy, **options) for t in inputs]
    try:
        plots = simulator.run_many([b.deck for b in benches])
        return [measure(b, p, trip) for b, p in zip(benches, plots, strict=True)], 0
    except (HostError, Canceled):
        raise
    except SimulatorError:
        found, again = [], 0
        for b, t in zip(benches, inputs, strict=True):
            try:
                plot = simulator.run(b.deck, keep=False)
            except (HostError, Canceled):
                raise
            except SimulatorError:
                b = bench_of(plan, weights, t, accuracy=CONVERGED, **options)
                plot, again = simulator.run(b.deck), again + 1
            found.append(measure(b, plot, trip))
        return found, again


@lru_cache(maxsize=32)
def _devices(plan: TransistorPlan, pattern: int) -> tuple[Device, ...]:
    """Transistors of the neuron with one weight pattern."""
    stim = plan.stimuli
    return tuple(bench_of(plan, stim.weights[pattern], stim.input_time[0]).bench.devices)


def drawn(plan: TransistorPlan, sample: int) -> tuple[dict[str, tuple[float, float]], float]:
    """Deviations of every transistor of a sample, its references included, and of its capacitor."""
    rng = generator(plan.entropy, sample)
    found = draw(_devices(plan, sample % plan.patterns), rng)
    process = plan.sized.transistors()
    return found, draw_capacitor(explicit_capacitance(plan.point, plan.synapses, process), process, rng)


@lru_cache(maxsize=4)
def _nominal_static(plan: TransistorPlan) -> tuple[Static, np.ndarray]:
    """Currents and trip voltage of each weight pattern without mismatch, and the references' currents."""
    n = plan.patterns
    found = static(plan.sized, plan.stimuli.weights, [{}] * n, **_conditions(plan))
    return found, reference_currents(
        plan.sized, [{}], point=plan.point, corner=plan.corner, temperature=plan.temperature
    )[0]


def _conditions(plan: TransistorPlan) -> dict[str, Any]:
    return {
        "point": plan.point,
        "corner": plan.corner,
        "temperature": plan.temperature,
        "comparator": plan.comparator,
    }


def _samples(plan: TransistorPlan, samples: range, simulator: Ngspice) -> Values:
    n, stim = len(samples), plan.stimuli
    nominal, lines = _nominal_static(plan)
    # whole groups, so that a sample's numbers do not depend on how many were asked for
    members = range(samples.start, samples.start + -(-plan.batch // TOGETHER) * TOGETHER)
    deviations = [drawn(plan, k) for k in members]
    own = [{p: d for p, d in devices.items() if not p.startswith("ref_")} for devices, _ in deviations]
    pattern = np.array(members) % plan.patterns
    values = _blank(plan, n)
    try:
        found = static(plan.sized, stim.weights[pattern], own, simulator=simulator, **_conditions(plan))
        shared = reference_currents(
            plan.sized,
            [devices for devices, _ in deviations],
            point=plan.point,
            corner=plan.corner,
            temperature=plan.temperature,
            simulator=simulator,
        )
    except (HostError, Canceled):
        raise
    except SimulatorError as error:
        values["status"][:], values["reason"][:] = 1, _reason(error)
        return values
    values["synapse_error"][:] = (found.synapse / nominal.synapse[pattern] - 1.0)[:n]
    values["slope_error"][:] = (found.slope / nominal.slope[pattern] - 1.0)[:n]
    values["threshold_error"][:] = ((found.trip - nominal.trip[pattern]) / plan.point.v_unit)[:n]
    # only the drawn capacitor deviates, not what hangs on the membrane beside it
    share = explicit_capacitance(plan.point, plan.synapses, plan.sized.transistors()) / plan.point.c_mem
    values["capacitance_error"][:] = [share * c for _, c in deviations[:n]]
    values["reference_error"][:] = (shared / lines - 1.0)[:n]
    for k in range(n):
        try:
            measured, values["retried"][k] = transients(
                plan,
                stim.weights[pattern[k]],
                stim.input_time,
                simulator,
                float(found.trip[k]),
                deviations=own[k],
                capacitor=deviations[k][1],
            )
        except (HostError, Canceled):
            raise
        except SimulatorError as error:
            values["status"][k], values["reason"][k] = 1, _reason(error)
            continue
        values["status"][k] = 0
        for s, one in enumerate(measured):
            for name in ("spike_time", "v_t_min", "slope", "delay"):
                values[name][k, s] = getattr(one, name)
            values["energy"][k, s] = [one.energy[d] for d in DOMAINS]
    return values


def _blank(plan: TransistorPlan, n: int) -> Values:
    nan = np.nan
    return {
        **{name: np.full((n, plan.random), nan) for name in ("spike_time", "v_t_min", "slope", "delay")},
        "energy": np.full((n, plan.random, len(DOMAINS), 2), nan),
        "synapse_error": np.full((n, plan.synapses), nan),
        "reference_error": np.full((n, 3), nan),
        **{name: np.full(n, nan) for name in ("slope_error", "threshold_error", "capacitance_error")},
        "retried": np.zeros(n, np.int16),
        "status": np.full(n, 1, np.int8),
        "reason": np.full(n, "", "<U160"),
    }


def _reason(error: Exception) -> str:
    return str(error).split("\n")[0][:160]


def _nominal(plan: TransistorPlan, runs: range, simulator: Ngspice) -> Values:
    stim, weights = plan.stimuli, plan.stimuli.nominal_weights()
    found = []
    for k in runs:
        inputs, theta = stim.nominal_time[[k]], float(stim.nominal_theta[k])
        one, _ = transients(plan, weights[k], inputs, simulator, None, CONVERGED, theta=theta)
        found += one
    return {
        "nominal_spike_time": np.array([m.spike_time for m in found]),
        "nominal_slope": np.array([m.slope for m in found]),
        "nominal_v_t_min": np.array([m.v_t_min for m in found]),
        "nominal_energy": np.array([[m.energy[d] for d in DOMAINS] for m in found]),
        "nominal_status": np.zeros(len(found), np.int8),
    }


def _trials(plan: TransistorPlan, trials: range, simulator: Ngspice) -> Values:
    """The first pattern under the first input, again and again with new noise."""
    stim = plan.stimuli
    weights, times = stim.weights[0], stim.input_time[0]
    phases = bench_of(plan, weights, times).phases
    gm = noise.pair_transconductance(
        plan.sized, corner=plan.corner, temperature=plan.temperature, simulator=simulator
    )
    found = []
    for k in trials:
        rng = generator(plan.entropy, PLAN, 11, k)
        trial = noise.draw(
            weights, times, phases, plan.point, plan.sized, gm, rng, temperature=plan.temperature
        )
        one, _ = transients(plan, weights, times[None], simulator, None, noise=trial)
        found += one
    return {
        "trial_spike_time": np.array([m.spike_time for m in found]),
        "trial_v_t_min": np.array([m.v_t_min for m in found]),
        "trial_status": np.zeros(len(found), np.int8),
    }
