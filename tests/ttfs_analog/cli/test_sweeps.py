"""The command sweep: neurons and networks over a grid, resumed, drawn."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import xarray as xr

from circuits.errors import InputError
from montecarlo.campaign.conditions import law_at
from montecarlo.campaign.schema import open_dataset
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.sweeps.sweep import SCHEMA, Sweep
from ttfs_analog.cli.app import main
from ttfs_analog.cli.results import sweeps
from ttfs_analog.constraints.constraints import WeightBits
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.data import datasets
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.evaluation import network_sweep
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.training.architectures import build


@pytest.fixture(scope="module")
def net():
    sets = datasets.load("iris")
    made = convert(build("fc-8", sets.shape, sets.classes, 0, torch.float64), sets)
    made.metadata["data"] = "iris"
    return made


@pytest.fixture
def folder(tmp_path, net):
    net.save(tmp_path / "net.pt")
    return tmp_path


def command(folder, capsys, text: str, *options: str) -> dict:
    (folder / "SWEEP.toml").write_text(text)
    code = main(["sweep", str(folder / "SWEEP.toml"), "--out", str(folder / "out"), "--json", *options])
    return {"code": code, **json.loads(capsys.readouterr().out)}


def test_a_network_over_sigma_bits_and_windows(folder, capsys, net):
    text = "network = 'net.pt'\nsamples = 6\nseed = 4\n"
    text += "[axes]\nsigma = [0.0, 0.1]\nbits = [0, 3]\nwindow = [0.5, 1]"
    said = command(folder, capsys, text)
    assert said["code"] == 0
    assert said["n_points"] == 8
    assert said["path"] == str(folder / "out")
    found = open_dataset(folder / "out" / "sweep.zarr", SCHEMA).load()
    assert found["accuracy"].dims == ("sigma", "bits", "window", "chip")
    assert np.all(found["status"] == 0)
    sets = datasets.load("iris")
    perfect = found["accuracy"].sel(sigma=0.0)
    assert np.all(perfect == found["nominal_accuracy"].sel(sigma=0.0))
    plan = Sweep.from_toml(folder / "SWEEP.toml")
    made = network_sweep.network_at(net, sets, {"bits": 3.0}, 4)
    law = law_at({"sigma": 0.1}, MismatchLaw())
    own = evaluation.evaluate(made, sets, Chips.draw(law, made, range(6), 4))
    assert np.array_equal(own["accuracy"], found["accuracy"].sel(sigma=0.1, bits=3, window=1))
    assert plan.hash == found.attrs["plan_hash"]
    for suffix in ("png", "svg"):
        assert (folder / "out" / f"sweep.{suffix}").stat().st_size > 1000


def test_a_sweep_of_a_network_is_not_done_twice_unless_the_network_is_another(
    folder, capsys, monkeypatch, net
):
    text = "network = 'net.pt'\nsamples = 3\n[axes]\nsize = [1, 4]"
    first = command(folder, capsys, text)
    monkeypatch.setattr(network_sweep, "evaluate", None)
    assert command(folder, capsys, text) == first
    other = net.clone()
    other.layers[0].weight.data *= 1.5
    other.save(folder / "net.pt")
    assert "another sweep" in command(folder, capsys, text)["error"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[axes]\nsupply = [1, 2]", "does not change what a network decides"),
        ("[axes]\ntemperature = [300]", "has no temperature"),
        ("[axes]\nbits = [2.5]", "bits must be whole"),
        ("technology = 'generic130'\n[axes]\nsize = [1]", "name a noise model"),
    ],
)
def test_what_cannot_be_swept_is_named(folder, capsys, text, said):
    found = command(folder, capsys, f"network = 'net.pt'\nsamples = 2\n{text}")
    assert found["code"] == 2
    assert said in found["error"]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_network_on_a_scheduler_is_the_network_here(folder, capsys):
    """A worker process; correlated slopes with tails, and a part that a chip shares, on the way."""
    distributed = pytest.importorskip("distributed")
    text = "network = 'net.pt'\nsamples = 4\n[axes]\ncommon = [0, 0.1]\nbits = [0, 3]\n"
    text += "[distribution]\nslope = 'student-t:4'\n[correlation]\nslope.threshold = 0.6\n"
    here = command(folder, capsys, text)
    kept = open_dataset(here["dataset"], SCHEMA).load()
    (folder / "out").rename(folder / "here")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options, silence_logs=50) as local:
        there = command(folder, capsys, text, "--scheduler", local.scheduler_address)
    assert there == here
    assert open_dataset(there["dataset"], SCHEMA).load().identical(kept)
    assert not np.array_equal(kept["accuracy"].sel(common=0), kept["accuracy"].sel(common=0.1))


def test_a_scheduler_that_does_not_answer_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr("montecarlo.campaign.dask_cluster.ANSWER", 1.0)
    text = "network = 'net.pt'\nsamples = 2\n[axes]\nsize = [1]"
    said = command(folder, capsys, text, "--scheduler", "tcp://127.0.0.1:1")
    assert said["code"] == 2
    assert "no dask scheduler answers" in said["error"]


def test_chips_of_transistors_keep_their_constants_and_their_spread(folder, capsys, net, transistor_noise):
    """The accuracy of a point is that of `evaluate` on the same chips."""
    validity = {**transistor_noise.validity, "weight": {"max": 0.01}}
    dataclasses.replace(transistor_noise, validity=validity).save(folder / "noise.json")
    text = "network = 'net.pt'\nnoise = 'noise.json'\nsamples = 5\nseed = 4\n"
    refused = command(folder, capsys, text + "[axes]\nwindow = [1]")
    assert "extrapolate = true" in refused["error"]
    assert not (folder / "out").exists()
    text += "extrapolate = true\n"
    assert "follows from their area" in command(folder, capsys, text + "[axes]\nsigma = [0.0]")["error"]
    swept = command(folder, capsys, text + "[axes]\nwindow = [1]")
    chips = transistor_noise.extrapolated().sample(net, 5, 4)
    accuracy = evaluate(net, datasets.load("iris"), chips)["accuracy"].values
    assert swept["points"][0]["accuracy_mean"] == pytest.approx(accuracy.mean(), rel=1e-12)


def test_smaller_transistors_in_a_sweep_are_those_of_the_scaled_model(folder, capsys, net, transistor_noise):
    transistor_noise.save(folder / "noise.json")
    text = "network = 'net.pt'\nnoise = 'noise.json'\nextrapolate = true\nsamples = 5\nseed = 4\n"
    swept = command(folder, capsys, text + "[axes]\nsize = [1, 0.0625]\nbits = [0]")
    for point, scale in zip(swept["points"], (1.0, 4.0), strict=True):
        chips = transistor_noise.extrapolated().scaled(scale).sample(net, 5, 4)
        accuracy = evaluate(net, datasets.load("iris"), chips)["accuracy"].values
        assert point["accuracy_mean"] == pytest.approx(accuracy.mean(), rel=1e-12)


def test_a_sweep_of_a_network_tells_its_yield(folder, capsys):
    text = "network = 'net.pt'\nsamples = 6\n[axes]\nsigma = [0.0, 0.3]\nwindow = [0.5, 1]"
    said = command(folder, capsys, text)
    found = open_dataset(folder / "out" / "sweep.zarr", SCHEMA).load()
    assert said["target"] == pytest.approx(float(found["nominal_accuracy"].max()) - 0.01)
    lines = (folder / "out" / "sweep.csv").read_text().splitlines()
    assert lines[0] == "sigma,window,chip,accuracy"
    assert len(lines) == 1 + 2 * 2 * 6
    rows = np.array([[float(v) for v in line.split(",")] for line in lines[1:]])
    for point in said["points"]:
        own = (rows[:, 0] == point["settings"]["sigma"]) & (rows[:, 1] == point["settings"]["window"])
        assert point["yield"] == np.mean(rows[own, 3] >= said["target"] - 1e-9)
        assert point["yield_ci95"][0] <= point["yield"] <= point["yield_ci95"][1]
    assert any(name.endswith("sweep_yield.png") for name in said["figures"])
    assert all(p["yield"] == 1 for p in command(folder, capsys, text, "--target", "0")["points"])


def test_a_target_is_that_of_a_network(folder, capsys):
    assert "name a network" in command(folder, capsys, "[axes]\nsize = [1]", "--target", "0.5")["error"]


def test_layers_of_a_swept_network_have_noise_of_their_own(folder, capsys, net, transistor_noise, noise):
    layered = LayeredNoise((transistor_noise.extrapolated(), noise))
    layered.save(folder / "noise.json")
    text = "network = 'net.pt'\nnoise = 'noise.json'\nsamples = 5\nseed = 4\n"
    assert "follows from their area" in command(folder, capsys, text + "[axes]\nsigma = [0.0]")["error"]
    swept = command(folder, capsys, text + "[axes]\nwindow = [1]")
    accuracy = evaluate(net, datasets.load("iris"), layered.sample(net, 5, 4))["accuracy"].values
    assert swept["points"][0]["accuracy_mean"] == pytest.approx(accuracy.mean(), rel=1e-12)


def test_points_of_a_network(net):
    sets = datasets.load("iris")
    made = network_sweep.network_at(net, sets, {"bits": 4, "window": 0.5}, 0)
    assert made.windows == [0.5 * w for w in net.windows]
    assert made.constraints.bits.bits == 4
    again = network_sweep.network_at(made, sets, {"bits": 2}, 0)
    assert [type(p) for p in again.constraints.parts] == [WeightBits]
    assert again.constraints.bits.bits == 2
    assert network_sweep.network_at(net, sets, {"bits": 0}, 0).constraints is None
    with pytest.raises(InputError):
        network_sweep.network_at(net, sets, {"bits": 100}, 0)


@pytest.mark.ngspice
def test_neurons_through_the_command_line(folder, capsys):
    text = "samples = 6\nsynapses = 2\n[axes]\nsigma_slope = [0.01, 0.1]\nsize = [1, 16]"
    said = command(folder, capsys, text, "--workers", "2", "--seed", "5")
    assert said["n_points"] == 4
    found = open_dataset(said["dataset"], SCHEMA).load()
    assert found.attrs["entropy"] == 5
    assert np.all(np.diff(found["spike_time_std"], axis=1) < 0)  # larger devices, smaller spread
    at = said["points"][1]
    assert at["settings"] == {"sigma_slope": 0.01, "size": 16}
    assert at["energy_mean_ci95"][0] < at["energy_mean"] < at["energy_mean_ci95"][1]
    assert {p.rsplit("/")[-1] for p in said["figures"]} == {
        f"{n}.{s}" for n in ("sweep", "sweep_energy_mean") for s in ("png", "svg")
    }


def test_corners_are_drawn_as_strips(tmp_path):
    """Every neuron of every corner, at every other setting; and curves only along numbers."""
    rng = np.random.default_rng(0)
    values = 4 + rng.normal(size=(3, 2, 20))
    axes = {"corner": ("corner", ["tt", "ff", "ss"], {"units": "1"})}
    axes |= {"temperature": ("temperature", [-40.0, 85.0], {"units": "degC"})}
    about = {"units": "1", "long_name": "x"}
    data = dict.fromkeys(("spike_time", "energy"), (("corner", "temperature", "sample"), values, about))
    for kind, interval in sweeps.NEURON.items():
        data[kind] = (("corner", "temperature"), values.mean(-1), about)
        ends = np.stack([values.min(-1), values.max(-1)], -1)
        data[interval] = (("corner", "temperature", "bound"), ends, about)
    found = xr.Dataset(data, axes)
    drawings = sweeps.figures_of(found, sweeps.NEURON, tmp_path)
    assert not list(tmp_path.iterdir())  # planned, not drawn
    for drawing in drawings:
        drawing.make()
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{n}.{s}"
        for n in ("sweep", "sweep_energy_mean", "corners_spike_time", "corners_energy")
        for s in ("png", "svg")
    }
    text = (tmp_path / "corners_energy.svg").read_text()
    assert "<!-- corner ss" in text
    assert "<!-- temperature 85" in text
    alone = sweeps.figures_of(found.sel(temperature=85.0), sweeps.NEURON, tmp_path)
    assert not any(file.name.startswith("sweep") for drawing in alone for file in drawing.files)


@pytest.mark.ngspice
@pytest.mark.slow
def test_transistors_over_corners(folder, capsys):
    """Slow and fast devices differ in energy and time by more than nothing; the same neurons at both."""
    text = "technology = 'generic130'\nsamples = 5\nsynapses = 4\n[axes]\ncorner = ['ss', 'ff']"
    said = command(folder, capsys, text)
    found = open_dataset(said["dataset"], SCHEMA).load()
    assert found["corner"].values.tolist() == ["ss", "ff"]
    assert np.all(found["failed"] == 0)
    assert np.all(found["energy"].sel(corner="ff") != found["energy"].sel(corner="ss"))
    assert (folder / "out" / "corners_energy.png").stat().st_size > 1000
