"""Carry out a campaign: batches of runs into a zarr store that can be resumed, for every kind of neuron.

Every batch owns one region of the store, written by this process alone when its last step is done. A run
whose status is still -1 was not finished and is simulated again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from circuits.simulation import LEVELS
from circuits.spice.ngspice import HostError, Ngspice, parallel
from montecarlo.campaign.dask_cluster import remote
from montecarlo.campaign.ideal_neuron import IdealUnderTest
from montecarlo.campaign.neuron_under_test import RETRIES, Batch, NeuronUnderTest, Work, coordinates
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.schema import Values, empty, open_dataset, package_version
from montecarlo.campaign.transistor_runs import TransistorsUnderTest
from montecarlo.stores import store


def kind_of(technology: Technology) -> type[IdealUnderTest] | type[TransistorsUnderTest]:
    """What is under test in a technology."""
    return TransistorsUnderTest if technology.process else IdealUnderTest


@lru_cache(maxsize=4)
def neuron_of(plan: Plan) -> NeuronUnderTest:
    """The neuron that a plan draws and simulates."""
    return kind_of(Technology.load(plan.technology))(plan)


def simulator_for(neuron: NeuronUnderTest, level: str) -> Ngspice | None:
    """What simulates at a level of fidelity; None: the closed form.

    Parameters
    ----------
    neuron : NeuronUnderTest
    level : {"ngspice", "closed-form"}

    Raises
    ------
    InputError
        If the level is unknown, or this kind of neuron cannot be characterized at it.
    """
    if level not in LEVELS:
        raise InputError(f"unknown level {level!r}; choose from {', '.join(LEVELS)}")
    neuron.check_level(level)
    return Ngspice(retries=RETRIES) if level == "ngspice" else None


def unfinished(neuron: NeuronUnderTest, path: Path) -> list[Batch]:
    """Batches of which a run was not done.

    Parameters
    ----------
    neuron : NeuronUnderTest
    path : Path
        Of the store.
    """
    with open_dataset(path, to_resume=True) as dataset:
        status = {part.name: dataset[part.status].values for part in neuron.parts}
    batches = [batch for part in neuron.parts for batch in part.batches()]
    return [b for b in batches if np.any(status[b.part][b.first : b.last] == -1)]


def carry_out(
    neuron: NeuronUnderTest,
    batches: Sequence[Batch],
    workers: int,
    scheduler: str | None,
    simulator: Ngspice | None,
) -> Generator[tuple[int, Values], None, None]:
    """Simulate batches, in this process or by the workers of a scheduler.

    Parameters
    ----------
    neuron : NeuronUnderTest
    batches : sequence of Batch
    workers : int
        ngspice processes at a time, without a scheduler.
    scheduler : str, optional
        Address of a dask scheduler.
    simulator : Ngspice, optional
        None: the closed form.

    Yields
    ------
    number, values
        Place in `batches`, and its values, in order of completion.
    """
    if not scheduler:
        return _here(neuron, batches, workers, simulator)
    version = simulator.version if simulator else None
    return remote(scheduler, partial(_elsewhere, neuron.plan, version, batches), range(len(batches)))


def _here(
    neuron: NeuronUnderTest, batches: Sequence[Batch], workers: int, simulator: Ngspice | None
) -> Generator[tuple[int, Values], None, None]:
    """The steps of all batches in a thread pool over ngspice processes."""
    begun: dict[int, tuple[Work, dict[int, Any]]] = {}

    def step(k: int, i: int, simulate: Callable[[], Any]) -> tuple[int, int, Any]:
        return k, i, simulate()

    def steps() -> Iterator[Callable[[], tuple[int, int, Any]]]:
        for k, batch in enumerate(batches):
            begun[k] = neuron.work(batch, simulator), {}
            for i, simulate in enumerate(begun[k][0].steps):
                yield partial(step, k, i, simulate)

    ended = parallel(steps(), workers, simulator) if simulator else enumerate(s() for s in steps())
    for _, (k, i, result) in ended:
        work, results = begun[k]
        results[i] = result
        if len(results) == len(work.steps):
            del begun[k]
            yield k, work.collect([results[i] for i in range(len(results))])


@lru_cache(maxsize=1)
def _simulator() -> Ngspice:
    """One a worker process."""
    return Ngspice(retries=RETRIES)


def _elsewhere(plan: Plan, version: str | None, batches: Sequence[Batch], k: int) -> Values:
    """A whole batch in the process of a worker; `version` of ngspice, None: the closed form.

    Raises
    ------
    HostError
        If the worker has another ngspice than the campaign began with: its bits could differ.
    """
    simulator = _simulator() if version else None
    if simulator and simulator.version != version:
        raise HostError(f"a worker has ngspice {simulator.version}, this campaign uses {version}")
    work = neuron_of(plan).work(batches[k], simulator)
    return work.collect([simulate() for simulate in work.steps])


def open_store(neuron: NeuronUnderTest, path: Path, simulator: Ngspice | None) -> None:
    """Make the store, or see that the one that is there belongs to the same campaign.

    Parameters
    ----------
    neuron : NeuronUnderTest
    path : Path
        Of the store.
    simulator : Ngspice, optional
        None: the closed form.

    Raises
    ------
    InputError
        If the store is of another plan, or was begun with another simulator.
    """
    plan, stim = neuron.plan, neuron.stimuli
    origin = {"level": "closed-form", "ngspice_version": "none", "deck_hash": "none"}
    if simulator:
        form = neuron.origin(simulator)
        digest = hashlib.sha256(form.pop("deck").encode()).hexdigest()[:16]
        origin = {"level": "ngspice", "ngspice_version": simulator.version, **form, "deck_hash": digest}
    if path.exists():
        _check_belongs(neuron, path, origin)
        store.clear(path)
        return
    attrs = {
        "technology": plan.technology,
        "operating_point": plan.point.to_json(),
        "entropy": plan.entropy,
        "plan": plan.to_json(),
        "plan_hash": plan.hash,
        "package_version": package_version(),
        "extraction": neuron.extraction,
        "t_min": stim.t_min,
        "window": stim.window,
        **origin,
    }
    parts = neuron.parts
    template = empty(dict.fromkeys((p.name for p in parts), 1), coordinates(neuron), stim.inputs, attrs)
    store.create(template, path, {p.name: p.count for p in parts}, {p.name: p.batch for p in parts})


def _check_belongs(neuron: NeuronUnderTest, path: Path, origin: Mapping[str, str]) -> None:
    """Refuse a store of another plan, or one whose other runs came from another simulator."""
    plan = neuron.plan
    with open_dataset(path, to_resume=True) as dataset:
        attrs, labels = dataset.attrs, dataset["stimulus"].values.tolist()
    if attrs.get("plan_hash") != plan.hash:
        old, new = json.loads(attrs.get("plan", "{}")), json.loads(plan.to_json())
        keys = [k for k in sorted(old | new) if old.get(k) != new.get(k)]
        differs = [f"{k} {old.get(k)!r} there, {new.get(k)!r} here" for k in keys]
        raise InputError(
            f"{path} belongs to another campaign ({'; '.join(differs)[:300]}); choose another --out, "
            "or remove it"
        )
    if labels != list(neuron.stimuli.label):
        raise InputError(
            f"{path} was begun by an earlier version, which asked {len(labels)} stimuli instead of "
            f"{len(neuron.stimuli.label)}; choose another --out, or remove it"
        )
    for key, here in origin.items():
        if attrs.get(key, here) != here and unfinished(neuron, path):
            raise InputError(
                f"{path} was begun with {key.replace('_', ' ')} {attrs[key]}, here it is {here}: the rest "
                "would not be the same bits; choose another --out"
            )
