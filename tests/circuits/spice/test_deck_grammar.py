"""Decks with transistors: what the package writes passes, everything else is refused by its line."""

from __future__ import annotations

import numpy as np
import pytest

from circuits import InputError, Technology
from circuits.benches.neuron import neuron_bench
from circuits.spice.deck_check import check

SIZES = "w=1e-06 l=2e-07 m={k} ad=1e-13 as=1e-13 pd=1e-06 ps=1e-06 nrd=0 nrs=0"
GOOD = f"""\
.title two inverters
.subckt inverter a y vdd k=1.0 load=1e-15 dv_m1=0 mu_m1=1
M1 y a 0 0 nch {SIZES} delvto={{dv_m1}} mulu0={{mu_m1}}
M2 y a vdd vdd pch {SIZES}
C1 y 0 {{load}}
.ends inverter
.subckt pair a y vdd dv_x1_m1=0
X1 a b vdd inverter dv_m1={{dv_x1_m1}}
X2 b y vdd inverter k=2.0
.ends pair
.model nch nmos
+ level=14 version=4.8.1 vth0=0.4
.model pch pmos (level=54 version=4.5 vth0=-0.4)
Vdd vdd 0 1.2
Va a 0 PWL(0 0 1e-9 1.2)
Xp a y vdd pair dv_x1_m1=0.01
.options reltol=1e-05 abstol=1e-12 vntol=1e-07 chgtol=1e-17 method=trap bypass=1 temp=27.0 num_threads=1
.save v(y)
.save i(Vdd)
.tran 1e-10 1e-08 0 1e-10
.end
"""
LINES = GOOD.splitlines()


def refused(old: str, new: str, message: str) -> None:
    assert old in LINES
    text = "\n".join(new if line == old else line for line in LINES) + "\n"
    with pytest.raises(InputError, match=message):
        check(text, {}, 1e-8)


def test_a_good_deck_passes_and_so_does_an_operating_point():
    check(GOOD, {}, 1e-8)
    check(GOOD.replace(".tran 1e-10 1e-08 0 1e-10", ".op"), {}, 0.0)


def test_every_neuron_deck_passes():
    bench = neuron_bench(Technology.load("generic130"), np.array([0.5, -0.25]), np.array([0.2, np.inf]))
    check(bench.deck.text, {}, bench.deck.stop)


REFUSED: dict[str, list[tuple[str, str]]] = {
    "X1 a b vdd inverter dv_m1={dv_x1_m1}": [
        ("X1 a bb vdd inverter dv_m1={dv_x1_m1}", "'bb' is connected once"),
        ("X1 a b inverter dv_m1={dv_x1_m1}", "3 ports, 2 nodes"),
        ("X1 a b vdd inverter dv_m2=1", "no parameter 'dv_m2'"),
        ("X1 a b vdd inverter dv_m1={dv_m1}", "no parameter 'dv_m1'"),
        ("X1 a b vdd inverter dv_m1={1+1}", "not in the form"),
    ],
    "X2 b y vdd inverter k=2.0": [
        ("X2 b y vdd buffer", "no subcircuit 'buffer'"),
        ("X1 b y vdd inverter", "second element"),
    ],
    ".subckt pair a y vdd dv_x1_m1=0": [
        (".subckt pair a a vdd dv_x1_m1=0", "port twice"),
        (".subckt pair a y vdd q dv_x1_m1=0", "'q' is connected once or never"),
        (".subckt inverter a y vdd dv_x1_m1=0", "closes no subcircuit"),
    ],
    ".ends pair": [
        (".ends other", "closes no subcircuit"),
        (".param x=1", "not allowed in a subcircuit"),
        (".subckt more a y", "inside a subcircuit"),
    ],
    "C1 y 0 {load}": [("C1 y 0 {loud}", "no parameter 'loud'"), ("C1 y 0 1e-15f", "not in the form")],
    f"M2 y a vdd vdd pch {SIZES}": [
        ("M2 y a vdd vdd pch w=1u l=0.2u", "not in the form"),
        (f"M2 y a vdd vdd qch {SIZES}", "no mos model 'qch'"),
    ],
    "+ level=14 version=4.8.1 vth0=0.4": [
        ("+ level=1 vth0=0.4", "not in the form"),
        ("+ level=14 version=4.8.1 vth0={x}", "not in the form"),
        ("+ level=14 version=4.8.1 vth0=1e999", "finite"),
    ],
    LINES[12]: [(LINES[12].replace("pch pmos", "nch pmos"), "second model")],
    LINES[-5]: [
        (LINES[-5].replace("num_threads=1", "num_threads=4"), "not in the form"),
        (LINES[-5].replace("method=trap", "klu"), "not in the form"),
    ],
    ".save v(y)": [(".save v(b)", "'node b' does not exist")],
    ".tran 1e-10 1e-08 0 1e-10": [(".op", "was expected")],
}
"""Line of the good deck -> smallest changes of it, and what the message says."""


@pytest.mark.parametrize("old", REFUSED)
def test_every_rule_refuses_the_smallest_broken_deck(old):
    for new, message in REFUSED[old]:
        refused(old, new, message)


def test_a_subcircuit_that_is_not_closed_is_refused():
    text = GOOD.replace(".ends pair\n", "")
    with pytest.raises(InputError, match="not allowed in a subcircuit"):
        check(text, {}, 1e-8)
