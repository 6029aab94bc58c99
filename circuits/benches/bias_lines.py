r"""Rails and bias lines of a layer on a bench, what they take, and what the mismatch of references does.

That is one error for all sources, one for all sinks, one for B, one for the tails of all comparators, one for
their starved inverters,

.. math:: r = I / I^{nominal} - 1

of perfect mirrors behind references that deviate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from circuits.benches.testbench import Bench
from circuits.blocks.bias_lines import BUFFERED, DECOUPLED, bias_line, mirror, reference_parameters
from circuits.blocks.slope_source import SLOPE_SOURCE
from circuits.blocks.synapse import SINK, SOURCE
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Process, Technology
from circuits.spice.ngspice import Ngspice

LINES = ("source", "sink", "slope", "tail", "starve")
LOW = 0.25
"""Where a tail or starve device's drain is held, in parts of the supply: as high as a pair at its threshold
leaves it."""
TOGETHER = 16


def supplies(bench: Bench, point: OperatingPoint, shift: float = 0.0) -> None:
    """Rails: one supply a domain, so that the energy account has parts; the reset level, and its shift.

    Parameters
    ----------
    shift : of the reset level [V]
    """
    rails(bench, point.vdd)
    bench.level("v0", point.v_reset + shift)


def rails(bench: Bench, vdd: float) -> None:
    """One supply a domain, and one of the references.

    Parameters
    ----------
    vdd : [V]
    """
    for rail in ("vds", "vdc", "vdl", "vr"):
        bench.level(rail, vdd)


def references(
    bench: Bench, unit: float, decoupling: float | None = None, units: int | None = None, suffix: str = ""
) -> None:
    """The bias lines of a layer.

    Parameters
    ----------
    unit : current of one unit device [A]
    decoupling : capacitor on each line [F]; None: ideal buffers
    units : unit devices of W = 1; default: the process's
    suffix : of the lines' names, where a bench has those of several layers
    """
    numbers = line_parameters(bench.process, unit, units)
    lines = (*(f"{line}{suffix}" for line in ("pb", "nb", "pbb", "nbt", "nbs", "pbc")), "vr")
    if decoupling is None:
        bench.place(f"ref{suffix}", BUFFERED, *lines, **numbers)
    else:
        bench.place(f"ref{suffix}", DECOUPLED, *lines, **numbers, decap=decoupling)


def line_parameters(process: Process, unit: float, units: int | None = None) -> dict[str, float]:
    """Parameters of the bias lines (`circuits.blocks.bias_lines`) of a process.

    Parameters
    ----------
    unit, units : as of `references`
    """
    currents = process.currents
    return reference_parameters(unit, units or process.units, currents["tail"], currents["starve"])


def reference_current(process: Process, point: OperatingPoint, spiking: bool = True) -> float:
    """What the references of a layer take from the supply, at all times [A].

    Of neurons with the OTA: the line of the other comparator's load, which benches have too, is left out.
    Read-outs need the lines of sources and sinks only.

    Parameters
    ----------
    spiking : bool
        False: of a layer of read-outs.
    """
    numbers = line_parameters(process, point.i_unit / process.units)
    if not spiking:
        return 2 * numbers["iunit"]
    return 3 * numbers["iunit"] + numbers["itail"] + numbers["istarve"]


def weight_line(bench: Bench, synapse: int, weight: float, amps: float) -> str:
    """The gate voltage of one weight, made from a reference current of its own; returns its node.

    Parameters
    ----------
    synapse : number, for the names
    amps : current of W = 1 [A]
    """
    line = f"b{synapse}"
    bench.place(f"ref{line}", bias_line("p" if weight > 0 else "n"), line, "vr", iweight=abs(weight) * amps)
    return line


def source_level(process: Process, vdd: float) -> float:
    """Gate level of a source's switch while it is on: it follows the supply.

    Parameters
    ----------
    vdd : [V]
    """
    return round(process.levels["cascode_p"] + vdd - process.levels["vdd"], 9)


def reference_currents(
    technology: Technology,
    copies: Sequence[Mapping[str, tuple[float, float]]],
    *,
    point: OperatingPoint | None = None,
    corner: str = "tt",
    temperature: float = 27.0,
    simulator: Ngspice | None = None,
) -> Array:
    """Currents of one source, sink, slope source, tail and starve device behind each copy of the references.

    Parameters
    ----------
    copies : sequence of mappings
        Deviations by path, "ref_..." as `neuron_bench` names them.

    Returns
    -------
    array, shape (copy, 5)
        In the order of LINES [A].
    """
    point, simulator = point or technology.operating_point, simulator or Ngspice()
    currents = []
    for first in range(0, len(copies), TOGETHER):
        group = copies[first : first + TOGETHER]
        deviations = {
            f"r{k}{path[3:]}": d
            for k, copy in enumerate(group)
            for path, d in copy.items()
            if path.startswith("ref_")
        }
        heading = "references that deviate"
        bench = Bench(technology, heading, corner=corner, temperature=temperature, deviations=deviations)
        process, middle = bench.process, 0.5 * (point.v_low + point.v_high)
        bench.level("vdd", point.vdd)
        bench.level("onp", source_level(process, point.vdd))
        bench.level("onn", process.levels["cascode_n"])
        numbers = line_parameters(process, point.i_unit / process.units)
        for k in range(len(group)):
            lines = [f"{line}{k}" for line in ("pb", "nb", "pbb", "nbt", "nbs", "pbc")]
            bench.place(f"r{k}", BUFFERED, *lines, "vdd", **numbers)
            for line in LINES:
                bench.level(f"o{line}{k}", LOW * point.vdd if line in ("tail", "starve") else middle)
                bench.save_current(f"o{line}{k}")
            bench.place(f"p{k}", SOURCE, f"osource{k}", "onp", f"pb{k}", "vdd")
            bench.place(f"n{k}", SINK, f"osink{k}", "onn", f"nb{k}")
            bench.place(
                f"b{k}", SLOPE_SOURCE, f"oslope{k}", "0", "onp", f"pbb{k}", "vdd", count=process.units
            )
            bench.place(f"t{k}", mirror("tail"), f"otail{k}", f"nbt{k}")
            bench.place(f"s{k}", mirror("starve"), f"ostarve{k}", f"nbs{k}")
        plot = simulator.run(bench.operating_point())
        currents += [[plot[f"i(vo{line}{k})"][0] for line in LINES] for k in range(len(group))]
    return np.array(currents)
