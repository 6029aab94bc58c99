r"""DC solutions of many copies at once: currents of synapses and slope sources, trip voltages, references.

A mirror's error does not need a transient: one operating point with every current flowing into a voltage
source at mid-swing shows them all. A comparator's trip voltage is where it settles as a follower: its
output tied to the input that inverts.

.. math:: e_{ij} = I_{ij} / I_{ij}^{nominal} - 1, \qquad \beta_i = I_{B,i} / I_B^{nominal} - 1, \qquad
          o_i = V_{trip,i} - V_{trip}^{nominal}

The current of a comparator's tail, which sets its delay, is that of a copy of its device at a low drain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from circuits.benches.bias_lines import references, source_level, supplies
from circuits.benches.synapses import unit_devices
from circuits.benches.testbench import Bench
from circuits.blocks.comparator import OTA, ZERO_IDLE
from circuits.blocks.slope_source import SLOPE_SOURCE
from circuits.blocks.subcircuit import Block, Mos
from circuits.blocks.synapse import SINK, SOURCE
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice

Deviations = Mapping[str, tuple[float, float]]
TOGETHER = 8
"""Copies in one deck: 0.5 ms CPU a mirror or comparator; 64 in one deck take 2.4 times that."""
LOW = 0.25
"""Drain of a tail device that is measured, in parts of the supply."""
TAIL = Block("tail_device", ("out", "nbt"), (Mos("m5", "tail", "out", "nbt", "0", "0"),))


@dataclass(frozen=True)
class Static:
    """What an operating point shows of each copy."""

    synapse: Array  #: (copy, synapse) current [A], > 0 into the membrane; nan where W = 0
    slope: Array  #: (copy,) current of the slope source [A]; nan: a read-out has none, as below
    trip: Array  #: (copy,) trip voltage of the comparator [V]
    tail: Array  #: (copy,) current of the comparator's tail [A]; nan: the zero-idle stage has none


def _follower(comparator: Block) -> Block:
    """The same transistors with the output tied to the inverting input."""

    def tied(part: object) -> object:
        if not isinstance(part, Mos):
            return part
        nets = {f: "vm" for f in ("drain", "gate", "source") if getattr(part, f) == "o"}
        return dataclasses.replace(part, **nets)

    return dataclasses.replace(
        comparator,
        name=f"{comparator.name}_follower",
        parts=tuple(tied(p) for p in comparator.parts),  # type: ignore[misc]
    )


def static(
    technology: Technology,
    weights: Array,
    copies: Sequence[Deviations],
    *,
    point: OperatingPoint | None = None,
    corner: str = "tt",
    temperature: float = 27.0,
    comparator: str | None = "ota",
    reference: Deviations | None = None,
    theta: float | Array = 1.0,
    slope_units: int | None = None,
    simulator: Ngspice | None = None,
) -> Static:
    """Solve copies of a neuron's mirrors and comparator.

    Parameters
    ----------
    weights : array, shape (synapse,) or (copy, synapse)
        Whole multiples of 1 / process.units.
    copies : sequence of mappings
        Deviations by path, as `neuron_bench` names the transistors.
    comparator : str, optional
        As `neuron_bench`; None: read-outs, of which only the synapses are looked at.
    reference : mapping, optional
        Deviations of the bias references ("ref_..."), common to all copies.
    theta : float or array, shape (copy,)
        Thresholds in units of potential.
    slope_units : int, optional
        Unit devices of the slope source; default B = 1.
    """
    weights = np.broadcast_to(weights, (len(copies), np.shape(weights)[-1]))
    simulator = simulator or Ngspice()
    options = (point or technology.operating_point, corner, temperature, comparator, reference or {})
    thetas, units = np.broadcast_to(theta, (len(copies),)), slope_units or technology.transistors().units
    batches = []
    for first in range(0, len(copies), TOGETHER):
        group = slice(first, first + TOGETHER)
        one = _solve(technology, weights[group], copies[group], *options, thetas[group], units, simulator)
        batches.append(one)
    names = [f.name for f in dataclasses.fields(Static)]
    return Static(*(np.concatenate([getattr(b, name) for b in batches]) for name in names))


def _solve(
    technology: Technology,
    weights: Array,
    copies: Sequence[Deviations],
    point: OperatingPoint,
    corner: str,
    temperature: float,
    comparator: str | None,
    reference: Deviations,
    thetas: Array,
    slope_units: int,
    simulator: Ngspice,
) -> Static:
    deviations: dict[str, tuple[float, float]] = dict(reference)
    for k, copy in enumerate(copies):
        for path, deviation in copy.items():
            if path.startswith("w"):
                deviations[f"c{k}{path}"] = deviation
            elif comparator and path.startswith(("n_slope_", "n_cmp_")):
                deviations[f"c{k}{path[2:]}"] = deviation
                if path == "n_cmp_m5" and comparator == "ota":
                    deviations[f"c{k}tail_m5"] = deviation
    bench = Bench(
        technology, "static currents and trip voltages", corner=corner, temperature=temperature,
        tau_c=point.tau_c, deviations=deviations,
    )  # fmt: skip
    process, middle = bench.process, 0.5 * (point.v_low + point.v_high)
    zero = comparator == "zero_idle"
    supplies(bench, point)
    references(bench, point.i_unit / process.units)
    bench.level("high", point.vdd)
    bench.level("onp", source_level(process, point.vdd))
    bench.level("onn", process.levels["cascode_n"])
    block = _follower(ZERO_IDLE if zero else OTA)
    units = np.stack([unit_devices(row, process) for row in weights])
    for k in range(len(copies)):
        for j in np.flatnonzero(units[k]):
            node = f"c{k}w{j}"
            bench.level(f"o{node}", middle)
            if weights[k, j] > 0:
                bench.place(node, SOURCE, f"o{node}", "onp", "pb", "vds", count=units[k, j])
            else:
                bench.place(node, SINK, f"o{node}", "onn", "nb", count=units[k, j])
            bench.save_current(f"o{node}")
        if comparator is None:
            continue
        bench.level(f"oc{k}b", middle)
        bench.place(f"c{k}slope", SLOPE_SOURCE, f"oc{k}b", "0", "onp", "pbb", "vds", count=slope_units)
        bench.save_current(f"oc{k}b")
        bias = "pbc" if zero else "nbt"
        theta = float(thetas[k])
        level = process.levels["zero_idle"] + point.v_unit * (theta - 1.0) if zero else point.volts(theta)
        bench.level(f"vth{k}", level)
        bench.place(f"c{k}cmp", block, f"t{k}", f"vth{k}", f"a{k}", "high", "high", bias, "nbs", "vdc")
        bench.save(f"t{k}")
        if not zero:
            bench.level(f"oc{k}t", LOW * point.vdd)
            bench.place(f"c{k}tail", TAIL, f"oc{k}t", "nbt")
            bench.save_current(f"oc{k}t")
    plot = simulator.run(bench.operating_point())
    currents = np.full(weights.shape, np.nan)
    for k in range(len(copies)):
        for j in np.flatnonzero(units[k]):
            currents[k, j] = plot[f"i(voc{k}w{j})"][0]
    if comparator is None:
        return Static(currents, *np.full((3, len(copies)), np.nan))
    n = range(len(copies))
    return Static(
        currents,
        np.array([plot[f"i(voc{k}b)"][0] for k in n]),
        np.array([plot[f"v(t{k})"][0] for k in n]),
        np.array([np.nan if zero else -plot[f"i(voc{k}t)"][0] for k in n]),
    )
