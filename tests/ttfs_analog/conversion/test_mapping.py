"""The theorem: in relative time the ideal B1 network is the ReLU network."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from ttfs_analog.conversion.mapping import agreement, convert, to_relu
from ttfs_analog.conversion.trace import chain
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.layers import TTFSLinear

RELATIVE = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Largest difference of the logits: some hundred roundings of 1e-16 and of 6e-8."""


def inputs(seed, images, features, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(images, features, generator=generator, dtype=torch.float64)
    return torch.where(x < 0.2, 0.0, x).to(dtype)


def repeated():
    """One Linear twice, and a block of two layers twice: five layers of neurons with the last."""
    square, block = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    return nn.Sequential(square, nn.ReLU(), square, nn.ReLU(), block, block, nn.Linear(4, 3))


RELU, SQUARE = nn.ReLU(), nn.Linear(2, 2)
READOUT = "must end with a Linear or Conv2d layer"
CHAINS = {
    "one layer": (lambda: nn.Linear(4, 2), 1),
    "one ReLU object": (
        lambda: nn.Sequential(nn.Linear(4, 6), RELU, nn.Linear(6, 5), RELU, nn.Linear(5, 3)),
        3,
    ),
    "two ReLU": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.ReLU(), nn.Linear(5, 2)), 2),
    "repeated": (repeated, 5),
    "pass-through": (
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Dropout(0.5)),
            nn.Identity(),
            nn.Linear(6, 2),
        ),
        2,
    ),
}


def linear_layers(model):
    return [step.module for step in chain(model) if isinstance(step.module, nn.Linear)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.integers(1, 24), min_size=2, max_size=7),
)
@example(8, [20] * 17)
def test_converted_logits_are_the_relu_networks(make_relu, dtype, seed, sizes):
    relu, x = make_relu(sizes, seed, dtype), inputs(seed, 40, sizes[0], dtype)
    same, error = agreement(convert(relu, x), relu, x)
    assert error <= RELATIVE[dtype]
    if dtype == torch.float64:  # float32 may round two near-equal logits either way
        assert same == 1.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_trained_network_decides_every_test_image_alike(trained, digits, dtype):
    relu = to_relu(trained[1]).to(dtype)
    same, error = agreement(convert(relu, digits.x_train), relu, digits.x_test.to(dtype))
    assert same == 1.0
    assert error <= RELATIVE[dtype]


def test_inputs_that_calibration_never_saw_agree_until_a_window_clips(make_relu):
    relu, x = make_relu((5, 20, 3), seed=1), inputs(1, 400, 5)
    net = convert(relu, x[:200], zeta=1.0)
    same, error = agreement(net, relu, x[200:])
    assert (same, error <= 1e-12) == (1.0, True)
    net.set_windows([0.05])
    assert agreement(net, relu, x[200:])[1] > 1e-3


@pytest.mark.parametrize(("make", "layers"), CHAINS.values(), ids=CHAINS)
def test_every_chain_of_linear_and_relu_is_mapped_layer_by_layer(make, layers):
    torch.manual_seed(1)
    model, x = make().double().eval(), inputs(1, 20, 4)
    net = convert(model, x)
    assert [layer.spiking for layer in net.layers] == [*[True] * (layers - 1), False]
    assert len({id(layer.weight) for layer in net.layers}) == layers
    same, error = agreement(net, model, x)
    assert (same, error <= 1e-12) == (1.0, True)  # float64 rounding


def test_gradients_are_the_relu_networks(make_relu):
    relu, x = make_relu((6, 16, 12, 4), seed=3), inputs(3, 50, 6)
    y = torch.arange(50) % 4
    net = convert(relu, x)
    x_net, x_relu = x.clone().requires_grad_(), x.clone().requires_grad_()
    nn.functional.cross_entropy(net(x_net), y).backward()
    nn.functional.cross_entropy(relu(x_relu), y).backward()
    # sums of 50 products in float64
    torch.testing.assert_close(x_net.grad, x_relu.grad, rtol=1e-11, atol=1e-14)
    for layer, linear in zip(net.layers, linear_layers(relu), strict=True):
        torch.testing.assert_close(layer.weight.grad, linear.weight.grad, rtol=1e-11, atol=1e-14)
        torch.testing.assert_close(layer.bias.grad, linear.bias.grad, rtol=1e-11, atol=1e-14)


