"""`simulate` and `netlist` with transistors, through the command line."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from ttfs_analog.cli.app import main

LAYER = {
    "weights": [[0.5, -0.25, 0.375], [0.25, 0.5, -0.375]],
    "bias": [0.5, 0.25],
    "spike_times": [0.25, None, 0.6],
    "t_min": 1.0,
    "t_max": 2.5,
}


@pytest.fixture
def layer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layer.json").write_text(json.dumps(LAYER))
    return tmp_path / "layer.json"


@pytest.fixture
def simulate(layer, capsys):
    def run(*arguments: str) -> dict:
        code = main(["simulate", str(layer), "--technology", "generic130", "--json", *arguments])
        found = json.loads(capsys.readouterr().out)
        assert (code, found.get("error")) == (0, None)
        return found

    return run


def test_a_layer_of_transistors_spikes_when_the_closed_form_does(simulate, tmp_path):
    """To 3 % of tau_c, which parked charge and gains make; the comparator's delay is taken off."""
    found = simulate("--out", "result.json", "--plot", "waves.png")
    ideal = [1.0 + 1.0 - 0.525, 1.0 + 1.25 - 0.0375]
    np.testing.assert_allclose(found["spike_times"], ideal, atol=0.03)
    np.testing.assert_allclose(found["expected_spike_times"], found["spike_times"], atol=0.01)
    np.testing.assert_allclose(found["v_t_min"], [0.525, 0.0375], atol=0.03)
    np.testing.assert_allclose(found["slope"], 1.0, atol=0.03)
    assert found["rounded"] == 0.0
    assert found["energy_j"] == pytest.approx(sum(found["energy_by_supply_j"].values()), rel=1e-9, abs=0)
    assert found["energy_j"] > 20e-15
    assert json.loads((tmp_path / "result.json").read_text())["spike_times"] == found["spike_times"]
    assert (tmp_path / "waves.png").stat().st_size > 5000


def test_a_chip_number_is_one_fixed_chip_with_another_spread_than_none(simulate):
    none, three, again, four = (
        simulate(*more)["spike_times"] for more in ((), ("--chip", "3"), ("--chip", "3"), ("--chip", "4"))
    )
    assert three == again
    for a, b in ((none, three), (three, four)):
        assert 1e-3 < np.abs(np.subtract(a, b)).max() < 0.5


def test_corner_temperature_and_supply_move_the_circuit_not_its_operating_point(simulate):
    typical = simulate()
    for more in (("--corner", "ss"), ("--temperature", "85"), ("--supply", "1.1")):
        moved = simulate(*more)
        operated = (
            typical["operating_point"] | {"vdd": float(more[1])}
            if "--supply" in more
            else typical["operating_point"]
        )
        assert moved["operating_point"] == operated
        shift = np.abs(np.subtract(moved["spike_times"], typical["spike_times"])).max()
        assert 1e-5 < shift < 0.1, more
    assert simulate("--supply", "1.1")["energy_j"] < typical["energy_j"]


def test_the_objective_reaches_the_operating_point(simulate):
    spread, energy = (simulate("--objective", o) for o in ("spread", "energy"))
    assert energy["energy_j"] < 0.6 * spread["energy_j"]
    assert energy["operating_point"]["tau_c"] < spread["operating_point"]["tau_c"]


def test_weights_between_unit_devices_are_rounded_and_said_so(layer, simulate):
    layer.write_text(json.dumps(LAYER | {"weights": [[0.5, -0.25, 0.41], [0.25, 0.5, -0.375]]}))
    found = simulate()
    units = found["unit_devices"]
    assert found["rounded"] == pytest.approx(abs(0.41 - round(0.41 * units) / units))


def test_decks_are_written_one_a_neuron_and_run_in_plain_ngspice(layer, capsys, tmp_path):
    assert main(["netlist", str(layer), "--technology", "generic130", "--chip", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    files = sorted(p.name for p in (tmp_path / found["path"]).iterdir())
    assert files == ["neuron0.cir", "neuron1.cir"]
    assert found["n_decks"] == 2
    assert found["n_devices"] > 2 * 35
    text = (tmp_path / found["path"] / "neuron0.cir").read_text()
    assert "delvto" in text
    ran = subprocess.run(
        ["ngspice", "-b", "-r", "out.raw", f"{found['path']}/neuron0.cir"], capture_output=True, text=True
    )
    assert ran.returncode == 0
    assert (tmp_path / "out.raw").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--technology", "ideal", "--corner", "ss"], "ideal sources, which know no corner"),
        (["--technology", "generic130", "--corner", "xx"], "no corner 'xx'; it has tt, ff"),
        (["--technology", "generic130", "--temperature", "400"], "temperature 400 C is outside"),
        (["--technology", "generic130", "--supply", "3.3"], "is made for 1.2 V; stay within 0.9 to 1.5 V"),
        (
            ["--technology", "generic130", "--level", "closed-form", "--temperature", "85"],
            "the closed form holds at the typical corner",
        ),
        (
            ["--technology", "generic130", "--level", "closed-form", "--chip", "1"],
            "the closed form knows no transistors",
        ),
    ],
)
def test_what_a_technology_does_not_have_is_refused(layer, capsys, arguments, says):
    assert main(["simulate", str(layer), "--json", *arguments]) == 2
    assert says in json.loads(capsys.readouterr().out)["error"]


def test_partial_sums_that_no_operating_point_holds_are_refused(layer, capsys):
    weights = {"weights": [[40.0, -40.0, 0.1], [0.1, 0.1, 0.1]], "spike_times": [0.0, 0.9, 0.5]}
    layer.write_text(json.dumps(LAYER | weights))
    assert main(["simulate", str(layer), "--technology", "generic130", "--json"]) == 2
    assert "layer 0, neuron" in json.loads(capsys.readouterr().out)["error"]
