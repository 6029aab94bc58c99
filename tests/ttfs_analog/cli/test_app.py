"""Commands through the command line: exit codes, JSON, and one clear line for every mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from circuits.pdk.technology import Technology
from montecarlo.campaign.schema import open_dataset
from ttfs_analog.cli import network_files
from ttfs_analog.cli.app import cli
from ttfs_analog.cli.networks import FORMS
from ttfs_analog.data import datasets
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron import layers
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.training import run_checkpoint, training
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import least_epochs

LAYER = {
    "weights": [[1.0, -0.5], [0.25, 0.75], [-2.0, -2.0]],
    "bias": [0.5, -0.25, 0.0],
    "spike_times": [0.25, None],
    "t_min": 1.0,
    "t_max": 4.0,
}
MODEL = """
from torch import nn
def good():
    return nn.Sequential(nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))
def conv():
    return nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Linear(5, 10))
def images():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 10))
class Drops(nn.Sequential):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x))
def drops():
    return Drops(*good())
def lstm():
    return nn.Sequential(nn.LSTM(64, 10))
def nan():
    model = good()
    model[0].weight.data[1, 2] = float("nan")
    return model
def narrow():
    return nn.Sequential(nn.Linear(7, 10))
def nothing():
    return None
def broken():
    raise KeyError("lost")
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "layer.json").write_text(json.dumps(LAYER))
    (tmp_path / "text").write_text("plain text")


@pytest.fixture
def refuse(call):
    """Run a command that must fail with one clear line; gives that line."""

    def run(*arguments, code=2):
        found, out, err = call(*arguments)
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert found == code
        assert out == ""
        assert len(errors) == 1
        assert err.endswith(errors[0] + "\n")  # progress bars may come before it
        assert "Traceback" not in err
        assert "this is a bug" not in err
        as_json, out, _ = call(*arguments, "--json")
        assert as_json == code
        assert json.loads(out)["exit_code"] == code
        return errors[0]

    return run


