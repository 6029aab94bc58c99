"""Rescaling into the range of a placement: what it keeps, and that nothing leaves."""

from __future__ import annotations

import pytest
import torch
from placing import first_spike, placed, ranges, widest

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.network.decision import classes
from ttfs_analog.network.swing import project


def inside(net, x, low, high):
    return all(low <= a and b <= high for a, b in ranges(net, x))


@pytest.fixture(scope="module")
def x(digits):
    return digits.x_train[:100]


def test_a_network_that_fits_stays_as_it_is(net, x):
    low, high = widest(net, x)
    made = placed(net, low - 1.0, high + 1.0)
    before = {k: v.clone() for k, v in made.state_dict().items()}
    assert not project(made, x)
    assert all(torch.equal(made.state_dict()[k], v) for k, v in before.items())


def test_every_trajectory_comes_in_and_the_classes_stay(net, x):
    low, high = widest(net, x)
    theta = float(net.layers[0].thresholds().detach().max())  # room for thresholds: these do not scale
    made = placed(net, 0.6 * low, max(0.6 * high, theta * 1.001))
    assert not inside(made, x, 0.6 * low, max(0.6 * high, theta * 1.001))
    expected, hidden = made(x), made.trace(x)[0]
    assert project(made, x)
    assert inside(made, x, 0.6 * low, max(0.6 * high, theta * 1.001))
    assert torch.equal(made(x).argmax(-1), expected.argmax(-1))
    scale = (made(x) / expected).flatten()  # one factor for all logits
    torch.testing.assert_close(scale, scale[:1].expand_as(scale), rtol=1e-9, atol=1e-9)
    assert bool((made.trace(x)[0] <= hidden + 1e-12).all())
    assert not project(made, x)  # there is nothing left to do


def test_thresholds_above_the_range_are_set_to_its_end(net, x):
    made = placed(net, -1e3, 0.9 * float(net.layers[0].thresholds().detach().max()))
    project(made, x)
    found = made.layers[0].thresholds().detach().max()
    assert float(found) == pytest.approx(made.metadata["placement"]["layers"][0]["high"], rel=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.31, 0.5, 0.77, 0.9])
def test_windows_longer_than_the_range_cost_thresholds_and_no_weights(net, x, dtype, share):
    """Ramps then end at thresholds that rounding may put a little higher or lower."""
    high = share * net.windows[0]
    made = placed(net.clone().to(dtype), -1e3, high)
    made.metadata["placement"]["layers"][1]["high"] = 1e3
    with torch.no_grad():  # so little that no partial sum leaves
        made.layers[0].weight.mul_(
            0.2 * high / float(made.layers[0].product(x.to(dtype), made.weights()[0]).max())
        )
    before = made.layers[0].weight.detach().clone()
    top = ranges(made, x.to(dtype))[0][1]
    assert project(made, x)
    assert top > high >= ranges(made, x.to(dtype))[0][1]
    assert torch.equal(made.layers[0].weight, before)
    assert not project(made, x)


@pytest.mark.parametrize("units", [3, 8, 40])
def test_rounded_weights_stay_inside_too(net, digits, x, units):
    made = placed(net, -1.0, 8.0, units=units, most=5 * units)
    with torch.no_grad():
        made.layers[0].weight.mul_(3.0)
    assert not inside(made, x, -1.0, 8.0)
    assert project(made, x)
    assert inside(made, x, -1.0, 8.0)


def test_weights_that_ask_for_more_units_than_there_are_come_in_too(net, x):
    made = placed(net, -0.5, 8.0, units=4, most=8)
    with torch.no_grad():
        made.layers[0].weight.mul_(100.0)
    assert project(made, x)
    assert inside(made, x, -0.5, 8.0)
    assert float(made.layers[0].weight.detach().abs().max()) <= 2.0


def test_winning_outputs_keep_firing(net, digits, x):
    spiking = first_spike(net, digits.x_train)
    low, high = (0.7 * v for v in widest(spiking, x))
    made = placed(spiking, low, high)
    tops = [float(layer.thresholds().detach().max()) for layer in spiking.layers]
    for about, top in zip(made.metadata["placement"]["layers"], tops, strict=True):
        about["high"] = max(high, 1.001 * top)
    expected = classes(made(x), "first-spike")
    assert project(made, x)
    assert torch.equal(classes(made(x), "first-spike"), expected)


def test_what_is_not_placed_is_refused(net, make_relu, x, digits):
    with pytest.raises(InputError, match="names 0 layers, the network has 2"):
        project(net.clone(), x)
    with pytest.raises(InputError, match=r"range 1.0..3.0 must enclose 0"):
        project(placed(net, 1.0, 3.0), x)
    alpha = convert(make_relu((64, 8, 10)), digits, mapping="alpha")
    with pytest.raises(InputError, match="layer 0: a placed network has fully connected layers of form b1"):
        project(placed(alpha, -1.0, 3.0), x)
