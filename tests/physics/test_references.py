"""References of a layer in ngspice: what they take, and what their errors do to currents and delays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from kit_decks import needs_kits

from circuits.benches.bias_lines import LINES, reference_current, reference_currents
from circuits.benches.neuron import neuron_bench
from circuits.benches.neuron_waveforms import measure
from circuits.benches.testbench import CAMPAIGN, CONVERGED
from circuits.blocks.bias_lines import REFERENCE
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.extraction.terms import TAIL_EXPONENT
from montecarlo.mismatch.seeds import generator
from montecarlo.mismatch.transistors import draw

GENERIC = Technology.load("generic130")
POINT, PROCESS = GENERIC.operating_point, GENERIC.transistors()
WEIGHTS, TIMES = np.array([0.5, -0.25, 0.25]), np.array([0.2, 0.5, 0.6])
EVERYWHERE = ("generic130", *(pytest.param(kit, marks=needs_kits) for kit in ("gf180mcu", "sky130")))
DIODES = ("mpb", "mnb", "mpbb", "mnbt", "mnbs")
"""In the order of LINES."""


def test_their_supply_gives_what_the_account_says():
    """V_DD I t; the line of the other comparator's load, which the bench has too, is taken off."""
    made = neuron_bench(GENERIC, WEIGHTS, TIMES)
    made.bench.save_current("vr")
    plot = Ngspice().run(made.bench.transient(made.phases.end, CAMPAIGN))
    joules = -POINT.vdd * np.trapezoid(plot["i(vvr)"], plot["time"])
    amps = reference_current(PROCESS, POINT) + REFERENCE * PROCESS.currents["starve"]
    assert joules == pytest.approx(POINT.vdd * amps * np.ptp(plot["time"]), rel=1e-3, abs=0)


def test_each_reference_moves_its_own_line_alone():
    """A threshold 5 mV higher: 5 mV g_m / I of 7 to 25 / V more current in every mirror."""
    copies = [{}, *({f"ref_{diode}": (0.005, 1.0)} for diode in DIODES)]
    currents = reference_currents(GENERIC, copies)
    assert currents.shape == (6, len(LINES))
    moved = np.log(currents[1:] / currents[0])
    raised = np.abs(np.diag(moved))
    assert np.all((raised > 0.035) & (raised < 0.125))
    assert np.abs(moved - np.diag(np.diag(moved))).max() < 1e-6
    # the signs of delvto: a lower gate of P devices, a higher one of N, are more current
    assert np.ptp(np.sign(np.diag(moved))[[1, 3, 4]]) == 0


def test_lines_of_a_chip_spread_a_third_as_much_as_devices_of_a_neuron():
    """64 chips know a sigma to 9 %: four errors. One unit source 9.3 %, sink 7.0 %: W = 1 of eight."""
    bench = neuron_bench(GENERIC, np.array([1.0, -1.0]), np.array([0.2, 0.5])).bench
    own = [d for d in bench.devices if d.path.startswith("ref_")]
    drawn = reference_currents(GENERIC, [draw(own, generator(0, k)) for k in range(64)])
    sigma = np.log(np.abs(drawn)).std(axis=0, ddof=1)
    expected = {"source": 0.093 / 8**0.5 / 3, "sink": 0.070 / 8**0.5 / 3, "slope": 0.093 / 8**0.5 / 3}
    for line, value in expected.items():
        assert sigma[LINES.index(line)] == pytest.approx(value, rel=0.36)


def spike(technology: Technology, current: str, factor: float) -> tuple[float, float]:
    """Spike time and delay where one bias current is larger by a factor."""
    process = technology.transistors()
    amps = {**process.currents, current: process.currents[current] * factor}
    other = dataclasses.replace(technology, process=dataclasses.replace(process, currents=amps))
    bench = neuron_bench(other, WEIGHTS, TIMES, accuracy=CONVERGED)
    found = measure(bench, Ngspice().run(bench.deck))
    return found.spike_time, found.delay


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_tail_line_delays_by_the_root_of_its_current_and_a_starve_line_hardly(name):
    technology = Technology.load(name)
    delay = spike(technology, "tail", 1.0)[1]
    per_log = {
        line: (spike(technology, line, 1.1)[0] - spike(technology, line, 0.9)[0]) / np.log(1.1 / 0.9)
        for line in ("tail", "starve")
    }
    assert per_log["tail"] / delay == pytest.approx(TAIL_EXPONENT, abs=0.05)
    # sigma of a reference is 7, 4 and 10 %
    assert abs(per_log["starve"]) * 0.1 < 3e-4