COMMANDS = sorted(cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(call, name):
    code, out, err = call(name, "--help")
    assert (code, err) == (0, "")
    assert "--json" in out
    assert cli.commands[name].help.splitlines()[0] in " ".join(out.split())


def test_help_and_version(call):
    assert "characterize" in call("-h")[1]
    code, out, _ = call("--version")
    assert code == 0
    assert re.search(r"\d+\.\d+", out)
    code, out, err = call()  # no command
    assert (code, out) == (2, "")
    assert "characterize" in err


def test_the_module_runs_as_a_program():
    found = subprocess.run(
        [sys.executable, "-m", "ttfs_analog", "technologies", "--json"], capture_output=True, timeout=60
    )
    assert found.returncode == 0
    assert json.loads(found.stdout)["technologies"]


def test_technologies_lists_the_ideal_one(succeed, call):
    found = {t["name"]: t for t in succeed("technologies")["technologies"]}
    assert found["ideal"]["needs"] == "ngspice"
    assert found["ideal"]["mismatch"] == Technology.load("ideal").mismatch
    assert "ideal" in call("technologies")[1]


def test_simulate_gives_the_closed_form(succeed, call, tmp_path):
    line = ("simulate", "layer.json", "--level", "closed-form")
    result = succeed(*line, "--out", "result.json")
    # x = 0.75, 0; z = 1.25, -0.0625, -1.5 of a window of 3: t = 4 - z, and two are silent
    assert result["spike_times"] == [pytest.approx(2.75, rel=1e-14), None, None]
    assert result["v_t_min"] == pytest.approx([0.75, 0.1875, -1.5], rel=1e-14)  # rounding only
    assert result["energy_j"] == pytest.approx(sum(result["energy_per_neuron_j"]), rel=1e-12, abs=0)
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["spike_times"] == result["spike_times"]
    assert call(*line)[1].count("silent") == 2


def test_a_chip_number_is_one_fixed_chip(succeed):
    arguments = ("simulate", "layer.json", "--level", "closed-form")
    a, b, c, d = (
        succeed(*arguments, *more)["spike_times"][0]
        for more in (("--chip", 3), ("--chip", 3), ("--chip", 4), ("--chip", 3, "--seed", 1))
    )
    assert a == b
    assert len({a, c, d}) == 3


@pytest.mark.ngspice
def test_simulate_in_the_simulator_agrees_and_draws(succeed, tmp_path):
    closed = succeed("simulate", "layer.json", "--level", "closed-form", "--chip", 1)
    found = succeed("simulate", "layer.json", "--chip", 1, "--plot", "waves.png")
    # linear interpolation of straight ramps: rounding of float64 waveforms in volts
    assert found["spike_times"][0] == pytest.approx(closed["spike_times"][0], abs=1e-8)
    assert found["v_t_min"] == pytest.approx(closed["v_t_min"], abs=1e-8)
    assert (tmp_path / "waves.png").stat().st_size > 1000


@pytest.mark.parametrize("form", ["pulse", "table"])
def test_netlist_of_a_layer_is_one_deck(succeed, tmp_path, form):
    result = succeed("netlist", "layer.json", "--form", form, "--out", "deck.cir")
    assert result["n_decks"] == 1
    assert result["n_devices"] > 3
    assert (tmp_path / "deck.cir").read_text().rstrip().endswith(".end")


def test_netlist_of_a_network_is_one_deck_a_layer(succeed, files, tmp_path):
    found = succeed("netlist", files / "net.pt", "--image", 2, "--out", "decks")
    assert found["n_decks"] == 2
    assert sorted(p.name for p in (tmp_path / "decks").iterdir()) == ["layer0.cir", "layer1.cir"]


def test_the_forms_are_those_of_the_layers():
    """Written again in cli.py, which must not import torch."""
    assert FORMS == layers.FORMS


@pytest.mark.parametrize("form", ["alpha", "relu", "b1", "single"])
def test_train_in_a_form(succeed, form):
    line = ("train", "--arch", "fc-8", "--epochs", 2, "--lr", 1e-4, "--form", form)
    result = succeed(*line, "--out", "net.pt")
    net = TTFSNetwork.load("net.pt")
    assert net.layers[0].form == ("b1" if form == "relu" else form)
    assert result["agreement"] == 1.0
    assert result["windows"] == net.windows
    about = net.metadata
    assert (about["data"], about["arch"], about["accuracy"]) == ("digits", "fc-8", result["accuracy"])
    assert len(about["history"]) == 2
    assert about["history"][-1]["accuracy"] == pytest.approx(result["accuracy"], abs=0.01)
    if form in ("b1", "relu"):
        net.require_points()
    if form == "relu":
        assert result["logits_relative_error"] <= 1e-12  # float64 rounding
        assert about["accuracy"] == about["reference_accuracy"]
    else:  # tight windows for inference, those of training are told
        assert all(t < w for t, w in zip(net.windows, result["training_windows"], strict=True))
    assert not os.path.exists("net.pt.checkpoint")


def test_auto_is_form_b1_and_the_same_as_training_the_twin(succeed):
    line = ("train", "--arch", "fc-8", "--epochs", 3)
    found = [succeed(*line, "--form", f, "--out", f"{f}.pt") for f in ("auto", "b1", "relu")]
    nets = [TTFSNetwork.load(f"{f}.pt") for f in ("auto", "b1", "relu")]
    assert torch.equal(nets[0].layers[0].weight, nets[1].layers[0].weight)
    torch.testing.assert_close(nets[1].layers[0].weight, nets[2].layers[0].weight, rtol=0, atol=1e-10)
    assert found[0]["accuracy"] == found[1]["accuracy"] == found[2]["accuracy"]
    assert nets[1].windows == pytest.approx(nets[2].windows, rel=1e-9)  # zeta of both


def test_recipes_and_what_is_given_instead(succeed, monkeypatch):
    seen = []
    monkeypatch.setattr(network_files, "train", lambda model, data, recipe, **_: seen.append(recipe) or [])
    line = ("train", "--arch", "fc-3", "--seed", 7)
    for more in (
        ("--recipe", "paper"),
        ("--recipe", "paper", "--epochs", 3, "--batch", 16, "--lr", 0.01, "--l1", 0.5),
        (),
        ("--batch", 64, "--epochs", 5),
    ):
        succeed(*line, *more)
    default = Recipe(weight_decay=1e-4, seed=7)
    assert seen[0] == Recipe.paper(seed=7)
    assert seen[1] == Recipe.paper(seed=7, epochs=3, batch=16, lr=0.01, l1=0.5)
    assert seen[2] == replace(default, epochs=least_epochs(default, 1347))
    assert seen[3] == replace(default, batch=64, epochs=5)


def test_train_takes_precision_device_batch_and_l1(succeed):
    line = ("train", "--arch", "fc-8", "--epochs", 4, "--batch", 16, "--dtype", "float32", "--device", "cpu")
    dense = succeed(*line, "--out", "dense.pt")
    sparse = succeed(*line, "--l1", 0.03, "--out", "sparse.pt")
    assert TTFSNetwork.load("dense.pt").like.dtype == torch.float32
    assert sparse["spikes_per_neuron"] < dense["spikes_per_neuron"]


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        (
            "train --data iris --arch fc-6 --epochs 9",
            {"--lr": 0.1, "--seed": 1, "--zeta": 0.7, "--arch": "fc-7", "--technology": "generic130"},
        ),
        ("finetune hard.pt --epochs 2", {"--batch": 32, "--percentile": 98.0}),
    ],
)
def test_training_resumes_its_checkpoint_and_no_other(
    call, succeed, refuse, files, monkeypatch, line, changes
):
    succeed("constrain", files / "net.pt", "--jitter", 0.1, "--out", "hard.pt")
    line = line.split()
    expected = succeed(*line, "--out", "whole.pt")
    write, written = run_checkpoint.write, []

    def interrupt(*arguments):
        write(*arguments)
        written.append(arguments[5:7])
        if len(written) == 14:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "SAVE_EVERY", -1.0)
        patch.setattr(run_checkpoint, "write", interrupt)
        assert call(*line, "--out", "net.pt")[0] == 130
    assert os.path.exists("net.pt.checkpoint")
    assert not os.path.exists("net.pt")
    for option, value in changes.items():
        message = refuse(*line, option, value, "--resume", "--out", "net.pt")
        assert re.search(rf"belongs to another training \((--)?{option[2:]}: \S+ then, {value} now", message)
    assert {**succeed(*line, "--resume", "--out", "net.pt"), "path": ""} == {**expected, "path": ""}
    a, b = (TTFSNetwork.load(n).state_dict() for n in ("net.pt", "whole.pt"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not os.path.exists("net.pt.checkpoint")


@pytest.mark.parametrize("form", FORMS)
def test_normalization_is_trained_as_relu(refuse, monkeypatch, form):
    monkeypatch.setattr(network_files, "load", lambda name, dtype=None: small_images(dtype or torch.float64))
    line = ("train", "--data", "mnist", "--epochs", 1, "--form", form, "--arch", "vgg16-bn")
    assert "vgg16-bn has batch normalization, which is trained as ReLU: use --form relu" in refuse(*line)


def test_networks_with_normalization_train_as_relu_by_themselves(succeed, monkeypatch):
    monkeypatch.setattr(network_files, "load", lambda name, dtype=None: small_images(dtype or torch.float64))
    found = succeed("train", "--data", "mnist", "--epochs", 1, "--arch", "lenet5-bn", "--out", "net.pt")
    assert found["agreement"] == 1.0
    assert found["logits_relative_error"] < 1e-11  # float64 rounding
    net = TTFSNetwork.load("net.pt")
    assert net.input_shape == (1, 28, 28)
    assert len(net.layers) == 5


def small_images(dtype):
    x = torch.rand(24, 784, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    return datasets.Data("mnist", x, torch.arange(24) % 10, x[:12], torch.arange(12) % 10, (1, 28, 28))


@pytest.mark.parametrize(("model", "form"), [("images", "b1"), *(("good", form) for form in FORMS)])
def test_convert_with_a_mapping(succeed, model, form):
    result = succeed("convert", f"model.py:{model}", "--mapping", form, "--out", "net.pt")
    net = TTFSNetwork.load("net.pt")
    assert net.layers[0].form == net.metadata["mapping"] == form
    assert net.input_shape == ((1, 8, 8) if model == "images" else (64,))
    assert result["agreement"] == 1.0
    assert result["logits_relative_error"] < 1e-11  # float64 rounding


def test_convert_with_an_input_range(succeed):
    """The network takes [0, 1]; the model saw [-1, 1] for the same images."""
    found = succeed("convert", "model.py:good", "--input-range", "-1", "1", "--out", "net.pt", "--seed", 3)
    assert found["agreement"] == 1.0
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10)).double()
    data = datasets.load("digits")
    net = TTFSNetwork.load("net.pt")
    with torch.no_grad():
        torch.testing.assert_close(net(data.x_test), model(2 * data.x_test - 1), rtol=0, atol=1e-10)
    assert net.metadata["input_range"] == [-1.0, 1.0]
    plain = succeed("convert", "model.py:good", "--out", "plain.pt", "--seed", 3)
    assert plain["windows"] != found["windows"]


@pytest.mark.parametrize(("scope", "kind"), [("neuron", "trial"), ("layer", "frozen")])
def test_constrain_says_what_it_costs_and_the_network_keeps_it(succeed, files, scope, kind):
    options = ("--jitter", 0.1, "--time-steps", 8, "--weight-bits", 4, "--latency", 95)
    options += ("--jitter-scope", scope, "--jitter-kind", kind)
    result = succeed("constrain", files / "net.pt", *options, "--seed", 3, "--out", "hard.pt")
    net, hard = TTFSNetwork.load(files / "net.pt"), TTFSNetwork.load("hard.pt")
    data = datasets.load("digits")
    assert result["accuracy_before"] == training.accuracy(net, data.x_test, data.y_test)
    assert result["accuracy"] == training.accuracy(hard, data.x_test, data.y_test)  # the same trials
    assert result["accuracy"] < result["accuracy_before"]
    assert result["latency_tau_c"] == pytest.approx(1 + sum(hard.windows))
    limits = hard.constraints
    assert (limits.jitter.std, limits.jitter.scope, limits.jitter.kind) == (0.1, scope, kind)
    assert (limits.steps.steps, limits.bits.bits, limits.latency.percentile) == (8, 4, 95.0)
    assert (limits.seed, hard.metadata["accuracy"]) == (3, result["accuracy"])


@pytest.mark.parametrize("jitter", [(), ("--jitter", 0.05)], ids=["", "jitter"])
def test_constrain_finetune_evaluate(succeed, refuse, files, jitter):
    noise = ("--noise", files / "noise_model.json")
    options = ("--time-steps", 6, "--weight-bits", 3, *jitter)
    hard = succeed("constrain", files / "net.pt", *options, "--out", "hard.pt")
    assert "nothing to tune for" in refuse("finetune", files / "net.pt", "--epochs", 1, "--out", "x.pt")
    tuned = succeed("finetune", "hard.pt", "--epochs", 6, "--out", "tuned.pt")
    assert tuned["accuracy"] > hard["accuracy"]
    assert tuned["windows"] == hard["windows"]
    assert not os.path.exists("tuned.pt.checkpoint")
    both = succeed("finetune", "hard.pt", *noise, "--epochs", 1, "--out", "both.pt")
    assert both["windows"] == hard["windows"]
    found = succeed("evaluate", "tuned.pt", *noise, "--chips", 3, "--out", "e.nc")
    assert found["nominal_accuracy"] == tuned["accuracy"]
    assert succeed("evaluate", "tuned.pt", *noise, "--chips", 3, "--out", "e2.nc") == {
        **found,
        "path": "e2.nc",
        "table": "e2.csv",
    }


def test_weight_bits_in_an_alpha_form_are_refused(refuse, call):
    assert call("convert", "model.py:good", "--mapping", "alpha", "--out", "alpha.pt")[0] == 0
    assert "weight bits need form b1" in refuse("constrain", "alpha.pt", "--weight-bits", 4, "--out", "x.pt")
    assert call("constrain", "alpha.pt", "--time-steps", 8, "--out", "x.pt")[0] == 0


def test_convert_maps_a_model_and_its_weights(succeed):
    torch.manual_seed(9)
    model = nn.Sequential(nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))
    torch.save(model.state_dict(), "state.pt")
    found = succeed("convert", "model.py:good", "--weights", "state.pt", "--out", "net.pt")
    assert found["agreement"] == 1.0
    kept = TTFSNetwork.load("net.pt").layers[0].weight.detach()
    assert torch.equal(kept, model[0].weight.detach().double())


