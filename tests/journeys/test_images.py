"""The loop on real images, where TTFS_ANALOG_DATA names their folder."""

from __future__ import annotations

import json
import os

import pytest

from ttfs_analog.cli import main

pytestmark = pytest.mark.skipif(
    not os.environ.get("TTFS_ANALOG_DATA"), reason="TTFS_ANALOG_DATA is not set: no image files"
)


def test_fashion_mnist_from_training_to_ngspice(tmp_path, monkeypatch, capsys):
    """One epoch of a small network: the point is that every stage takes 784 inputs and 10,000 images."""
    monkeypatch.chdir(tmp_path)
    noise = ("--noise", "noise_model.json")
    found = []
    for arguments in (
        ("train", "--arch", "fc-64", "--data", "fashion-mnist", "--epochs", "1"),
        ("characterize", "--samples", "100"),
        ("fit", "characterization.zarr"),
        ("evaluate", "net.pt", *noise, "--chips", "5"),
        ("verify", "net.pt", *noise, "--chips", "2", "--images", "3"),
    ):
        assert main([*arguments, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    train, _, _, evaluation, verification = found
    assert train["agreement"] == 1.0
    assert train["accuracy"] > 0.78
    assert evaluation["accuracy"]["mean"] < evaluation["nominal_accuracy"]
    assert verification["spike_time_rms_tau_c"] < 1e-9
    assert verification["class_agreement"] == 1.0
