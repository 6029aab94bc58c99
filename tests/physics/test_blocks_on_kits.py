"""The blocks in the processes of real kits: same circuits, sized by the technology's own file."""

from __future__ import annotations

import numpy as np
import pytest
from kit_decks import needs_kits

from circuits.benches.golden_decks import BENCHES, unit_current
from circuits.benches.multiplier import measure_product, multiplier_bench
from circuits.benches.neuron import neuron_bench
from circuits.benches.neuron_waveforms import measure
from circuits.benches.testbench import STEADY
from circuits.benches.two_layers import DELAY, chain_bench, measure_chain, stages
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice

pytestmark = needs_kits
KITS = ("gf180mcu", "sky130")
W, TIMES = np.array([0.5, -0.25, 0.25]), np.array([0.2, 0.5, 0.6])


@pytest.mark.parametrize("name", KITS)
def test_mirrors_of_both_signs_carry_the_unit_current(name):
    technology = Technology.load(name)
    plot, unit = Ngspice().run(BENCHES["references"](technology)), unit_current(technology)
    assert plot["i(voutp)"][0] == pytest.approx(unit, rel=0.05)
    assert plot["i(voutn)"][0] == pytest.approx(-unit, rel=0.05)


@pytest.mark.parametrize("name", KITS)
def test_both_comparators_fire_in_the_window_and_the_idle_one_costs_less(name):
    technology, found = Technology.load(name), {}
    for comparator in ("ota", "zero_idle"):
        bench = neuron_bench(technology, W, TIMES, comparator=comparator)
        found[comparator] = measure(bench, Ngspice().run(bench.deck))
    assert all(0.6 < f.spike_time < 0.95 for f in found.values())
    assert sum(found["zero_idle"].energy["vdc"]) < 0.5 * sum(found["ota"].energy["vdc"])


@pytest.mark.parametrize("name", KITS)
def test_the_multiplier_needs_one_gain_and_one_offset(name, rng):
    technology, y, found = Technology.load(name), [], []
    for _ in range(6):
        w, x = rng.integers(-5, 6, 6) / 16, rng.uniform(-1, 1, 6)
        bench = multiplier_bench(technology, w, x)
        y.append(bench.product)
        found.append(measure_product(bench, Ngspice().run(bench.deck)).y)
    assert np.std(np.polynomial.Polynomial.fit(y, found, 1)(np.array(y)) - found) < 1e-3


@pytest.mark.parametrize("name", KITS)
def test_a_second_layer_does_what_it_does_behind_ideal_edges(name):
    technology, output = Technology.load(name), np.array([[0.75, -0.25]])
    layers = stages(technology, (np.array([[0.5, -0.25], [0.25, 0.5]]), output))
    chain = chain_bench(layers, np.array([0.2, 0.6]))
    found = measure_chain(chain, Ngspice().run(chain.deck))
    bench = neuron_bench(
        technology, output[0], found.hidden, input_window=1.0 + DELAY, window=1.6, accuracy=STEADY
    )
    assert -5e-3 < found.output[0] - measure(bench, Ngspice().run(bench.deck)).spike_time < 0


@pytest.mark.parametrize("name", KITS)
def test_every_logic_block_reaches_both_its_levels(name):
    """Their outputs switch once or twice; a tenth of VDD for what the edges couple in."""
    technology = Technology.load(name)
    vdd = technology.operating_point.vdd
    outputs = {
        "latch": "s",
        "first_arrival": "q",
        "last_arrival": "q",
        "line_gate": "lm",
        "gate_driver": "gp",
    }
    for block, node in outputs.items():
        plot = Ngspice().run(BENCHES[block](technology))
        low = technology.transistors().levels["cascode_p"] if block == "gate_driver" else 0.0
        assert plot[f"v({node})"].max() == pytest.approx(vdd, abs=0.1 * vdd)
        assert plot[f"v({node})"].min() == pytest.approx(low, abs=0.1 * vdd)


@pytest.mark.parametrize("name", KITS)
def test_a_readout_holds_its_sample(name):
    plot = Ngspice().run(BENCHES["readout"](Technology.load(name)))
    before, after = np.interp([1.29e-7, 2.2e-7], plot["time"], plot["v(hold)"])
    assert after == pytest.approx(before, abs=1e-3)
