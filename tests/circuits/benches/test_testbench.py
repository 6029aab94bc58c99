"""Benches of the larger cells: what they refuse, and what they write, without running anything."""

from __future__ import annotations

import re

import numpy as np
import pytest

from circuits.benches.multiplier import MARK, MultiplierPoint, multiplier_bench
from circuits.benches.neuron import neuron_bench
from circuits.benches.pooling import pooling_bench
from circuits.benches.readout import readout_bench
from circuits.benches.two_layers import chain_bench, stages
from circuits.blocks.pooling import WIDEST, pooling_gate
from circuits.blocks.subcircuit import Mos, Use
from circuits.errors import InputError
from circuits.pdk.technology import Technology

GENERIC = Technology.load("generic130")
W, X = np.array([0.5, -0.25]), np.array([0.8, -0.4])


def pulse(text: str, node: str) -> float:
    """Length of the only pulse of a signal, from edge to edge [s]; nan if it is a level."""
    match = re.search(rf"^V{node} {node} 0 PWL\((.*)\)$", text, re.MULTILINE)
    if not match:
        assert re.search(rf"^V{node} {node} 0 [\d.]+$", text, re.MULTILINE)
        return np.nan
    times = [float(t) for t in match[1].split()[::2]]
    assert len(times) == 5
    return times[3] - times[1]


def test_the_multiplier_has_its_operating_point_from_that_of_the_neuron():
    scale = MultiplierPoint.of(GENERIC, 6)
    assert scale.units == 16
    assert scale.point.v_reset == pytest.approx(0.40)
    assert scale.point.v_unit == pytest.approx(0.40)
    assert scale.point.i_unit == pytest.approx(400e-9)


@pytest.mark.parametrize("inputs", [12, 32, 64, 200])
def test_more_inputs_keep_the_unit_current_and_the_unit_of_potential(inputs):
    scale, small = MultiplierPoint.of(GENERIC, inputs), MultiplierPoint.of(GENERIC, 6)
    assert scale.units == pytest.approx(16 * inputs / 6, abs=0.5)
    assert scale.point.v_unit == pytest.approx(small.point.v_unit)
    assert scale.point.i_unit / scale.units == pytest.approx(
        small.point.i_unit / small.units, rel=1e-9, abs=0
    )


def test_every_input_line_has_a_pulse_and_they_differ_by_the_input():
    text = multiplier_bench(GENERIC, W, X).deck.text
    plus, minus = ([pulse(text, f"x{sign}{j}") / 100e-9 for j in (0, 1)] for sign in "pm")
    assert np.allclose(plus, [MARK + 0.8, MARK])
    assert np.allclose(minus, [MARK, MARK + 0.4])


def test_without_a_shortest_pulse_only_the_line_of_the_sign_has_one():
    text = multiplier_bench(GENERIC, W, X, mark=0.0).deck.text
    assert np.isnan([pulse(text, "xm0"), pulse(text, "xp1")]).all()
    assert pulse(text, "xp0") == pytest.approx(80e-9)


@pytest.mark.parametrize(
    ("weights", "inputs", "options", "says"),
    [
        ([0.51, 0.25], X, {}, "multiples of 1/16"),
        ([0.0, 0.0], X, {}, "multiples"),
        ([1.0, 1.0], [0.9, 0.9], {}, "scale the weights down"),
        (W, [1.2, 0.1], {}, "within phase 1"),
        (W, X, {"starts": np.array([0.5, 0.0])}, "within phase 1"),
        (W, [0.5], {}, "one input"),
        (W, X, {"mark": 0.003}, "longer than two edges"),
    ],
)
def test_a_multiplier_that_cannot_be_built_is_refused(weights, inputs, options, says):
    with pytest.raises(InputError, match=says):
        multiplier_bench(GENERIC, np.array(weights), np.array(inputs), **options)


def stack(block) -> int:
    """Transistors in series in the deepest NAND of a block."""
    deepest = sum(isinstance(p, Mos) and p.role == "nand_n" for p in block.parts)
    return max([deepest, *(stack(p.block) for p in block.parts if isinstance(p, Use))])


@pytest.mark.parametrize("inputs", [2, 4, 5, 9, 17, 20])
@pytest.mark.parametrize("kind", ["max", "min"])
def test_pooling_gates_stay_narrow_and_use_every_input(kind, inputs):
    block = pooling_gate(kind, inputs)
    assert block.ports == (*(f"s{j}" for j in range(inputs)), "q", "vdd")
    assert stack(block) <= WIDEST
    leaves = [n for p in block.parts if isinstance(p, Use) for n in p.nodes] or [
        p.gate for p in block.parts if isinstance(p, Mos)
    ]
    assert all(leaves.count(f"s{j}") == (1 if inputs > WIDEST else 2) for j in range(inputs))


def test_pooling_refuses_unknown_kinds_single_inputs_and_late_spikes():
    with pytest.raises(InputError, match="max, min"):
        pooling_gate("mean", 3)
    with pytest.raises(InputError, match="2 inputs"):
        pooling_gate("max", 1)
    with pytest.raises(InputError, match=r"0\.\.1 tau_c"):
        pooling_bench(GENERIC, "max", np.array([0.2, 1.4]))


def test_a_chain_needs_layers_that_fit():
    with pytest.raises(InputError, match="do not chain"):
        chain_bench(stages(GENERIC, (np.ones((2, 3)) / 4, np.ones((1, 3)) / 4)), np.array([0.1, 0.2, 0.3]))


def test_a_hold_capacitor_leaves_something_for_the_membrane():
    with pytest.raises(InputError, match="hold capacitor"):
        readout_bench(GENERIC, W, np.array([0.1, 0.2]), share=0.95)


def test_gate_bias_takes_weights_between_the_units_and_one_device_each():
    weights, times = np.array([0.513, -0.2]), np.array([0.2, 0.5])
    with pytest.raises(InputError, match="no multiple"):
        neuron_bench(GENERIC, weights, times)
    with pytest.raises(InputError, match="units or bias"):
        neuron_bench(GENERIC, weights, times, weight_storage="flash")
    bench = neuron_bench(GENERIC, weights, times, weight_storage="bias").bench
    counts = {d.path: d.count for d in bench.devices if d.path in ("w0_ma", "w1_ma")}
    assert counts == {"w0_ma": 1.0, "w1_ma": 1.0}
    assert {d.path for d in bench.devices} >= {"refb0_mw", "refb1_mw"}
