"""Decks as text: what each form of the circuit contains, before any simulator sees it."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.netlist import COLUMNS, FORMS, MANTISSA, build, pulse, pwl, table
from circuits.ideal.stimulus import stimulus
from circuits.ideal.switched_sources import NEVER, Cell
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.spice.deck import Deck

POINT = OperatingPoint().fit_swing(-3, 5)
LAYER = Layer([[1.0, -0.5, 0.25], [-0.2, 0.3, 0.0]], [0.5, 0.1], t_min=1.0, t_max=3.0)
TIMES = np.array([0.25, 0.5, np.inf])


def cell(layer=LAYER, times=TIMES, mismatch=None, point=POINT) -> Cell:
    mismatch = mismatch or LayerMismatch.none(layer)
    return layer_cell(layer, stimulus(layer, times, point), point, mismatch)


def content(deck: Deck) -> np.ndarray:
    """The one table of a deck, as numbers: time and the columns."""
    (text,) = deck.files.values()
    return np.array([[float(v) for v in line.split()] for line in text.splitlines()])


def scales(deck: Deck) -> list[float]:
    """What the whole numbers of each column count [A], all tables of a deck in their order."""
    matches = re.findall(r"amplscale=\[(.*?)\]", deck.text)
    return [float(v) for words in matches for v in words.split()]


def columns(deck: Deck) -> list[tuple[str, ...]]:
    """The columns of all tables of a deck as words, without their times."""
    tables = [[line.split() for line in text.splitlines()] for text in deck.files.values()]
    return [column for rows in tables for column in list(zip(*rows, strict=True))[1:]]


def currents(deck: Deck, neurons: int) -> np.ndarray:
    """Currents out of the one table of a deck [A]: its ports sink, so the sign is reversed."""
    return -content(deck)[:, 1 : 1 + neurons] * scales(deck)[:neurons]


def transient(deck: Deck) -> tuple[float, ...]:
    """Step, stop, start and longest step."""
    match = re.search(r"^\.tran (\S+) (\S+) (\S+) (\S+) uic$", deck.text, re.M)
    return tuple(float(v) for v in match.groups())


def wide(neurons: int) -> Layer:
    return Layer(np.linspace(-1, 1, neurons)[:, None], np.zeros(neurons), t_min=1.0, t_max=3.0)


def test_a_cell_is_unit_free_values_times_the_scale():
    """Synapses up to the grid's gain, 1e-8; all others 1e-15: one product each."""
    made = cell()
    np.testing.assert_allclose(made.sources.amps[:, :3] != 0, (LAYER.weights != 0) & (TIMES < 1))
    live = made.sources.amps[:, :2]
    np.testing.assert_allclose(live, POINT.i_unit * LAYER.weights[:, :2], rtol=1e-8)
    np.testing.assert_allclose(made.sources.amps[:, -1], POINT.i_unit * LAYER.slope, rtol=1e-15)
    np.testing.assert_allclose(made.capacitance, POINT.c_mem, rtol=1e-15)
    np.testing.assert_allclose(made.threshold, POINT.volts(LAYER.theta), rtol=1e-15)
    assert not made.sources.amps[:, -2].any()
    assert made.sources.labels == ("w0", "w1", "w2", "a", "b")
    assert made.sources.on[2] == NEVER
    assert made.v_reset == POINT.v_reset


def test_neurons_of_samples_stand_sample_by_sample(rng):
    """1e-14: a few products."""
    neuron = [0.1 * rng.normal(size=(4, 2)) for _ in range(3)]
    mismatch = LayerMismatch(0.1 * rng.normal(size=(4, 2, 3)), *neuron)
    made = cell(mismatch=mismatch)
    gain = stimulus(LAYER, TIMES, POINT).inputs.gain
    for sample in range(4):
        for i in range(2):
            k = 2 * sample + i
            current = POINT.i_unit * LAYER.weights[i] * (1 + mismatch.synapse[sample, i]) * gain
            np.testing.assert_allclose(made.sources.amps[k, :3], current, rtol=1e-14)
            slope = POINT.i_unit * LAYER.slope[i] * (1 + mismatch.slope[sample, i])
            assert made.sources.amps[k, -1] == pytest.approx(slope, rel=1e-14)
            farad = POINT.c_mem * (1 + mismatch.capacitance[sample, i])
            assert made.capacitance[k] == pytest.approx(farad, rel=1e-14)
            offset = mismatch.threshold[sample, i] / (1 + mismatch.capacitance[sample, i])
            trip = POINT.volts(LAYER.theta[i] + offset)
            assert made.threshold[k] == pytest.approx(trip, rel=1e-14)


