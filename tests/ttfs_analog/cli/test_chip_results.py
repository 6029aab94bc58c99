"""The command chip, and commands that take its file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr

from ttfs_analog.cli.app import main
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.data import datasets
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.training.architectures import build


@pytest.fixture
def folder(tmp_path, monkeypatch, noise):
    monkeypatch.chdir(tmp_path)
    noise.save("noise.json")
    sets = datasets.load("iris")
    for width, name in ((8, "net.pt"), (9, "other.pt")):
        net = convert(build(f"fc-{width}", sets.shape, sets.classes, 0, torch.float64), sets)
        net.metadata["data"] = "iris"
        net.save(name)
    return tmp_path


def run(capsys, *arguments: str) -> dict:
    code = main([*arguments, "--json"])
    return {"code": code, **json.loads(capsys.readouterr().out)}


def test_a_chip_is_drawn_looked_at_and_evaluated_again(folder, capsys):
    made = run(capsys, "chip", "net.pt", "--noise", "noise.json", "--number", "3", "--seed", "7")
    assert (made["code"], made["path"]) == (0, "chip.nc")
    seen = run(capsys, "chip", "chip.nc")
    assert {k: v for k, v in seen.items() if k != "path"} == {k: v for k, v in made.items() if k != "path"}
    assert (seen["entropy"], seen["numbers"]) == (7, [3])
    assert seen["layers"] == [[8, 4], [3, 8]]
    assert seen["n_devices"] == 8 * 7 + 3 * 11
    chips = Chips.load("chip.nc")
    everything = np.concatenate([np.log1p(layer.synapse).ravel() for layer in chips.layers])
    assert seen["drawn_std"]["synapse"] == pytest.approx(everything.std())
    assert seen["law"]["slope"] == json.loads(chips.law)["slope"]
    one = run(capsys, "evaluate", "net.pt", "--chips-from", "chip.nc", "--out", "one.nc")
    run(
        capsys,
        "evaluate",
        "net.pt",
        "--noise",
        "noise.json",
        "--chips",
        "5",
        "--seed",
        "7",
        "--out",
        "five.nc",
    )
    assert one["accuracy"]["per_chip"] == [float(xr.open_dataset("five.nc")["accuracy"].sel(chip=3))]
    assert xr.open_dataset("one.nc")["chip"].values.tolist() == [3]


@pytest.mark.ngspice
def test_a_chip_from_a_file_is_verified(folder, capsys):
    run(capsys, "chip", "net.pt", "--noise", "noise.json", "--number", "3", "--seed", "7")
    found = run(
        capsys, "verify", "net.pt", "--noise", "noise.json", "--chips-from", "chip.nc", "--images", "2"
    )
    assert found["passed"]
    assert xr.open_dataset("verification.nc")["chip"].values.tolist() == [3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chip", "net.pt"], "--noise names the law"),
        (["chip", "none.nc"], "does not exist"),
        (["chip", "none.pt", "--noise", "noise.json"], "none.pt"),
        (["evaluate", "net.pt"], "give --noise, or --chips-from"),
        (["evaluate", "other.pt", "--chips-from", "chip.nc"], "chip.nc: layer 0 has"),
    ],
)
def test_a_mistake_is_named(folder, capsys, arguments, said):
    run(capsys, "chip", "net.pt", "--noise", "noise.json")
    found = run(capsys, *arguments)
    assert found["code"] == 2
    assert said in found["error"]


def test_commands_take_noise_of_each_layer(folder, capsys, transistor_noise, noise):
    LayeredNoise((transistor_noise, noise)).save("layers.json")
    options = ("--noise", "layers.json", "--extrapolate")
    made = run(capsys, "chip", "net.pt", *options, "--seed", "7")
    assert [law["slope"] for law in made["law"]] == [m.law.slope for m in (transistor_noise, noise)]
    assert main(["chip", "chip.nc"]) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if row.startswith("law")]
    assert [row.split()[:3] for row in rows] == [["law", str(n), "capacitance"] for n in (0, 1)]
    again = run(capsys, "evaluate", "net.pt", "--chips-from", "chip.nc", "--out", "again.nc")
    drawn = run(capsys, "evaluate", "net.pt", *options, "--chips", "1", "--seed", "7", "--out", "drawn.nc")
    assert again["accuracy"] == drawn["accuracy"]
    joules = run(capsys, "energy", "net.pt", *options, "--chips", "2", "--out", "energy.nc")
    assert joules["ledger"]["layer0.latch.switching"] > 0 == joules["ledger"]["layer1.latch.switching"]


def test_samples_are_tested_against_the_noise_of_one_campaign(folder, capsys, noise, dataset):
    LayeredNoise((noise, noise)).save("layers.json")
    dataset.to_zarr("run.zarr", consolidated=False, zarr_format=2)
    refused = run(capsys, "describe", "run.zarr", "--against", "layers.json", "--out", "out.nc")
    assert refused["code"] == 2
    assert "layers.json holds 2 layers" in refused["error"]
