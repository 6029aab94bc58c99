"""Decks as text: what each form of the circuit contains, before any simulator sees it."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.layer import Layer, LayerMismatch
from circuits.netlist import COLUMNS, devices, pulse, step_table
from circuits.operating_point import OperatingPoint
from circuits.stimulus import stimulus

POINT = OperatingPoint().fit_swing(-3, 5)
LAYER = Layer([[1.0, -0.5, 0.25], [-0.2, 0.3, 0.0]], [0.5, 0.1], t_min=1.0, t_max=3.0)
TIMES = np.array([0.25, 0.5, np.inf])


def parts(layer=LAYER, times=TIMES, mismatch=None, point=POINT):
    mismatch = mismatch or LayerMismatch.none(layer)
    return devices(layer, point, mismatch), stimulus(layer, times, point), point


def wide(neurons: int) -> Layer:
    return Layer(np.linspace(-1, 1, neurons)[:, None], np.zeros(neurons), t_min=1.0, t_max=3.0)


def rows(text: str) -> list[list[float]]:
    return [[float(v) for v in line.split()] for line in text.splitlines()]


def test_devices_are_unit_free_values_times_the_scale():
    """1e-15: one product each."""
    dev = devices(LAYER, POINT, LayerMismatch.none(LAYER))
    np.testing.assert_allclose(dev.synapse, POINT.i_unit * LAYER.weights, rtol=1e-15)
    np.testing.assert_allclose(dev.slope, POINT.i_unit * LAYER.slope, rtol=1e-15)
    np.testing.assert_allclose(dev.capacitance, POINT.c_mem, rtol=1e-15)
    np.testing.assert_allclose(dev.threshold, POINT.volts(LAYER.theta), rtol=1e-15)
    assert not dev.drive.any()


def test_neurons_of_samples_stand_sample_by_sample(rng):
    """1e-14: a few products."""
    neuron = [0.1 * rng.normal(size=(4, 2)) for _ in range(3)]
    mismatch = LayerMismatch(0.1 * rng.normal(size=(4, 2, 3)), *neuron)
    dev = devices(LAYER, POINT, mismatch)
    for sample in range(4):
        for i in range(2):
            k = 2 * sample + i
            current = POINT.i_unit * LAYER.weights[i] * (1 + mismatch.synapse[sample, i])
            np.testing.assert_allclose(dev.synapse[k], current, rtol=1e-14)
            farad = POINT.c_mem * (1 + mismatch.capacitance[sample, i])
            assert dev.capacitance[k] == pytest.approx(farad, rel=1e-14)
            trip = POINT.volts(LAYER.theta[i] + mismatch.threshold[sample, i])
            assert dev.threshold[k] == pytest.approx(trip, rel=1e-14)


def test_read_out_neurons_have_a_drive_and_no_slope_source():
    dev = devices(dataclasses.replace(LAYER, spiking=False), POINT, LayerMismatch.none(LAYER))
    assert not dev.slope.any()
    np.testing.assert_allclose(dev.drive, POINT.i_unit * LAYER.bias, rtol=1e-15)


def test_a_table_holds_the_sum_of_what_flows_after_each_edge():
    """Ports sink, so signs are reversed. 15 digits are written: 1e-14."""
    deck = step_table(*parts())
    (table,) = deck.files.values()
    currents = -np.array(rows(table))[:, 1:3] / POINT.i_unit
    wanted = [[0, 0], [1.0, -0.2], [0.5, 0.1], [1, 1], [1, 1]]  # reset, two edges, slope twice
    np.testing.assert_allclose(currents, wanted, rtol=1e-14, atol=1e-14)


def test_table_rows_take_effect_just_behind_their_edges():
    """Edges at 25, 50 and 100 ns of tau_c = 100 ns; within 1e-3 tick, and never ahead."""
    dev, stim, point = parts()
    (table,) = step_table(dev, stim, point).files.values()
    behind = np.array([r[0] for r in rows(table)][1:4]) / stim.tick - np.append(stim.start[:2], stim.n_min)
    assert np.all(behind > 0)
    assert np.all(behind <= 1.1e-3)


def test_the_table_goes_on_beyond_the_end_of_the_run():
    deck = step_table(*parts())
    (table,) = deck.files.values()
    assert rows(table)[-1][0] > deck.stop


def test_an_input_that_is_on_from_the_start_has_no_edge():
    (table,) = step_table(*parts(times=np.array([0.0, 0.5, np.inf]))).files.values()
    first = rows(table)[0]
    assert first[0] == 0
    assert -first[1] == pytest.approx(POINT.i_unit, rel=1e-14)


def test_without_inputs_nothing_flows_until_the_slope_source():
    (table,) = step_table(*parts(times=np.full(3, np.inf))).files.values()
    content = np.array(rows(table))
    assert not content[0, 1:].any()
    assert content[1:, 1:3].all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 64))
def test_tables_are_short_odd_and_hold_every_neuron(neurons):
    """Rows over 512 characters would be cut, and an even count of columns misread, in silence."""
    deck = step_table(*parts(layer=wide(neurons), times=np.array([0.3])))
    assert len(deck.files) == -(-neurons // COLUMNS)
    columns = 0
    for table in deck.files.values():
        counts = {len(line.split()) - 1 for line in table.splitlines()}
        assert len(counts) == 1
        assert counts.pop() % 2 == 1
        assert max(map(len, table.splitlines())) < 512
        columns += len(table.splitlines()[0].split()) - 1
    assert neurons <= columns <= neurons + 1
    assert deck.nodes == tuple(f"m{i}" for i in range(neurons))
    assert all(f".save v({n})\n" in deck.text for n in deck.nodes)


def test_every_table_is_named_in_the_deck():
    deck = step_table(*parts(layer=wide(40), times=np.array([0.3])), table="stage")
    assert sorted(deck.files) == ["stage0.txt", "stage1.txt", "stage2.txt"]
    assert all(f'file="{file}"' in deck.text for file in deck.files)


@pytest.mark.parametrize("table", ["T", "../t", 't"', "t 0", "t\n.control"])
def test_a_table_name_that_is_more_than_a_name_is_refused(table):
    with pytest.raises(InputError, match="netlist name"):
        step_table(*parts(), table=table)


def test_only_a_waveform_deck_records_from_the_start():
    """.tran step stop start longest: a record of the firing window starts 1e-6 of t_min ahead of it."""
    dev, stim, point = parts()

    def start(deck) -> float:
        return float(re.search(r"^\.tran (\S+) (\S+) (\S+) (\S+) uic$", deck.text, re.M)[3])

    assert start(step_table(dev, stim, point, waveform=True)) == 0
    t_min = stim.n_min * stim.tick
    assert t_min * (1 - 2e-6) < start(step_table(dev, stim, point)) < t_min


def test_the_comb_has_a_corner_on_every_edge():
    dev, stim, point = parts()
    for deck in (step_table(dev, stim, point), pulse(dev, stim, point)):
        comb = deck.text[deck.text.index("Vbp bp 0 PWL(") :].split(")")[0]
        for tick in (*stim.start[:2], stim.n_min):
            assert f"\n+ {stim.seconds(tick)} 0" in comb


def test_one_source_per_synapse_in_the_readable_form():
    """Five synapses are live (one weight is 0, one input silent): w0_0, w0_1, w1_0, w1_1."""
    deck = pulse(*parts())
    sources = re.findall(r"^I(\w+) (\w+) (\w+) .*PULSE\(0 (\S+)", deck.text, re.M)
    found = {label: (a, b, float(amps)) for label, a, b, amps in sources}
    assert set(found) == {"w0_0", "w0_1", "w1_0", "w1_1", "b0", "b1"}
    assert found["w0_0"][:2] == ("vdd0", "m0")  # positive weights: from the supply to the membrane
    assert found["w0_1"][:2] == ("m0", "0")  # negative weights: from the membrane to ground
    assert found["w0_1"][2] == pytest.approx(0.5 * POINT.i_unit, rel=1e-8)  # up to the grid's gain
    assert deck.currents == ("vdd0", "vdd1")
    assert deck.n_devices == 6 + 4


def test_pulses_keep_the_charge_that_the_grid_would_move(rng):
    """Height times width = weight * (t_min - t_j), 1e-12: both are rounded once, and a tick is 1e-9."""
    times = rng.uniform(0, 1, 3)
    layer = dataclasses.replace(LAYER, weights=np.abs(LAYER.weights) + 0.1)
    dev, stim, point = parts(layer=layer, times=times)
    deck = pulse(dev, stim, point)
    found = re.findall(r"^Iw(\d)_(\d) .*PULSE\(0 (\S+) \S+ \S+ \S+ (\S+) \S+\)", deck.text, re.M)
    assert len(found) == 6
    for i, j, amps, width in found:
        charge = layer.weights[int(i), int(j)] * point.i_unit * (1 - times[int(j)]) * point.tau_c
        assert float(amps) * float(width) == pytest.approx(charge, rel=1e-12)


def test_every_capacitor_starts_at_the_reset_level():
    for deck in (step_table(*parts()), pulse(*parts())):
        starts = re.findall(r"^C\d+ m\d 0 (\S+) ic=(\S+)$", deck.text, re.M)
        assert len(starts) == 2
        assert all(float(ic) == POINT.v_reset and float(c) == POINT.c_mem for c, ic in starts)


def test_values_are_written_without_unit_letters():
    """Letters may only stand in names and in exponents: ngspice would scale by them."""
    for deck in (step_table(*parts()), pulse(*parts())):
        for line in deck.text.splitlines()[1:]:
            assert not re.search(r"(?<![\w.])[-+]?\d+\.?\d*(e[-+]?\d+)?[a-df-z]", line.lower()), line


def test_a_deck_says_its_title_and_its_end():
    deck = step_table(*parts(), title="seven neurons")
    assert deck.text.startswith(".title seven neurons\n")
    assert deck.text.endswith(".end\n")
    assert deck.stop == pytest.approx(3.0 * POINT.tau_c, rel=1e-7)


def test_the_same_circuit_gives_the_same_deck():
    for build in (step_table, pulse):
        assert build(*parts()) == build(*parts())
