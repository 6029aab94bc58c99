"""Traps of the simulator that once gave wrong numbers in silence: one test a trap."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest

from circuits.errors import InputError, SimulatorError
from circuits.ideal import leaky, multiplier, pooling
from circuits.ideal import whole_network as flat
from circuits.ideal.crossings import cross
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.ideal.layer_circuit import layer_cell, read
from circuits.ideal.netlist import FORMS, build
from circuits.ideal.stimulus import stimulus
from circuits.model import closed_form
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import simulate
from circuits.spice.deck import Deck
from circuits.spice.ngspice import Ngspice
from circuits.spice.rawfile import parse

POINT = OperatingPoint().fit_swing(-6.0, 8.0)
ROW = 512
"""ngspice reads the rows of a table into a buffer of this many characters."""


def deviations(rng, layer: Layer, samples: int, size: float) -> LayerMismatch:
    shape = (samples, layer.n_out)
    return LayerMismatch(
        size * rng.normal(size=(samples, *layer.weights.shape)),
        *(size * rng.normal(size=shape) for _ in range(3)),
    )


def cell_of(layer: Layer, times, mismatch: LayerMismatch | None = None):
    return layer_cell(layer, stimulus(layer, times, POINT), POINT, mismatch or LayerMismatch.none(layer))


@pytest.fixture(scope="module")
def decks() -> dict[str, Deck]:
    """Decks of all builders, with numbers of all magnitudes."""
    rng = np.random.default_rng(7)
    scale = 10.0 ** rng.integers(-12, 1, size=(17, 6))
    layer = Layer(rng.normal(size=(17, 6)) * scale, rng.normal(size=17), t_min=1.0, t_max=3.0)
    cell = cell_of(layer, rng.random(6), deviations(rng, layer, 2, 0.05))
    made = {form: build(cell, form) for form in FORMS}
    product = multiplier.Multiplier(rng.normal(size=(2, 3)), 4)
    made["gated"] = multiplier.gated(
        multiplier.cell(product, np.array([0.5, -0.25, 0.1]), np.zeros(3), POINT), POINT.vdd
    )
    made["or"] = pooling.logic("max", rng.random(3), 1.0, POINT.tau_c)[0]
    made["pooling"] = build(pooling.cell("min", rng.random((2, 3)), 1.0, POINT))
    made["leaky"] = leaky.deck(leaky.LeakySynapse(1e-7, 4e-7), rng.normal(size=3), rng.random(3) * 1e-8, 2e-7)
    layers = [
        Layer(rng.normal(size=(4, 5)), rng.normal(size=4), t_min=1.0, t_max=5.0),
        Layer(rng.normal(size=(3, 4)), rng.normal(size=3), t_min=4.0, t_max=4.0, spiking=False),
    ]
    made["flat"] = flat.build(
        layers, [POINT] * 2, rng.random(5), [LayerMismatch.none(one) for one in layers]
    ).deck
    return made


@pytest.mark.parametrize("form", ["table", "pwl"])
def test_edges_that_nearly_meet_are_not_lost(form):
    """1,000 pairs of inputs 1e-23 to 1e-12 s apart; a lost break point was an error of 1e-3.

    1e-12 of a unit: rounding.
    """
    rng = np.random.default_rng(11)
    layers, times = [], []
    for _ in range(1000):
        layers.append(Layer(rng.normal(size=(2, 3)), np.full(2, 1.0), t_min=1.0, t_max=4.0))
        first = rng.uniform(0.1, 0.9)
        gaps = 10.0 ** rng.uniform(-23, -12, 2) / POINT.tau_c
        times.append(np.array([first, first + gaps[0], first - gaps[1]]))
    cells = [cell_of(*item) for item in zip(layers, times, strict=True)]
    measured = cross(cells, Ngspice(), form)
    for layer, pattern, cell, found in zip(layers, times, cells, measured, strict=True):
        theory = closed_form.response(layer, pattern, POINT)
        circuit = read(layer, POINT, cell, found, 1)
        fired = np.isfinite(theory.delay)
        assert np.array_equal(np.isfinite(circuit.delay), fired)
        assert np.all(np.abs(circuit.delay[fired] - theory.delay[fired]) <= 1e-12 * layer.t_max)
        assert np.all(np.abs(circuit.v_t_min - theory.v_t_min) <= 1e-12 * layer.t_max)


def test_no_number_carries_a_unit_letter(decks):
    """ngspice 40 and later read a trailing a as 1e-18, any version reads f as 1e-15."""
    suffix = re.compile(r"(?<![a-z0-9_])[-+]?\d+\.?\d*(?:e[-+]?\d+)?[a-df-z\u00b5]", re.I)
    for name, deck in decks.items():
        circuit = deck.text.split("\n", 1)[1]  # a title may hold any words
        for text in (circuit, *deck.files.values()):
            assert not re.search(r"\d[aAfF]\b", text), name
            assert not suffix.search(text), name
            assert "np.float" not in text, name


def test_tables_have_lower_case_names_without_a_path(decks):
    """Absolute paths are lower-cased, and a table that is not found is zero current with exit code 0."""
    files = [file for deck in decks.values() for file in deck.files]
    assert len(files) >= 4
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*\.txt", file) for file in files)
    for prefix in ("T", "/tmp/t", "../t", "t.x"):
        with pytest.raises(InputError):
            build(cell_of(Layer([[1.0]], [1.0], t_min=1.0, t_max=3.0), np.array([0.5])), prefix=prefix)


@pytest.mark.parametrize("neurons", range(1, 41))
def test_any_number_of_neurons_fits_the_rows_and_columns_of_a_table(neurons):
    """Rows stay below the buffer, an odd number of columns each; the numbers are right to rounding, 1e-12.

    Weights of many digits and small deviations make the longest rows.
    """
    rng = np.random.default_rng(neurons)
    layer = Layer(rng.normal(size=(neurons, 9)) / 3, rng.normal(size=neurons), t_min=1.0, t_max=5.0)
    times = rng.random(9)
    for file, text in build(cell_of(layer, times), "table").files.items():
        for row in text.splitlines():
            assert len(row) + 1 < ROW, file
            assert (len(row.split()) - 1) % 2 == 1, file
    found = simulate(layer, times, IdealNeuron(POINT, "table"))
    theory = closed_form.response(layer, times, POINT)
    assert np.max(np.abs(found.v_t_min - theory.v_t_min)) <= 1e-12 * layer.t_max
    fired = np.isfinite(theory.delay)
    assert np.array_equal(np.isfinite(found.delay), fired)
    assert np.all(np.abs(found.delay[fired] - theory.delay[fired]) <= 1e-12 * layer.t_max)


def test_rows_of_the_longest_numbers_fit_the_buffer():
    layer = Layer(np.full((15, 3), -1 / 3 * 1e-150), np.full(15, 1e-150 / 7), t_min=1.0, t_max=3.0)
    (text,) = build(cell_of(layer, np.array([0.1, 0.2, 1 / 3])), "table").files.values()
    assert max(map(len, text.splitlines())) + 1 < ROW


def test_a_record_cut_at_any_byte_is_refused(tmp_path, decks):
    """The header is complete only when the run is; a record cut short still looks like one."""
    deck = decks["pulse"]
    for file, text in {"deck.cir": deck.text, **deck.files}.items():
        (tmp_path / file).write_text(text)
    command = ["ngspice", "-n", "-b", "-r", "out.raw", "deck.cir"]
    subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    raw = (tmp_path / "out.raw").read_bytes()
    (plot,) = parse(raw)
    assert plot.values.size > 1000
    start = raw.index(b"Binary:\n")
    cuts = {
        *range(start + 20),
        *np.linspace(start, len(raw) - 1, 400).astype(int),
        *range(len(raw) - 20, len(raw)),
    }
    for cut in cuts:
        with pytest.raises(SimulatorError):
            parse(raw[:cut])
    for extra in (b"\0", b"garbage", b"Binary:\n", raw[:100], bytes(64)):
        with pytest.raises(SimulatorError):
            parse(raw + extra)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "title",
    ["*ng_script", "*ng_script_with_params", "*#shell touch x", "#", "a\n.control\nshell touch x\n.endc",
     "a\r.control", "a\n*#shell touch x", "`touch x`", "$x", "", " a", ".include x", "\u00b5", "a\x00"],
)  # fmt: skip
def test_a_title_cannot_become_a_program(title, form):
    layer = Layer([[1.0]], [1.0], t_min=1.0, t_max=3.0)
    with pytest.raises(InputError, match="title"):
        build(cell_of(layer, np.array([0.5])), form, title=title)


def test_no_comment_is_written(decks):
    """Comments such as `*#shell` are executed; the package writes none at all."""
    for name, deck in decks.items():
        assert "*#" not in deck.text, name
        assert not [line for line in deck.text.split("\n") if line.lstrip().startswith("*")], name
        assert not set("`;$#\\\t\r\0") & set(deck.text), name


@pytest.mark.parametrize("size", [1e-15, 1e-12, 1e-6, 0.05])
def test_values_survive_as_text(size):
    """Capacitances and pulses exactly; tables to half of 2**-52 of each neuron's largest current, twice."""
    rng = np.random.default_rng(3)
    layer = Layer(rng.normal(size=(4, 5)), rng.normal(size=4), t_min=1.0, t_max=3.0)
    cell = cell_of(layer, rng.random(5), deviations(rng, layer, 3, size))
    assert len(np.unique(cell.capacitance)) > (1 if size < 1e-14 else 11)
    edges, rows = cell.sources.rows(cell.grid)
    for form in FORMS:
        text = build(cell, form).text
        found = [float(v) for v in re.findall(r"^C\d+ [a-z]+\d+ 0 (\S+) ic=", text, re.M)]
        assert found == cell.capacitance.tolist()
    pulses = re.findall(r"^I[wb]\d*_\d+ \S+ \S+ PULSE\(0 (\S+) ", build(cell, "pulse").text, re.M)
    heights = np.abs(cell.sources.amps)
    assert set(map(float, pulses)) == set(heights[heights != 0].tolist())
    tables = build(cell, "table").files.values()
    (table,) = ([[float(v) for v in row.split()] for row in text.splitlines()] for text in tables)
    scales = re.search(r"amplscale=\[(.*?)\]", build(cell, "table").text).group(1).split()
    found = -np.array(list(map(float, scales[:12]))) * np.array(table)[:-1, 1:13]
    assert np.all(np.abs(found - rows) <= 3e-16 * np.max(np.abs(rows), axis=0))
    assert len(table) == len(edges) + 2


def test_deviations_too_small_to_see_still_move_the_spikes_as_they_should():
    """Deviations of 1e-9 shift delays by 1e-9; the simulator follows to 1e-12 of the window."""
    rng = np.random.default_rng(5)
    layer = Layer(rng.normal(size=(6, 8)) / 3, np.full(6, 2.0), t_min=1.0, t_max=5.0)
    times, mismatch = rng.random(8), deviations(rng, layer, 4, 1e-9)
    found = simulate(layer, times, POINT, mismatch)
    theory = closed_form.response(layer, times, POINT, mismatch)
    fired = np.isfinite(theory.delay)
    assert fired.any()
    assert np.max(np.abs(found.delay[fired] - theory.delay[fired])) <= 1e-12 * layer.t_max
    assert np.ptp(theory.delay[fired[:, 0], 0]) > 1e-10


def test_the_program_that_is_tested_is_the_one_on_the_path():
    assert Ngspice().program == shutil.which("ngspice")
