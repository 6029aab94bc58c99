"""Networks by name: shapes, kinds and order of layers, initial weights, refusals."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import agreement, convert
from ttfs_analog.training.architectures import build

F32, F64 = torch.float32, torch.float64
CONV, NORM, POOL = nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d


def kinds(model):
    return [type(module) for module in model]


def linear(model):
    return [m for m in model if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(
    ("arch", "sizes"), [("fc-340", [4, 340, 3]), ("fc2-7", [4, 7, 3]), ("fc16-8", [4, *[8] * 15, 3])]
)
def test_the_name_gives_the_sizes(arch, sizes):
    model = build(arch, 4, 3, 0, F64)
    dense = linear(model)
    assert [dense[0].in_features, *(m.out_features for m in dense)] == sizes
    assert isinstance(model[-1], nn.Linear)
    assert sum(isinstance(m, nn.ReLU) for m in model) == len(dense) - 1


@pytest.mark.parametrize("shape", [64, (64,), (1, 8, 8), (4, 4, 4)])
def test_fully_connected_networks_take_any_shape_flat(shape):
    model = build("fc-5", shape, 3, 0, F64)
    assert kinds(model) == [nn.Linear, nn.ReLU, nn.Linear]
    assert model(torch.zeros(2, 64, dtype=F64)).shape == (2, 3)


@pytest.mark.parametrize(
    "arch",
    [
        *("", "fc", "fc-", "fc-0", "fc1-5", "fc0-5", "fc65-5", "cnn-3", "fc-5x", "fc-9999", "fc-5-bn"),
        *("lenet", "lenet5-BN", "lenet5-bn-bn", "vgg11", "vgg16bn", "xlenet5", "lenet5 "),
    ],
)
def test_other_names_are_refused(arch):
    with pytest.raises(InputError, match=r"unknown architecture .*; use fc-WIDTH.*vgg16-bn"):
        build(arch, (1, 28, 28), 3, 0, F64)


@pytest.mark.parametrize("arch", ["lenet5", "lenet5-bn", "vgg16", "vgg16-bn"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (64,), 784, (784,), (1, 28, 32), (1, 64, 64), (28, 28)])
def test_shapes_that_do_not_fit_are_refused(arch, shape):
    with pytest.raises(InputError, match=f"{arch} needs images of 28 x 28 or 32 x 32, the data have shape"):
        build(arch, shape, 10, 0, F64)


def test_the_seed_decides_the_weights():
    for arch, shape in (("fc-5", 4), ("lenet5", (1, 28, 28)), ("lenet5-bn", (1, 28, 28))):
        a, b, c = (list(build(arch, shape, 3, seed, F64).parameters()) for seed in (0, 0, 1))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        assert not torch.equal(a[0], c[0])


def test_building_leaves_the_weights_to_the_seed_alone():
    """Modules draw weights when they are made: those must not show."""
    torch.manual_seed(1)
    a = build("fc-5", 4, 3, 0, F64)[0].weight
    torch.manual_seed(2)
    assert torch.equal(a, build("fc-5", 4, 3, 0, F64)[0].weight)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_the_dtype_is_as_asked(dtype):
    model = build("lenet5-bn", (1, 28, 28), 10, 0, dtype)
    values = [v for v in model.state_dict().values() if v.is_floating_point()]
    assert {v.dtype for v in values} == {dtype}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_lenet5(shape, norm):
    """Three convolutions, two poolings, 84 neurons and the classes; normalization before ReLU."""
    model = build("lenet5-bn" if norm else "lenet5", shape, 10, 0, F64)
    block = [CONV, *[NORM] * norm, nn.ReLU]
    expected = [nn.Unflatten, *block, POOL, *block, POOL, *block, nn.Flatten]
    expected += [nn.Linear, *[nn.BatchNorm1d] * norm, nn.ReLU, nn.Linear]
    assert kinds(model) == expected
    convolutions = [m for m in model if isinstance(m, CONV)]
    assert [m.out_channels for m in convolutions] == [6, 16, 120]
    assert {m.kernel_size for m in convolutions} == {(5, 5)}
    assert [(m.in_features, m.out_features) for m in linear(model)] == [(120, 84), (84, 10)]
    x = torch.rand(2, math.prod(shape), dtype=F64)
    assert model(x).shape == (2, 10)
    # the first map is 28 x 28 for both sizes of image: the classical sizes follow
    assert model[:2](x).shape == (2, 6, 28, 28)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(("shape", "pools", "dense"), [((3, 32, 32), 5, 2), ((1, 28, 28), 4, 3)])
def test_vgg16(shape, pools, dense, norm):
    """13 convolutions; small images skip the first pooling; normalization after ReLU (thesis, Fig. 2.2)."""
    model = build("vgg16-bn" if norm else "vgg16", shape, 10, 0, F32)
    layers = kinds(model)
    assert (layers.count(CONV), layers.count(POOL), layers.count(nn.Linear)) == (13, pools, dense)
    convolutions = [m for m in model if isinstance(m, CONV)]
    assert [m.out_channels for m in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert {(m.kernel_size, m.padding) for m in convolutions} == {((3, 3), (1, 1))}
    assert [m.out_features for m in linear(model)] == [512] * (dense - 1) + [10]
    assert linear(model)[0].in_features == 512
    assert (layers.count(NORM), layers.count(nn.BatchNorm1d)) == ((13, dense - 1) if norm else (0, 0))
    for before, after in pairwise(layers):
        if after in (NORM, nn.BatchNorm1d):
            assert before is nn.ReLU
    for k, kind in enumerate(layers):  # never behind the read-out
        if kind in (CONV, nn.Linear) and k < len(layers) - 1:
            assert layers[k + 1] is nn.ReLU
    with torch.no_grad():
        assert model.eval()(torch.rand(2, math.prod(shape))).shape == (2, 10)


def test_initial_weights_follow_he_for_vgg_and_xavier_for_the_others():
    def largest(module, gain, fans):
        bound = gain * math.sqrt(3.0 / fans)
        # uniform: the largest of thousands of weights lies just below the bound
        assert 0.98 * bound < float(module.weight.detach().abs().max()) <= bound * (1 + 1e-6)

    largest(build("fc-340", 784, 10, 0, F64)[0], 1.0, (784 + 340) / 2)
    lenet = [m for m in build("lenet5", (1, 28, 28), 10, 0, F64) if isinstance(m, CONV)]
    largest(lenet[1], 1.0, (6 * 25 + 16 * 25) / 2)
    vgg = [m for m in build("vgg16", (3, 32, 32), 10, 0, F32) if isinstance(m, CONV)]
    largest(vgg[1], math.sqrt(2.0), 64 * 9)
    for module in (*lenet, *vgg):
        assert not module.bias.any()


@pytest.mark.parametrize("arch", ["fc3-9", "lenet5", "lenet5-bn"])
def test_every_small_network_maps_exactly(arch):
    model = build(arch, (1, 28, 28), 10, 0, F64).eval()
    x = torch.rand(40, 784, generator=torch.Generator().manual_seed(0), dtype=F64)
    net = convert(model, x)
    same, error = agreement(net, model, x)
    assert same == 1.0
    assert error <= 1e-12  # float64 rounding


@pytest.mark.slow
def test_vgg16_with_normalization_maps_exactly():
    generator = torch.Generator().manual_seed(0)
    model = build("vgg16-bn", (1, 28, 28), 10, 0, F64).eval()
    for module in model:  # statistics as training leaves them
        if isinstance(module, NORM | nn.BatchNorm1d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    x = torch.rand(3, 784, generator=generator, dtype=F64)
    same, error = agreement(convert(model, x), model, x)
    assert same == 1.0
    assert error <= 1e-11  # float64 rounding through 16 layers and their normalizations
