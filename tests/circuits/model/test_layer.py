"""Layers, their deviations and responses: what is derived, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.model.layer import Layer, LayerMismatch, LayerResponse

GOOD = {"weights": [[1.0, -0.5], [0.2, 0.3], [0.0, 1.0]], "bias": [0.1, 0.2, 0.3]}
GOOD |= {"t_min": 1.0, "t_max": 3.0}


def layer(**changes) -> Layer:
    return Layer(**{**GOOD, **changes})


def mismatch(**changes) -> LayerMismatch:
    zero = np.zeros((4, 3))
    fields = {"synapse": np.zeros((4, 3, 2)), "slope": zero, "threshold": zero, "capacitance": zero}
    return LayerMismatch(**{**fields, **changes})


def test_sizes_window_and_threshold_follow_from_the_fields():
    """theta = B (T - b) by hand: 2 * (2 - b); 1e-15 covers the rounding of a product."""
    made = layer(slope=2.0)
    assert (made.n_out, made.n_in, made.window) == (3, 2, 2.0)
    assert made.weights.dtype == np.float64
    np.testing.assert_allclose(made.theta, [3.8, 3.6, 3.4], rtol=1e-15)


def test_slope_is_one_number_or_one_per_neuron():
    assert np.array_equal(layer().slope, [1, 1, 1])
    assert np.array_equal(layer(slope=[1.0, 2.0, 3.0]).slope, [1, 2, 3])


def test_only_read_out_neurons_have_a_drive():
    """b / t_min = b / 2, exact for a power of two."""
    assert np.array_equal(layer().drive, np.zeros(3))
    assert np.array_equal(layer(t_min=2.0, spiking=False).drive, np.array(GOOD["bias"]) / 2)


def test_read_out_neurons_have_no_firing_window():
    assert layer(spiking=False, t_max=0.0).window == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": [[1.0, 2.0], [3.0]]}, "equal rows"),
        ({"weights": [["x", 2.0]]}, "numbers"),
        ({"weights": [1.0, 2.0]}, "n_out rows"),
        ({"weights": np.zeros((0, 2))}, "n_out rows"),
        ({"weights": np.zeros((3, 0))}, "n_out rows"),
        ({"weights": [[1.0, math.nan], [0, 0], [0, 0]]}, r"weights\[0, 1\] is nan"),
        ({"weights": [[1.0, 0], [math.inf, 0], [0, 0]]}, r"weights\[1, 0\] is inf"),
        ({"bias": [0.1, 0.2]}, r"bias must have shape \(3,\)"),
        ({"bias": [0.1, None, 0.3]}, r"bias\[1\]"),
        ({"slope": 0.0}, "slope must be > 0"),
        ({"slope": [1.0, 1.0, -1.0]}, "slope must be > 0"),
        ({"slope": math.nan}, "finite"),
        ({"slope": [1.0, 2.0]}, "slope must be one number or 3 numbers"),
        ({"slope": [[1.0, 2.0, 3.0]]}, "slope must be one number or 3 numbers"),
        ({"t_min": [1.0]}, r"t_min must have shape \(\)"),
        ({"t_min": [1.0, 2.0]}, r"t_min must have shape \(\)"),
        ({"t_max": [3.0]}, r"t_max must have shape \(\)"),
        ({"weights": [[10**400, 0], [0, 0], [0, 0]]}, "weights must be numbers"),
        ({"bias": [10**400, 0, 0]}, "bias must be numbers"),
        ({"t_max": 10**400}, "t_max must be numbers"),
        ({"t_min": 0.0}, "t_min must be > 0"),
        ({"t_min": math.inf}, "finite"),
        ({"t_max": 1.0}, "later than t_min"),
        ({"t_max": math.nan}, "finite"),
    ],
)
def test_a_bad_layer_is_refused_and_the_fault_named(changes, message):
    with pytest.raises(InputError, match=message):
        layer(**changes)


def test_silent_inputs_may_be_none_or_infinite():
    assert np.array_equal(layer().inputs([None, 0.5]), [math.inf, 0.5])
    assert np.array_equal(layer().inputs(np.array([math.inf, 1.0])), [math.inf, 1.0])


def test_both_ends_of_the_input_window_belong_to_it():
    assert np.array_equal(layer().inputs([0.0, 1.0]), [0.0, 1.0])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.1], "must have 2 entries"),
        ([[0.1, 0.2]], "must have 2 entries"),
        ([0.1, -1e-9], r"spike_times\[1\]"),
        ([1.0 + 1e-9, 0.0], r"spike_times\[0\]"),
        ([math.nan, 0.0], r"spike_times\[0\] is nan"),
        ([-math.inf, 0.0], r"spike_times\[0\] is -inf"),
        (["soon", 0.0], "numbers or null"),
    ],
)
def test_bad_input_times_are_refused_by_number(times, message):
    with pytest.raises(InputError, match=message):
        layer().inputs(times)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"synapse": np.zeros((4, 3))}, "sample, n_out, n_in"),
        ({"slope": np.zeros(3)}, "slope mismatch must have shape"),
        ({"threshold": np.zeros((3, 3))}, "threshold mismatch must have shape"),
        ({"capacitance": np.full((4, 3), math.nan)}, "capacitance mismatch"),
        ({"synapse": np.full((4, 3, 2), -1.0)}, "synapse mismatch must be > -1"),
        ({"slope": np.full((4, 3), -2.0)}, "slope mismatch must be > -1"),
        ({"capacitance": np.full((4, 3), -1.0)}, "capacitance mismatch must be > -1"),
    ],
)
def test_bad_deviations_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        mismatch(**changes)


def test_a_comparator_offset_may_have_any_sign_and_size():
    assert mismatch(threshold=np.full((4, 3), -7.0)).samples == 4


def test_samples_are_picked_by_number_or_slice(rng):
    drawn = mismatch(**{k: 0.1 * rng.random((4, 3)) for k in ("slope", "threshold", "capacitance")})
    assert drawn[2].samples == 1
    assert np.array_equal(drawn[2].slope, drawn.slope[2:3])
    assert drawn[1:4].samples == 3
    assert np.array_equal(drawn[1:4].threshold, drawn.threshold[1:4])


def test_perfect_devices_deviate_by_nothing():
    perfect = LayerMismatch.none(layer(), samples=5)
    assert perfect.samples == 5
    assert perfect.synapse.shape == (5, 3, 2)
    assert not any(getattr(perfect, f.name).any() for f in dataclasses.fields(perfect))


def test_a_response_gives_activations_times_and_total_energy():
    """Exact: halves and quarters."""
    delay = np.array([[0.5, math.inf]])
    part = np.array([[1.0, 2.0]])
    response = LayerResponse(delay, part, part, np.stack([part, 3 * part], axis=-1)[..., None, :])
    assert np.array_equal(response.activation(2.0), [[1.5, 0.0]])
    assert np.array_equal(response.spike_times(1.25), [[1.75, math.inf]])
    assert np.array_equal(response.energy, [[4.0, 8.0]])


def test_samples_count_from_the_end_too_and_there_is_none_beyond_it(rng):
    drawn = mismatch(slope=0.1 * rng.random((4, 3)))
    assert np.array_equal(drawn[-1].slope, drawn.slope[3:])
    assert np.array_equal(drawn[-4].slope, drawn.slope[:1])
    for beyond in (4, 99, -5):
        with pytest.raises(IndexError):
            drawn[beyond]