def test_convert_fails_where_its_windows_change_decisions(call, succeed):
    """Half the activations are clipped: exit code 1 with a remedy, and 0 where less agreement is accepted."""
    clipped = ("convert", "model.py:good", "--percentile", 50, "--out", "net.pt", "--seed", 3)
    code, out, _ = call(*clipped, "--json")
    result = json.loads(out)
    assert (code, result["passed"]) == (1, False)
    assert 0.5 < result["agreement"] < 1
    assert TTFSNetwork.load("net.pt").metadata["accuracy"] == result["accuracy"]  # to look at
    code, out, _ = call(*clipped)
    assert code == 1
    assert re.search(
        r"agreement [\d.]+ % is below 100 %: windows clip .* .raise --zeta or --percentile,", out
    )
    least = str(100 * result["agreement"])
    assert succeed(*clipped, "--least-agreement", least)["passed"] is True
    assert call(*clipped, "--least-agreement", 101)[0] == 2


def test_convert_refuses_dropout_that_acts_at_inference(refuse):
    assert "operation dropout of Drops (dropout) drops at inference" in refuse("convert", "model.py:drops")


def test_convert_says_which_prefix_it_took_off(succeed, call):
    model = nn.DataParallel(nn.Sequential(nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10)))
    torch.save(model.state_dict(), "parallel.pt")
    found = succeed("convert", "model.py:good", "--weights", "parallel.pt", "--out", "net.pt")
    assert found["note"] == "prefix 'module.' taken off the names of the weights"
    torch.save(model.module, "whole.pt")
    code, out, _ = call("convert", "model.py:good", "--weights", "whole.pt", "--json")
    message = json.loads(out)["error"]
    assert code == 2
    assert message.startswith("whole.pt holds a whole model; save model.state_dict()")
    assert message.isprintable()


