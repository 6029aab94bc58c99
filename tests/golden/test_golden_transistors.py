"""Transistor decks in netlists/: what the code writes; in plain ngspice each block does what it is for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from circuits.benches.golden_decks import BENCHES, OFF, ON, unit_current
from circuits.benches.neuron_waveforms import rising
from circuits.pdk.technology import Technology
from circuits.spice.rawfile import Plot, parse

FOLDER = Path(__file__).resolve().parents[2] / "netlists"
TECHNOLOGY = Technology.load("generic130")
POINT, PROCESS = TECHNOLOGY.operating_point, TECHNOLOGY.transistors()
TAU, VDD, UNIT = POINT.tau_c, POINT.vdd, unit_current(TECHNOLOGY)


@pytest.mark.parametrize("name", BENCHES)
def test_transistor_deck_is_what_the_code_writes(name, request):
    deck, path = BENCHES[name](TECHNOLOGY), FOLDER / f"transistor_{name}.cir"
    if request.config.getoption("--update-golden"):
        path.write_text(deck.text)
    assert path.read_text() == deck.text, f"{path.name} differs; look at 'make golden' and git diff"


def test_every_transistor_deck_has_a_bench_and_a_row_in_the_readme():
    assert {p.stem for p in FOLDER.glob("transistor_*")} == {f"transistor_{name}" for name in BENCHES}
    readme = (FOLDER / "README.md").read_text()
    assert not [name for name in BENCHES if f"`transistor_{name}.cir`" not in readme]


def run(name: str, folder: Path) -> Plot:
    """One deck, by the command of the README."""
    done = subprocess.run(
        ["ngspice", "-b", "-r", str(folder / "out.raw"), str(FOLDER / f"transistor_{name}.cir")],
        cwd=folder,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    (plot,) = parse((folder / "out.raw").read_bytes())
    return plot


def at(plot: Plot, variable: str, tau: float) -> float:
    return float(np.interp(tau * TAU, plot["time"], plot[variable]))


def rise(plot: Plot, node: str, level: float = 0.5 * VDD) -> float:
    """First rise through a level [tau_c]."""
    return rising(plot["time"], plot[f"v({node})"], level, 0.0) / TAU


def near(value: float, wanted: float, share: float = 0.05) -> None:
    assert value == pytest.approx(wanted, rel=share)


def synapse(plot: Plot, sign: float) -> None:
    near(at(plot, "i(vout)", 0.7), sign * 4 * UNIT)
    assert abs(at(plot, "i(vout)", 0.2)) < 1e-3 * UNIT
    assert abs(at(plot, "i(vout)", 0.98)) < 1e-3 * UNIT


def membrane(plot: Plot) -> None:
    near(at(plot, "v(vm)", 0.7) - POINT.v_reset, 0.5 * POINT.v_unit)
    for when in (0.25, 0.95):
        assert at(plot, "v(vm)", when) == pytest.approx(POINT.v_reset, abs=1e-3)


def slope_source(plot: Plot) -> None:
    near((at(plot, "v(vm)", 0.78) - at(plot, "v(vm)", 0.4)) / 0.38, POINT.v_unit)
    assert at(plot, "v(vm)", 0.99) - at(plot, "v(vm)", 0.85) == pytest.approx(0.0, abs=1e-3)


def ota(plot: Plot) -> None:
    """Trips 0.05 to 0.3 units above the threshold: that is its delay."""
    over = POINT.unit_free(at(plot, "v(vm)", rise(plot, "a"))) - 0.3
    assert 0.05 < over < 0.3
    near(-at(plot, "i(vvdc)", 0.25), PROCESS.currents["tail"], 0.1)
    assert abs(at(plot, "i(vvdc)", 0.05)) < 1e-9


def zero_idle(plot: Plot) -> None:
    trip = at(plot, "v(vm)", rise(plot, "a"))
    assert 0.85 < trip < 0.95
    assert -at(plot, "i(vvdc)", 0.25) < 0.1 * PROCESS.currents["starve"]
    assert -plot["i(vvdc)"].min() > 0.5 * PROCESS.currents["starve"]


def latch(plot: Plot) -> None:
    assert [at(plot, "v(s)", t) > 0.5 * VDD for t in (0.2, 0.34, 0.5, 0.63, 0.75, 0.9)] == [
        False, True, True, True, True, False,
    ]  # fmt: skip
    both = plot["v(s)"] + plot["v(sb)"]
    while_on = (plot["time"] > (ON + 0.02) * TAU) & (plot["time"] < (OFF - 0.01) * TAU)
    assert np.max(np.abs(both[while_on] - VDD)) < 0.02 * VDD


def gate_driver(plot: Plot) -> None:
    levels = {"gp": (VDD, PROCESS.levels["cascode_p"]), "gn": (0.0, PROCESS.levels["cascode_n"])}
    for node, (off, on) in levels.items():
        for when, wanted in ((0.2, off), (0.5, on), (0.9, off)):
            assert at(plot, f"v({node})", when) == pytest.approx(wanted, abs=2e-3)


def line_gate(plot: Plot) -> None:
    """The longer line lasts 0.3 tau_c longer; the shorter one lasts a shortest pulse, 0.05 to 0.12 tau_c."""
    longer, shorter = (np.ptp(plot["time"][plot[f"v({node})"] > 0.5 * VDD]) / TAU for node in ("lp", "lm"))
    assert longer - shorter == pytest.approx(0.3, abs=2e-3)
    assert 0.05 < shorter < 0.12


def neuron(plot: Plot) -> None:
    """theta 1, sum W x 0.375: t_min at 1.25, the spike 0.6 to 0.8 tau_c later, the delay included."""
    assert 0.6 < rise(plot, "s") - 1.25 < 0.8
    assert at(plot, "v(s)", 2.7) == pytest.approx(VDD, abs=0.01)
    near(POINT.unit_free(at(plot, "v(vm)", 1.25)), 0.375, 0.1)


def zero_idle_neuron(plot: Plot) -> None:
    assert 0.8 < rise(plot, "s") - 1.25 < 1.0
    ahead = -np.interp(np.linspace(1.3, 1.6, 31) * TAU, plot["time"], plot["i(vvdc)"])
    assert ahead.max() < 0.05 * PROCESS.currents["tail"]


def references(plot: Plot) -> None:
    near(plot["i(voutp)"][0], UNIT)
    near(-plot["i(voutn)"][0], UNIT)


def decoupled(plot: Plot) -> None:
    kick = np.ptp(plot["v(pb)"])
    assert 1e-5 < kick < 1e-3
    near(at(plot, "i(vout)", 0.7), 8 * UNIT)


def weight_bias(plot: Plot) -> None:
    near(plot["i(voutp)"][0], 0.3 * POINT.i_unit)
    near(-plot["i(voutn)"][0], 0.3 * POINT.i_unit)


def multiplier(plot: Plot) -> None:
    """sum w x = 0.5: the pulse of P and not M lasts half a tau_c, that of M and not P never comes."""
    near(rise(plot, "sm") - rise(plot, "sp"), 0.5, 0.01)
    high = plot["v(rp)"] > 0.5 * VDD
    near(np.ptp(plot["time"][high]) / TAU, 0.5, 0.02)
    assert plot["v(rm)"].max() < 0.1 * VDD


def pooled(plot: Plot, source: str) -> None:
    assert 0.0 < rise(plot, "q") - rise(plot, source) < 0.003
    for node in ("s0", "s1", "s2"):
        assert (rise(plot, node) < rise(plot, "q")) == (source == "s1" or node == "s0")


def readout(plot: Plot) -> None:
    """Sampled at 1.30, the membrane is reset at 1.40."""
    before = at(plot, "v(vm)", 1.29)
    near(POINT.unit_free(before), 0.375, 0.06)
    assert at(plot, "v(hold)", 2.2) == pytest.approx(before, abs=2e-4)
    assert at(plot, "v(vm)", 1.6) == pytest.approx(POINT.v_reset, abs=1e-3)


def two_layers(plot: Plot) -> None:
    """sum W x is 0.3 and 0.4, so x 0.3 and 0.4 reach the second layer: 0.75 * 0.3 - 0.25 * 0.4 = 0.125."""
    first, second, t_min = rise(plot, "s1_0"), rise(plot, "s1_1"), 2.4
    assert 1.25 < second < first < t_min
    expected = 0.75 * (t_min - first) - 0.25 * (t_min - second)
    near(POINT.unit_free(at(plot, "v(m2_0)", t_min)), expected, 0.15)
    assert rise(plot, "s2_0") - t_min == pytest.approx(1.0 - expected, abs=0.15)


SHOWS: dict[str, Callable[[Plot], None]] = {
    "source_synapse": lambda plot: synapse(plot, 1.0),
    "sink_synapse": lambda plot: synapse(plot, -1.0),
    "membrane": membrane,
    "slope_source": slope_source,
    "ota_comparator": ota,
    "zero_idle_comparator": zero_idle,
    "latch": latch,
    "gate_driver": gate_driver,
    "line_gate": line_gate,
    "neuron": neuron,
    "zero_idle_neuron": zero_idle_neuron,
    "references": references,
    "decoupled_references": decoupled,
    "weight_bias": weight_bias,
    "multiplier_pair": multiplier,
    "first_arrival": lambda plot: pooled(plot, "s0"),
    "last_arrival": lambda plot: pooled(plot, "s1"),
    "readout": readout,
    "two_layers": two_layers,
}


@pytest.mark.ngspice
@pytest.mark.parametrize("name", BENCHES)
def test_plain_ngspice_shows_what_the_block_does(name, tmp_path):
    SHOWS[name](run(name, tmp_path))