def test_read_out_neurons_have_a_drive_and_no_slope_source():
    """1e-8: the drive carries the grid's gain of the whole phase."""
    made = cell(dataclasses.replace(LAYER, spiking=False))
    assert not made.sources.amps[:, -1].any()
    np.testing.assert_allclose(made.sources.amps[:, -2], POINT.i_unit * LAYER.bias, rtol=1e-8)


def test_deviations_of_another_layer_are_refused():
    with pytest.raises(InputError, match="does not fit weights"):
        cell(mismatch=LayerMismatch.none(wide(3)))


def test_a_table_holds_the_sum_of_what_flows_after_each_edge():
    """1e-8: the grid's gain."""
    wanted = [[0, 0], [1.0, -0.2], [0.5, 0.1], [1, 1], [1, 1]]  # reset, two edges, slope twice
    np.testing.assert_allclose(currents(table(cell()), 2) / POINT.i_unit, wanted, rtol=1e-8, atol=1e-8)


def test_a_table_holds_the_rows_of_its_sources_to_half_of_a_whole_number():
    """Half of 2**-52 of the neuron's largest current, and the rounding of two products."""
    made = cell()
    _, rows = made.sources.rows(made.grid)
    largest = np.max(np.abs(rows), axis=0)
    assert np.all(np.abs(currents(table(made), 2)[:-1] - rows) <= 3e-16 * largest)


def test_a_table_holds_whole_numbers_up_to_the_mantissa():
    deck = table(cell())
    whole = [[int(word) for word in column] for column in columns(deck)]  # int: no point, no exponent
    assert [max(map(abs, column)) for column in whole] == [MANTISSA, MANTISSA, 0]
    assert len(scales(deck)) == 3  # two neurons and a pad
    assert "amploffset=[0 0 0] " in deck.text


def test_a_sample_does_not_depend_on_its_deck_mates(rng):
    """The same column and scale, bit by bit, alone and among mates 1e6 times larger and smaller."""
    layer = Layer(rng.normal(size=(1, 3)), rng.normal(size=1), t_min=1.0, t_max=3.0)
    times = rng.random(3)
    size = 10.0 ** np.linspace(-6, 6, 20)
    neuron = [0.05 * rng.normal(size=(20, 1)) for _ in range(3)]
    mismatch = LayerMismatch(size[:, None, None] * rng.random((20, 1, 3)), *neuron)
    together = table(cell(layer, times, mismatch))
    mates = list(zip(columns(together), scales(together), strict=True))
    assert len({scale for _, scale in mates}) == 20
    for k in range(20):
        values = (getattr(mismatch, field.name) for field in dataclasses.fields(mismatch))
        alone = table(cell(layer, times, LayerMismatch(*(v[k : k + 1] for v in values))))
        assert list(zip(columns(alone), scales(alone), strict=True)) == [mates[k]]


def test_table_rows_take_effect_just_behind_their_edges():
    """Within 2e-5 tick, and never ahead; 1e-7 tick is the rounding of the division itself."""
    made = cell()
    edges, _ = made.sources.rows(made.grid)
    behind = content(table(made))[1:4, 0] / made.grid.tick - edges
    assert np.all(behind > 5e-6)
    assert np.all(behind < 2e-5)


def test_the_table_goes_on_beyond_the_end_of_the_run():
    deck = table(cell())
    assert content(deck)[-1, 0] > deck.stop


