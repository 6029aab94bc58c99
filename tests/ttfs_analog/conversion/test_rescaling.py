"""Rescaling bounds the sums of weights and changes nothing else."""

from __future__ import annotations

import copy

import numpy as np
import oracle
import pytest
import torch
from random_models import F64, close, images, lenet5, shake, vgg
from torch import nn

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.conversion.preprocessing import stages
from ttfs_analog.conversion.rescaling import rescale
from ttfs_analog.conversion.trace import chain
from ttfs_analog.neuron.layers import FORMS

ROUNDING = 1e-12
"""Sums of some hundred weights in float64."""


def wide(seed):
    """Weights of both signs whose sums leave the bounds on both sides."""
    model = nn.Sequential(nn.Linear(9, 14), nn.ReLU(), nn.Linear(14, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        shake(model, seed)[0].weight.mul_(9)
        model[2].weight.mul_(9)
    return model


def stages_of(model, shape):
    ends = (torch.zeros((), dtype=F64), torch.ones((), dtype=F64))
    return stages(chain(model), shape, ends, torch.zeros((), dtype=F64))


MODELS = {"wide": (wide, (9,)), "lenet5": (lenet5, (1, 20, 20)), "vgg": (vgg, (3, 16, 16))}


@pytest.fixture(params=MODELS)
def case(request):
    make, shape = MODELS[request.param]
    model = make(4)
    return model, stages_of(model, shape), images(2, 30, *shape)


@pytest.mark.parametrize(("delta", "b_low"), [(0.1, 10.0), (0.4, 0.5), (0.01, 2.0)])
@pytest.mark.parametrize("positive", [False, True])
def test_sums_lie_within_their_bounds_and_signs_stay(case, delta, b_low, positive):
    _, scaled, _ = case
    before = copy.deepcopy(scaled)
    rescale(scaled, delta=delta, b_low=b_low, positive=positive)
    for old, new in zip(before[:-1], scaled[:-1], strict=True):
        flat = new.weight.flatten(1)
        total = flat.sum(1)
        assert float(total.max()) <= 1 - delta + ROUNDING
        assert float(total.min()) >= -b_low * (1 + ROUNDING)
        if positive:
            assert float(flat.clamp(min=0).sum(1).max()) <= 1 - delta + ROUNDING
        for name in ("weight", "bias"):
            assert torch.equal(getattr(old, name).sign(), getattr(new, name).sign())
    assert any(not torch.equal(a.weight, b.weight) for a, b in zip(before, scaled, strict=True))
    assert torch.equal(before[-1].weight.sign(), scaled[-1].weight.sign())
    assert torch.equal(before[-1].bias, scaled[-1].bias)  # logits keep their scale


def test_neurons_within_the_bounds_keep_their_weights():
    model = wide(0)
    with torch.no_grad():
        model[0].weight[0] = torch.linspace(-0.1, 0.1, 9)
    scaled = stages_of(model, (9,))
    rescale(scaled, b_low=2.0)
    assert torch.equal(scaled[0].weight[0], model[0].weight[0])
    total = model[0].weight.sum(1)
    factor = torch.where(total > 0.9, 0.9 / total, torch.where(total <= -2, 2 / total.abs(), 1.0))
    torch.testing.assert_close(scaled[0].weight, model[0].weight * factor[:, None])  # eqs. 2.16 and 2.18
    assert (total > 0.9).any()
    assert (total <= -2).any()


@torch.no_grad()
@pytest.mark.parametrize("mapping", FORMS[1:])
def test_the_function_stays_and_slopes_keep_their_distance(case, mapping):
    model, _, x = case
    net = convert(model, x, mapping=mapping, alpha=0.6, delta=0.2, b_low=3.0)
    assert close(net(x), model(x), 1e-10)
    for layer in net.layers[:-1]:
        slopes = layer.slopes()
        if mapping == "equal":
            assert torch.equal(slopes, torch.ones_like(slopes))
            continue
        assert float(slopes.min()) >= 0.6 / 4.0 * (1 - ROUNDING)  # alpha / (1 + b_low)
        assert float(slopes.max()) <= 0.6 / 0.2 * (1 + ROUNDING)  # alpha / delta


def slopes_of_phase_1(mapping, order):
    """Slopes between arrivals, when the inputs come in random order or the sinks first."""
    x = images(5, 20, 9)
    layer = convert(wide(6), x, mapping=mapping).layers[0]
    weights, alphas = layer.weight.detach().numpy(), layer.alphas().detach().numpy()
    if order == "sinks first":  # the worst order, each neuron its own
        first = np.argsort(weights, axis=1)
        return alphas[:, None] + np.cumsum(np.take_along_axis(weights, first, 1), 1)
    return np.concatenate([oracle.trajectory(row, weights, alphas, mapping, 1.0) for row in x.numpy()])


@pytest.mark.parametrize("order", ["random", "sinks first"])
def test_positive_keeps_every_slope_positive_whatever_arrives_first(order):
    assert slopes_of_phase_1("positive", order).min() >= 0
    assert slopes_of_phase_1("alpha", order).min() < 0  # what it is for


@torch.no_grad()
def test_with_positive_slopes_a_constant_threshold_is_met_no_earlier():
    """The potential never falls, so a threshold that is crossed after t_min was not crossed before."""
    x = images(7, 20, 9)
    net = convert(wide(8), x, mapping="positive")
    layer, inside = net.layers[0], net.trace(x)[0].numpy()
    weights, alphas = layer.weight.numpy(), layer.alphas().numpy()
    at_start = alphas * 1.0 + x.numpy() @ weights.T
    assert (at_start <= layer.thresholds().numpy() + ROUNDING).all()
    assert inside.max() < layer.window_length


BOUNDS, CURRENT = "need 0 < delta < 1 and b_low > 0", "alpha must be > 0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"delta": v}, BOUNDS) for v in (0.0, 1.0)),
        *(({"b_low": v}, BOUNDS) for v in (0.0, float("inf"))),
        *(({"alpha": v}, CURRENT) for v in (0.0, -1.0, float("nan"), float("inf"))),
        ({"mapping": "beta"}, "unknown mapping 'beta'; available: b1, alpha"),
    ],
)
def test_bounds_and_currents_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        convert(wide(0), images(0, 5, 9), **{"mapping": "alpha", **options})
