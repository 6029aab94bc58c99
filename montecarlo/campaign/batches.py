"""One batch of a campaign: draw its samples, ask them everything, put the answers in order.

A batch is the unit of everything that can be lost or handed out: a region of the store, a task of a
worker. Its numbers depend on the plan and its place only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np

from circuits.errors import SimulatorError
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.model.layer import LayerMismatch, LayerResponse
from circuits.simulation import simulate
from circuits.spice.ngspice import Canceled, HostError, Ngspice, parallel
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.schema import FILL, MEASURED, VARIABLES
from montecarlo.mismatch.law import NEURON, TERMS
from montecarlo.mismatch.seeds import COMMON, generator
from montecarlo.mismatch.space_filling import normals

RETRIES = 2
"""How often a simulation that failed is tried again before its failure is kept as data."""
Answer = LayerResponse | SimulatorError
Values = dict[str, np.ndarray]
"""Variable name -> array (sample, ...) of one batch."""


def draw_samples(plan: Plan, samples: np.ndarray) -> LayerMismatch:
    """Deviations of the given samples, as one layer whose neurons are the samples."""
    weights = plan.stimuli.weights
    z = normals(plan.design, plan.entropy, samples, plan.samples, len(NEURON) + plan.synapses)
    drawn = []
    for k, own in zip(samples.tolist(), z, strict=True):
        # one by one: a sample's bits do not depend on its neighbors. Every sample is from a chip of its own
        common = generator(plan.entropy, COMMON, k).standard_normal(len(TERMS)) if plan.law.common else None
        neuron, synapse = own[: len(NEURON), None], own[None, len(NEURON) :]
        drawn.append(plan.law.deviations(weights[[k % len(weights)]], neuron, synapse, common))
    fields = [f.name for f in dataclasses.fields(LayerMismatch)]
    return LayerMismatch(**{f: np.concatenate([d[f] for d in drawn])[None] for f in fields})


def members(plan: Plan, batch: int) -> np.ndarray:
    """Samples of a batch; always as many as a batch holds.

    A deck is always full, so that a sample's numbers do not depend on how many were asked for.
    """
    return np.arange(batch * plan.batch, (batch + 1) * plan.batch)


def in_threads(
    plan: Plan, batches: list[int], workers: int, simulator: Ngspice, form: str
) -> Generator[tuple[int, Values], None, None]:
    """Finished batches, in order of completion. One task is one stimulus of one batch."""
    n_stim = len(plan.stimuli.label)
    drawn: dict[int, LayerMismatch] = {}
    found: dict[int, dict[int, Answer]] = {}

    def tasks() -> Iterator[Callable[[], Answer]]:
        for batch in batches:
            samples = members(plan, batch)
            drawn[batch], found[batch] = draw_samples(plan, samples), {}
            for s in range(n_stim):
                yield partial(_ask, plan, s, samples, drawn[batch], simulator, form)

    for index, answer in parallel(tasks(), workers, simulator):
        batch, s = batches[index // n_stim], index % n_stim
        found[batch][s] = answer
        if len(found[batch]) == n_stim:
            yield batch, _in_order(plan, batch, drawn.pop(batch), found.pop(batch))


@lru_cache(maxsize=1)
def _simulator() -> Ngspice:
    """One a worker process."""
    return Ngspice(retries=RETRIES)


def elsewhere(plan: Plan, version: str, form: str, batch: int) -> Values:
    """A whole batch in the process of a worker.

    Raises
    ------
    HostError
        If the worker has another ngspice than the campaign began with: its bits could differ.
    """
    simulator = _simulator()
    if simulator.version != version:
        raise HostError(f"a worker has ngspice {simulator.version}, this campaign uses {version}")
    samples = members(plan, batch)
    drawn = draw_samples(plan, samples)
    stimuli = range(len(plan.stimuli.label))
    found = {s: _ask(plan, s, samples, drawn, simulator, form) for s in stimuli}
    return _in_order(plan, batch, drawn, found)


def _ask(
    plan: Plan, s: int, samples: np.ndarray, mismatch: LayerMismatch, simulator: Ngspice, form: str
) -> Answer:
    """One stimulus; a failure of the circuit is an answer, a failure of the machine is not."""
    stim = plan.stimuli
    if stim.label[s] == "reference":  # the test current is perfect
        mismatch = dataclasses.replace(mismatch, slope=np.zeros_like(mismatch.slope))
    layer, times = stim.layer(s, samples), stim.input_time[s]
    try:
        return simulate(layer, times, IdealNeuron(plan.point, form), mismatch, simulator=simulator)
    except (HostError, Canceled):
        raise
    except SimulatorError as error:
        return error


def _in_order(plan: Plan, batch: int, mismatch: LayerMismatch, found: dict[int, Answer]) -> Values:
    n = min(plan.batch, plan.samples - batch * plan.batch)
    sizes = {"sample": n, "stimulus": len(plan.stimuli.label), "synapse": plan.synapses}
    values: dict[str, Any] = {
        key: np.full([sizes[d] for d in dims], FILL.get(key, np.array(np.nan)))
        for key, (dims, _, _) in VARIABLES.items()
    }
    reasons = []
    for s in sorted(found):  # the first reason must not depend on who was quicker
        answer = found[s]
        if isinstance(answer, SimulatorError):
            reasons.append(str(answer).split("\n")[0])
            continue
        for key in MEASURED:
            field = "delay" if key == "spike_time" else key
            values[key][:, s] = getattr(answer, field)[0, :n]
    values["status"][:] = 1 if reasons else 0
    values["reason"][:] = reasons[0] if reasons else ""
    for key in ("synapse", "slope", "threshold", "capacitance"):
        values[f"drawn_{key}"] = getattr(mismatch, key)[0, :n]
    return values