def test_an_input_that_is_on_from_the_start_has_no_edge():
    """1e-8: the grid's gain."""
    deck = table(cell(times=np.array([0.0, 0.5, np.inf])))
    assert content(deck)[0, 0] == 0
    assert currents(deck, 2)[0, 0] == pytest.approx(POINT.i_unit, rel=1e-8)


def test_without_inputs_nothing_flows_until_the_slope_source():
    rows = content(table(cell(times=np.full(3, np.inf))))
    assert not rows[0, 1:].any()
    assert rows[1:, 1:3].all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 64))
def test_tables_are_short_odd_and_hold_every_neuron(neurons):
    """Rows over 512 characters would be cut, and an even count of columns misread, in silence."""
    deck = table(cell(layer=wide(neurons), times=np.array([0.3])))
    assert len(deck.files) == -(-neurons // COLUMNS)
    total = 0
    for text in deck.files.values():
        counts = {len(line.split()) - 1 for line in text.splitlines()}
        assert len(counts) == 1
        assert counts.pop() % 2 == 1
        assert max(map(len, text.splitlines())) < 512
        total += len(text.splitlines()[0].split()) - 1
    assert neurons <= total <= neurons + 1
    assert deck.nodes == tuple(f"m{i}" for i in range(neurons))
    assert len(scales(deck)) == total


def test_every_table_is_named_in_the_deck():
    deck = table(cell(layer=wide(40), times=np.array([0.3])), prefix="stage")
    assert sorted(deck.files) == ["stage0.txt", "stage1.txt", "stage2.txt"]
    assert all(f'file="{file}"' in deck.text for file in deck.files)


@pytest.mark.parametrize("prefix", ["T", "../t", 't"', "t 0", "t\n.control"])
def test_a_table_name_that_is_more_than_a_name_is_refused(prefix):
    with pytest.raises(InputError, match="netlist name"):
        table(cell(), prefix=prefix)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "title", ["two\nlines", "tab\there", "\x00", "", "*#shell ls", ".include x", "é" * 3]
)
def test_a_title_that_is_more_than_a_title_is_refused(form, title):
    with pytest.raises(InputError, match="deck title"):
        build(cell(), form, title=title)


@pytest.mark.parametrize("form", FORMS)
def test_only_a_waveform_deck_records_from_the_start(form):
    """.tran step stop start longest: a record of the firing window starts 1e-6 of t_min ahead of it."""
    made = cell()
    _, stop, start, longest = transient(build(made, form, waveform=True))
    assert start == 0
    assert longest < stop / 100
    _, stop, start, _ = transient(build(made, form, waveform=False))
    armed = made.armed * made.grid.tick
    assert armed * (1 - 2e-6) < start < armed < stop


@pytest.mark.parametrize("form", FORMS)
def test_the_comb_has_a_corner_on_every_edge(form):
    made = cell()
    text = build(made, form).text
    comb = text[text.index("Vbp bp 0 PWL(") :].split(")")[0]
    for tick in (*made.sources.on[:2], made.armed):
        assert f"\n+ {made.grid.text(tick)} 0" in comb


def test_one_source_per_synapse_in_the_readable_form():
    """Four synapses are live (one weight is 0, one input silent); 1e-8: the grid's gain."""
    deck = pulse(cell())
    sources = re.findall(r"^I(\w+) (\w+) (\w+) .*PULSE\(0 (\S+)", deck.text, re.M)
    by_label = {label: (a, b, float(amps)) for label, a, b, amps in sources}
    assert set(by_label) == {"w0_0", "w1_0", "w0_1", "w1_1", "b_0", "b_1"}  # current, then neuron
    assert by_label["w0_0"][:2] == ("vdd0", "n0")  # positive weights: from the supply to the sum
    assert by_label["w1_0"][:2] == ("n0", "0")  # negative weights: from the sum to ground
    sums = re.findall(r"^Vs(\d) (\w+) (\w+) (\S+)$", deck.text, re.M)
    assert sums == [("0", "n0", "m0", "0"), ("1", "n1", "m1", "0")]  # and on to the membrane
    assert by_label["w1_0"][2] == pytest.approx(0.5 * POINT.i_unit, rel=1e-8)
    assert deck.currents == ("vdd0", "vdd1")
    assert deck.n_devices == 6 + 8  # and a capacitor, a supply, a sum and a threshold for each of two neurons


