"""What a campaign asks of neurons of a layer: ramps as wanted, thresholds in the swing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from circuits.model.operating_point import OperatingPoint
from montecarlo.campaign.rows import EARLIEST, EARLY, Rows, charge
from montecarlo.campaign.transistor_protocol import TransistorStimuli

POINT = OperatingPoint(v_reset=0.5, v_low=0.2, v_high=1.0)
PATTERNS, STIMULI, SYNAPSES, RUNS = 3, 4, 6, 40


@pytest.fixture
def rows(rng):
    weights = np.rint(8 * rng.normal(size=(PATTERNS, SYNAPSES))) / 16
    times = rng.uniform(0, 1.2, (PATTERNS, STIMULI, SYNAPSES))
    times[rng.random(times.shape) < 0.3] = np.inf
    return Rows(
        layer=1, neurons=(4, 7, 9), units=8, most=8.0, t_min=1.2, window=1.5, delay=0.2,
        weights=tuple(map(tuple, weights.tolist())), theta=(0.9, 1.0, 1.1),
        input_time=tuple(tuple(map(tuple, t)) for t in times.tolist()), lowest=-0.3,
    )  # fmt: skip


def unbounded(rows: Rows) -> TransistorStimuli:
    """The same in a swing that no threshold leaves."""
    point = dataclasses.replace(POINT, v_low=0.2, v_high=50.0, v_reset=25.0, vdd=60.0)
    return dataclasses.replace(rows, lowest=-50.0).stimuli(RUNS, 0, point)


def test_charge_by_hand():
    """0.5 * 0.75 - 1 * 0.25; a silent input gives none."""
    found = charge(np.array([[0.5, -1.0, 3.0]]), np.array([[0.25, 0.75, np.inf]]), 1.0)
    assert found == pytest.approx([0.125])


def test_weights_and_inputs_are_those_of_the_neurons(rows):
    stim = rows.stimuli(RUNS, 0, POINT)
    assert np.array_equal(stim.weights, rows.weights)
    assert np.array_equal(stim.input_time, rows.input_time)
    assert stim.t_min == rows.t_min
    assert stim.window == pytest.approx(rows.window + rows.delay)
    for k in range(PATTERNS):
        times, thetas = stim.of(k)
        assert np.array_equal(times, rows.input_time[k])
        assert np.array_equal(thetas, np.full(STIMULI, rows.theta[k]))
    assert set(stim.inputs) == {
        "weight", "pattern_input_time", "pattern_theta", "nominal_weight", "nominal_input_time",
        "nominal_theta",
    }  # fmt: skip


def test_runs_without_mismatch_take_each_pattern_in_turn_with_an_input_of_its_own(rows):
    stim = rows.stimuli(RUNS, 0, POINT)
    for run in range(RUNS):
        pattern = run % PATTERNS
        assert np.array_equal(stim.nominal_weight[run], rows.weights[pattern])
        assert any(np.array_equal(stim.nominal_input_time[run], t) for t in rows.input_time[pattern])


def test_ramps_take_the_times_that_are_wanted(rows):
    """Two fifths cross within two delays, from 0.3 of one on; the rest over the whole window."""
    stim = unbounded(rows)
    ramp = np.sort(stim.nominal_theta - charge(stim.nominal_weight, stim.nominal_input_time, rows.t_min))
    early = round(EARLY * RUNS)
    np.testing.assert_allclose(ramp[:early], np.linspace(EARLIEST, 2.0, early) * rows.delay, atol=1e-12)
    rest = np.linspace(2 * rows.delay, 0.95 * rows.window, RUNS - early)
    np.testing.assert_allclose(ramp[early:], rest, atol=1e-12)


def test_thresholds_stay_in_the_swing_and_above_the_comparators_lowest(rows):
    """The membrane still rises for a delay after it has met the threshold."""
    high = float(POINT.unit_free(POINT.v_high)) - rows.delay
    theta = rows.stimuli(RUNS, 0, POINT).nominal_theta
    free = unbounded(rows).nominal_theta
    assert free.max() > high
    assert free.min() < rows.lowest
    np.testing.assert_allclose(theta, np.clip(free, rows.lowest, high), atol=1e-12)


def test_a_seed_is_a_campaign_and_no_runs_are_none(rows):
    one, same, other = (rows.stimuli(RUNS, seed, POINT) for seed in (3, 3, 4))
    assert np.array_equal(one.nominal_theta, same.nominal_theta)
    assert not np.array_equal(one.nominal_theta, other.nominal_theta)
    assert set(rows.stimuli(0, 0, POINT).inputs) == {"weight", "pattern_input_time", "pattern_theta"}