def test_percentiles_of_all_activations_are_an_option(succeed, files):
    windows = {}
    for of in ("nonzero", "all"):
        options = ("--percentile-of", of)
        made = succeed("constrain", files / "net.pt", "--latency", 90, *options, "--out", "hard.pt")
        tuned = succeed(
            "finetune", files / "net.pt", "--noise", files / "noise_model.json", "--epochs", 0,
            "--percentile", 90, *options, "--out", "tuned.pt",
        )  # fmt: skip
        assert made["windows"] == tuned["windows"]
        windows[of] = made["windows"]
    assert windows["all"] < windows["nonzero"]


def test_fit_writes_the_model_and_its_figures(succeed, files, noise):
    found = succeed("fit", files / "characterization.zarr", "--out", "noise.json")
    assert NoiseModel.load("noise.json") == noise
    assert found["terms"]["slope"]["std"] == noise.terms["slope"].std
    assert found["n_samples"] == 300


def test_evaluate_writes_what_it_says(succeed, files):
    noise = ("--noise", files / "noise_model.json")
    found = succeed("evaluate", files / "net.pt", *noise, "--chips", 5, "--out", "e.nc")
    with xr.open_dataset("e.nc") as stored:
        assert stored["accuracy"].values.tolist() == found["accuracy"]["per_chip"]
        assert float(stored["target"]) == found["yield"]["target"]
    assert found["yield"]["target"] == pytest.approx(found["nominal_accuracy"] - 0.02, rel=1e-14)
    assert 0.5 < found["agreement_with_relu"] <= 1


