"""The measurement protocol: what is switched on, what is held out, and that deviations can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from montecarlo.campaign.protocol import T_MIN, THETA_HIGH, THETA_LOW, WINDOW, stimuli

FEW = settings(max_examples=40, deadline=None)
SIZES = st.integers(1, 20), st.integers(1, 6), st.integers(0, 8), st.integers(0, 2**32)


@FEW
@given(*SIZES)
def test_a_protocol_is_whole_and_depends_on_its_arguments_only(synapses, patterns, random, entropy):
    stim = stimuli(synapses, patterns, random, entropy)
    n = 3 + synapses + random
    assert len(stim.label) == len(set(stim.label)) == n
    assert stim.input_time.shape == (n, synapses)
    assert stim.theta.shape == (n,)
    assert stim.weights.shape == (patterns, synapses)
    times, weights = stim.input_time, stim.weights
    assert np.all(((times >= 0) & (times <= T_MIN)) | np.isposinf(times))
    assert np.all(weights[:, 0::2] > 0)
    assert np.all(weights[:, 1::2] < 0)
    sizes = np.sort(np.abs(weights), axis=1)
    assert np.all(sizes == sizes[0])  # the same in each pattern
    again = stimuli(synapses, patterns, random, entropy)
    assert np.array_equal(again.input_time, times)
    assert np.array_equal(again.weights, weights)


def test_another_seed_changes_weights_and_random_stimuli_only():
    one, other = stimuli(8, 5, 8, 0), stimuli(8, 5, 8, 1)
    assert np.array_equal(one.input_time[:11], other.input_time[:11])
    assert not np.array_equal(one.input_time[11:], other.input_time[11:])
    assert not np.array_equal(one.weights, other.weights)


def test_references_are_silent_and_each_synapse_is_heard_alone():
    stim = stimuli(4, 2, 3, 0)
    assert np.all(np.isinf(stim.input_time[:3]))
    assert np.array_equal(stim.input_time[3:7] == 0, np.eye(4, dtype=bool))
    assert np.isfinite(stim.input_time[3:7]).sum() == 4
    assert stim.label[:4] == ("reference", "ramp_low", "ramp_high", "synapse_0")
    assert stim.theta[1] == THETA_LOW
    assert np.all(np.delete(stim.theta, 1) == THETA_HIGH)


@pytest.mark.parametrize(("synapses", "largest"), [(1, 1.0), (8, 1.0), (32, 0.5), (128, 0.25)])
def test_weights_shrink_as_inputs_grow_so_that_sums_do_not(synapses, largest):
    """sqrt(8 / n): exact but for one rounding."""
    weights = stimuli(synapses, 3, 2, 0).weights
    assert np.abs(weights).max() == pytest.approx(largest, rel=1e-15)


def test_about_one_random_input_in_five_is_silent():
    """16 000 inputs: 0.2 within 4 standard deviations of 0.003."""
    silent = np.isinf(stimuli(16, 1, 1000, 0).input_time[19:]).mean()
    assert abs(silent - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 16_000)


def test_a_layer_holds_the_samples_asked_for_with_their_own_weights():
    """theta = B (T - b) is what the protocol asks: 1e-15 of two subtractions, from 5."""
    stim = stimuli(4, 3, 2, 0)
    for s, theta in enumerate(stim.theta):
        layer = stim.layer(s, np.array([7, 2, 3]))
        assert np.array_equal(layer.weights, stim.weights[[1, 2, 0]])
        np.testing.assert_allclose(layer.theta, theta, rtol=1e-15)
        assert (layer.t_min, layer.window) == (T_MIN, WINDOW)


@FEW
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_perfect_neurons_fire_inside_the_window_under_every_single_stimulus(synapses, entropy):
    """No margin is needed: V(t_min) is at most 1 and the thresholds are 1.5 and 2.5 of a window of 5."""
    stim = stimuli(synapses, 3, 0, entropy)
    charge = np.where(np.isfinite(stim.input_time), T_MIN, 0.0) @ stim.weights.T
    delay = stim.theta[:, None] - charge
    assert np.all((delay > 0) & (delay < WINDOW))
