"""Carry out a campaign: batches of samples through ngspice into a zarr store that can be resumed.

Every batch owns one region of the store and is written when its last stimulus is done. A sample
whose status is still -1 was not finished and is simulated again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from circuits.errors import InputError, SimulatorError
from circuits.layer import LayerMismatch, LayerResponse
from circuits.layer_cell import layer_cell
from circuits.netlist import build
from circuits.network import simulate
from circuits.ngspice import Ngspice, parallel
from circuits.stimulus import stimulus
from montecarlo.designs import normals
from montecarlo.mismatch import NEURON, TERMS
from montecarlo.plan import Plan
from montecarlo.schema import (
    CHARACTERIZATION,
    MEASURED,
    VARIABLES,
    empty,
    open_dataset,
    package_version,
)
from montecarlo.seeds import COMMON, generator


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


def run(
    plan: Plan,
    path: str | Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Simulate every sample of `plan` that the store at `path` does not hold yet.

    Parameters
    ----------
    path : path
        zarr store; made if missing, resumed if it belongs to the same plan.
    workers : int
        ngspice processes at a time.
    progress : callable, optional
        Called with (samples done, samples in all).

    Raises
    ------
    InputError
        If `path` holds something else.
    SimulatorError
        If ngspice is missing. A batch that fails is data: its samples get status 1.
    """
    path = Path(path)
    simulator = Ngspice()
    _open_store(plan, path, simulator)
    status = open_dataset(path, CHARACTERIZATION)["status"].values
    batches = [np.arange(k, min(k + plan.batch, plan.samples)) for k in range(0, plan.samples, plan.batch)]
    todo = [b for b in batches if np.any(status[b] == -1)]
    done = plan.samples - sum(len(b) for b in todo)
    if progress:
        progress(done, plan.samples)
    for batch in _simulate(plan, todo, workers, simulator):
        region = {"sample": slice(int(batch.sample[0]), int(batch.sample[-1]) + 1)}
        batch = batch.drop_vars(["sample", "stimulus", "synapse"])
        try:  # status last: a sample cut off in mid-write is simulated again
            batch.drop_vars("status").to_zarr(path, region=region, consolidated=False)
            batch[["status"]].to_zarr(path, region=region, consolidated=False)
        except OSError as error:
            raise InputError(
                f"cannot write {path}: {error.strerror or error}; what was done is safe: free some "
                "space and give the same command again"
            ) from None
        done += batch.sizes["sample"]
        if progress:
            progress(done, plan.samples)
    return open_dataset(path, CHARACTERIZATION)


