"""The decks in netlists/ are what the code writes, byte for byte, and plain ngspice runs them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from circuits.ideal import alpha, leaky, multiplier, netlist, pooling
from circuits.ideal import whole_network as flat
from circuits.ideal.crossings import measure
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.stimulus import block_early, stimulus
from circuits.ideal.switched_sources import Cell, first_crossing
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.spice.deck import Deck
from circuits.spice.ngspice import Ngspice

FOLDER = Path(__file__).resolve().parents[2] / "netlists"
POINT = OperatingPoint(i_unit=125e-9, v_reset=0.5)
TIMES = np.array([0.2, 0.5, 0.6])
WEIGHTS = np.array([[0.5, -0.25, 0.75], [-0.5, 1.0, 0.25], [0.25, 0.5, -1.0], [1.0, 0.5, 0.25]])
LAYER = Layer(WEIGHTS, [1.0, 0.5, 0.75, 1.25], t_min=1.0, t_max=3.0)
NEURON = Layer(WEIGHTS[:1], [1.5], t_min=1.0, t_max=3.0)
READOUT = Layer(WEIGHTS[:1], [0.2], t_min=1.0, t_max=1.0, spiking=False)


def no_mismatch(n_out: int, n_in: int) -> LayerMismatch:
    return LayerMismatch(np.zeros((1, n_out, n_in)), *(np.zeros((1, n_out)) for _ in range(3)))


def of_layer(layer: Layer) -> Cell:
    return layer_cell(layer, stimulus(layer, TIMES, POINT), POINT, LayerMismatch.none(layer))


def early() -> Cell:
    """The first input has fired 0.3 tau_c before its window opens, and acts from the opening."""
    times = block_early(np.array([-0.3, 0.5, 0.6]))
    return layer_cell(NEURON, stimulus(NEURON, times, POINT), POINT, LayerMismatch.none(NEURON))


def alpha_cell(blocked: bool) -> Cell:
    w = np.array([[0.3, -0.25, 0.4]])
    layer = alpha.AlphaLayer.from_relu(w, np.array([0.2]), 1.0, 3.0, blocked=blocked)
    return alpha.cell(layer, np.array([0.2, 0.5, np.inf]), POINT, no_mismatch(1, 3))


def multiplier_cell(quadrants: int) -> Cell:
    w = np.array([[0.5, -0.25, 0.75]])
    x, start = np.array([0.6, -0.4, 0.2]), np.array([0.3, 0.0, 0.7])
    if quadrants < 4:
        x = np.abs(x)
    machine = multiplier.Multiplier(np.abs(w) if quadrants == 1 else w, quadrants, phase_2=2.0)
    return multiplier.cell(machine, x, start, POINT)


CELLS: dict[str, tuple[str, Callable[[], Cell]]] = {
    "neuron_pulse": ("pulse", lambda: of_layer(NEURON)),
    "blocked_early_pulse": ("pulse", early),
    "readout_pulse": ("pulse", lambda: of_layer(READOUT)),
    "layer_table": ("table", lambda: of_layer(LAYER)),
    "layer_pwl": ("pwl", lambda: of_layer(LAYER)),
    "alpha_pulse": ("pulse", lambda: alpha_cell(blocked=True)),
    "alpha_positive_pulse": ("pulse", lambda: alpha_cell(blocked=False)),
    "multiplier_1_pulse": ("pulse", lambda: multiplier_cell(1)),
    "multiplier_2_pulse": ("pulse", lambda: multiplier_cell(2)),
    "multiplier_4_pulse": ("pulse", lambda: multiplier_cell(4)),
    "pooling_max_pulse": ("pulse", lambda: pooling.cell("max", TIMES[None], 3.0, POINT)),
    "pooling_min_pulse": ("pulse", lambda: pooling.cell("min", TIMES[None], 3.0, POINT)),
}


def network() -> Deck:
    """4-8-3, weights from a fixed formula, one image."""
    sizes = (4, 8, 3)
    layers = [
        Layer(
            np.sin(np.arange(sizes[n + 1] * sizes[n]) * 1.7 + n).reshape(sizes[n + 1], sizes[n]),
            0.3 * np.cos(np.arange(sizes[n + 1])),
            t_min=(1.0, 4.0)[n],
            t_max=(5.0, 4.0)[n],
            spiking=n == 0,
        )
        for n in range(2)
    ]
    points = [POINT, OperatingPoint(i_unit=20e-9, v_reset=0.6)]
    x = np.array([0.9, 0.0, 0.4, 0.7])
    return flat.build(layers, points, x, [LayerMismatch.none(layer) for layer in layers]).deck


OTHERS: dict[str, Callable[[], Deck]] = {
    "multiplier_4_relu_gate": lambda: multiplier.gated(multiplier_cell(4), POINT.vdd),
    "pooling_first_arrival": lambda: pooling.logic("max", TIMES, 3.0, POINT.tau_c)[0],
    "pooling_last_arrival": lambda: pooling.logic("min", TIMES, 3.0, POINT.tau_c)[0],
    "leaky_neuron": lambda: leaky.deck(
        leaky.LeakySynapse(1e-6, 2e-6), np.array([1.0, -0.5]), np.array([1e-7, 5e-7]), 3e-6
    ),
    "network_4_8_3": network,
}
NAMES = (*CELLS, *OTHERS)


def build(name: str) -> Deck:
    if name in OTHERS:
        return OTHERS[name]()
    form, cell = CELLS[name]
    extra = {"prefix": f"{name}_"} if form == "table" else {}
    return netlist.build(
        cell(), form, title=f"{name}, 0.5 V at rest, 0.125 V per unit", waveform=True, **extra
    )


@pytest.mark.parametrize("name", NAMES)
def test_golden_deck_is_what_the_code_writes(name, request):
    deck = build(name)
    for file, text in {f"{name}.cir": deck.text, **deck.files}.items():
        path = FOLDER / file
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert path.read_text() == text, f"{path.name} differs; look at 'make golden' and git diff"


def test_the_folder_holds_these_decks_only_and_the_readme_names_each():
    expected = {f for name in NAMES for f in (f"{name}.cir", *build(name).files)}
    present = {p.name for p in FOLDER.iterdir() if not p.name.startswith("transistor_")}
    assert present - {"README.md"} == expected
    readme = (FOLDER / "README.md").read_text()
    assert not [name for name in NAMES if f"`{name}.cir`" not in readme]


@pytest.mark.ngspice
@pytest.mark.parametrize("name", NAMES)
def test_plain_ngspice_runs_the_deck(name, tmp_path):
    for path in FOLDER.iterdir():
        shutil.copy(path, tmp_path)
    run = subprocess.run(
        ["ngspice", "-b", "-r", "out.raw", f"{name}.cir"],
        cwd=tmp_path,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr.decode()
    assert b"No. Points: 0 " not in (tmp_path / "out.raw").read_bytes()


@pytest.mark.ngspice
@pytest.mark.parametrize("name", CELLS)
def test_deck_crosses_its_threshold_where_it_should(name):
    """1e-12 of the window (300 ns): rounding of a few hundred steps."""
    cell, deck = CELLS[name][1](), build(name)
    measured = measure(cell, deck, Ngspice().run(deck))
    time, v_armed = first_crossing(cell)
    fired = np.isfinite(time)
    assert np.array_equal(np.isfinite(measured.time), fired)
    assert np.max(np.abs(measured.time[fired] - time[fired]), initial=0.0) <= 1e-12 * 300e-9
    assert np.max(np.abs(measured.v_start - v_armed)) <= 1e-12
