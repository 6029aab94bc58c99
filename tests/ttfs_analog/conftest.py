"""Networks, data and noise models that need no simulator."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

from circuits.model.closed_form import response
from circuits.pdk.technology import Technology
from montecarlo.campaign.batches import draw_samples
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.schema import empty
from ttfs_analog.cli.app import main
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.data import datasets
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.training.architectures import build
from ttfs_analog.training.training import Recipe, train


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


def characterize(samples, sigma=None, entropy=0, synapses=8):
    """The dataset of a campaign, measured on the closed form instead of in the simulator."""
    plan = Campaign.characterize(Technology.load("ideal"), samples, entropy, synapses=synapses, sigma=sigma)
    stim, numbers = plan.stimuli, np.arange(samples)
    coords = {
        "stimulus": np.array(stim.label),
        "synapse": np.arange(plan.synapses),
        "pattern": np.arange(plan.patterns),
    }
    attrs = {
        "technology": plan.technology,
        "operating_point": plan.point.to_json(),
        "plan": plan.to_json(),
        "plan_hash": plan.hash,
        "ngspice_version": "none",
    }
    found = empty(samples, coords, attrs)
    found["input_time"] = (("stimulus", "synapse"), stim.input_time)
    found["theta"] = ("stimulus", stim.theta)
    found["weight"] = (("pattern", "synapse"), stim.weights)
    drawn = draw_samples(plan, numbers)
    for s, label in enumerate(stim.label):
        part = drawn
        if label == "reference":  # the test current is perfect
            part = dataclasses.replace(drawn, slope=np.zeros_like(drawn.slope))
        result = response(stim.layer(s, numbers), stim.input_time[s], plan.point, part)
        for key, value in (
            ("spike_time", result.delay),
            ("v_t_min", result.v_t_min),
            ("slope", result.slope),
            ("energy_synapse", result.energy_by_supply[..., 0, 0]),
            ("energy_slope", result.energy_by_supply[..., 0, 1]),
        ):
            found[key].values[:, s] = value[0]
    for key in ("synapse", "slope", "threshold", "capacitance"):
        found[f"drawn_{key}"].values[:] = getattr(drawn, key)[0]
    found["status"].values[:] = 0
    return found


@pytest.fixture(scope="session")
def make_relu():
    return random_relu


@pytest.fixture(scope="session")
def make_dataset():
    return characterize


@pytest.fixture(scope="session")
def dataset():
    """300 neurons, 5 % sigmas."""
    return characterize(300)


@pytest.fixture(scope="session")
def noise(dataset):
    return NoiseModel.fit(dataset)


@pytest.fixture(scope="session")
def perfect():
    """Fitted on neurons without mismatch."""
    zero = dict.fromkeys(("synapse_source", "synapse_sink", "slope", "threshold", "capacitance"), 0.0)
    return NoiseModel.fit(characterize(40, zero))


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