def test_without_mismatch_evaluate_agrees_with_the_relu_network_everywhere(succeed, files, perfect):
    perfect.save("perfect.json")
    found = succeed("evaluate", files / "net.pt", "--noise", "perfect.json", "--chips", 3, "--out", "e.nc")
    assert found["agreement_with_relu"] == 1.0
    assert found["yield"]["value"] == 1.0


def test_finetune_makes_a_network_and_says_how(succeed, files):
    noise = ("--noise", files / "noise_model.json")
    found = succeed("finetune", files / "net.pt", *noise, "--epochs", 1, "--out", "tuned.pt")
    tuned = TTFSNetwork.load("tuned.pt")
    assert tuned.metadata["finetuned"] == "agnostic"
    succeed("finetune", files / "net.pt", *noise, "--control", "--epochs", 1, "--out", "control.pt")
    control = TTFSNetwork.load("control.pt")
    assert control.metadata["finetuned"] == "control"
    assert not torch.equal(control.layers[0].weight, tuned.layers[0].weight)
    assert tuned.metadata["accuracy"] == found["accuracy"]
    assert tuned.windows[0] < TTFSNetwork.load(files / "net.pt").windows[0]


def test_report_writes_a_page(succeed, files, tmp_path):
    found = succeed("report", files, "--out", "page.html")
    assert found == {"path": "page.html", "left_out": []}
    assert "Noise model" in (tmp_path / "page.html").read_text()


def test_text_for_people_comes_without_json_and_folders_are_made(call, files):
    noise = ("--noise", files / "noise_model.json")
    code, out, _ = call("evaluate", files / "net.pt", *noise, "--chips", 3, "--out", "new/folder/e.nc")
    assert code == 0
    assert out.startswith("accuracy ")
    assert "yield" in out
    assert Path("new/folder/e.nc").exists()


def test_out_of_range_is_refused_until_extrapolate_allows_it(call, refuse, files, noise):
    import dataclasses

    limits = {"weight": {"max": 0.01}, "window": {"max": None}}
    dataclasses.replace(noise, validity={**noise.validity, **limits}).save("narrow.json")
    arguments = ("evaluate", files / "net.pt", "--noise", "narrow.json", "--chips", 2, "--out", "e.nc")
    assert "--extrapolate" in refuse(*arguments)
    assert call(*arguments, "--extrapolate")[0] == 0


