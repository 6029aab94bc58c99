"""The ideal response: hand-computed cases, symmetries that must hold, and the range of potentials."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants, fire, response, trajectory_range
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint

FEW = settings(max_examples=50, deadline=None)
SEED = st.integers(0, 2**32 - 1)
POINT = OperatingPoint()


def case(seed: int, spiking: bool = True) -> tuple[Layer, np.ndarray, LayerMismatch]:
    """A random layer, input and three deviating copies."""
    rng = np.random.default_rng(seed)
    n_out, n_in = int(rng.integers(1, 6)), int(rng.integers(1, 9))
    t_min, window = float(rng.uniform(0.5, 4)), float(rng.uniform(1, 5))
    slope = rng.uniform(0.5, 2, n_out)
    weights, bias = rng.normal(size=(n_out, n_in)), rng.normal(size=n_out)
    layer = Layer(weights, bias, t_min, t_min + window, slope, spiking)
    times = rng.uniform(0, t_min, n_in)
    times[rng.random(n_in) < 0.3] = np.inf
    return layer, times, some_mismatch(rng, layer)


def some_mismatch(rng: np.random.Generator, layer: Layer, samples: int = 3) -> LayerMismatch:
    shape = (samples, layer.n_out)
    return LayerMismatch(
        0.1 * rng.uniform(-1, 1, (samples, *layer.weights.shape)),
        *(0.1 * rng.uniform(-1, 1, shape) for _ in range(3)),
    )


def same(a: Layer, b: Layer, one, other) -> None:
    """Activations agree to 1e-12: some tens of roundings of sums below 100.

    Activations, not delays: they are continuous where a delay becomes silent.
    """
    np.testing.assert_allclose(one.activation(a.window), other.activation(b.window), rtol=0, atol=1e-12)


def test_a_read_out_by_hand():
    """Q = 1.1 * 0.75 - 0.1 * 0.9 = 0.735; (Q - 0.1 Q^2 - 0.02 + 0.005) / 1.2 + 0.5, the bias as a number."""
    layer = Layer([[1.0, -0.2]], [0.5], t_min=1.0, t_max=1.0, spiking=False)
    constants = Constants(gain_source=1.1, gain_sink=0.9, bend_charge=0.1, kick=0.02, leakage=0.005)
    zero = np.zeros((1, 1))
    mismatch = LayerMismatch(np.zeros((1, 1, 2)), zero, zero, zero + 0.2)
    result = response(layer, np.array([0.25, 0.5]), POINT, mismatch, constants)
    assert result.v_t_min[0, 0] == pytest.approx((0.735 - 0.1 * 0.735**2 - 0.015) / 1.2 + 0.5, rel=1e-14)
    assert np.isinf(result.delay[0, 0])
    # ideal sources drive the bias as a current, which the capacitor scales
    ideal = response(layer, np.array([0.25, 0.5]), POINT, mismatch)
    assert ideal.v_t_min[0, 0] == pytest.approx((0.65 + 0.5) / 1.2, rel=1e-14)


def test_one_neuron_by_hand():
    """theta = 2 - 0.5 = 1.5; V(t_min) = 0.75 - 0.1 = 0.65; delay = 0.85; 1e-15 of rounding."""
    layer = Layer([[1.0, -0.2]], [0.5], t_min=1.0, t_max=3.0)
    result = response(layer, np.array([0.25, 0.5]), POINT)
    assert result.v_t_min[0, 0] == pytest.approx(0.65, rel=1e-15)
    assert result.delay[0, 0] == pytest.approx(0.85, rel=1e-15)
    assert result.slope[0, 0] == 1.0
    assert result.energy_by_supply[0, 0, 0, 0] == pytest.approx(POINT.unit_energy * 0.75, rel=1e-12, abs=0)
    assert result.energy_by_supply[0, 0, 0, 1] == pytest.approx(POINT.unit_energy * 0.85, rel=1e-12, abs=0)


def test_each_deviation_enters_where_it_belongs():
    """By hand: charge 1.1 * 1; 1.5 * 1.25 + 0.2 - 1.1 = 0.975, / 0.8 + 0.05 = 1.26875; 1e-14."""
    layer = Layer([[1.0]], [0.5], t_min=1.0, t_max=3.0)
    deviations = LayerMismatch([[[0.1]]], [[-0.2]], [[0.2]], [[0.25]], [[0.05]])
    result = response(layer, np.array([0.0]), POINT, deviations)
    assert result.v_t_min[0, 0] == pytest.approx(1.1 / 1.25, rel=1e-14)
    assert result.delay[0, 0] == pytest.approx(1.26875, rel=1e-14)
    assert result.slope[0, 0] == pytest.approx(0.8 / 1.25, rel=1e-14)


def test_each_constant_enters_where_it_belongs():
    """By hand: Q = 1.1 * 2 * 0.5 + 0.04 * 2 + 0.003 - 0.9 * 0.25 + 0.05 * -1 - 0.004 = 0.904; the numerator
    is 1.03 (1.5 * 1.2 + 0.1) + 0.02 - 0.01 - Q = 1.063; over 0.8 * 1.25 it is 1.063, and a delay of 0.15
    shifts the windows, not the spike in them. Rounding of a dozen operations, 1e-14.
    """
    layer = Layer([[2.0, -1.0]], [1.5], t_min=1.0, t_max=3.0, slope=3.0)
    constants = Constants(
        theta_scale=1.03, gain_source=1.1, gain_sink=0.9, gain_slope=0.8 / 3.0, turn_on_source=0.04,
        turn_on_sink=0.05, feed_through_source=0.003, feed_through_sink=-0.004, kick=0.02,
        leakage=0.01, delay=0.15,
    )  # fmt: skip
    deviations = LayerMismatch([[[0.0, 0.0]]], [[0.25]], [[0.1]], [[0.2]])
    result = response(layer, np.array([0.5, 0.75]), POINT, deviations, constants)
    assert result.v_t_min[0, 0] == pytest.approx(0.904 / 1.2, rel=1e-14)
    assert result.delay[0, 0] == pytest.approx(1.063, rel=1e-14)
    # turn-on charges are those of the unit devices: an error of the current does not scale them
    more = dataclasses.replace(deviations, synapse=np.array([[[0.1, 0.0]]]))
    charged = response(layer, np.array([0.5, 0.75]), POINT, more, constants).v_t_min[0, 0]
    assert charged == pytest.approx((0.904 + 0.11) / 1.2, rel=1e-14)


def test_bends_go_with_the_squares_of_threshold_and_charge():
    """By hand: Q = 2 * 0.5 - 0.25 = 0.75, theta = 3 * 2 - 4.5 = 1.5; the numerator is
    1.5 + 0.02 * 2.25 - 0.75 + 0.04 * 0.5625 = 0.8175, over B = 3.
    """
    layer = Layer([[2.0, -1.0]], [0.5], t_min=1.0, t_max=3.0, slope=3.0)
    layer = dataclasses.replace(layer, bias=np.array([2.0 - 1.5 / 3.0]))
    constants = Constants(bend_theta=0.02, bend_charge=0.04)
    result = response(layer, np.array([0.5, 0.75]), POINT, None, constants)
    assert result.delay[0, 0] == pytest.approx(0.2725, rel=1e-14)
    assert result.v_t_min[0, 0] == 0.75  # the charge itself stays


def test_pulses_that_open_no_switch_are_silent():
    """x = 0.25 and 0.5 with a least length of 0.25: the first gives no charge, nor what switching adds."""
    layer = Layer([[1.0, 2.0]], [0.0], t_min=1.0, t_max=3.0)
    times = np.array([0.75, 0.5])
    for shortest, charge in ((0.0, 1.25 + 0.1 * 3 + 0.01 * 2), (0.25, 1.0 + 0.1 * 2 + 0.01)):
        constants = Constants(turn_on_source=0.1, feed_through_source=0.01, shortest=shortest)
        result = response(layer, times, POINT, None, constants)
        assert result.v_t_min[0, 0] == pytest.approx(charge, rel=1e-14)
    assert not Constants(shortest=0.25).ideal
    alone = response(layer, times, POINT, None, Constants(shortest=0.25))
    assert alone.v_t_min[0, 0] == 1.0


def test_a_spike_comes_earlier_the_sooner_its_ramp_crosses():
    """h by hand, d = 0.2: 0.03, 0.02, 0.01 at 0.1, 0.2, 0.3; between them linear, 0 from 0.4 on."""
    constants = Constants(delay=0.2, early_1=0.03, early_2=0.02, early_3=0.01)
    ramp = np.array([-0.1, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 1.0])
    h = [0.03, 0.03, 0.03, 0.03, 0.025, 0.02, 0.015, 0.01, 0.005, 0.0, 0.0]
    np.testing.assert_allclose(ramp - constants.hastened(ramp), h, rtol=0, atol=1e-15)
    single = [dataclasses.replace(Constants(delay=0.2), **{f"early_{k}": 1.0}) for k in (1, 2, 3)]
    for one, weight in zip(single, constants.hats(ramp), strict=True):
        np.testing.assert_allclose(ramp - one.hastened(ramp), weight, rtol=0, atol=1e-15)


def test_without_a_delay_or_heights_nothing_comes_earlier():
    ramp = np.array([-0.1, 0.0, 0.1, 2.0])
    for constants in (Constants(delay=0.2), Constants(early_1=0.03, early_2=0.02, early_3=0.01)):
        assert np.array_equal(constants.hastened(ramp), ramp)


def test_what_comes_earlier_goes_by_the_ramp_of_the_deviating_neuron_and_not_by_its_own_delay():
    """theta = 1.1, Q = 1 and B (1 + beta) = 0.5: the ramp takes 0.2 = d; 0.2 - 0.02 + 0.05."""
    layer = Layer([[1.0]], [0.9], t_min=1.0, t_max=3.0)
    constants = Constants(delay=0.2, early_1=0.03, early_2=0.02, early_3=0.01)
    deviations = LayerMismatch([[[0.0]]], [[-0.5]], [[0.0]], [[0.0]], [[0.05]])
    result = response(layer, np.array([0.0]), POINT, deviations, constants)
    assert result.delay[0, 0] == pytest.approx(0.23, rel=1e-12)


def test_delays_of_layers_with_slopes_of_their_own_have_each_their_own_scale():
    """d of 0.1 and 0.2: a ramp of 0.2 is at 2 d of the first, at d of the second."""
    constants = Constants(delay=np.array([0.1, 0.2]), early_2=0.02)
    np.testing.assert_allclose(constants.hastened(np.array([0.2, 0.2])), [0.2, 0.18], rtol=0, atol=1e-15)


@FEW
@given(SEED, st.booleans())
def test_the_equation_of_transistors_with_default_constants_is_the_ideal_one_bit_for_bit(seed, spiking):
    """All its terms are worked out, not left out because they are the defaults."""

    class Worked(Constants):
        ideal = property(lambda self: False)

    layer, times, mismatch = case(seed, spiking)
    if not spiking:  # transistors add the bias of a read-out as a number
        layer = dataclasses.replace(layer, bias=np.zeros(layer.n_out))
    one, other = (response(layer, times, POINT, mismatch, c) for c in (IDEAL, Worked()))
    for name in ("delay", "v_t_min", "slope", "energy_by_supply"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)


@FEW
@given(SEED)
def test_ideal_activation_is_the_relu_of_the_weighted_input(seed):
    """x_i = ReLU(b_i + W x / B) clipped to the window, 1e-12: sums of a few terms below 50."""
    layer, times, _ = case(seed)
    x = np.where(np.isfinite(times), layer.t_min - times, 0.0)
    wanted = np.clip(layer.bias + layer.weights @ x / layer.slope, 0.0, layer.window)
    got = response(layer, times, POINT).activation(layer.window)[0]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@FEW
@given(SEED, st.floats(0, 50))
def test_delaying_all_inputs_and_the_window_shifts_nothing(seed, delay):
    """1e-12: times up to 60 are rounded to 1e-14, and weights add a factor of some ten."""
    layer, times, deviations = case(seed)
    late = Layer(
        layer.weights, layer.bias, layer.t_min + delay, layer.t_max + delay, layer.slope, layer.spiking
    )
    shifted = np.minimum(times + delay, np.where(np.isfinite(times), late.t_min, np.inf))
    one = response(layer, times, POINT, deviations)
    other = response(late, shifted, POINT, deviations)
    same(layer, late, one, other)


@FEW
@given(SEED, st.floats(0.01, 100))
def test_scaling_weights_and_slope_together_changes_nothing(seed, factor):
    """Thresholds follow the slope; the comparator offset, in units of potential, must be scaled too."""
    layer, times, deviations = case(seed)
    scaled = dataclasses.replace(layer, weights=factor * layer.weights, slope=factor * layer.slope)
    np.testing.assert_allclose(scaled.theta, factor * layer.theta, rtol=1e-14)
    larger = dataclasses.replace(deviations, threshold=factor * deviations.threshold)
    same(
        layer,
        scaled,
        response(layer, times, POINT, deviations),
        response(scaled, times, POINT, larger),
    )


@FEW
@given(SEED)
def test_permuting_inputs_changes_nothing(seed):
    layer, times, deviations = case(seed)
    order = np.random.default_rng(seed).permutation(layer.n_in)
    mixed = dataclasses.replace(layer, weights=layer.weights[:, order])
    other = dataclasses.replace(deviations, synapse=deviations.synapse[:, :, order])
    same(
        layer,
        mixed,
        response(layer, times, POINT, deviations),
        response(mixed, times[order], POINT, other),
    )


@FEW
@given(SEED)
def test_a_silent_input_is_the_same_as_no_input(seed):
    layer, times, _ = case(seed)
    wider = dataclasses.replace(layer, weights=np.hstack([layer.weights, np.ones((layer.n_out, 1))]))
    one = response(layer, times, POINT)
    other = response(wider, np.append(times, np.inf), POINT)
    same(layer, wider, one, other)


@FEW
@given(SEED)
def test_an_input_at_t_min_brings_no_charge(seed):
    layer, times, _ = case(seed)
    last = np.where(np.isfinite(times), times, layer.t_min)
    same(layer, layer, response(layer, times, POINT), response(layer, last, POINT))


@FEW
@given(SEED)
def test_a_sample_does_not_depend_on_its_neighbors(seed):
    """1e-14: the same sums, though possibly in another order."""
    layer, times, deviations = case(seed)
    together = response(layer, times, POINT, deviations)
    for k in range(3):
        alone = response(layer, times, POINT, deviations[k])
        np.testing.assert_allclose(alone.v_t_min[0], together.v_t_min[k], rtol=1e-13, atol=1e-14)


@FEW
@given(SEED, st.floats(1e-9, 1e-5))
def test_the_operating_point_sets_energies_only(seed, i_unit):
    """Energy is proportional to the unit current, 1e-14; the rest is the same bits."""
    layer, times, _ = case(seed)
    one = response(layer, times, POINT)
    other = response(layer, times, dataclasses.replace(POINT, i_unit=i_unit))
    assert np.array_equal(one.delay, other.delay)
    assert np.array_equal(one.v_t_min, other.v_t_min)
    np.testing.assert_allclose(other.energy, one.energy * i_unit / POINT.i_unit, rtol=1e-13)


def test_read_out_neurons_give_potentials_and_never_fire():
    """V = W x + b: the drive flows for all of phase 1 whatever the inputs do; 1e-15 of rounding."""
    layer = Layer([[1.0, -2.0]], [0.75], t_min=2.0, t_max=0.0, spiking=False)
    result = response(layer, np.array([1.5, np.inf]), POINT)
    assert result.v_t_min[0, 0] == pytest.approx(0.5 + 0.75, rel=1e-15)
    assert np.isinf(result.delay[0, 0])
    assert np.isnan(result.slope[0, 0])
    assert result.energy_by_supply[0, 0, 0, 1] == 0.0
    assert result.energy_by_supply[0, 0, 0, 0] == pytest.approx(POINT.unit_energy * 1.25, rel=1e-12, abs=0)


def test_above_threshold_at_t_min_fires_at_once_and_too_late_is_silent():
    layer = Layer([[3.0], [0.0]], [1.0, -1.0], t_min=1.0, t_max=3.0)
    result = response(layer, np.array([0.0]), POINT)
    assert np.array_equal(result.delay, [[0.0, math.inf]])
    assert result.energy_by_supply[0, 0, 0, 1] == 0.0
    # a silent neuron's slope source stays on for the whole window: 2 units; 1e-15 of rounding
    assert result.energy_by_supply[0, 1, 0, 1] == pytest.approx(2 * POINT.unit_energy, rel=1e-12, abs=0)


def test_a_tie_at_t_max_is_silent():
    """b = 0 with no input reaches theta exactly at t_max: silent, and so is anything within 1e-12."""
    layer = Layer([[1.0]], [0.0], t_min=1.0, t_max=3.0)
    assert np.isinf(response(layer, np.array([np.inf]), POINT).delay[0, 0])
    delays = np.array([-1.0, 0.0, 1.0, 2.0 * (1 - 1e-13), 2.0 * (1 - 1e-11), 2.0, 3.0])
    expected = [0.0, 0.0, 1.0, math.inf, 2.0 * (1 - 1e-11), math.inf, math.inf]
    assert np.array_equal(fire(delays, 2.0), expected)


@FEW
@given(SEED, st.booleans())
def test_the_range_of_potentials_is_what_a_fine_time_grid_sees(seed, spiking):
    """Paths are piecewise linear, so all corners on the grid make it exact up to 1e-12 of rounding."""
    layer, times, _ = case(seed, spiking)
    x = np.where(np.isfinite(times), layer.t_min - times, 0.0)
    low, high = trajectory_range(layer, x[None])
    grid = np.union1d(np.linspace(0, layer.t_min, 50), layer.t_min - x)
    arrived = np.maximum(grid[:, None] - (layer.t_min - x), 0.0)
    path = arrived @ layer.weights.T + grid[:, None] * layer.drive
    top = path.max(axis=0)
    if spiking:
        end = np.minimum(layer.theta, path[-1] + layer.slope * layer.window)
        top = np.maximum(top, np.maximum(end, path[-1]))
    np.testing.assert_allclose(low[0], np.minimum(path.min(axis=0), 0.0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(high[0], np.maximum(top, 0.0), rtol=0, atol=1e-12)


def test_the_range_holds_partial_sums_that_come_back():
    """+1 from 0 to 0.5, then -1: up to 0.5 and back to 0, although V(t_min) = 0; exact halves."""
    layer = Layer([[1.0, -2.0]], [1.9], t_min=1.0, t_max=3.0)
    low, high = trajectory_range(layer, np.array([[1.0, 0.5]]))
    assert low[0, 0] == 0.0
    assert high[0, 0] == 0.5


def test_images_do_not_mix_in_the_range(rng):
    layer, _, _ = case(3)
    x = rng.uniform(0, layer.t_min, (5, layer.n_in))
    low, high = trajectory_range(layer, x)
    for k in range(5):
        one_low, one_high = trajectory_range(layer, x[k : k + 1])
        assert np.array_equal(one_low[0], low[k])
        assert np.array_equal(one_high[0], high[k])


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 2), (1, 3)])
def test_deviations_of_a_layer_of_another_size_are_refused(shape):
    """Some of these shapes would broadcast in silence."""
    layer = Layer(np.ones((2, 2)), np.zeros(2), t_min=1.0, t_max=3.0)
    other = LayerMismatch.none(Layer(np.ones(shape), np.zeros(shape[0]), t_min=1.0, t_max=3.0))
    with pytest.raises(InputError, match=r"does not fit weights \(2, 2\)"):
        response(layer, np.zeros(2), POINT, other)
