"""Carry out a campaign: batches of samples through ngspice into a zarr store that can be resumed.

Every batch owns one region of the store, written by this process alone when its last stimulus is done.
A sample whose status is still -1 was not finished and is simulated again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.ideal.crossings import fast_form
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.netlist import build
from circuits.ideal.stimulus import stimulus
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign import store
from montecarlo.campaign.batches import RETRIES, draw_samples, elsewhere, in_threads
from montecarlo.campaign.dask_cluster import remote
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.schema import CHARACTERIZATION, empty, open_dataset, package_version


def run(
    plan: Plan,
    path: str | Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Simulate every sample of `plan` that the store at `path` does not hold yet.

    Parameters
    ----------
    path : path
        zarr store; made if missing, resumed if it belongs to the same plan.
    workers : int
        ngspice processes at a time, here.
    scheduler : str, optional
        Address of a dask.distributed scheduler whose workers simulate instead
        (`montecarlo.campaign.dask_cluster`). The same plan gives the same bits.
    progress : callable, optional
        Called with (samples done, samples in all).

    Raises
    ------
    InputError
        If `path` holds something else, cannot be written, or another process writes there; if the
        scheduler does not answer.
    SimulatorError
        If ngspice is missing or the machine has no room for it. A batch that fails for another reason,
        three times, is data: its samples get status 1.
    """
    path = Path(path)
    simulator = Ngspice(retries=RETRIES)
    form = fast_form(simulator.program)
    with store.locked(path):
        _open_store(plan, path, simulator, form)
        status = open_dataset(path, CHARACTERIZATION)["status"].values
        todo = np.unique(np.flatnonzero(status == -1) // plan.batch).tolist()
        done = plan.samples - sum(min(plan.batch, plan.samples - b * plan.batch) for b in todo)
        if progress:
            progress(done, plan.samples)
        if scheduler and todo:
            found = remote(scheduler, partial(elsewhere, plan, simulator.version, form), todo)
        else:
            found = in_threads(plan, todo, workers, simulator, form)
        with contextlib.closing(found):
            for batch, values in found:
                first, n = batch * plan.batch, len(values["status"])
                store.write(path, (slice(first, first + n),), values)
                done += n
                if progress:
                    progress(done, plan.samples)
    return open_dataset(path, CHARACTERIZATION)


def _open_store(plan: Plan, path: Path, simulator: Ngspice, form: str) -> None:
    if path.exists():
        check_held(plan, path, CHARACTERIZATION, {"ngspice_version": simulator.version, "deck_form": form})
        store.clear(path)
        return
    stim = plan.stimuli
    attrs: dict[str, object] = {
        "technology": plan.technology,
        "operating_point": plan.point.to_json(),
        "entropy": plan.entropy,
        "plan": plan.to_json(),
        "plan_hash": plan.hash,
        "ngspice_version": simulator.version,
        "deck_form": form,
        "package_version": package_version(),
        "deck_hash": _deck_hash(plan),
    }
    coords = {
        "stimulus": np.array(stim.label),
        "synapse": np.arange(plan.synapses),
        "pattern": np.arange(plan.patterns),
    }
    template = empty(1, coords, attrs)
    template["input_time"] = (("stimulus", "synapse"), stim.input_time)
    template["input_time"].attrs = {"units": "tau_c", "long_name": "input spike time; inf = silent"}
    template["theta"] = ("stimulus", stim.theta, {"units": "1", "long_name": "nominal threshold"})
    template["weight"] = (("pattern", "synapse"), stim.weights, {"units": "1", "long_name": "weight"})
    store.create(template, path, {"sample": plan.samples}, {"sample": plan.batch})


def check_held(plan: Any, path: Path, schema: str, made_with: Mapping[str, str]) -> None:
    """Refuse a store of another plan, or one whose other samples came from another simulator.

    Parameters
    ----------
    plan : Plan
        With `hash` and `to_json`.
    made_with : dict
        Attributes that must be the same if samples are still to come.
    """
    held = open_dataset(path, schema)
    if held.attrs.get("plan_hash") != plan.hash:
        old, new = json.loads(held.attrs.get("plan", "{}")), json.loads(plan.to_json())
        keys = [k for k in sorted(old | new) if old.get(k) != new.get(k)]
        differs = [f"{k} {old.get(k)!r} there, {new.get(k)!r} here" for k in keys]
        raise InputError(
            f"{path} belongs to another campaign ({'; '.join(differs)[:300]}); choose another --out, "
            "or remove it"
        )
    for key, mine in made_with.items():
        theirs = held.attrs.get(key, mine)
        if theirs != mine and np.any(held["status"].values == -1):
            raise InputError(
                f"{path} was begun with {key.replace('_', ' ')} {theirs}, here it is {mine}: the rest would "
                "not be the same bits; choose another --out"
            )


def _deck_hash(plan: Plan) -> str:
    """Fingerprint of the deck of sample 0 under the last stimulus: what ngspice is really given."""
    stim, first = plan.stimuli, np.array([0])
    layer = stim.layer(len(stim.label) - 1, first)
    placed = stimulus(layer, stim.input_time[-1], plan.point)
    deck = build(layer_cell(layer, placed, plan.point, draw_samples(plan, first)))
    return text_hash(deck.text + "".join(f"{k}\n{v}" for k, v in sorted(deck.files.items())))


def text_hash(text: str) -> str:
    """Fingerprint of what ngspice is given."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
