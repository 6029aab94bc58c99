"""A characterization at transistor level: its dataset, and how it is carried out, resumed and shared out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits.benches.bias_line_errors import LINES
from circuits.benches.neuron import explicit_capacitance
from circuits.benches.neuron_waveforms import DOMAINS
from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import HostError, Ngspice, parallel
from montecarlo.campaign import store
from montecarlo.campaign.conditions import Settings
from montecarlo.campaign.dask_cluster import remote
from montecarlo.campaign.runner import check_held, text_hash
from montecarlo.campaign.schema import TRANSISTORS, open_dataset, package_version, with_units
from montecarlo.campaign.transistor_batches import (
    NOMINAL,
    SAMPLE,
    TRIAL,
    Values,
    batches,
    bench_of,
    drawn,
    run_batch,
)
from montecarlo.campaign.transistor_plan import TransistorPlan

RETRIES = 1
AXES = ("size", "current", "capacitance", "supply", "corner", "temperature")
"""Axes of a sweep that a transistor-level campaign has."""
SUPPLY, FACTOR = 1.25, 10.0
"""How far from the technology's own a supply, and a current or a capacitance may be."""
Dims = tuple[str, ...]
VARIABLES: dict[str, tuple[Dims, str, str]] = {
    "spike_time": (("sample", "stimulus"), "tau_c", "spike time after t_min, transient; inf = silent"),
    "v_t_min": (("sample", "stimulus"), "1", "membrane potential at t_min"),
    "slope": (("sample", "stimulus"), "1", "dV/dt of the ramp below the threshold, per tau_c"),
    "delay": (("sample", "stimulus"), "tau_c", "from the comparator's trip voltage to the spike"),
    "energy": (("sample", "stimulus", "domain", "phase"), "J", "supply energy"),
    "synapse_error": (("sample", "synapse"), "1", "relative error of a synapse's current, operating point"),
    "slope_error": (("sample",), "1", "relative error of the slope current, operating point"),
    "threshold_error": (("sample",), "1", "offset of the trip voltage, units of potential"),
    "capacitance_error": (("sample",), "1", "relative error of the membrane capacitance"),
    "reference_error": (
        ("sample", "line"),
        "1",
        "relative error of all currents of one bias line of a layer",
    ),
    "retried": (("sample",), "1", "transients that converged at the second, more exact setting only"),
    "status": (("sample",), "1", "0 = measured, 1 = failed, -1 = not run yet"),
    "reason": (("sample",), "1", "why a sample failed"),
    "nominal_spike_time": (("nominal",), "tau_c", "spike time without mismatch"),
    "nominal_slope": (("nominal",), "1", "dV/dt of the ramp without mismatch"),
    "nominal_v_t_min": (("nominal",), "1", "membrane potential at t_min without mismatch"),
    "nominal_energy": (("nominal", "domain", "phase"), "J", "supply energy without mismatch"),
    "nominal_status": (("nominal",), "1", "0 = measured, -1 = not run yet"),
    "trial_spike_time": (("trial",), "tau_c", "spike time with device noise, the first input"),
    "trial_v_t_min": (("trial",), "1", "membrane potential at t_min with device noise"),
    "trial_status": (("trial",), "1", "0 = measured, -1 = not run yet"),
}
"""Name -> (dims, units, long_name)."""
TYPES = {"reason": "<U160", "retried": "i2", "status": "i1", "nominal_status": "i1", "trial_status": "i1"}