def bad_layer(**changes):
    content = {k: v for k, v in {**LAYER, **changes}.items() if v is not None}
    Path("bad.json").write_text(json.dumps(content))
    return "bad.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": [[1.0, float("nan")], [0.0, 0.0], [0.0, 0.0]]}, r"weights\[0\]\[1\] is nan"),
        ({"weights": [[1.0, 2.0], [3.0], [0.0, 0.0]]}, "weights must be numbers in equal rows"),
        ({"weights": []}, "weights must be n_out rows"),
        ({"bias": [0.0]}, r"bias must have shape \(3,\)"),
        ({"t_max": 1.0}, "t_max must be later than t_min"),
        ({"t_max": 0.5}, "t_max must be later than t_min"),
        ({"t_min": 0}, "t_min must be > 0"),
        ({"slope": -1.0}, "slope must be > 0"),
        ({"spike_times": [0.1]}, "spike_times must have 2 entries"),
        ({"spike_times": [0.1, 2.0]}, r"spike_times\[1\] is 2"),
        ({"spike_times": "early"}, "spike_times must be a list"),
        ({"color": 1}, r"unknown keys \['color'\]"),
        ({"spiking": "no"}, "spiking must be true or false"),
        ({"slope": [1.0, 1.0]}, "slope must be one number or 3 numbers"),
        ({"t_min": [1.0]}, r"t_min must be a finite number, got \[1.0\]"),
        ({"t_min": 10**400}, "t_min has 1329 bits"),
        ({"bias": [10**400, 0.0, 0.0]}, r"bias\[0\] has 1329 bits"),
        ({"bias": None}, r"lacks \['bias'\]"),
    ],
)
def test_a_bad_layer_file_is_refused(refuse, changes, message):
    assert re.search(message, refuse("simulate", bad_layer(**changes)))
    refuse("netlist", "bad.json", "--out", "deck.cir")
    assert not os.path.exists("deck.cir")


