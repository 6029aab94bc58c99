"""What a ReLU twin needs beyond torch's layers: last arrivals and place-dependent thresholds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_models import F64, images
from torch import nn
from torch.nn import functional as F

from ttfs_analog.network.blocks import from_dict, to_dict
from ttfs_analog.neuron.pooling import Border, Pool

MASK = torch.tensor([True, False, True])
SHAPES = [
    {"kernel": (2, 2), "stride": (2, 2)},
    {"kernel": (3, 3), "stride": (2, 1), "padding": (1, 1)},
    {"kernel": (2, 3), "stride": (1, 1), "dilation": (2, 1)},
    {"kernel": (3, 3), "stride": (2, 2), "ceil": True},
]


def pool(options, last=None):
    return Pool(last=last, **options)


@pytest.mark.parametrize("options", SHAPES)
def test_without_marked_channels_it_is_max_pooling(options):
    x = images(0, 4, 3, 8, 9) - 0.5
    rest = {k: v for k, v in options.items() if k not in ("kernel", "ceil")}
    expected = F.max_pool2d(x, options["kernel"], **rest, ceil_mode=options.get("ceil", False))
    assert torch.equal(pool(options)(x), expected)
    assert pool(options).last is None


@pytest.mark.parametrize("options", SHAPES)
def test_marked_channels_take_the_smallest_value_and_padding_never_wins(options):
    x = images(0, 4, 3, 8, 9) - 0.5
    found = pool(options, MASK)(x)
    assert torch.equal(found[:, [0, 2]], -pool(options)(-x)[:, [0, 2]])
    assert torch.equal(found[:, 1], pool(options)(x)[:, 1])
    assert torch.equal(pool(options, MASK).last, MASK)


def test_smallest_values_by_hand():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 0.5]]] * 3])
    found = Pool((2, 2), (2, 2), last=MASK)(x)
    assert found.flatten().tolist() == [0.5, 3.0, 0.5]


def first_and_last(times, marked):
    """Eqs. 2.32-2.33: delta pulses on a neuron of threshold 1; one is enough, or all are needed."""
    charge = 1.01 if not marked else (1 / len(times) + 1 / (len(times) - 1)) / 2
    v = 0.0
    for t in sorted(times):
        v += charge
        if v >= 1.0:
            return t
    raise AssertionError("the neuron must fire once")


def test_pooled_values_are_the_arrivals_that_integrate_and_fire_neurons_choose():
    window, x = 2.0, 2.0 * images(2, 1, 3, 6, 6)
    found = Pool((2, 3), (2, 3), last=MASK)(x)[0]
    for c in range(3):
        for i, j in np.ndindex(*found.shape[1:]):
            patch = x[0, c, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].flatten()
            time = first_and_last((window - patch).tolist(), bool(MASK[c]))
            assert window - time == pytest.approx(float(found[c, i, j]), abs=1e-15)


def test_chips_have_dimensions_of_their_own():
    x = images(0, 20, 3, 6, 6).reshape(5, 4, 3, 6, 6)
    layer = Pool((2, 2), (2, 2), last=MASK)
    found = layer(x)
    assert found.shape == (5, 4, 3, 3, 3)
    assert torch.equal(found[3], layer(x[3]))


def test_gradients_go_to_the_arrival_that_counts():
    x = images(0, 1, 3, 4, 4).requires_grad_()
    Pool((2, 2), (2, 2), last=MASK)(x).sum().backward()
    assert float(x.grad.sum()) == 3 * 4
    low = x.detach()[0, 0, :2, :2]
    assert x.grad[0, 0, :2, :2].flatten()[low.argmin()] == 1.0


@pytest.mark.parametrize("last", [None, MASK])
def test_a_pooling_comes_back_from_its_description(last):
    layer = Pool((3, 2), (2, 1), (1, 0), (1, 2), ceil=True, last=last)
    back = from_dict(to_dict(layer), F64)
    back.load_state_dict(layer.state_dict())
    x = images(0, 2, 3, 9, 9)
    assert torch.equal(back(x), layer(x))
    assert to_dict(back) == to_dict(layer)
    assert isinstance(from_dict(to_dict(nn.Flatten()), F64), nn.Flatten)


def test_a_border_adds_its_map_and_keeps_it():
    shift = images(0, 1, 2, 3, 3)[0]
    layer, x = Border(shift), images(1, 4, 2, 3, 3)
    assert torch.equal(layer(x), x + shift)
    shift.zero_()
    assert not torch.equal(layer(x), x)
    assert set(layer.state_dict()) == {"shift"}
    assert not list(layer.parameters())


def test_the_text_counts_the_channels_that_wait():
    assert "kernel=(2, 2), 2 channels take the last arrival" in repr(Pool((2, 2), (2, 2), last=MASK))
