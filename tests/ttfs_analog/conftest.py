"""Networks, data and noise models that need no simulator."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import torch
from synthetic_transistors import campaign
from torch import nn

from ttfs_analog.cli.app import main
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.data import datasets
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.training.architectures import build
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import train


def random_relu(sizes, seed=0, dtype=torch.float64):
    """A ReLU network with random weights and biases, so that every layer has silent neurons."""
    generator = torch.Generator().manual_seed(seed)
    modules = []
    for n_in, n_out in itertools.pairwise(sizes):
        linear = nn.Linear(n_in, n_out, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(n_out, n_in, generator=generator, dtype=dtype) / n_in**0.5)
            linear.bias.copy_(0.3 * torch.randn(n_out, generator=generator, dtype=dtype))
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


@pytest.fixture(scope="session")
def make_relu():
    return random_relu


@pytest.fixture(scope="session")
def noise(dataset):
    return NoiseModel.fit(dataset)


@pytest.fixture(scope="session")
def transistor_noise():
    """Fitted on 200 neurons of transistors that obey the one equation."""
    return NoiseModel.fit(campaign(200))


@pytest.fixture(scope="session")
def perfect(make_dataset):
    """Fitted on neurons without mismatch."""
    zero = dict.fromkeys(("synapse_source", "synapse_sink", "slope", "threshold", "capacitance"), 0.0)
    return NoiseModel.fit(make_dataset(40, zero))


@pytest.fixture(scope="session")
def make_noise(noise):
    """The fitted model with another sigma in every term."""

    def scaled(sigma):
        terms = {
            k: dataclasses.replace(t, std=sigma, std_ci=(sigma, sigma), mean=0.0, mean_ci=(0.0, 0.0))
            for k, t in noise.terms.items()
        }
        return dataclasses.replace(noise, terms=terms)

    return scaled


@pytest.fixture(scope="session")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="session")
def trained(digits):
    """A small trained network: (relu, ttfs). Not to be changed; clone it."""
    relu = build("fc-16", digits.features, digits.classes, 0, torch.float64)
    train(relu, digits, Recipe(epochs=10))
    return relu, convert(relu, digits, metadata={"data": "digits"})


@pytest.fixture(scope="session")
def net(trained):
    return trained[1]


@pytest.fixture(scope="session")
def files(tmp_path_factory, net, noise, dataset):
    """net.pt, noise_model.json and characterization.zarr in a folder; only to be read."""
    folder = tmp_path_factory.mktemp("results")
    net.save(folder / "net.pt")
    noise.save(folder / "noise_model.json")
    dataset.to_zarr(folder / "characterization.zarr", consolidated=False, zarr_format=2)
    return folder


@pytest.fixture
def call(capsys):
    """Run a command; gives (exit code, stdout, stderr)."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def succeed(call):
    """Run a command with --json that must succeed; gives the object."""

    def run(*arguments):
        code, out, err = call(*arguments, "--json")
        assert code == 0, err
        assert out.count("\n") == 1  # one object, on one line
        return json.loads(out)

    return run
