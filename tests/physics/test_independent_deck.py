"""One neuron of generic130 written by hand, against the deck that the package writes.

The deck below shares the model cards with the package and nothing else: its transistors stand flat between
nodes of its own, its bias lines are diodes that a capacitor of 1 uF holds, its signals are pulses, its method
is gear, and its spike is read here. A device at a wrong node or of a wrong size would move the spike, and so
would a slip of the phases or of the capacitor.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from circuits.benches.neuron import neuron_bench
from circuits.benches.neuron_waveforms import measure
from circuits.benches.testbench import CONVERGED
from circuits.pdk.technology import FOLDER, Technology
from circuits.spice.ngspice import Ngspice
from circuits.spice.rawfile import parse

WEIGHTS = np.array([0.5, -0.25, 0.25])
"""Sources of four and of two unit devices, and a sink of two."""
DECK = """\
* a neuron by hand: sizes in um from generic130.toml; source and drain are 0.32 um long
{cards}
Vdd dd 0 1.2
Vmid mid 0 0.55
Vlevel level 0 0.8
* unit current 250 nA / 8; tail 400 nA, starved inverter 200 nA
Isrc bsrc 0 31.25n
Msrc bsrc bsrc dd dd pch w=0.3u l=2u ad=0.096p as=0.096p pd=1.24u ps=1.24u
Csrc bsrc dd 1u
Isnk dd bsnk 31.25n
Msnk bsnk bsnk 0 0 nch w=0.3u l=4u ad=0.096p as=0.096p pd=1.24u ps=1.24u
Csnk bsnk 0 1u
Itail dd btail 400n
Mtail btail btail 0 0 nch w=0.6u l=0.5u ad=0.192p as=0.192p pd=1.84u ps=1.84u
Ctail btail 0 1u
Istv dd bstv 200n
Mstv bstv bstv 0 0 nch w=0.3u l=0.5u ad=0.096p as=0.096p pd=1.24u ps=1.24u
Cstv bstv 0 1u
* reset to 20 ns, inputs from 25 ns, t_min at 125 ns, t_max at 275 ns
Vclear clear 0 PULSE(1.2 0 20n 0.2n 0.2n 1u)
Vclearn clearn 0 PULSE(0 1.2 20n 0.2n 0.2n 1u)
Vwake wake 0 PULSE(0 1.2 125n 0.2n 0.2n 149.8n)
Vramp ramp 0 PULSE(1.2 0.45 125n 0.2n 0.2n 149.8n)
Vin1 in1 0 PULSE(1.2 0.45 {start[0]}n 0.2n 0.2n {width[0]}n)
Vin2 in2 0 PULSE(0 0.7 {start[1]}n 0.2n 0.2n {width[1]}n)
Vin3 in3 0 PULSE(1.2 0.45 {start[2]}n 0.2n 0.2n {width[2]}n)
* membrane: 100 fF less 3 fF of the neuron and 3 x 0.29 fF of synapses
Cmem mem 0 96.13f
Mclr1 mem clear mid 0 nch w=0.3u l=0.13u ad=0.096p as=0.096p pd=1.24u ps=1.24u
Mclr2 mem clearn mid dd pch w=0.3u l=0.13u ad=0.096p as=0.096p pd=1.24u ps=1.24u
* synapses
M1a y1 bsrc dd dd pch w=0.3u l=2u m=4 ad=0.096p as=0.096p pd=1.24u ps=1.24u
M1b mem in1 y1 dd pch w=0.3u l=0.18u ad=0.096p as=0.096p pd=1.24u ps=1.24u
M2a y2 bsnk 0 0 nch w=0.3u l=4u m=2 ad=0.096p as=0.096p pd=1.24u ps=1.24u
M2b mem in2 y2 0 nch w=0.3u l=0.18u ad=0.096p as=0.096p pd=1.24u ps=1.24u
M3a y3 bsrc dd dd pch w=0.3u l=2u m=2 ad=0.096p as=0.096p pd=1.24u ps=1.24u
M3b mem in3 y3 dd pch w=0.3u l=0.18u ad=0.096p as=0.096p pd=1.24u ps=1.24u
* slope, switched by the wave of phase 2 and by the spike
M4a y4 bsrc dd dd pch w=0.3u l=2u m=8 ad=0.096p as=0.096p pd=1.24u ps=1.24u
M4b y5 ramp y4 dd pch w=0.3u l=0.18u ad=0.096p as=0.096p pd=1.24u ps=1.24u
M4c mem fired y5 dd pch w=0.3u l=0.13u ad=0.096p as=0.096p pd=1.24u ps=1.24u
* comparator: pair, load, tail with its two switches, pull-ups
M5a cout mem both 0 nch w=1u l=0.25u ad=0.32p as=0.32p pd=2.64u ps=2.64u
M5b cref level both 0 nch w=1u l=0.25u ad=0.32p as=0.32p pd=2.64u ps=2.64u
M5c cout cref dd dd pch w=0.5u l=0.5u ad=0.16p as=0.16p pd=1.64u ps=1.64u
M5d cref cref dd dd pch w=0.5u l=0.5u ad=0.16p as=0.16p pd=1.64u ps=1.64u
M5e both btail u1 0 nch w=0.6u l=0.5u ad=0.192p as=0.192p pd=1.84u ps=1.84u
M5f u1 wake u2 0 nch w=0.6u l=0.13u ad=0.192p as=0.192p pd=1.84u ps=1.84u
M5g u2 firedn 0 0 nch w=0.6u l=0.13u ad=0.192p as=0.192p pd=1.84u ps=1.84u
M5h cout wake dd dd pch w=0.3u l=0.13u ad=0.096p as=0.096p pd=1.24u ps=1.24u
M5i cout firedn dd dd pch w=0.3u l=0.13u ad=0.096p as=0.096p pd=1.24u ps=1.24u
* starved inverter
M6a set cout dd dd pch w=0.4u l=0.13u ad=0.128p as=0.128p pd=1.44u ps=1.44u
M6b set cout u3 0 nch w=0.3u l=0.13u ad=0.096p as=0.096p pd=1.24u ps=1.24u
M6c u3 bstv 0 0 nch w=0.3u l=0.5u ad=0.096p as=0.096p pd=1.24u ps=1.24u
* latch, its buffers, 2 fF of wire
M7a no set 0 0 nch w=0.6u l=0.13u ad=0.192p as=0.192p pd=1.84u ps=1.84u
M7b yes clear 0 0 nch w=0.6u l=0.13u ad=0.192p as=0.192p pd=1.84u ps=1.84u
M7c yes no dd dd pch w=0.15u l=0.3u ad=0.048p as=0.048p pd=0.94u ps=0.94u
M7d yes no 0 0 nch w=0.15u l=0.2u ad=0.048p as=0.048p pd=0.94u ps=0.94u
M7e no yes dd dd pch w=0.15u l=0.3u ad=0.048p as=0.048p pd=0.94u ps=0.94u
M7f no yes 0 0 nch w=0.15u l=0.2u ad=0.048p as=0.048p pd=0.94u ps=0.94u
M8a fired no dd dd pch w=0.6u l=0.13u ad=0.192p as=0.192p pd=1.84u ps=1.84u
M8b fired no 0 0 nch w=0.3u l=0.13u ad=0.096p as=0.096p pd=1.24u ps=1.24u
M8c firedn fired dd dd pch w=0.3u l=0.13u ad=0.096p as=0.096p pd=1.24u ps=1.24u
M8d firedn fired 0 0 nch w=0.15u l=0.13u ad=0.048p as=0.048p pd=0.94u ps=0.94u
Cwire fired 0 2f
.options reltol=1e-5 abstol=1e-12 vntol=1e-7 chgtol=1e-17 method=gear temp=27 num_threads=1
.save v(fired)
.tran 0.25n 280n 0 0.25n
.end
"""


def by_hand(deck: str, folder: Path) -> float:
    """When v(fired) passes 0.6 V, from t_min = 125 ns [tau_c of 100 ns]."""
    (folder / "hand.cir").write_text(deck)
    done = subprocess.run(
        ["ngspice", "-n", "-b", "-r", "hand.raw", "hand.cir"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (plot,) = parse((folder / "hand.raw").read_bytes())
    time, fired = plot["time"], plot["v(fired)"]
    after = int(np.argmax((fired > 0.6) & (time > 25e-9)))
    assert after > 0
    (t0, t1), (v0, v1) = time[after - 1 : after + 1], fired[after - 1 : after + 1]
    return float((t0 + (0.6 - v0) * (t1 - t0) / (v1 - v0) - 125e-9) / 100e-9)


def written(times: list[float]) -> str:
    """The deck for spikes so long after 25 ns [tau_c]; inputs end with phase 1, at 125 ns."""
    start = [25 + 100 * t for t in times]
    width = [125 - 0.2 - s for s in start]
    cards = (FOLDER / "generic130.cards").read_text()
    return DECK.format(cards=cards, start=[f"{s:.6f}" for s in start], width=[f"{w:.6f}" for w in width])


@pytest.mark.parametrize("times", [[0.2, 0.5, 0.6], [0.75, 0.1, 0.35]])
def test_a_neuron_written_by_hand_fires_when_the_package_s_does(times, tmp_path):
    bench = neuron_bench(Technology.load("generic130"), WEIGHTS, np.array(times), accuracy=CONVERGED)
    spike = measure(bench, Ngspice().run(bench.deck)).spike_time
    assert by_hand(written(times), tmp_path) == pytest.approx(spike, abs=1e-3)


def test_a_wrong_size_would_show(tmp_path):
    """One unit device more in the slope source: an eighth of the ramp, a tenth of a tau_c."""
    right = written([0.2, 0.5, 0.6])
    wrong = right.replace("M4a y4 bsrc dd dd pch w=0.3u l=2u m=8", "M4a y4 bsrc dd dd pch w=0.3u l=2u m=9")
    assert by_hand(right, tmp_path) - by_hand(wrong, tmp_path) > 0.05
