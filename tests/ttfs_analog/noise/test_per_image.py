"""A chip for every image: the moments are those of whole chips, and the default step really draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from random_models import images
from torch import nn

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.per_image import PerImage
from ttfs_analog.training import finetuning

CHIPS = 4000
LAW = MismatchLaw(0.2, 0.15, 0.1, 0.1, 0.05, 0.02, mean=(("synapse_sink", 0.05), ("slope", -0.03)))
CONSTANTS = Constants(
    theta_scale=1.03, gain_source=1.02, gain_sink=0.98, gain_slope=0.97, turn_on_source=0.04,
    turn_on_sink=0.05, feed_through_source=0.003, feed_through_sink=-0.004, kick=0.01,
)  # fmt: skip
CASES = {
    "independent": (LAW, IDEAL),
    # one term at a time, which no other can hide: a sigma 15 % off changes the variance by ten errors
    "synapses": (MismatchLaw(0.2, 0.15), IDEAL),
    "thresholds": (MismatchLaw(threshold=0.1, capacitance=0.05), Constants(theta_scale=1.3)),
    "delays": (MismatchLaw(delay=0.1), IDEAL),
    "sqrt law, constants": (replace(LAW, synapse_source=0.06, synapse_sink=0.05, units=8), CONSTANTS),
    "references": (replace(LAW, reference=(("synapse_source", 0.1), ("slope", 0.05))), CONSTANTS),
    "shared delays": (replace(LAW, reference=(("delay", 0.15), ("slope", 0.05))), CONSTANTS),
    "references, switching": (
        MismatchLaw(0.05, 0.05, reference=(("synapse_source", 0.2), ("synapse_sink", 0.1))),
        # of the switches and nodes: no reference scales them
        Constants(turn_on_source=0.3, turn_on_sink=0.2, feed_through_source=0.1, feed_through_sink=0.08),
    ),
    "common, correlated": (
        replace(LAW, common=(("synapse_sink", 0.1),), correlation=(("slope", "threshold", 0.6),)),
        IDEAL,
    ),
}


def mlp(generator):
    return nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3)).double(), torch.rand(
        1, 12, generator=generator, dtype=torch.float64
    )


def cnn(generator):
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(75, 3))
    return model.double(), images(1, 1, 2, 5, 5)


def moments(values):
    return values.mean(0), values.var(0)


def same_moments(ours, whole):
    """Mean to 5 and variance to 6 standard errors of both, layer by layer."""
    for a, b in zip(ours, whole, strict=True):
        (mean, var), (mean_b, var_b) = moments(a), moments(b[:, 0])
        error = ((var + var_b) / CHIPS).sqrt()
        assert float(((mean - mean_b).abs() / error).max()) < 5.0
        kurtosis = ((b[:, 0] - mean_b) ** 4).mean(0)
        error = ((kurtosis - var_b**2) * 2 / CHIPS).sqrt()
        assert float(((var - var_b).abs() / error).max()) < 6.0


@pytest.mark.parametrize("make", [mlp, cnn])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_moments_of_a_batch_are_those_of_whole_chips(make, case):
    """One image 4000 times against 4000 explicit chips.

    No neuron is clipped: the moments are exact then but for theta c, which counts to first order, 0.2 %.
    """
    torch.manual_seed(3)
    law, constants = CASES[case]
    model, x = make(torch.Generator().manual_seed(1))
    net = convert(model, x.expand(4, *x.shape[1:]) * torch.rand(4, *[1] * (x.dim() - 1)))
    net.set_windows([8.0])
    net.layers[0].bias.fill_(4.0)
    devices = PerImage(law, torch.Generator().manual_seed(5), constants, 0.01)
    ours = net.trace(x.expand(CHIPS, *x.shape[1:]), devices)
    chips = Chips.draw(law, net, range(CHIPS), 7, constants, 0.01)
    same_moments(ours, net.trace(x, chips.model(x)))


@torch.no_grad()
def test_each_layer_has_the_moments_of_its_own_law():
    """Laws, constants and jitter of three layers that differ, with a part that the chip shares in two."""
    torch.manual_seed(3)
    shared = (("capacitance", 0.1), ("synapse_source", 0.1))
    laws = [
        replace(LAW, units=8, synapse_source=0.03, synapse_sink=0.03, common=shared),
        MismatchLaw(0.02, delay=0.1, reference=(("delay", 0.2), ("slope", 0.02))),
        MismatchLaw(0.05, 0.02, common=shared),
    ]
    constants, jitter = [CONSTANTS, IDEAL, Constants(gain_source=1.1)], [0.01, 0.05, 0.4]
    relu = nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.rand(1, 12, dtype=torch.float64)
    net = convert(relu, x.expand(4, -1) * torch.rand(4, 1))
    net.set_windows([8.0, 12.0])
    net.layers[0].bias.fill_(4.0)
    net.layers[1].bias.fill_(6.0)
    devices = PerImage(laws, torch.Generator().manual_seed(5), constants, jitter)
    ours = net.trace(x.expand(CHIPS, -1), devices)
    chips = Chips.draw(laws, net, range(CHIPS), 7, constants, jitter)
    same_moments(ours, net.trace(x, chips.model(x)))


def test_layers_without_noise_of_their_own_are_refused():
    model, _ = mlp(torch.Generator().manual_seed(1))
    net = convert(model, images(2, 9, 12))
    with pytest.raises(InputError, match="layer 1 has no noise"):
        net(images(2, 9, 12), PerImage([LAW], torch.Generator().manual_seed(5)))
    with pytest.raises(InputError, match="2 laws for a network of 3 layers"):
        PerImage([LAW] * 2, torch.Generator(), [IDEAL] * 3)


@torch.no_grad()
def test_without_any_sigma_it_is_the_network_itself():
    model, _ = mlp(torch.Generator().manual_seed(1))
    x = images(2, 9, 12)
    net = convert(model, x)
    devices = PerImage(MismatchLaw(), torch.Generator().manual_seed(5))
    torch.testing.assert_close(net(x, devices), net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [mlp, cnn])
@torch.no_grad()
def test_systematic_parts_alone_are_those_of_a_whole_chip(make):
    """Nothing is drawn, so two float64 sums of the same numbers: rounding only, 1e-12 of values near 1."""
    model, x = make(torch.Generator().manual_seed(1))
    net = convert(model, x)
    terms = ("synapse_source", "synapse_sink", "slope", "threshold", "capacitance", "delay")
    law = MismatchLaw(mean=tuple((term, 0.02 * (k + 1)) for k, term in enumerate(terms)), units=8)
    ours = net(x, PerImage(law, torch.Generator().manual_seed(5), CONSTANTS))
    whole = net(x, Chips.draw(law, net, [0], 7, CONSTANTS).model(x))
    torch.testing.assert_close(ours, whole[0], rtol=0, atol=1e-12)
    assert not torch.allclose(ours, net(x))


def test_other_distributions_are_refused():
    law = replace(LAW, distribution=(("slope", "student-t:5"),))
    with pytest.raises(InputError, match="usual distributions"):
        PerImage(law, torch.Generator())


@pytest.mark.parametrize("case", CASES)
def test_gradients_reach_weights_through_mean_and_variance(case):
    """Against finite differences, with the same draws: eps 1e-6 gives 1e-9; 1e-5 is a safe bound.

    Under the sqrt law a larger weight has more unit devices, which belongs to the slope of its variance.
    """
    law, constants = CASES[case]
    model, _ = mlp(torch.Generator().manual_seed(1))
    x = images(2, 5, 12)
    net = convert(model, x)
    layer = net.layers[1]

    def logits(weight):
        devices = PerImage(law, torch.Generator().manual_seed(5), constants)
        devices(0, net.layers[0], x, net.layers[0].weight)  # where a chip begins
        return devices(1, layer, net.trace(x)[0].detach(), weight)

    assert torch.autograd.gradcheck(logits, layer.weight.detach().clone().requires_grad_(), rtol=1e-5)


def test_a_weight_of_zero_is_one_synapse_where_sources_and_sinks_have_references():
    """Weights on a grid are often 0: their gradient is that of one synapse, not of a source and a sink."""
    model, _ = mlp(torch.Generator().manual_seed(1))
    x = images(2, 5, 12)
    net = convert(model, x)
    layer, grads = net.layers[1], []
    for reference in ((), (("synapse_source", 0.0), ("synapse_sink", 0.0))):
        weight = torch.zeros_like(layer.weight, requires_grad=True)
        devices = PerImage(MismatchLaw(reference=reference), torch.Generator().manual_seed(5))
        devices(1, layer, net.trace(x)[0].detach(), weight).sum().backward()
        grads.append(weight.grad)
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-12, atol=0)


def test_the_default_step_of_fine_tuning_draws_a_chip_for_every_image(net, digits, make_noise, monkeypatch):
    """What the loss sees: two equal images of a batch differ, and so do two steps."""
    seen = []

    def optimize(tuned, data, loss_of, recipe, **_):
        x, y = data[0][:1].expand(8, -1), data[1][:1].expand(8)
        forward = type(tuned).forward

        def spy(self, x, devices=None):
            logits = forward(self, x, devices)
            seen.append(logits.detach())
            return logits

        monkeypatch.setattr(type(tuned), "forward", spy)
        for _ in range(2):
            loss_of(x, y)
        monkeypatch.setattr(type(tuned), "forward", forward)

    monkeypatch.setattr(finetuning, "optimize", optimize)
    finetuning.finetune(net, digits, make_noise(0.1))
    first, second = seen
    assert len(first.unique(dim=0)) == 8
    assert not torch.equal(first, second)
    seen.clear()
    finetuning.finetune(net, digits, make_noise(0.1).silent())
    assert len(seen[0].unique(dim=0)) == 1
