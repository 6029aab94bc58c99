"""What all chips have in common is taken out of the thresholds."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from placing import first_spike, placed
from random_models import images, lenet5
from synthetic_transistors import CONSTANTS

from circuits.model.closed_form import IDEAL, Constants
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.training.compensation import compensated
from ttfs_analog.training.finetuning import finetune


def with_constants(net, x, constants):
    """Activations of a circuit that has these constants and no spread."""
    zero = [x.new_zeros(1, layer.n_out) for layer in net.layers]
    devices = [Deviations(None, z, z, z, None, c) for z, c in zip(zero, constants, strict=True)]
    return [v[0] for v in net.trace(x, devices)]


def errors(found, wanted, spiking):
    """Mean error of every neuron over images where either fires."""
    counts = (found > 0) | (wanted > 0) if spiking else torch.ones_like(found, dtype=torch.bool)
    return ((found - wanted) * counts).sum(0) / counts.sum(0).clamp_min(1)


@torch.no_grad()
@pytest.mark.parametrize("read_out", ["sampled", "first-spike"])
def test_mean_errors_vanish_layer_by_layer(net, digits, read_out):
    if read_out == "first-spike":
        net = first_spike(net, digits.x_train)
    constants, x = [CONSTANTS] * 2, digits.x_train
    before, wanted = with_constants(net, x, constants), net.trace(x)
    made = compensated(net, x, constants)
    after = with_constants(made, x, constants)
    for n, layer in enumerate(net.layers):
        old, new = (errors(v[n], wanted[n], layer.spiking).abs() for v in (before, after))
        assert float(new.mean()) < 0.05 * float(old.mean())
        assert torch.equal(made.layers[n].weight, layer.weight)
    assert (after[-1].argmax(-1) == wanted[-1].argmax(-1)).double().mean() > (
        before[-1].argmax(-1) == wanted[-1].argmax(-1)
    ).double().mean() - 0.01
    assert net.trace(x)[0].equal(wanted[0])  # the old one is untouched


def test_each_layer_has_its_own_constants(net, digits):
    made = compensated(net, digits.x_train, [IDEAL, Constants(kick=0.2)])
    # an ideal layer: to the rounding of its two ways of computing x
    torch.testing.assert_close(made.layers[0].bias, net.layers[0].bias, rtol=1e-12, atol=1e-12)
    made = compensated(net, digits.x_train, [Constants(kick=0.2), IDEAL])
    # a kick is added to the threshold of every image alike: D makes up for it in neurons that often fire
    often = (net.trace(digits.x_train)[0] > 0).double().mean(0) > 0.5
    shift = (made.layers[0].bias - net.layers[0].bias)[often]
    assert len(shift) > 3
    torch.testing.assert_close(shift, torch.full_like(shift, 0.2), rtol=1e-2, atol=0.0)


def test_ideal_circuits_need_nothing(net, digits):
    made = compensated(net, digits.x_train, [IDEAL, Constants(delay=0.1)])
    assert made is not net
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in made.state_dict().items())


@torch.no_grad()
def test_channels_of_convolutions_share_one_shift():
    x = images(3, 12, 1, 20, 20)
    net = convert(lenet5(1), x)
    constants, flat = [Constants(kick=0.1)] * len(net.layers), x.flatten(1)
    made = compensated(net, flat, constants)
    old, new = (
        float((with_constants(n, x, constants)[0] - net.trace(x)[0]).abs().mean()) for n in (net, made)
    )
    assert new < 0.1 * old


def test_no_epochs_are_windows_and_thresholds_alone(net, digits, transistor_noise):
    noise = transistor_noise.extrapolated()
    made = finetune(net, digits, noise, epochs=0, percentile=95.0)
    assert made.windows[0] < net.windows[0]
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(made.layers, net.layers, strict=True))
    assert not torch.equal(made.layers[0].bias, net.layers[0].bias)
    built = finetune(placed(net, -1e3, 1e3), digits, noise, epochs=0, percentile=95.0)
    assert built.windows == net.windows


class Each:
    """Noise models of single layers: only the first has constants."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def of(self, n):
        return self.model if n == 0 else dataclasses.replace(self.model, systematic={})


def test_models_of_single_layers_are_asked_where_there_are_any(net, digits, transistor_noise):
    noise = transistor_noise.extrapolated()
    same, each = (finetune(net, digits, n, epochs=0, percentile=None) for n in (noise, Each(noise)))
    assert torch.equal(same.layers[0].bias, each.layers[0].bias)
    # what the first layer leaves over, and no constants
    left, whole = (float((n.layers[1].bias - net.layers[1].bias).detach().abs().max()) for n in (each, same))
    assert left < 0.2 * whole


def test_the_command_takes_no_epochs(net, digits, transistor_noise, tmp_path, monkeypatch, succeed):
    monkeypatch.chdir(tmp_path)
    net.save("net.pt")
    noise = transistor_noise.extrapolated()
    noise.save("noise.json")
    succeed("finetune", "net.pt", "--noise", "noise.json", "--epochs", 0, "--percentile", 0)
    made, expected = TTFSNetwork.load("net_tuned.pt"), finetune(net, digits, noise, epochs=0, percentile=None)
    assert all(torch.equal(v, expected.state_dict()[k]) for k, v in made.state_dict().items())
