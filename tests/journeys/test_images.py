"""The loop on real images, where TTFS_ANALOG_DATA names their folder."""

from __future__ import annotations

import json
import os

import pytest
import torch
from torch import nn

from ttfs_analog.cli.app import main
from ttfs_analog.conversion.mapping import agreement, convert
from ttfs_analog.data import datasets
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.training.architectures import build

pytestmark = pytest.mark.skipif(
    not os.environ.get("TTFS_ANALOG_DATA"), reason="TTFS_ANALOG_DATA is not set: no image files"
)
MODEL = """
import torch
from ttfs_analog.training.architectures import build
def lenet5():
    return build("lenet5-bn", (1, 28, 28), 10, 0, torch.float64)
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run a command that must succeed; gives its JSON object."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def settle(model, x, seed=0):
    """Normalization as training leaves it: the statistics of real images, scales of both signs."""
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in model if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None  # the plain mean
            draw = torch.randn(2, norm.num_features, generator=generator, dtype=norm.weight.dtype)
            norm.weight.copy_(draw[0].sign() * (0.5 + draw[0].abs()))
            norm.bias.copy_(0.3 * draw[1])
        model.train()
        for part in x.split(100):
            model(part)
    return model.eval()


def test_fashion_mnist_from_training_to_ngspice(call):
    """One epoch of a small network: the point is that every stage takes 784 inputs and 10,000 images."""
    noise = ("--noise", "noise_model.json")
    found = [
        call(*arguments)
        for arguments in (
            ("train", "--arch", "fc-64", "--data", "fashion-mnist", "--epochs", "1"),
            ("characterize", "--samples", "100"),
            ("fit", "characterization.zarr"),
            ("evaluate", "net.pt", *noise, "--chips", "5"),
            ("verify", "net.pt", *noise, "--chips", "2", "--images", "3"),
        )
    ]
    train, _, _, evaluation, verification = found
    assert train["agreement"] == 1.0
    assert train["accuracy"] > 0.78
    assert evaluation["accuracy"]["mean"] < evaluation["nominal_accuracy"]
    assert verification["spike_time_rms_tau_c"] < 1e-9
    assert verification["class_agreement"] == 1.0


def test_a_random_lenet5_agrees_on_every_test_image_of_fashion_mnist():
    """10,000 images, batch normalization of both signs before ReLU and max pooling."""
    data = datasets.load("fashion-mnist")
    model = settle(build("lenet5-bn", data.shape, data.classes, 0, torch.float64), data.x_train[:1000])
    # wide windows: no test image may go beyond what 500 others have shown
    net = convert(model, data.x_train[:500], zeta=9.0)
    assert len(data.x_test) == 10_000
    same, error = agreement(net, model, data.x_test)
    assert same == 1.0
    assert error < 1e-11  # float64 rounding
    with torch.no_grad():
        assert len(net(data.x_test[:500]).argmax(-1).unique()) > 3  # no class that always wins


@pytest.mark.slow
def test_lenet5_through_the_command_line(call, tmp_path):
    """All 60,000 training images set the windows; constraints and their file come after."""
    (tmp_path / "model.py").write_text(MODEL)
    found = call("convert", "model.py:lenet5", "--data", "fashion-mnist", "--out", "net.pt")
    assert found["agreement"] == 1.0
    assert found["logits_relative_error"] < 1e-11  # float64 rounding
    hard = call("constrain", "net.pt", "--weight-bits", "4", "--time-steps", "16", "--out", "hard.pt")
    assert hard["accuracy_before"] == found["accuracy"]
    assert hard["latency_tau_c"] < found["latency_tau_c"]
    assert TTFSNetwork.load("hard.pt").constraints.bits.bits == 4


@pytest.mark.slow
def test_lenet5_trains_on_spike_times(call):
    line = ("train", "--arch", "lenet5", "--data", "fashion-mnist", "--epochs", "1", "--dtype", "float32")
    found = call(*line, "--batch", "64", "--lr", "0.001")
    assert found["accuracy"] > 0.8
    assert found["agreement"] > 0.999  # float32
