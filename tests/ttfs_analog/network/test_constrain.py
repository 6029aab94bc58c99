"""A network under hardware: what is fixed when it is put there, and noise of the slopes."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from random_models import images, lenet5

from circuits.errors import InputError
from ttfs_analog.constraints.constraints import Jitter, Latency, TimeSteps, WeightBits
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.network.constrain import constrain, slope_noise
from ttfs_analog.neuron.layers import FORCED, FORMS

F64 = torch.float64


@pytest.fixture(scope="module")
def x():
    return torch.rand(60, 6, generator=torch.Generator().manual_seed(3), dtype=F64)


def toy(make_relu, x, mapping="b1", sizes=(6, 14, 9, 3), dtype=F64):
    return convert(make_relu(sizes, seed=7, dtype=dtype), x.to(dtype), mapping=mapping)


@torch.no_grad()
def test_a_constrained_network_is_a_copy(make_relu, x):
    net = toy(make_relu, x)
    logits, windows, points = net(x), net.windows, net.points
    made = constrain(net, x, [TimeSteps(4), WeightBits(3), Latency(80.0)])
    assert net.constraints is None
    assert torch.equal(net(x), logits)
    assert (net.windows, net.points) == (windows, points)
    assert not torch.equal(made(x), logits)
    assert made.points[0].v_unit > points[0].v_unit  # shorter windows: less swing, more volts a unit
    assert made.metadata == net.metadata
    made = constrain(net, x, [Jitter(0.1), WeightBits(4)])  # nothing asks for other windows
    assert (made.windows, made.points) == (windows, points)


@torch.no_grad()
def test_new_constraints_take_the_place_of_the_old(make_relu, x):
    net = toy(make_relu, x)
    twice = constrain(constrain(net, x, [WeightBits(3), TimeSteps(4)]), x, [Latency(80.0)])
    assert torch.equal(twice(x), constrain(net, x, [Latency(80.0)])(x))


@pytest.mark.parametrize("form", FORMS)
def test_weight_bits_need_slopes_that_do_not_depend_on_the_weights(make_relu, x, form):
    net = toy(make_relu, x, form)
    if form != "b1":
        with pytest.raises(InputError, match="weight bits need form b1"):
            constrain(net, x, [WeightBits(4)])
    else:
        assert len(constrain(net, x, [WeightBits(4)]).constraints.bits.units) == 3


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_constraints_on_times_act_alike_in_every_form(make_relu, x, form):
    """They act on spikes, and those of all forms are the same up to the rescaling of the layers."""
    net = toy(make_relu, x, form)
    free = net.trace(x)[0]
    made = constrain(net, x, [Latency(90.0)])
    torch.testing.assert_close(made.trace(x)[0], free.clamp(max=made.windows[0]), rtol=0, atol=0)
    made = constrain(net, x, [TimeSteps(8, 100.0)])
    ticks = made.trace(x)[0] * 8 / made.windows[0]
    torch.testing.assert_close(ticks, ticks.round(), rtol=0, atol=1e-10)
    made = constrain(net, x, [Jitter(0.05)])
    error = made.trace(x)[0] - free
    assert 0.005 < float(error[free > 0].std()) < 0.5


@torch.no_grad()
def test_calibration_data_in_double_serve_a_network_in_single(make_relu, x):
    net = toy(make_relu, x, dtype=torch.float32)
    made = constrain(net, x, [Latency(90.0), WeightBits(4)])
    assert made.windows == pytest.approx(constrain(net, x.float(), [Latency(90.0)]).windows, rel=1e-6)


@pytest.mark.parametrize("std", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("form", FORMS)
def test_slope_noise_has_the_std_that_was_asked_for(make_relu, form, std):
    """Of B itself, not relative to it."""
    x = torch.rand(20, 6, generator=torch.Generator().manual_seed(3), dtype=F64)
    net = toy(make_relu, x, form, (6, 3000, 3))
    hidden, readout = slope_noise(net, std, torch.Generator().manual_seed(1))
    error = (hidden.slope * net.layers[0].slopes().detach()).numpy()
    assert error.shape == (1, 3000)
    # four standard errors of a std, and of a mean
    assert error.std() == pytest.approx(std, rel=4 * math.sqrt(0.5 / 3000), abs=1e-15)
    assert abs(error.mean()) <= 4 * std / math.sqrt(3000)
    assert hidden.synapse is None
    assert not hidden.threshold.any()
    assert not hidden.capacitance.any()
    assert not any(v.any() for v in readout[1:4])


@torch.no_grad()
def test_the_generator_decides_the_slope_noise(make_relu, x):
    net = toy(make_relu, x)
    generator = torch.Generator().manual_seed(1)
    a, b = (slope_noise(net, 0.1, generator) for _ in range(2))
    c = slope_noise(net, 0.1, torch.Generator().manual_seed(1))
    assert torch.equal(a[0].slope, c[0].slope)
    assert torch.equal(a[1].slope, c[1].slope)
    assert not torch.equal(a[0].slope, b[0].slope)
    assert not torch.equal(a[0].slope[0, :9], a[1].slope[0])


@pytest.mark.parametrize("std", [0.0, 0.02])
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_slope_noise_in_numpy(make_relu, x, form, std):
    """a = [B z + d (T_in + T)] / (B + d), clipped; T_in counts where the current is on from the start."""
    net = toy(make_relu, x, form)
    chip = slope_noise(net, std, torch.Generator().manual_seed(1))
    a = x.numpy()
    for layer, deviations, found in zip(net.layers, chip, net.trace(x, chip), strict=True):
        weight, shift = layer.weight.numpy(), layer.bias.numpy()
        if not layer.spiking:
            a = a @ weight.T + shift
        else:
            slope = layer.slopes().numpy()
            error = (deviations.slope[0] * layer.slopes()).numpy()
            window = layer.window_length + (float(layer.input_window) if form in FORCED else 0.0)
            z = (a @ weight.T + shift) / slope
            a = np.clip((slope * z + error * window) / (slope + error), 0.0, layer.window_length)
        np.testing.assert_allclose(found[0].numpy(), a, rtol=0, atol=1e-11)  # float64 rounding


@pytest.mark.parametrize("form", ["b1", "alpha"])
@torch.no_grad()
def test_slope_noise_of_a_convolution_is_one_error_a_neuron(form):
    x = images(3, 8, 1, 20, 20)
    net = convert(lenet5(1), x, mapping=form)
    chip = slope_noise(net, 1e-3, torch.Generator().manual_seed(1))
    layer = net.layers[0]
    assert chip[0].slope.shape == (1, 6 * 20 * 20)
    error = (chip[0].slope[0] * layer.per_neuron(layer.slopes())).reshape(6, 20, 20)
    lead = float(layer.input_window) if form == "alpha" else 0.0
    slope = layer.slopes()[:, None, None]
    wide = net.clone()
    wide.set_windows([1e6, *net.windows[1:]])  # z where it is not silent
    z = wide.trace(x)[0].reshape(-1, 6, 20, 20)
    fired = z > 0
    wanted = (slope * z + error * (lead + layer.window_length)) / (slope + error)
    found = net.trace(x, chip)[0][0].reshape(-1, 6, 20, 20)
    wanted = wanted.clamp(0.0, layer.window_length)
    torch.testing.assert_close(found[fired], wanted[fired], rtol=0, atol=1e-11)


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_slope_noise_out_of_range_is_refused(make_relu, x, std):
    with pytest.raises(InputError, match="slope noise must be >= 0"):
        slope_noise(toy(make_relu, x), std, torch.Generator())


@pytest.mark.parametrize("part", [Latency(90.0, "all"), TimeSteps(8, 90.0, "all")])
def test_constraints_keep_of_which_activations_their_percentile_is(net, digits, part, tmp_path):
    made = constrain(net, digits.x_train, [part])
    hidden = net.trace(digits.x_train)[0].detach()
    assert made.windows == [pytest.approx(float(torch.quantile(hidden, 0.9)), rel=1e-12)]
    nonzero = constrain(net, digits.x_train, [type(part)(**{**asdict(part), "percentile_of": "nonzero"})])
    assert made.windows < nonzero.windows
    read = type(net).load(made.save(tmp_path / "made.pt"))
    assert read.constraints.percentile_of == "all"
    assert read.windows == made.windows
    with pytest.raises(InputError, match="nonzero or all activations, got 'none'"):
        type(part)(**{**asdict(part), "percentile_of": "none"})


@pytest.mark.parametrize("x", [[[0.0]], None, (1, 2)])
def test_what_is_no_tensor_is_refused_in_words(net, x):
    with pytest.raises(InputError, match="inputs are a tensor"):
        constrain(net, x, [Jitter(0.1)])
    with pytest.raises(InputError, match="a network takes a tensor"):
        net(x)