def _open_store(plan: Plan, path: Path, simulator: Ngspice) -> None:
    if path.exists():
        held = open_dataset(path, CHARACTERIZATION).attrs
        if held.get("plan_hash") != plan.hash:
            old, new = json.loads(held.get("plan", "{}")), json.loads(plan.to_json())
            keys = [k for k in sorted(old | new) if old.get(k) != new.get(k)]
            differs = [f"{k} {old.get(k)!r} there, {new.get(k)!r} here" for k in keys]
            raise InputError(
                f"{path} belongs to another campaign ({'; '.join(differs)[:300]}); choose another --out, "
                "or remove it"
            )
        return
    stim = plan.stimuli
    attrs: dict[str, object] = {
        "technology": plan.technology,
        "operating_point": plan.point.to_json(),
        "entropy": plan.entropy,
        "plan": plan.to_json(),
        "plan_hash": plan.hash,
        "ngspice_version": simulator.version,
        "package_version": package_version(),
        "deck_hash": _deck_hash(plan),
    }
    coords = {
        "stimulus": np.array(stim.label),
        "synapse": np.arange(plan.synapses),
        "pattern": np.arange(plan.patterns),
    }
    dataset = empty(plan.samples, coords, attrs)
    dataset["input_time"] = (("stimulus", "synapse"), stim.input_time)
    dataset["input_time"].attrs = {"units": "tau_c", "long_name": "input spike time; inf = silent"}
    dataset["theta"] = ("stimulus", stim.theta, {"units": "1", "long_name": "nominal threshold"})
    dataset["weight"] = (("pattern", "synapse"), stim.weights, {"units": "1", "long_name": "weight"})
    chunks = {
        v: {"chunks": tuple(plan.batch if d == "sample" else dataset.sizes[d] for d in dims)}
        for v, (dims, _, _) in VARIABLES.items()
    }
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.to_zarr(partial, encoding=chunks, consolidated=True, zarr_format=2)
        partial.rename(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _deck_hash(plan: Plan) -> str:
    """Fingerprint of the deck of sample 0 under the last stimulus: what ngspice is really given."""
    stim, first = plan.stimuli, np.array([0])
    layer = stim.layer(len(stim.label) - 1, first)
    placed = stimulus(layer, stim.input_time[-1], plan.point)
    deck = build(layer_cell(layer, placed, plan.point, draw_samples(plan, first)))
    text = deck.text + "".join(f"{k}\n{v}" for k, v in sorted(deck.files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _simulate(
    plan: Plan, batches: list[np.ndarray], workers: int, simulator: Ngspice
) -> Iterator[xr.Dataset]:
    """Finished batches, in order of completion. One task is one stimulus of one batch."""
    stim = plan.stimuli
    n_stim = len(stim.label)
    drawn: dict[int, LayerMismatch] = {}
    found: dict[int, dict[int, LayerResponse | SimulatorError]] = {}

    def tasks() -> Iterator[Callable[[], LayerResponse | SimulatorError]]:
        for b, samples in enumerate(batches):
            # a deck is always full, so that a sample's numbers do not depend on how many were asked for
            whole = np.arange(samples[0], samples[0] + plan.batch)
            drawn[b], found[b] = draw_samples(plan, whole), {}
            for s in range(n_stim):
                yield _task(plan, s, whole, drawn[b], simulator)

    for index, response in parallel(tasks(), workers, simulator):
        b, s = divmod(index, n_stim)
        found[b][s] = response
        if len(found[b]) == n_stim:
            yield _batch(plan, batches[b], drawn.pop(b), found.pop(b))


def _task(
    plan: Plan, s: int, samples: np.ndarray, mismatch: LayerMismatch, simulator: Ngspice
) -> Callable[[], LayerResponse | SimulatorError]:
    def simulate_one() -> LayerResponse | SimulatorError:
        stim = plan.stimuli
        if stim.label[s] == "reference":  # the test current is perfect
            part = dataclasses.replace(mismatch, slope=np.zeros_like(mismatch.slope))
        else:
            part = mismatch
        layer = stim.layer(s, samples)
        try:
            return simulate(layer, stim.input_time[s], plan.point, part, simulator=simulator)
        except SimulatorError as error:
            return error

    return simulate_one


def _batch(
    plan: Plan,
    samples: np.ndarray,
    mismatch: LayerMismatch,
    found: dict[int, LayerResponse | SimulatorError],
) -> xr.Dataset:
    stim = plan.stimuli
    coords = {"stimulus": np.array(stim.label), "synapse": np.arange(plan.synapses)}
    batch = empty(len(samples), coords, {}).assign_coords(sample=samples)
    names = {"spike_time": "delay"}
    for s, response in found.items():
        if isinstance(response, SimulatorError):
            continue
        for key in MEASURED:
            batch[key][:, s] = getattr(response, names.get(key, key))[0, : len(samples)]
    reasons = [str(r).split("\n")[0] for r in found.values() if isinstance(r, SimulatorError)]
    batch["status"].values[:] = 1 if reasons else 0
    batch["reason"].values[:] = reasons[0] if reasons else ""
    for key in ("synapse", "slope", "threshold", "capacitance"):
        batch[f"drawn_{key}"].values[:] = getattr(mismatch, key)[0, : len(samples)]
    return batch