NET, NOISE = "{files}/net.pt", "{files}/noise_model.json"
JUDGES = ("evaluate", "energy", "verify", "finetune")
MISTAKES = [
    ("simulate none.json", "none.json does not exist"),
    ("simulate text", "text is not JSON"),
    (
        "simulate layer.json --technology magic",
        "unknown technology 'magic'; available: generic130, gf180mcu, ideal, sky130",
    ),
    ("simulate layer.json --level magic", "magic"),
    ("simulate layer.json --chip -1", "--chip"),
    ("simulate layer.json --color red", "No such option.*--color.*simulate --help"),
    ("simulate", "Missing argument"),
    ("simulate layer.json --level closed-form --out layer.json/result.json", "layer.json"),
    ("paint", "No such command 'paint'"),
    ("netlist none.json", "does not exist"),
    ("netlist none.pt", "none.pt does not exist; 'train' or 'convert'"),
    (f"netlist {NET} --data iris", "takes 64 inputs, iris has 4"),
    (f"netlist {NET} --image 99999", "--image 99999: digits has 450 test images"),
    ("characterize --samples 0", "--samples"),
    ("characterize --sigma much", "--sigma 'much'.*not a number"),
    ("characterize --sigma color=0.1", "unknown mismatch term.*color"),
    ("characterize --sigma slope=-1", "sigma of slope"),
    ("characterize --sigma nan", "sigma of"),
    ("characterize --design halton", "--design.*'halton' is not one of"),
    ("characterize --samples 9999999 --design latin", "Latin hypercube.*use sobol"),
    ("fit none.zarr", "none.zarr does not exist"),
    ("train --data nodata", "unknown dataset 'nodata'; available: digits"),
    ("train --arch cnn", "unknown architecture 'cnn'"),
    ("train --data iris --epochs 0", "--epochs"),
    ("train --data iris --epochs 1 --lr 0", "lr > 0"),
    ("train --data iris --epochs 1 --zeta -2", "zeta must be > -1"),
    ("train --data iris --epochs 1 --percentile 200", "percentile"),
    ("convert model.py", "not of the form FILE.py:FUNCTION"),
    ("convert none.py:good", "none.py does not exist"),
    ("convert model.py:lost", "has no function 'lost'"),
    ("convert model.py:conv", r"layer 2 \(Linear\)"),
    ("convert model.py:lstm", r"layer 0 \(LSTM\) is not supported"),
    ("convert model.py:nan", "0.weight holds values that are not finite"),
    ("convert model.py:narrow", r"layer 0 \(Linear\) takes 7 inputs and meets 64"),
    ("convert model.py:nothing", "returned NoneType"),
    ("convert model.py:broken", "failed with KeyError"),
    ("convert model.py:good --weights none.pt", "none.pt does not exist"),
    ("convert model.py:good --weights text", "text does not hold a state_dict"),
    ("convert model.py:good --mapping magic", "--mapping"),
    ("convert model.py:good --input-range 1 1", "input range"),
    ("convert model.py:good --input-range nan 1", "input range|finite"),
    ("convert model.py:good --input-range 0", "--input-range"),
    ("train --arch lenet5", r"lenet5 needs images of 28 x 28 or 32 x 32, the data have shape \(1, 8, 8\)"),
    ("train --arch vgg16-bn --form b1", "vgg16-bn needs images"),
    ("train --form magic", "--form"),
    ("train --recipe magic", "--recipe"),
    ("train --batch 0", "--batch"),
    ("train --arch fc-8 --epochs 1 --lr 1 --form alpha", r"layer 0, neuron \d+: slope B = "),
    ("train --epochs 1 --l1 -1", "l1 and weight decay must be >= 0"),
    ("train --epochs 1 --form relu --l1 0.1", "l1 counts spikes"),
    ("train --dtype float16", "--dtype"),
    ("train --epochs 1 --device magic", "device 'magic' cannot be used .*use --device cpu"),
    ("train --epochs 1 --device meta", "device 'meta' cannot be used"),
    ("constrain none.pt --jitter 0.1", "none.pt does not exist"),
    (f"constrain {NET}", "at least one of --jitter, --time-steps, --weight-bits, --latency"),
    (f"constrain {NET} --jitter -0.1", "jitter must be >= 0"),
    (f"constrain {NET} --jitter 0.1 --jitter-scope chip", "--jitter-scope"),
    (f"constrain {NET} --jitter 0.1 --jitter-kind often", "--jitter-kind"),
    (f"constrain {NET} --time-steps 0", "time steps must be >= 1"),
    (f"constrain {NET} --time-steps 2.5", "--time-steps"),
    (f"constrain {NET} --weight-bits 1", "weight bits must lie in"),
    (f"constrain {NET} --latency 0", "latency percentile must lie in"),
    (f"finetune {NET} --epochs 1", "nothing to tune for"),
    (f"finetune {NET} --control", "--control takes the spread out of a noise model"),
    (f"evaluate none.pt --noise {NOISE}", "none.pt does not exist"),
    (f"evaluate {NET}", "give --noise, or --chips-from"),
    (f"evaluate {NET} --noise none.json", "none.json does not exist; 'fit'"),
    (f"evaluate {NET} --noise text", "text is not JSON"),
    (f"evaluate {NET} --noise layer.json", "layer.json has schema None"),
    (f"evaluate {NET} --noise {NOISE} --chips 0", "--chips"),
    *((f"evaluate {NET} --noise {NOISE} --chips 2 --target={v}", "accuracy in") for v in (5, -0.1, "nan")),
    (f"evaluate {NET} --noise {NOISE} --chips 2 --out {NET}/e.nc", "net.pt"),
    (f"finetune {NET} --noise {NOISE} --mode magic", "--mode"),
    (f"finetune {NET} --noise {NOISE} --epochs 1 --percentile 101", "percentile"),
    (f"finetune {NET} --noise {NOISE} --epochs 1 --lr nan", "lr > 0"),
    (f"energy {NET} --noise {NOISE} --chips 1", "--chips"),
    (f"verify {NET} --noise {NOISE} --images 0", "--images"),
    (f"verify {NET} --noise {NOISE} --workers 0", "--workers"),
    *((f"{c} {NET} --noise {NOISE} --data iris", "takes 64 inputs, iris has 4") for c in JUDGES),
    ("report none", "none is not a folder"),
    ("report .", "holds no results"),
    ("demo --samples 10", "--samples"),
    ("demo --out /proc/x", "/proc/x"),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES)
def test_a_mistake_is_one_clear_line(refuse, files, line, message):
    found = refuse(*line.format(files=files).split())
    assert re.search(message, found), found


def test_a_network_that_does_not_know_its_data_asks_for_it(refuse, call, files):
    net = TTFSNetwork.load(files / "net.pt")
    net.metadata = {}
    net.save("bare.pt")
    noise = ("--noise", files / "noise_model.json", "--chips", 2, "--out", "e.nc")
    assert "--data" in refuse("evaluate", "bare.pt", *noise)
    assert call("evaluate", "bare.pt", *noise, "--data", "digits")[0] == 0


@pytest.mark.parametrize(
    "line",
    [
        "simulate layer.json",
        "characterize --samples 20 --out c.zarr",
        f"verify {NET} --noise {NOISE} --chips 1 --images 1",
    ],
)
@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("no-such-program", r"no ngspice program found \(looked for 'no-such-program'.*TTFS_ANALOG_NGSPICE"),
        ("true", "does not answer as ngspice"),
    ],
)
def test_a_missing_simulator_is_3(refuse, files, monkeypatch, line, program, message):
    monkeypatch.setenv("TTFS_ANALOG_NGSPICE", program)
    assert re.search(message, refuse(*line.format(files=files).split(), code=3))
    assert not os.path.exists("c.zarr")


