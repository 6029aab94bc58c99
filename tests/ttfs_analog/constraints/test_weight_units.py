"""Weights made of whole unit devices."""

from __future__ import annotations

import pytest
import torch

from circuits.errors import InputError
from ttfs_analog.constraints.constraints import Constraints, Latency, WeightBits, WeightUnits
from ttfs_analog.constraints.weight_grid import whole_units
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.network.constrain import constrain
from ttfs_analog.network.network import TTFSNetwork

F64 = torch.float64


@pytest.fixture
def x():
    return torch.rand(30, 6, generator=torch.Generator().manual_seed(3), dtype=F64)


@pytest.fixture
def toy(make_relu, x):
    return convert(make_relu((6, 9, 3), seed=7), x)


def test_weights_are_whole_units_and_no_more_than_there_are():
    weight = torch.tensor([0.0, 0.04, 0.06, 0.31, -0.26, 0.8, -2.0], dtype=F64)
    expected = torch.tensor([0, 0, 1, 3, -3, 7, -7], dtype=F64) / 10
    assert torch.equal(whole_units(weight, 10, 7), expected)
    assert torch.equal(whole_units(expected, 10, 7), expected)  # to the last bit


def test_gradients_pass_but_for_what_is_clipped_and_would_go_further():
    weight = torch.tensor([0.04, 0.31, 0.8, 0.8, -2.0, -2.0, 0.7], dtype=F64, requires_grad=True)
    down = torch.tensor([1.0, -2.0, 1.0, -1.0, 1.0, -1.0, -3.0], dtype=F64)  # descent goes the other way
    (grad,) = torch.autograd.grad(whole_units(weight, 10, 7), weight, down)
    assert grad.tolist() == [1.0, -2.0, 1.0, 0.0, 0.0, -1.0, -3.0]


def test_a_network_holds_them_layer_by_layer(toy, x, tmp_path):
    made = constrain(toy, x, [WeightUnits((8, 5), (6, 4)), Latency(95.0)])
    for weight, layer, circuit, units, most in zip(
        made.weights(), toy.layers, made.to_circuit(), (8, 5), (6, 4), strict=True
    ):
        assert torch.equal(weight, (layer.weight * units).round().clamp(-most, most) / units)
        assert torch.equal(torch.as_tensor(circuit.weights), weight)
    back = TTFSNetwork.load(made.save(tmp_path / "net.pt"))
    assert back.constraints.units == WeightUnits((8, 5), (6, 4))
    assert torch.equal(back(x), made(x))
    assert not torch.equal(made(x), toy(x))


def test_what_makes_no_sense_is_refused(toy, make_relu, x):
    for units, most in (((), ()), ((4,), (4, 4)), ((0, 4), (4, 4)), ((4, 4), (4, 0)), ((4.5, 4), (4, 4))):
        with pytest.raises(InputError, match="whole numbers >= 1, one of each a layer"):
            WeightUnits(units, most)
    with pytest.raises(InputError, match="weight bits and weight units both round"):
        Constraints([WeightBits(4), WeightUnits((4,), (4,))])
    with pytest.raises(InputError, match="units are those of 3 layers, the network has 2"):
        constrain(toy, x, [WeightUnits((4, 4, 4), (4, 4, 4))])
    with pytest.raises(InputError, match="weight units need form b1"):
        constrain(convert(make_relu((6, 9, 3)), x, mapping="alpha"), x, [WeightUnits((4, 4), (4, 4))])
    with pytest.raises(InputError, match="units are those of 1 layers: layer 1 has none"):
        toy.constrained(Constraints([WeightUnits((4,), (4,))]))(x)
