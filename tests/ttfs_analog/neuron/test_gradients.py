"""Gradients of every form, precision, devices and compilation of the layers."""

from __future__ import annotations

import pytest
import torch
from random_models import F64, close, images, shake
from torch import nn
from torch._dynamo.utils import counters

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.neuron.convolutions import TTFSConv2d
from ttfs_analog.neuron.functional import Deviations, fire, gradients, jacobian
from ttfs_analog.neuron.layers import FORMS, TRACKED, TTFSLinear

WINDOW = 1.2
EPS = 1e-6
"""Step of gradcheck; no neuron may be that close to a corner of its response."""


def layer_of(kind, form, seed=3):
    """A layer with silent, firing and early neurons, and inputs of it."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=F64)

    slope = 0.5 + torch.rand(5, generator=generator, dtype=F64) if form == "b1" else None
    options = {"form": form, "slope": slope}
    if kind == "linear":
        weight, x = 0.6 * normal(5, 4), images(seed, 6, 4)
        make = TTFSLinear
    else:
        weight, x = 0.4 * normal(5, 2, 2, 2), images(seed, 2, 2, 4, 4)
        options |= {"inside": (3, 3), "stride": (2, 2), "padding": (1, 1)}
        options["border"] = 0.2 * normal(5, 3, 3)
        make = TTFSConv2d
    room = weight.flatten(1).sum(1)
    alpha = 0.7 + (-room).clamp(min=0)  # so that every slope is positive
    layer = make(weight, 0.5 * normal(5) + 0.3, alpha=None if form == "b1" else alpha, **options)
    layer.check_slopes("layer 0")
    layer.set_windows(window=100.0)
    found = layer(x).detach()
    fired = found[found > 0].sort().values
    k = int(0.8 * len(fired))  # some fire at t_min, none just there
    layer.set_windows(window=float(fired[k : k + 2].mean()))
    return layer, x


def clear_of_corners(layer, x, deviations=None):
    found, window = layer(x, deviations).detach(), layer.window_length
    inside = (found > 0) & (found < window)
    assert inside.any()
    assert (found == 0).any()
    assert (found == window).any()
    assert float(torch.minimum(found, window - found)[inside].min()) > 20 * EPS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("chips", [0, 1, 2])
def test_gradcheck(kind, form, chips):
    layer, x = layer_of(kind, form)
    deviations = None
    if chips:
        shapes = ((chips, layer.n_out, layer.weight[0].numel()), *[(chips, layer.n_out)] * 3)
        generator = torch.Generator().manual_seed(1)
        parts = (0.05 * torch.randn(s, generator=generator, dtype=F64) for s in shapes)
        deviations = Deviations(*parts)
    clear_of_corners(layer, x, deviations)

    def response(x, weight, bias):
        own = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, own, (x, deviations))

    leaf = [v.detach().clone().requires_grad_() for v in (x, layer.weight, layer.bias)]
    # central differences in float64: eps 1e-6 gives about 1e-9 relative; 1e-6 is a safe bound
    assert torch.autograd.gradcheck(response, leaf, eps=EPS, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_the_backward_pass_in_closed_form_is_autograds(form):
    layer, x = layer_of("linear", form)
    clear_of_corners(layer, x)
    x = x.requires_grad_()
    grad = torch.randn(6, 5, generator=torch.Generator().manual_seed(2), dtype=F64)
    layer(x).backward(grad)
    weight, shift, slope = layer.weight.detach(), layer.bias.detach(), layer.slopes().detach()
    found = gradients(grad, x.detach(), weight, shift, slope, layer.window_length, form in TRACKED)
    for ours, theirs in zip(found, (x.grad, layer.weight.grad, layer.bias.grad), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)  # another order of sums
    assert layer.tracked == (form in TRACKED)


@pytest.mark.parametrize("form", FORMS)
def test_the_jacobian_in_closed_form_is_autograds(form):
    layer, x = layer_of("linear", form)
    layer.set_windows(window=100.0)  # nobody fires at t_min
    for row in x:
        expected = torch.autograd.functional.jacobian(lambda v: layer(v[None])[0], row)
        found = jacobian(layer(row[None])[0], layer.weight, layer.slopes())
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("tie", [0.0, WINDOW])
def test_at_a_tie_the_gradient_is_zero(tracked, tie):
    weight = torch.tensor([[0.5]], dtype=F64, requires_grad=True)
    x, one = torch.tensor([[2 * tie]], dtype=F64, requires_grad=True), torch.ones(1, dtype=F64)
    shift = torch.zeros(1, dtype=F64, requires_grad=True)
    slope = one - 0.5 + weight.sum(1) if tracked else one
    fire(x @ weight.T + shift, WINDOW, slope).sum().backward()
    closed = gradients(torch.ones(1, 1, dtype=F64), x, weight, shift, one, WINDOW, tracked)
    for value, theirs in zip(closed, (x.grad, weight.grad, shift.grad), strict=True):
        assert not value.any()
        assert not theirs.any()


@pytest.fixture
def small():
    model = nn.Sequential(
        *(nn.BatchNorm2d(1), nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(3), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(48, 10), nn.ReLU(), nn.Linear(10, 4)),
    )
    return shake(model, 3), images(0, 16, 1, 8, 8)


@pytest.mark.parametrize("mapping", FORMS)
@torch.no_grad()
def test_single_precision_stays_single_and_close(small, mapping):
    model, x = small
    expected = model(x)
    for net in (convert(model, x, mapping=mapping).float(), convert(model.float(), x, mapping=mapping)):
        found = net(x.float())
        assert found.dtype == torch.float32
        assert {b.dtype for b in net.state_dict().values()} <= {torch.float32, torch.int8}
        assert close(found.double(), expected, 1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mapping", FORMS)
@torch.no_grad()
def test_a_network_moves_to_the_device_and_back(small, mapping, make_noise):
    model, x = small
    net = convert(model, x, mapping=mapping)
    expected = net(x)
    chips = make_noise(0.05).sample(net, 2, seed=1)
    deviating = net(x, chips.deviations(x))
    net = net.to("cuda")
    there = x.to("cuda")
    assert close(net(there).cpu(), expected, 1e-10)
    assert close(net(there, chips.deviations(there)).cpu(), deviating, 1e-10)
    assert close(convert(model.to("cuda"), there, mapping=mapping)(there).cpu(), expected, 1e-10)
    assert torch.equal(net.to("cpu")(x), expected)


@pytest.mark.parametrize("mapping", FORMS)
def test_compilation_takes_the_whole_network_and_does_not_repeat(small, mapping):
    model, x = small
    net = convert(model, x, mapping=mapping)
    torch._dynamo.reset()
    counters.clear()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for seed in (1, 2, 3):
        batch = images(seed, 16, 1, 8, 8)
        found = compiled(batch)
        assert close(found.detach(), net(batch).detach(), 1e-12)  # the same operations
        found.square().sum().backward()
    assert counters["stats"]["unique_graphs"] == 1
    expected = net.layers[0].weight.grad.clone()
    net.zero_grad()
    for seed in (1, 2, 3):
        net(images(seed, 16, 1, 8, 8)).square().sum().backward()
    torch.testing.assert_close(net.layers[0].weight.grad, expected, rtol=1e-12, atol=1e-13)


def test_a_slope_that_is_not_positive_names_its_neuron():
    weight = torch.tensor([[0.5], [-1.5]], dtype=F64)
    layer = TTFSLinear(weight, weight[:, 0], alpha=torch.ones(2, dtype=F64), form="alpha")
    with pytest.raises(
        InputError, match=r"layer 4, neuron 1: slope B = -0.5, it must be > 0; in form 'alpha'"
    ):
        layer.check_slopes("layer 4")
    with pytest.raises(InputError, match="unknown form 'gamma'; available: b1, alpha"):
        TTFSLinear(weight, weight[:, 0], form="gamma")
