"""The decks in netlists/ are what the code writes, byte for byte, and plain ngspice runs them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from circuits import netlist
from circuits.closed_form import respond
from circuits.layer import Layer, LayerMismatch
from circuits.layer_cell import layer_cell
from circuits.netlist import Deck
from circuits.operating_point import OperatingPoint
from circuits.sources import Cell
from circuits.stimulus import stimulus

FOLDER = Path(__file__).resolve().parents[2] / "netlists"
POINT = OperatingPoint(i_unit=125e-9, v_reset=0.5)
NEURON = Layer([[0.5, -0.25, 0.75]], [1.5], t_min=1.0, t_max=3.0)
LAYER = Layer(
    [[0.5, -0.25, 0.75], [-0.5, 1.0, 0.25], [0.25, 0.5, -1.0], [1.0, 0.5, 0.25]],
    [1.0, 0.5, 0.75, 1.25],
    t_min=1.0,
    t_max=3.0,
)
READOUT = Layer([[0.5, -0.25, 0.75]], [0.2], t_min=1.0, t_max=1.0, spiking=False)
TIMES = np.array([0.2, 0.5, 0.6])


def cell_of(name: str) -> Cell:
    layer = {"neuron": NEURON, "layer": LAYER, "readout": READOUT}[name.split("_")[0]]
    return layer_cell(layer, stimulus(layer, TIMES, POINT), POINT, LayerMismatch.none(layer))


def build(name: str) -> Deck:
    form = name.split("_")[1]
    extra = {"prefix": name} if form == "table" else {}
    title = f"{name}, V = 0.5 V + 0.125 V per unit"
    return netlist.build(cell_of(name), form, title=title, waveform=True, **extra)


NAMES = ("neuron_pulse", "readout_pulse", "layer_table", "layer_pwl")


@pytest.mark.parametrize("name", NAMES)
def test_golden_deck_is_what_the_code_writes(name, request):
    deck = build(name)
    files = {f"{name}.cir": deck.text, **deck.files}
    for file, text in files.items():
        path = FOLDER / file
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert path.read_text() == text, f"{path.name} differs; look at 'make golden' and git diff"


def test_no_other_deck_lies_in_the_folder():
    expected = {f for name in NAMES for f in (f"{name}.cir", *build(name).files)}
    assert {p.name for p in FOLDER.iterdir()} - {"README.md"} == expected


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
    raw = (tmp_path / "out.raw").read_bytes()
    assert b"No. Points: 0 " not in raw


@pytest.mark.ngspice
@pytest.mark.parametrize("name", NAMES)
def test_deck_gives_the_potential_of_the_closed_form(name):
    """V(t_min) of the closed form to 1e-12 of a unit: rounding of a few hundred steps."""
    from circuits.ngspice import Ngspice

    layer = {"neuron": NEURON, "layer": LAYER, "readout": READOUT}[name.split("_")[0]]
    deck = build(name)
    plot = Ngspice().run(deck)
    at = int(np.argmin(np.abs(plot["time"] - POINT.tau_c)))
    volts = plot.columns([f"v({n})" for n in deck.nodes])[at]
    expected = respond(layer, TIMES, POINT).v_t_min[0]
    assert np.max(np.abs(POINT.unit_free(volts) - expected)) < 1e-12
