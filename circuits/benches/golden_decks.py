"""A small bench for every transistor-level block, which shows what it does: the decks kept in netlists/.

Times are in tau_c, currents and voltages those of the technology's own operating point.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from circuits.benches.bias_lines import references, source_level, supplies, weight_line
from circuits.benches.multiplier import multiplier_bench
from circuits.benches.neuron import neuron_bench
from circuits.benches.pooling import pooling_bench
from circuits.benches.readout import readout_bench
from circuits.benches.synapses import explicit_capacitance
from circuits.benches.testbench import STEADY, Bench
from circuits.benches.two_layers import chain_bench, stages
from circuits.blocks.comparator import OTA, ZERO_IDLE
from circuits.blocks.gate_driver import GATE_DRIVER
from circuits.blocks.latch import LATCH
from circuits.blocks.line_gate import LINE_GATE
from circuits.blocks.membrane import MEMBRANE
from circuits.blocks.slope_source import SLOPE_SOURCE
from circuits.blocks.synapse import SINK, SOURCE
from circuits.pdk.technology import Technology
from circuits.spice.deck import Deck

ON, OFF, STOP = 0.3, 0.8, 1.0
"""When what a bench shows begins, ends, and when the transient ends [tau_c]."""
CLEAN = dataclasses.replace(STEADY, method="gear")
"""The trapezoidal rule rings in currents between ideal sources; only their integral is right."""
WEIGHTS, SPIKE_TIMES = np.array([0.5, -0.25, 0.25]), np.array([0.2, 0.5, 0.6])
FACTORS, INPUTS = np.array([0.5, -0.25]), np.array([0.8, -0.4])
LAYERS = (np.array([[0.5, -0.25], [0.25, 0.5]]), np.array([[0.75, -0.25]]))
GROUP = np.array([0.3, 0.7, 0.5])


def _start(technology: Technology, heading: str, decoupling: float | None = None) -> Bench:
    """Rails and bias lines."""
    bench = Bench(technology, heading, tau_c=technology.operating_point.tau_c)
    supplies(bench, technology.operating_point)
    references(bench, unit_current(technology), decoupling)
    return bench


def unit_current(technology: Technology) -> float:
    """What one unit device carries [A]."""
    return technology.operating_point.i_unit / technology.transistors().units


def middle(technology: Technology) -> float:
    """Middle of the swing [V]."""
    return round(0.5 * (technology.operating_point.v_low + technology.operating_point.v_high), 9)


def _end(bench: Bench, *nodes: str, currents: tuple[str, ...] = (), stop: float = STOP) -> Deck:
    bench.save(*nodes)
    bench.save_current(*currents)
    return bench.transient(stop * bench.tau_c, CLEAN)


def _changes(bench: Bench, *levels: tuple[float, float]) -> list[tuple[float, float]]:
    return [(at * bench.tau_c, volts) for at, volts in levels]


def _ramp(bench: Bench, node: str, first: float, last: float) -> None:
    """A voltage that rises evenly from ON to STOP."""
    shape = f"PWL(0 {first} {bench.time(ON * bench.tau_c)} {first} {bench.time(STOP * bench.tau_c)} {last})"
    bench.circuit.V(node, node, "0", shape)


def source_synapse(technology: Technology) -> Deck:
    """Half a unit of weight flows into a voltage source while its gate is on."""
    bench = _start(technology, "source synapse, W = 0.5, into a voltage source")
    vdd = technology.operating_point.vdd
    bench.level("out", middle(technology))
    bench.signal("gate", vdd, *_changes(bench, (ON, source_level(bench.process, vdd)), (OFF, vdd)))
    bench.place("syn", SOURCE, "out", "gate", "pb", "vds", count=bench.process.units / 2)
    return _end(bench, "gate", currents=("out", "vds"))


def sink_synapse(technology: Technology) -> Deck:
    """Half a unit of weight flows out of a voltage source while its gate is on."""
    bench = _start(technology, "sink synapse, W = -0.5, out of a voltage source")
    bench.level("out", middle(technology))
    bench.signal("gate", 0.0, *_changes(bench, (ON, bench.process.levels["cascode_n"]), (OFF, 0.0)))
    bench.place("syn", SINK, "out", "gate", "nb", count=bench.process.units / 2)
    return _end(bench, "gate", currents=("out",))


def membrane(technology: Technology) -> Deck:
    """Reset, half a unit of charge from an ideal source between ON and 0.6, reset again at OFF."""
    bench, point = _start(technology, "membrane with its reset"), technology.operating_point
    bench.signal("rst", point.vdd, *_changes(bench, (0.2, 0.0), (OFF, point.vdd)))
    bench.signal("rstb", 0.0, *_changes(bench, (0.2, point.vdd), (OFF, 0.0)))
    amps, tau = 0.5 * point.i_unit / 0.3, bench.tau_c
    corners = ((ON, 0.0), (ON + 0.01, amps), (0.6, amps), (0.61, 0.0))
    shape = " ".join(f"{bench.time(t * tau)} {a}" for t, a in corners)
    bench.circuit.I("drive", "0", "vm", f"PWL(0 0 {shape})")
    bench.place("mem", MEMBRANE, "vm", "v0", "rst", "rstb", "vds", cm=point.c_mem)
    return _end(bench, "vm", "rst")


def slope_source(technology: Technology) -> Deck:
    """A membrane rises with slope B from ON until the spike at OFF switches the source off."""
    bench, point = _start(technology, "slope source on a membrane"), technology.operating_point
    bench.signal("rst", point.vdd, *_changes(bench, (0.2, 0.0)))
    bench.signal("rstb", 0.0, *_changes(bench, (0.2, point.vdd)))
    bench.signal("gateb", point.vdd, *_changes(bench, (ON, source_level(bench.process, point.vdd))))
    bench.signal("s", 0.0, *_changes(bench, (OFF, point.vdd)))
    drawn = explicit_capacitance(point, 0, bench.process)
    bench.place("mem", MEMBRANE, "vm", "v0", "rst", "rstb", "vds", cm=drawn)
    bench.place("slope", SLOPE_SOURCE, "vm", "s", "gateb", "pbb", "vds", count=bench.process.units)
    return _end(bench, "vm", "s", currents=("vds",))


def ota_comparator(technology: Technology) -> Deck:
    """A ramp of slope 1 through the threshold, half a unit above V_0; `sb` is held high: no self-off."""
    bench, point = _start(technology, "comparator, OTA, on a ramp"), technology.operating_point
    _ramp(bench, "vm", point.v_reset, point.volts(STOP - ON))
    bench.level("vth", point.volts(0.3))
    bench.level("sb", point.vdd)
    bench.signal("en", 0.0, *_changes(bench, (0.1, point.vdd)))
    bench.place("cmp", OTA, "vm", "vth", "a", "en", "sb", "nbt", "nbs", "vdc")
    bench.circuit.C("load", "a", "0", 1e-15)
    return _end(bench, "vm", "a", currents=("vdc",))


def zero_idle_comparator(technology: Technology) -> Deck:
    """A ramp of slope 1.5 around the trip voltage; next to nothing is drawn until the stage conducts."""
    bench, point = _start(technology, "comparator, zero idle, on a ramp"), technology.operating_point
    _ramp(bench, "vm", point.volts(0.7), point.volts(0.7 + 1.5 * (STOP - ON)))
    bench.level("vrail", bench.process.levels["zero_idle"])
    bench.level("sb", point.vdd)
    bench.signal("en", 0.0, *_changes(bench, (0.1, point.vdd)))
    bench.place("cmp", ZERO_IDLE, "vm", "vrail", "a", "en", "sb", "pbc", "nbs", "vdc")
    bench.circuit.C("load", "a", "0", 1e-15)
    return _end(bench, "vm", "a", currents=("vdc",))


def latch(technology: Technology) -> Deck:
    """A short pulse at ON sets it, a second one changes nothing, the reset at OFF clears it."""
    bench, vdd = _start(technology, "latch: set, held, cleared"), technology.operating_point.vdd
    bench.signal("a", 0.0, *_changes(bench, (ON, vdd), (ON + 0.05, 0.0), (0.6, vdd), (0.65, 0.0)))
    bench.signal("rst", vdd, *_changes(bench, (0.1, 0.0), (OFF, vdd), (OFF + 0.05, 0.0)))
    bench.place("latch", LATCH, "a", "rst", "s", "sb", "vdl")
    return _end(bench, "a", "rst", "s", "sb", currents=("vdl",))


def gate_driver(technology: Technology) -> Deck:
    """A spike at ON and the end of the window at OFF, to the levels of source and sink switches."""
    bench, vdd = _start(technology, "gate driver of a spike wire"), technology.operating_point.vdd
    bench.level("oncp", source_level(bench.process, vdd))
    bench.level("oncn", bench.process.levels["cascode_n"])
    bench.signal("s", 0.0, *_changes(bench, (ON, vdd)))
    bench.signal("window", vdd, *_changes(bench, (OFF, 0.0)))
    bench.place("driver", GATE_DRIVER, "s", "window", "gp", "gn", "oncp", "oncn", "vdl")
    bench.circuit.C("lp", "gp", "0", 5e-15)
    bench.circuit.C("ln", "gn", "0", 5e-15)
    return _end(bench, "s", "window", "gp", "gn")


def line_gate(technology: Technology, gap: float = 0.3) -> Deck:
    """P and M fire: both lines end a shortest pulse after the second.

    Parameters
    ----------
    gap : M fires so much after P, the first at ON [tau_c]
    """
    bench, vdd = _start(technology, "line gate of a multiplier"), technology.operating_point.vdd
    bench.signal("sp", 0.0, *_changes(bench, (ON + max(-gap, 0.0), vdd)))
    bench.signal("sm", 0.0, *_changes(bench, (ON + max(gap, 0.0), vdd)))
    bench.place("gate", LINE_GATE, "sp", "sm", "lp", "lm", "nbs", "vdl")
    for node in ("lp", "lm"):
        bench.circuit.C(f"load{node}", node, "0", 2e-15)
    return _end(bench, "sp", "sm", "lp", "lm", currents=("vdl",))


def _mirrors(bench: Bench, pb: str, nb: str, level: float) -> None:
    """A source and a sink of one unit device each, always on, into voltage sources."""
    process, vdd = bench.process, bench.technology.operating_point.vdd
    for node in ("outp", "outn"):
        bench.level(node, level)
    bench.level("onp", source_level(process, vdd))
    bench.level("onn", process.levels["cascode_n"])
    bench.place("p", SOURCE, "outp", "onp", pb, "vds")
    bench.place("n", SINK, "outn", "onn", nb)


def buffered_references(technology: Technology) -> Deck:
    """Operating point of the bias lines and of one unit source and sink on them."""
    bench = _start(technology, "references with buffers, one mirror of each sign")
    _mirrors(bench, "pb", "nb", middle(technology))
    bench.save("pb", "nb", "pbb", "nbt", "nbs", "pbc")
    bench.save_current("outp", "outn")
    return bench.operating_point()


def decoupled_references(technology: Technology) -> Deck:
    """A synapse of W = 1 switches on and off and kicks its bias line, decoupled by 10 pF."""
    bench = _start(technology, "references with decoupling capacitors, kicked by a synapse", 10e-12)
    vdd = technology.operating_point.vdd
    bench.level("out", middle(technology))
    bench.signal("gate", vdd, *_changes(bench, (ON, source_level(bench.process, vdd)), (OFF, vdd)))
    bench.place("syn", SOURCE, "out", "gate", "pb", "vds", count=bench.process.units)
    return _end(bench, "pb", "gate", currents=("out",))


def weight_bias(technology: Technology) -> Deck:
    """Two weights, 0.3 and -0.3, as gate voltages of single devices."""
    bench, point = _start(technology, "weights stored as gate bias"), technology.operating_point
    source, sink = (weight_line(bench, j, w, point.i_unit) for j, w in enumerate((0.3, -0.3)))
    _mirrors(bench, source, sink, middle(technology))
    bench.save(source, sink)
    bench.save_current("outp", "outn")
    return bench.operating_point()


def neuron(technology: Technology) -> Deck:
    """A neuron with two sources and a sink."""
    return neuron_bench(technology, WEIGHTS, SPIKE_TIMES).deck


def zero_idle_neuron(technology: Technology) -> Deck:
    """The same with the comparator that draws nothing while it waits."""
    heading = "neuron with zero-idle comparator"
    return neuron_bench(technology, WEIGHTS, SPIKE_TIMES, comparator="zero_idle", heading=heading).deck


def multiplier_pair(technology: Technology) -> Deck:
    """0.5 * 0.8 + 0.25 * 0.4 = 0.5."""
    return multiplier_bench(technology, FACTORS, INPUTS).deck


def first_arrival(technology: Technology) -> Deck:
    """The earliest of three spikes."""
    return pooling_bench(technology, "max", GROUP, heading="pooling, first arrival").deck


def last_arrival(technology: Technology) -> Deck:
    """The latest of three spikes."""
    return pooling_bench(technology, "min", GROUP, heading="pooling, last arrival").deck


def readout(technology: Technology) -> Deck:
    """A potential is sampled, and held while its membrane is reset."""
    return readout_bench(technology, WEIGHTS, SPIKE_TIMES, hold=1.0).deck


def two_layers(technology: Technology) -> Deck:
    """Two neurons drive a third."""
    return chain_bench(stages(technology, LAYERS), np.array([0.2, 0.6]), heading="two layers, 2-2-1").deck


BENCHES: dict[str, Callable[[Technology], Deck]] = {
    "source_synapse": source_synapse,
    "sink_synapse": sink_synapse,
    "membrane": membrane,
    "slope_source": slope_source,
    "ota_comparator": ota_comparator,
    "zero_idle_comparator": zero_idle_comparator,
    "latch": latch,
    "gate_driver": gate_driver,
    "line_gate": line_gate,
    "neuron": neuron,
    "zero_idle_neuron": zero_idle_neuron,
    "references": buffered_references,
    "decoupled_references": decoupled_references,
    "weight_bias": weight_bias,
    "multiplier_pair": multiplier_pair,
    "first_arrival": first_arrival,
    "last_arrival": last_arrival,
    "readout": readout,
    "two_layers": two_layers,
}
