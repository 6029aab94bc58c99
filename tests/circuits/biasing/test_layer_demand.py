"""What a layer asks of its circuit: partial sums, whole unit devices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.biasing.layer_demand import BEYOND, Demand, choose_units, in_units, propagate
from circuits.errors import InputError
from circuits.model.closed_form import response
from circuits.model.layer import Layer
from circuits.model.operating_point import OperatingPoint

FEW = settings(max_examples=40, deadline=None)


def layer(weights, bias=None, window=2.0) -> Layer:
    weights = np.atleast_2d(weights)
    return Layer(weights, np.zeros(len(weights)) if bias is None else bias, t_min=1.0, t_max=1.0 + window)


def random(seed: int, n_out: int = 3, n_in: int = 12) -> tuple[Layer, np.ndarray]:
    rng = np.random.default_rng(seed)
    one = layer(rng.normal(size=(n_out, n_in)) / np.sqrt(n_in), rng.normal(size=n_out) * 0.3)
    return one, np.where(rng.random((5, n_in)) < 0.6, rng.uniform(0, 1, (5, n_in)), 0.0)


def test_partial_sums_of_both_signs_count_not_only_the_end():
    """A source first, a sink later of the same charge: V(t_min) is 0, the path is not."""
    x = np.array([[0.8, 0.4]])
    demand = Demand.of(layer([[1.0, -2.0], [-1.0, 2.0]]), x)
    assert demand.high[0] >= 0.4
    assert demand.low.tolist() == pytest.approx([0.0, -0.4])


@FEW
@given(st.integers(0, 10**6))
def test_charges_are_those_of_the_closed_form(seed):
    one, x = random(seed)
    demand = Demand.of(one, x)
    responses = [response(one, np.where(row > 0, 1.0 - row, np.inf), OperatingPoint()) for row in x]
    energy = np.mean([f.energy[0] for f in responses], axis=0)
    np.testing.assert_allclose(demand.supplied * OperatingPoint().unit_energy, energy, rtol=1e-12)
    fired = np.mean([np.isfinite(f.delay[0]) for f in responses], axis=0)
    np.testing.assert_array_equal(demand.fired, fired)


def test_thresholds_within_reach_have_room_and_those_far_away_do_not_take_it():
    one = layer([[0.5, -0.1], [0.5, -0.1]], bias=[-0.5, -100.0], window=1.0)
    demand = Demand.of(one, np.array([[0.9, 0.1]]))
    assert demand.high[0] == pytest.approx(1.5)
    assert demand.high[1] <= BEYOND * demand.high[0]


@FEW
@given(st.integers(0, 10**6), st.sampled_from([8, 16, 64]))
def test_whole_unit_devices_keep_thresholds_and_move_weights_by_half_a_unit_at_most(seed, units):
    one, _ = random(seed)
    rounded, change = in_units(one, units)
    assert change <= 0.5 / units + 1e-12
    np.testing.assert_allclose(rounded.weights * units, np.rint(rounded.weights * units), atol=1e-9)
    np.testing.assert_allclose(rounded.theta, one.theta, rtol=0, atol=1e-12)


def test_finer_weights_take_more_unit_devices():
    x = np.full((1, 1), 0.9)
    assert choose_units(layer([[0.5]]), x, 8, 64, 0.01) == 8
    assert choose_units(layer([[0.5 + 1 / 32]]), x, 8, 64, 0.01) == 32
    assert choose_units(layer([[0.5 + 1 / 96]]), x, 8, 64, 1e-6) == 64  # the most there are


def test_layers_pass_on_what_the_closed_form_gives():
    one, x = random(3)
    second = layer(np.ones((1, 3)), window=2.0)
    second = dataclasses.replace(second, t_min=2.0, t_max=4.0)
    _, inner = propagate([one, second], x)
    for row, wanted in zip(x, inner, strict=True):
        expected = response(one, np.where(row > 0, 1.0 - row, np.inf), OperatingPoint())
        np.testing.assert_allclose(wanted, expected.activation(one.window)[0], atol=1e-12)


@pytest.mark.parametrize("x", [np.ones((2, 5)), np.full((2, 12), 1.5), np.full((2, 12), -0.1), np.ones(12)])
def test_calibration_data_of_another_shape_or_range_are_refused(x):
    one, _ = random(0)
    with pytest.raises(InputError, match="calibration inputs must be"):
        list(propagate([one], x))