def test_training_both_networks_gives_the_same_weights(make_relu):
    relu, x = make_relu((4, 8, 3), seed=6), inputs(6, 30, 4)
    net, y = convert(relu, x, zeta=50.0), torch.arange(30) % 3
    for model in (relu, net):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    # 20 steps of rounding
    torch.testing.assert_close(net.layers[0].weight, relu[0].weight, rtol=1e-11, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_to_relu_undoes_convert_exactly(make_relu, seed, sizes):
    relu = make_relu(sizes, seed)
    back = to_relu(convert(relu, inputs(seed, 10, sizes[0])))
    assert [type(m) for m in back] == [type(m) for m in relu]
    for key, value in relu.state_dict().items():
        assert torch.equal(back.state_dict()[key], value)


def test_to_relu_divides_by_the_slope():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    slope = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    hidden = TTFSLinear(weight, weight[:, 0], input_window=1, window=50, slope=slope)
    out = TTFSLinear(weight.T.contiguous(), weight[0], input_window=50, spiking=False)
    net = TTFSNetwork([hidden, out])
    assert agreement(net, to_relu(net), inputs(0, 20, 2))[1] < 1e-12  # float64 rounding


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nn.Conv1d(1, 1, 3), RELU, SQUARE], r"layer 0 \(Conv1d\) is not supported; write it"),
        ([SQUARE, nn.LayerNorm(2), RELU, SQUARE], r"layer 1 \(LayerNorm\)"),
        ([SQUARE, nn.ReLU6(), SQUARE], r"layer 1 \(ReLU6\)"),
        ([SQUARE, nn.Sigmoid(), SQUARE], r"layer 1 \(Sigmoid\)"),
        ([SQUARE, nn.Linear(2, 2)], r"layer 1 \(Linear\) follows layer 0 \(Linear\) without ReLU; merge"),
        ([SQUARE, SQUARE], r"layer 0 \(Linear\) follows layer 0 \(Linear\) without"),
        ([RELU, SQUARE], r"layer 0 \(ReLU\) does not follow a Linear"),
        ([SQUARE, RELU, nn.BatchNorm1d(2), nn.ReLU(), SQUARE], r"layer 3 \(ReLU\) does not follow a Linear"),
        ([SQUARE, RELU], READOUT),
        ([nn.Flatten()], READOUT),
        ([], READOUT),
        ([nn.Linear(3, 2)], r"layer 0 \(Linear\) takes 3 inputs and meets 2"),
        ([nn.Sequential(nn.Linear(2, 2), nn.Tanh()), SQUARE], r"layer 0\.1 \(Tanh\)"),
    ],
)
def test_what_cannot_be_mapped_is_refused_by_name(modules, message):
    with pytest.raises(InputError, match=message):
        convert(nn.Sequential(*modules), torch.rand(4, 2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["0.weight", "2.bias"])
def test_weights_that_are_not_finite_are_refused(make_relu, bad, key):
    relu = make_relu((3, 4, 2))
    relu.state_dict()[key].view(-1)[0] = bad
    with pytest.raises(InputError, match=f"{key} holds values that are not finite"):
        convert(relu, inputs(0, 10, 3))


@pytest.mark.parametrize("form", ["tensor", "pair", "loader"])
def test_calibration_takes_tensors_pairs_and_loaders(make_relu, form):
    relu, x = make_relu((4, 5, 2)), inputs(0, 12, 4)
    y = torch.zeros(12, dtype=torch.int64)
    images = x.reshape(12, 2, 2)
    data = {
        "tensor": images,
        "pair": (images, y),
        "loader": DataLoader(TensorDataset(images, y), batch_size=5),
    }[form]
    assert convert(relu, data).windows == convert(relu, x).windows


def test_operating_points_come_from_the_technology(make_relu):
    net = convert(make_relu((3, 4, 2)), inputs(0, 10, 3))
    point = Technology.load("ideal").operating_point
    assert {p.vdd for p in net.points} == {point.vdd}
    assert len(net.points) == len(net.layers)


def test_agreement_sees_a_wrong_network(make_relu):
    x = inputs(0, 200, 3)
    same, error = agreement(convert(make_relu((3, 8, 4), seed=0), x), make_relu((3, 8, 4), seed=1), x)
    assert same < 1
    assert error > 0.1


@pytest.mark.parametrize("bad", [-0.01, 1.01, 16.0, float("nan")])
@pytest.mark.parametrize("where", [(4, 1), slice(None)])
def test_inputs_outside_zero_to_one_are_refused(make_relu, where, bad):
    x = inputs(0, 10, 3)
    x[where] = bad
    fault = r"inputs must lie in \[0, 1\]" if bad == bad else "images hold NaN or infinity"
    with pytest.raises(InputError, match=fault):
        convert(make_relu((3, 4, 2)), x)


def test_calibration_without_inputs_is_refused(make_relu, digits):
    empty = dataclasses.replace(digits, x_train=digits.x_train[:0], y_train=digits.y_train[:0])
    with pytest.raises(InputError, match=r"calibration data .* hold at least one"):
        convert(make_relu((64, 4, 10)), empty)