@dataclass(frozen=True)
class TransistorCampaign(TransistorPlan):
    """A plan that can be run."""

    @classmethod
    def characterize(
        cls,
        technology: Technology,
        samples: int,
        entropy: int = 0,
        *,
        synapses: int = 8,
        settings: Settings | None = None,
        **options: Any,
    ) -> TransistorCampaign:
        """The standard protocol.

        Parameters
        ----------
        settings : dict, optional
            Conditions by axis of a sweep: AXES.

        Raises
        ------
        InputError
            For an axis that transistors do not have: their spread follows from their size.
        """
        settings = dict(settings or {})
        if unknown := sorted(set(settings) - set(AXES)):
            raise InputError(
                f"the transistors of {technology.name!r} have no {unknown[0]!r} to set; their spread follows "
                f"from their area. Axes: {', '.join(AXES)}"
            )
        point = point_at(technology.operating_point, settings)
        explicit_capacitance(point, synapses, technology.transistors())  # refused before anything is drawn
        return cls(
            technology.name,
            point,
            samples,
            synapses,
            entropy,
            corner=settings.get("corner") or technology.corners[0],
            temperature=float(settings.get("temperature", 27.0)),
            area=float(settings.get("size", 1.0)),
            **options,
        )

    def run(
        self,
        path: str | Path,
        *,
        workers: int = 1,
        scheduler: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """Simulate what is not there yet into a zarr store; see `montecarlo.campaign.runner.run`."""
        path, simulator = Path(path), Ngspice(retries=RETRIES)
        with store.locked(path):
            _open_store(self, path, simulator)
            held = open_dataset(path, TRANSISTORS)
            states = {
                part: held["status" if part == SAMPLE else f"{part}_status"].values
                for part in (NOMINAL, SAMPLE, TRIAL)
            }
            todo = [b for b in batches(self) if np.any(states[b[0]][b[1] : b[2]] == -1)]
            total = self.samples + self.nominal + self.trials
            done = total - sum(b[2] - b[1] for b in todo)
            if progress:
                progress(done, total)
            with contextlib.closing(_carry_out(self, todo, workers, scheduler, simulator)) as found:
                for k, values in found:
                    first, last = todo[k][1:]
                    store.write(path, (slice(first, last),), values)
                    done += last - first
                    if progress:
                        progress(done, total)
        return open_dataset(path, TRANSISTORS)


def point_at(point: OperatingPoint, settings: Settings) -> OperatingPoint:
    """The operating point under the conditions of an axis; `current` alone changes the volts per unit.

    Raises
    ------
    InputError
        For a value so far from the technology's own that its circuit cannot work.
    """
    named = {"current": "i_unit", "capacitance": "c_mem", "supply": "vdd"}
    given = {f: float(settings[k]) for k, f in named.items() if k in settings}
    for axis, field in named.items():
        usual, far = getattr(point, field), SUPPLY if field == "vdd" else FACTOR
        if field in given and not usual / far <= given[field] <= usual * far:
            raise InputError(
                f"{axis} {given[field]:g}: these cells are made for {usual:g}; stay within {usual / far:.3g} "
                f"to {usual * far:.3g} (SI units)"
            )
    if "vdd" in given:
        given["v_high"] = min(point.v_high, given["vdd"])
    return dataclasses.replace(point, **given)


def _carry_out(
    plan: TransistorCampaign,
    todo: list[tuple[str, int, int]],
    workers: int,
    scheduler: str | None,
    simulator: Ngspice,
) -> Generator[tuple[int, Values], None, None]:
    if scheduler and todo:
        yield from remote(scheduler, partial(_elsewhere, plan, simulator.version, todo), range(len(todo)))
    else:
        tasks = (partial(run_batch, plan, batch, simulator) for batch in todo)
        yield from parallel(tasks, workers, simulator)


@lru_cache(maxsize=1)
def _simulator() -> Ngspice:
    """One a worker process."""
    return Ngspice(retries=RETRIES)


def _elsewhere(plan: TransistorCampaign, version: str, todo: list[tuple[str, int, int]], k: int) -> Values:
    simulator = _simulator()
    if simulator.version != version:
        raise HostError(f"a worker has ngspice {simulator.version}, this campaign uses {version}")
    return run_batch(plan, todo[k], simulator)


def _open_store(plan: TransistorCampaign, path: Path, simulator: Ngspice) -> None:
    if path.exists():
        made_with = {"ngspice_version": simulator.version, "deck_hash": _deck_hash(plan)}
        check_held(plan, path, TRANSISTORS, made_with)
        store.clear(path)
        return
    stim = plan.stimuli
    coords: dict[str, Any] = {
        "stimulus": [f"random_{r}" for r in range(plan.random)],
        "synapse": np.arange(plan.synapses),
        "pattern": np.arange(plan.patterns),
        "domain": list(DOMAINS),
        "phase": ["input", "firing"],
        "line": list(LINES),
    }
    sizes = {"sample": plan.samples, "nominal": plan.nominal, "trial": plan.trials}
    lengths = {**dict.fromkeys(sizes, 1), **{k: len(v) for k, v in coords.items()}}
    data: dict[str, Any] = {}
    for name, (dims, units, text) in VARIABLES.items():
        kind = np.dtype(TYPES.get(name, "f8"))
        fill = np.full([lengths[d] for d in dims], np.nan if kind.kind == "f" else kind.type())
        data[name] = (dims, fill.astype(kind), {"units": units, "long_name": text})
    attrs = {
        "schema": TRANSISTORS,
        "technology": plan.technology,
        "operating_point": plan.point.to_json(),
        "entropy": plan.entropy,
        "plan": plan.to_json(),
        "plan_hash": plan.hash,
        "ngspice_version": simulator.version,
        "package_version": package_version(),
        "deck_hash": _deck_hash(plan),
    }
    template = xr.Dataset(data, {**{d: [0] for d in sizes}, **coords}, attrs)
    whole = {
        "weight": (("pattern", "synapse"), stim.weights, "1", "weight; sample k carries pattern k modulo"),
        "input_time": (("stimulus", "synapse"), stim.input_time, "tau_c", "input spike time; inf = silent"),
        "nominal_theta": (("run",), stim.nominal_theta, "1", "threshold of the nominal runs"),
        "nominal_input_time": (("run", "synapse"), stim.nominal_time, "tau_c", "inputs of the nominal runs"),
        "nominal_weight": (("run", "synapse"), stim.nominal_weights(), "1", "weights of the nominal runs"),
    }
    for name, (dims, values, units, text) in whole.items():
        template[name] = (dims, values, {"units": units, "long_name": text})
    chunk = {"sample": plan.batch, NOMINAL: 8, TRIAL: 8}
    store.create(with_units(template), path, {d: n for d, n in sizes.items() if n}, chunk)


def _deck_hash(plan: TransistorCampaign) -> str:
    """Fingerprint of the deck of sample 0: model cards, sizes and, through the deviations, the matching."""
    stim, (deviations, capacitor) = plan.stimuli, drawn(plan, 0)
    own = {path: d for path, d in deviations.items() if not path.startswith("ref_")}
    bench = bench_of(plan, stim.weights[0], stim.input_time[0], deviations=own, capacitor=capacitor)
    return text_hash(bench.deck.text)