def test_an_interruption_is_130(call, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(Technology, "available", staticmethod(interrupt))
    code, out, err = call("technologies", "--json")
    assert code == 130
    assert json.loads(out)["exit_code"] == 130
    assert "interrupted" in err


@pytest.mark.ngspice
def test_characterize_makes_a_campaign_and_resumes_only_its_own(succeed, refuse):
    arguments = ("characterize", "--samples", 24, "--sigma", 0.04, "--sigma", "slope=0.08")
    found = succeed(*arguments, "--workers", 4, "--out", "c.zarr")
    assert (found["n_samples"], found["n_failed"]) == (24, 0)
    with open_dataset("c.zarr") as dataset:
        law = json.loads(dataset.attrs["plan"])["law"]
        times = dataset["spike_time"].values
    assert (law["slope"], law["threshold"]) == (0.08, 0.04)
    assert succeed(*arguments, "--out", "c.zarr")["n_samples"] == 24
    with open_dataset("c.zarr") as dataset:
        assert np.array_equal(dataset["spike_time"].values, times)
    assert "belongs to another campaign" in refuse(*arguments, "--seed", 1, "--out", "c.zarr")
    assert "/proc/x" in refuse(*arguments, "--out", "/proc/x")
    assert succeed("fit", "c.zarr", "--out", "noise.json")["n_samples"] == 24


@pytest.mark.ngspice
def test_verify_passes_with_0_and_fails_with_1(call, files):
    line = ("verify", files / "net.pt", "--noise", files / "noise_model.json", "--chips", 2, "--images", 2)
    code, out, err = call(*line, "--out", "v.nc", "--json")
    assert code == 0, err
    assert json.loads(out)["passed"] is True
    with xr.open_dataset("v.nc") as stored:
        assert stored["spike_time_spice"].shape == (2, 2, 16)
    code, out, _ = call(*line, "--out", "v.nc", "--json", "--tolerance", 0)
    assert code == 1
    assert json.loads(out)["passed"] is False
    assert json.loads(out)["failed_checks"] == ["spike_time_rms_tau_c > 0"]
    assert call(*line, "--tolerance", "nan")[0] == 2


def test_a_result_file_may_not_be_a_folder(refuse):
    Path("folder").mkdir()
    assert "is a folder" in refuse("train", "--epochs", 1, "--out", "folder")


def test_a_network_without_operating_points_has_no_netlist(refuse, files):
    net = TTFSNetwork.load(files / "net.pt")
    net.points = []
    net.save("bare.pt")
    assert "the network has no operating points" in refuse("netlist", "bare.pt", "--out", "decks")
    assert not os.path.exists("decks")


@pytest.mark.ngspice
def test_characterize_takes_the_whole_law_and_conditions(succeed, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ("characterize", "--samples", 20, "--synapses", 2, "--distribution", "slope=student-t:4")
    line += ("--correlation", "slope.capacitance=0.6", "--common", "threshold=0.02", "--design", "latin")
    found = succeed(*line, "--at", "size=4", "--at", "supply=1.5")
    dataset = open_dataset(found["path"])
    plan = json.loads(dataset.attrs["plan"])
    assert plan["law"]["distribution"] == [["slope", "student-t:4"]]
    assert plan["law"]["correlation"] == [["slope", "capacitance", 0.6]]
    assert plan["law"]["common"] == [["threshold", 0.02]]
    assert plan["law"]["slope"] == 0.025
    assert (plan["design"], plan["point"]["vdd"]) == ("latin", 1.5)
    assert np.all(dataset["status"] == 0)
    code, _, err = call(*line, "--at", "corner=ss", "--out", "other.zarr")
    assert code == 2
    assert "the ideal technology has no corner" in err
    code, _, err = call(*line, "--at", "size")
    assert code == 2
    assert "AXIS=VALUE" in err


def test_a_campaign_of_failures_alone_is_a_failure_of_the_simulator(call, tmp_path, monkeypatch):
    """A program that calls itself ngspice, and ends every run with an error."""
    program = tmp_path / "bin" / "ngspice"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'ngspice-39' && exit 0\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    code, out, err = call("characterize", "--samples", 20, "--out", "c.zarr")
    assert (code, out) == (3, "")
    assert "all 20 samples of c.zarr failed" in " ".join(err.split())
    assert np.all(open_dataset("c.zarr")["status"] == 1)