def test_the_supply_of_the_readable_form_is_as_given():
    deck = pulse(cell(), vdd=0.9)
    assert re.findall(r"^Vdd(\d) vdd(\d) 0 (\S+)$", deck.text, re.M) == [("0", "0", "0.9"), ("1", "1", "0.9")]


def test_pulses_keep_the_charge_that_the_grid_would_move(rng):
    """Height times width = weight * (t_min - t_j), 1e-12: both are rounded once, and a tick is 1e-9."""
    times = rng.uniform(0, 1, 3)
    layer = dataclasses.replace(LAYER, weights=np.abs(LAYER.weights) + 0.1)
    deck = pulse(cell(layer=layer, times=times))
    shapes = re.findall(r"^Iw(\d)_(\d) .*PULSE\(0 (\S+) \S+ \S+ \S+ (\S+) \S+\)", deck.text, re.M)
    assert len(shapes) == 6
    for j, i, amps, width in shapes:
        charge = layer.weights[int(i), int(j)] * POINT.i_unit * (1 - times[int(j)]) * POINT.tau_c
        assert float(amps) * float(width) == pytest.approx(charge, rel=1e-12)


def test_the_portable_form_holds_the_same_sums_as_the_table():
    """One corner before and one behind every edge; numbers are written whole, so the same bits."""
    made = cell()
    edges, rows = made.sources.rows(made.grid)
    shapes = re.findall(r"^I(\d) 0 m(\d) PWL\(([^)]*)\)", pwl(made).text, re.M)
    assert len(shapes) == 2
    for i, node, shape in shapes:
        assert i == node
        corners = np.array([float(v) for v in shape.replace("+", " ").replace("e ", "e+").split()])
        time, amps = corners.reshape(-1, 2).T
        assert np.array_equal(amps, np.repeat(rows[:, int(i)], 2)[:-1])
        assert np.all(np.diff(time) > 0)
        np.testing.assert_allclose(time[1::2] / made.grid.tick, edges, rtol=1e-12)


@pytest.mark.parametrize(("form", "saved"), [("table", 0), ("pwl", 0), ("pulse", 4)])
def test_only_the_readable_form_chooses_what_is_saved(form, saved):
    """Two membranes and two supplies; without a choice ngspice saves all."""
    assert build(cell(), form).text.count(".save") == saved


@pytest.mark.parametrize("form", FORMS)
def test_every_capacitor_starts_at_the_reset_level(form):
    starts = re.findall(r"^C\d+ m\d 0 (\S+) ic=(\S+)$", build(cell(), form).text, re.M)
    assert len(starts) == 2
    assert all(float(ic) == POINT.v_reset and float(c) == POINT.c_mem for c, ic in starts)


@pytest.mark.parametrize("form", FORMS)
def test_values_are_written_without_unit_letters(form):
    """Letters may only stand in names and in exponents: ngspice would scale by them."""
    for line in build(cell(), form).text.splitlines()[1:]:
        assert not re.search(r"(?<![\w.])[-+]?\d+\.?\d*(e[-+]?\d+)?[a-df-z]", line.lower()), line


@pytest.mark.parametrize("form", FORMS)
def test_a_deck_says_its_title_and_its_end(form):
    """The run ends with the firing window, up to two ticks of 1e-9."""
    deck = build(cell(), form, title="seven neurons")
    assert deck.text.startswith(".title seven neurons\n")
    assert deck.text.endswith(".end\n")
    assert deck.stop == pytest.approx(3.0 * POINT.tau_c, rel=1e-7)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_circuit_gives_the_same_deck(form):
    assert build(cell(), form) == build(cell(), form)


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="unknown netlist form 'poem'; choose from table"):
        build(cell(), "poem")
