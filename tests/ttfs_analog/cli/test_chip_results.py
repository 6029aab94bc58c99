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
        (["evaluate", "other.pt", "--chips-from", "chip.nc"], "chip.nc, layer 0"),
    ],
)
def test_a_mistake_is_named(folder, capsys, arguments, said):
    run(capsys, "chip", "net.pt", "--noise", "noise.json")
    found = run(capsys, *arguments)
    assert found["code"] == 2
    assert said in found["error"]
