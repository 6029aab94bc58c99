r"""What the mismatch of a layer's references does: one error for all sources, one for all sinks, one for B,
one for the tails of all comparators, one for their starved inverters.

.. math:: r = I / I^{nominal} - 1

of perfect mirrors behind references that deviate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from circuits.benches.neuron import line_parameters, source_level
from circuits.benches.testbench import Bench
from circuits.blocks.bias_lines import BUFFERED, mirror
from circuits.blocks.slope_source import SLOPE_SOURCE
from circuits.blocks.synapse import SINK, SOURCE
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice

LINES = ("source", "sink", "slope", "tail", "starve")
LOW = 0.25
"""Where a tail or starve device's drain is held, in parts of the supply: as high as a pair at its threshold
leaves it."""
TOGETHER = 16


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
