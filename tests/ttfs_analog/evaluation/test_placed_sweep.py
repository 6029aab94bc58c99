"""A network on transistors over corner, temperature and supply: what a point is worth, what does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from placing import coarse_digits, on_transistors

from circuits.model.layer import LayerMismatch
from montecarlo.campaign.schema import open_dataset
from montecarlo.sweeps.sweep import SCHEMA
from ttfs_analog.cli.app import main
from ttfs_analog.data import network_data
from ttfs_analog.evaluation import placed_sweep
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.evaluation.placed_sweep import spreads
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.placement import rows
from ttfs_analog.training.training import accuracy

pytestmark = pytest.mark.ngspice
PLACED = "network = 'net.pt'\ntechnology = 'generic130'\nsamples = 4\nseed = 2\n"


@pytest.fixture(scope="module")
def data():
    return coarse_digits(4, 4)


@pytest.fixture(scope="module")
def placed_net(data):
    """16-6-4 on generic130."""
    return on_transistors(data, 6, epochs=60)


@pytest.fixture
def folder(tmp_path, monkeypatch, placed_net, data):
    placed_net.save(tmp_path / "net.pt")
    monkeypatch.setattr(network_data, "load", lambda name, dtype: data)
    return tmp_path


def command(folder, capsys, text: str) -> dict:
    (folder / "SWEEP.toml").write_text(text)
    code = main(["sweep", str(folder / "SWEEP.toml"), "--out", str(folder / "out"), "--json"])
    return {"code": code, **json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[axes]\nsize = [1]", "over corner, temperature, supply alone"),
        ("[axes]\ncurrent = [1e-7]", "its operating points, which 'place' chooses"),
        ("[axes]\ncorner = ['xx']", "no corner 'xx'"),
        ("[axes]\ntemperature = [400]", "outside -40 to 125"),
        ("[axes]\nsupply = [1.2, 3.3]", "is made for 1.2 V"),
        ("noise = 'net.pt'\n[axes]\ntemperature = [85]", "leave out noise"),
        ("[axes]\ncorner = ['ss']\n[common]\nslope = 0.1", "by the matching of their process"),
    ],
)
def test_axes_that_do_not_fit_are_refused_before_any_run(folder, capsys, text, says):
    found = command(folder, capsys, PLACED.replace("samples", "data = 'digits'\nsamples") + text)
    assert found["code"] == 2
    assert says in found["error"]
    assert not (folder / "out" / "sweep.zarr").exists()


def test_a_network_somewhere_else_or_on_no_transistors_is_refused(folder, capsys, net, placed_net):
    text = "data = 'digits'\n[axes]\ncorner = ['ss']"
    assert "technology = '...'" in command(folder, capsys, f"network = 'net.pt'\n{text}")["error"]
    moved = placed_net.clone()
    moved.metadata["placement"] = {**placed_net.metadata["placement"], "technology": "elsewhere"}
    moved.save(folder / "net.pt")
    assert "say technology = 'elsewhere'" in command(folder, capsys, PLACED + text)["error"]
    del moved.metadata["placement"]
    moved.save(folder / "net.pt")
    assert "place NET --technology" in command(folder, capsys, PLACED + text)["error"]


def test_spreads_of_known_chips(placed_net, data):
    """Threshold 0.1 higher in every neuron of the first layer: its spikes come 0.1 tau_c later."""
    layers = placed_net.to_circuit()
    zero = [
        LayerMismatch(np.zeros((2, *v.weights.shape)), *(np.zeros((2, v.n_out)) for _ in range(4)))
        for v in layers
    ]
    chips = Chips(0, (0, 1), tuple(zero))
    x = data.x_test[:50]
    assert spreads(placed_net, x, chips) == pytest.approx([0.0, 0.0])
    zero[0].threshold[1] += 0.1
    active, late = (placed_net.trace(x, chip.deviations(x)) for chip in chips)
    apart = [(a - b)[(a > 0) & (b > 0)] for a, b in zip(active, late, strict=True)]
    assert [apart[0].median().item(), apart[0].max().item()] == pytest.approx(
        [0.1, 0.1]
    )  # less of early spikes
    whole = torch.cat(apart).square().mean().sqrt().item()
    assert spreads(placed_net, x, chips) == pytest.approx([0.0, whole])


@pytest.mark.slow
def test_a_slow_corner_is_measured_where_it_is(folder, capsys, monkeypatch, placed_net, data):
    """Two points; each is the evaluation of chips of its own campaigns, and is not run again."""
    monkeypatch.setattr(placed_sweep, "NEURONS", 24)
    monkeypatch.setattr(rows, "TRIALS", 4)
    text = PLACED + "data = 'digits'\n[axes]\ncorner = ['tt', 'ss']"
    swept = command(folder, capsys, text)
    assert (swept["code"], swept["n_points"]) == (0, 2)
    found = open_dataset(swept["dataset"], SCHEMA).load()
    assert found["accuracy"].dims == found["spread"].dims == ("corner", "chip")
    assert found["spread"].attrs["units"] == "tau_c"
    assert np.all((found["spread"] > 0.01) & (found["spread"] < 0.3))
    for k, corner in enumerate(("tt", "ss")):
        stores = [open_dataset(folder / "out" / f"point{k}" / f"layer{n}") for n in range(2)]
        assert all(f'"corner": "{corner}"' in store.attrs["plan"] for store in stores)
        noise = LayeredNoise(tuple(NoiseModel.fit(store, 2) for store in stores))
        own = evaluate(placed_net, data, noise.sample(placed_net, 4, 2))
        assert np.array_equal(own["accuracy"], found["accuracy"].sel(corner=corner))
    unspoiled = accuracy(placed_net, data.x_test, data.y_test)
    assert found["nominal_accuracy"].sel(corner="tt") == pytest.approx(unspoiled, abs=0.05)
    assert not np.array_equal(found["spread"].sel(corner="tt"), found["spread"].sel(corner="ss"))
    figures = {p.rsplit("/")[-1] for p in swept["figures"]}
    assert figures == {f"chips_{name}.{s}" for name in ("accuracy", "spread") for s in ("png", "svg")}
    monkeypatch.setattr(placed_sweep, "campaigns", None)
    assert command(folder, capsys, text) == swept
