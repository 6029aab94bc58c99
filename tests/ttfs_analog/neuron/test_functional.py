"""The pure functions: values, gradients and what deviations do to them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.model.closed_form import Constants, response
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from ttfs_analog.neuron.functional import (
    Deviations,
    fire,
    gradients,
    hastened,
    jacobian,
    ramp_activation,
)
from ttfs_analog.neuron.layers import TTFSLinear

T = 2.5


CONSTANTS = Constants(
    theta_scale=1.03, gain_source=1.02, gain_sink=0.98, gain_slope=0.97, turn_on_source=0.04,
    turn_on_sink=0.05, feed_through_source=0.003, feed_through_sink=-0.004, kick=0.01,
    leakage=0.002, delay=0.15,
)  # fmt: skip


def deviations(rng, chips, n_out, n_in, sigma=0.1, constants=None):
    normal = rng.normal
    return Deviations(
        torch.tensor(np.expm1(sigma * normal(size=(chips, n_out, n_in)))),
        torch.tensor(np.expm1(sigma * normal(size=(chips, n_out)))),
        torch.tensor(sigma * normal(size=(chips, n_out))),
        torch.tensor(np.expm1(sigma * normal(size=(chips, n_out)))),
        torch.tensor(sigma * normal(size=(chips, n_out))),
        constants or Constants(),
    )


def none(chips=1, n_out=5, n_in=3):
    """Deviations of perfect devices."""
    shapes = ((chips, n_out, n_in), *[(chips, n_out)] * 4)
    return Deviations(*(torch.zeros(s, dtype=torch.float64) for s in shapes))


def charge(x, weight, synapse=None):
    return x @ (weight if synapse is None else weight * (1 + synapse)).transpose(-1, -2)


def spike(q, shift, window, slope, d):
    return fire(ramp_activation(q, shift, window, slope, d), window)


def per_batch(d):
    """Terms of neurons that broadcast against a batch."""
    return Deviations(None, *(v.unsqueeze(-2) for v in d[1:5]), d.constants)


def problem(rng, batch=4, n_out=5, n_in=3):
    """x, weight, shift D, slope in float64."""
    x = torch.tensor(rng.uniform(0.1, 1.0, (batch, n_in)))
    weight = torch.tensor(rng.normal(size=(n_out, n_in)) * 2)
    bias = torch.tensor(rng.normal(size=n_out))
    slope = torch.tensor(rng.uniform(0.5, 2.0, n_out))
    return x, weight, bias, slope


def test_spike_without_deviations_is_a_clipped_relu(rng):
    x, weight, bias, slope = problem(rng)
    q = x @ weight.T
    expected = torch.relu((q + bias) / slope).clamp(max=T)
    assert torch.equal(fire(q + bias, T, slope), expected)
    assert (expected == 0).any()
    assert (expected == T).any()


def test_zero_deviations_are_the_ideal_neuron_bit_for_bit(rng):
    x, weight, bias, _ = problem(rng)
    q, one = charge(x, weight), torch.ones(5, dtype=x.dtype)
    assert torch.equal(spike(q, bias, T, one, per_batch(none()))[0], fire(q + bias, T))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 20.0))
def test_activations_never_leave_the_window(seed, window):
    rng = np.random.default_rng(seed)
    x, weight, bias, slope = problem(rng)
    d = deviations(rng, 2, 5, 3, sigma=0.3)
    found = spike(charge(x, 10 * weight, d.synapse), bias, window, slope, per_batch(d))
    assert float(found.min()) >= 0
    assert float(found.max()) <= window


BENT = dataclasses.replace(
    CONSTANTS, bend_theta=0.03, bend_charge=-0.02, shortest=0.45, delay=1.0, early_1=0.3, early_2=0.2,
    early_3=0.05,
)  # fmt: skip
"""Large enough that half of the inputs are too short, and half of the ramps cross within two delays."""


@pytest.mark.parametrize("spiking", [True, False])
@pytest.mark.parametrize("constants", [Constants(), CONSTANTS, BENT])
def test_a_layer_with_deviations_is_the_closed_form_of_the_circuit(rng, spiking, constants):
    """Two float64 formulas for one number of size T, with silent inputs among others: rounding only."""
    x, weight, bias, slope = problem(rng, batch=40)
    x[x < 0.3] = 0.0
    slope = slope if spiking else torch.ones_like(slope)
    d = deviations(rng, 2, 5, 3, constants=constants)
    t_max = 1.0 + T if spiking else 1.0
    circuit = Layer(weight.numpy(), (bias / slope).numpy(), 1.0, t_max, slope.numpy(), spiking)
    layer = TTFSLinear(weight, bias, window=T if spiking else 0.0, slope=slope, spiking=spiking)
    mismatch = LayerMismatch(*(v.numpy() for v in d[:5]))
    ours = layer(x, d).detach().numpy()
    for k, row in enumerate(x.numpy()):
        times = np.where(row > 0, 1.0 - row, np.inf)
        wanted = response(circuit, times, OperatingPoint(), mismatch, constants)
        wanted = wanted.activation(T) if spiking else wanted.v_t_min
        np.testing.assert_allclose(ours[:, k], wanted, rtol=0, atol=1e-12 * T)
    assert not spiking or (ours == 0).any()


@pytest.mark.parametrize("name", ["bend_theta", "bend_charge", "shortest", "early_1", "early_2", "early_3"])
def test_each_term_of_a_bent_circuit_counts(rng, name):
    """None of those that the last test compares is lost on both sides."""
    x, weight, bias, slope = problem(rng, batch=40)
    layer = TTFSLinear(weight, bias, window=T, slope=slope)
    d = deviations(rng, 2, 5, 3, constants=BENT)
    without = d._replace(constants=dataclasses.replace(BENT, **{name: 0.0}))
    assert float((layer(x, d) - layer(x, without)).detach().abs().max()) > 1e-3


def test_ramps_within_two_delays_are_hastened_as_in_the_closed_form(rng):
    """The same piecewise line in torch and numpy, at its corners too; a slope of it is one less its own."""
    ramp = np.concatenate([rng.uniform(-0.5, 2.5, 50), [0.0, 0.5, 1.0, 1.5, 2.0]])
    x = torch.tensor(T - ramp, requires_grad=True)
    ours = hastened(x, T, BENT)
    np.testing.assert_allclose(T - ours.detach().numpy(), BENT.hastened(ramp), rtol=0, atol=1e-15 * 10)
    (slope,) = torch.autograd.grad(ours.sum(), x)
    between = (ramp > 0.51) & (ramp < 0.99)
    np.testing.assert_allclose(slope.numpy()[between], 1 + (0.3 - 0.2) / 0.5, rtol=1e-12)


def test_a_slope_error_acts_as_an_offset_of_window_times_error():
    q, bias, one = torch.zeros(1, 1).double(), torch.tensor([1.0]).double(), torch.ones(1).double()
    beta = 1e-6
    d = per_batch(none(1, 1, 1)._replace(slope=torch.full((1, 1), beta).double()))
    for window in (2.0, 4.0):
        shift = float(spike(q, bias, window, one, d)) - 1.0
        # first order in beta: the rest is beta**2 * window = 4e-12
        assert shift == pytest.approx((window - 1.0) * beta, abs=1e-11)


def test_gradcheck_away_from_ties(rng):
    x, weight, bias, slope = problem(rng)
    d = deviations(rng, 2, 5, 3)
    with torch.no_grad():
        found = spike(charge(x, weight, d.synapse), bias, T, slope, per_batch(d))
        inside = (found > 0) & (found < T)
        assert inside.any()
        assert (found == 0).any()
        assert (found == T).any()
        # gradcheck moves every input by 1e-6; no neuron may be closer than that to a corner
        assert float(torch.minimum(found, T - found)[inside].min()) > 1e-3

    def whole(x, weight, bias, slope, *parts):
        d = Deviations(*parts)
        return spike(charge(x, weight, d.synapse), bias, T, slope, per_batch(d))

    inputs = [v.clone().requires_grad_() for v in (x, weight, bias, slope, *d[:5])]
    # central differences in float64: eps 1e-6 gives about 1e-9 relative; 1e-6 is a safe bound
    assert torch.autograd.gradcheck(whole, inputs, eps=1e-6, atol=1e-6, rtol=1e-6)


def slope_at(z):
    """d spike / d q of one neuron with bias 0 and slope 2, where q / 2 = z."""
    q = torch.tensor([[2.0 * z]], dtype=torch.float64, requires_grad=True)
    fire(q, T, torch.full((1,), 2.0, dtype=torch.float64)).sum().backward()
    return float(q.grad)


def test_gradient_inside_the_window_is_one_over_the_slope():
    assert slope_at(1.0) == 0.5


def test_gradient_of_a_silent_neuron_and_at_the_tie_is_zero():
    assert slope_at(-1.0) == 0.0
    assert slope_at(0.0) == 0.0  # the same choice as relu at 0


def test_gradient_of_a_neuron_clipped_at_t_min_is_zero():
    assert slope_at(T + 0.1) == 0.0


def test_gradient_exactly_at_the_window_is_that_of_a_clipped_neuron():
    assert slope_at(T) == 0.0


def test_the_tie_of_a_dead_neuron_stays_without_gradient_when_deviations_are_zero():
    q = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    spike(q, zero, T, zero + 1, per_batch(none(1, 1, 1))).sum().backward()
    assert float(q.grad) == 0.0


def clear_of_corners(rng):
    """A problem whose drives stay away from both ends of the window, some of them outside of it."""
    x, weight, shift, slope = problem(rng, batch=6)
    z = (x @ weight.T + shift) / slope
    assert float(torch.minimum(z.abs(), (z - T).abs()).min()) > 1e-3
    assert (z < 0).any()
    assert (z > T).any()
    return x, weight, shift, slope


@pytest.mark.parametrize("tracked", [False, True])
def test_gradients_in_closed_form_are_autograds(rng, tracked):
    x, weight, shift, slope = clear_of_corners(rng)
    grad = torch.tensor(rng.normal(size=(6, 5)))
    leaf = [v.clone().requires_grad_() for v in (x, weight, shift)]
    # tracked: B = alpha + sum W with the alpha that gives the same slopes
    b = slope - weight.sum(1) + leaf[1].sum(1) if tracked else slope
    fire(leaf[0] @ leaf[1].T + leaf[2], T, b).backward(grad)
    found = gradients(grad, x, weight, shift, slope, T, tracked)
    for ours, theirs in zip(found, leaf, strict=True):
        # sums of a few products in another order
        torch.testing.assert_close(ours, theirs.grad, rtol=1e-12, atol=1e-13)


def test_the_jacobian_in_closed_form_is_autograds(rng):
    x, weight, shift, slope = problem(rng)

    def layer(v):
        return fire(weight @ v + shift, 100.0, slope)

    for row in x:
        after = layer(row)
        assert (after == 0).any()
        expected = torch.autograd.functional.jacobian(layer, row)
        torch.testing.assert_close(jacobian(after, weight, slope), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("lead", [0.0, 1.5])
def test_deviations_are_the_formula_of_the_module(rng, lead):
    """The equation at the head of `ttfs_analog.neuron.functional`, written out."""
    x, weight, shift, slope = problem(rng)
    d, alpha = deviations(rng, 2, 5, 3), torch.tensor(rng.uniform(0.5, 1.0, 5))
    q = charge(x, weight, d.synapse)
    beta, o, c, late = (v[:, None] for v in d[1:5])
    wanted = q + shift * (1 + c) - o + slope * T * (beta - c) + lead * (slope * beta - alpha * c)
    ours = ramp_activation(q, shift, T, slope, per_batch(d), alpha=alpha, lead=lead)
    # products in another order
    torch.testing.assert_close(ours, wanted / (slope * (1 + beta)) - late, rtol=1e-12, atol=1e-13)
