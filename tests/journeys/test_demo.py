"""The whole loop as a user runs it, and every figure of record worked out again from its file."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ttfs_analog.cli.app import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    run = subprocess.run(
        [sys.executable, "-m", "ttfs_analog", "demo", "--out", "demo", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "Warning" not in run.stderr
    printed = json.loads(run.stdout)
    assert printed["path"] == "demo"
    assert printed["summary"] == json.loads((folder / "demo/summary.json").read_text())
    return folder / "demo"


def test_every_figure_can_be_worked_out_again(demo):
    """Only the file, the expression, numpy and xarray: the same value to the last bit."""
    summary = json.loads((demo / "summary.json").read_text())
    assert len(summary) > 30
    for name, figure in summary.items():
        path = demo / figure["file"]
        scope: dict = {"np": np}
        if path.suffix == ".json":
            scope["js"] = json.loads(path.read_text())
        else:
            opener = xr.open_zarr if path.is_dir() else xr.open_dataset
            scope["ds"] = opener(path).load()
        with np.errstate(invalid="ignore"):
            assert eval(figure["recompute"], scope) == figure["value"], name


def test_the_figures_say_what_the_loop_claims(demo):
    value = {k: f["value"] for k, f in json.loads((demo / "summary.json").read_text()).items()}
    assert value["ttfs_relu_agreement"] == 1.0
    assert value["logits_relative_error"] < 1e-12
    assert value["samples"] >= 200
    assert value["samples_failed"] == 0
    assert value["chips_before"] >= 100
    assert value["verified_chips"] >= 4
    assert value["verified_images"] >= 20
    assert value["accuracy_after"] > value["accuracy_before"]
    assert value["spike_time_rms"] < 1e-9  # linear circuit: only rounding separates the two
    assert value["class_agreement"] == 1.0
    assert abs(value["energy_ratio"] - 1) < 1e-6


def test_the_figures_say_what_the_loop_on_transistors_claims(demo):
    """Devices of a quarter of the area: few samples, so the equation holds to a few hundredths of tau_c."""
    figures = json.loads((demo / "summary.json").read_text())
    value = {k.removeprefix("transistor_"): f["value"] for k, f in figures.items() if k.startswith("transis")}
    assert value["samples_failed"] == 0
    assert value["verified_chips"] >= 2
    assert value["verified_images"] >= 5
    for layer in ("layer0", "layer1"):
        assert 1e-4 < value[f"spike_time_rms_{layer}"] < 0.03
    assert value["spike_time_rms_without_deviations"] > 4 * value["spike_time_rms_layer1"]
    assert value["class_agreement"] >= 0.8
    assert value["energy_ratio"] == pytest.approx(1.0, abs=0.03)
    assert max(value["accuracy_placed"], value["accuracy_thresholds"]) + 0.02 < value["accuracy_tuned"]
    assert value["accuracy_control"] < value["accuracy_tuned"]
    assert value["energy_per_inference"] > 2e-12  # comparators, latches and references too


def test_the_page_is_self_contained(demo):
    page = (demo / "report.html").read_text()
    for title in ("Membranes in ngspice", "Noise model", "Accuracy over chips", "Back to ngspice"):
        assert f"<h2>{title}</h2>" in page
    circuit = page.split("<h2>On transistors</h2>")[1]
    for title in ("Membranes", "Whole chips in ngspice", "Accuracy over chips", "Energy per inference"):
        assert f"<h3>{title}" in circuit
    assert page.count("data:image/svg+xml;base64,") >= 10
    assert not re.search(r'(src|href)="(?!data:)', page), "the page loads something from elsewhere"
    assert "<script" not in page


def test_decks_of_the_demo_run_in_plain_ngspice(demo):
    for deck in sorted((demo / "netlist").glob("*.cir")):
        run = subprocess.run(
            ["ngspice", "-b", "-r", "out.raw", deck.name],
            cwd=deck.parent,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        assert run.returncode == 0, run.stderr.decode()


def test_picture_of_the_demo(demo, tmp_path):
    script = runpy.run_path(str(ROOT / "examples/plot_demo.py"))
    assert script["main"](demo, tmp_path / "demo.png").stat().st_size > 10_000


def test_quickstart_example(tmp_path):
    figures = runpy.run_path(str(ROOT / "examples/quickstart.py"))["main"](tmp_path)
    assert figures["accuracy_after"] > 0.85
    assert figures["class_agreement"] == 1.0
    assert figures["spike_time_rms_tau_c"] < 1e-9


def test_the_loop_one_command_at_a_time(tmp_path, monkeypatch, capsys):
    """Defaults give a run that makes sense; every command repeats --out as its path."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> dict:
        assert main([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    example = str(ROOT / "examples/my_network.py")
    assert run("train", "--arch", "fc-16", "--epochs", "15")["agreement"] == 1.0
    assert run("convert", f"{example}:build", "--out", "own.pt")["agreement"] == 1.0
    found = run("characterize", "--samples", "100", "--workers", "2")
    assert (found["path"], found["n_samples"], found["n_failed"]) == ("characterization.zarr", 100, 0)
    assert found["cpu_s"] > 0
    assert run("fit", "characterization.zarr")["terms"].keys() >= {"slope", "threshold"}
    noise = ("--noise", "noise_model.json")
    assert run("finetune", "net.pt", *noise, "--epochs", "5")["path"] == "net_tuned.pt"
    before = run("evaluate", "net.pt", *noise, "--chips", "30")
    assert len(before["accuracy"]["per_chip"]) == 30
    low, high = before["yield"]["ci95"]
    assert low <= before["yield"]["value"] <= high
    joules = run("energy", "net_tuned.pt", *noise, "--chips", "20")
    total = sum(joules["ledger"].values())
    assert joules["energy_per_inference_j"]["mean"] == pytest.approx(total, rel=1e-12, abs=0)
    held = run("verify", "net_tuned.pt", *noise, "--chips", "2", "--images", "5")
    assert held["passed"]
    run("verify", "net_tuned.pt", *noise, "--chips", "1", "--images", "2", "--tolerance", "0", code=1)
    assert run("netlist", "net.pt", "--form", "table")["n_decks"] == 2
    assert Path(run("report", ".")["path"]).exists()


def test_chips_without_mismatch_are_the_relu_network_image_by_image(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("train", "--arch", "fc-16", "--epochs", "10"),
        ("characterize", "--samples", "40", "--sigma", "0"),
        ("fit", "characterization.zarr"),
        ("evaluate", "net.pt", "--noise", "noise_model.json", "--chips", "3"),
        ("verify", "net.pt", "--noise", "noise_model.json", "--chips", "2", "--images", "20"),
    ):
        assert main([*arguments, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(term["std"] < 1e-9 for term in lines[2]["terms"].values())
    assert lines[3]["agreement_with_relu"] == 1.0
    assert lines[3]["accuracy"]["per_chip"] == [lines[0]["accuracy"]] * 3
    assert lines[4]["accuracy_spice"] == lines[4]["accuracy_model"]
