"""Measured crossings and energies of waveforms whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import SimulatorError
from circuits.spice.waveforms import crossing, supply_energy

FEW = settings(max_examples=50, deadline=None)
TICK = 1e-6


def ramp(slope: float, offset: float, points: int = 21, start: float = 1.0, stop: float = 3.0):
    """Time from 0 to `stop` with a point at `start`; V is 0 until then, offset + slope t after."""
    time = np.concatenate([np.linspace(0, start, 5)[:-1], np.linspace(start, stop, points)])
    volts = offset + slope * np.maximum(time - start, 0.0)
    return time, volts[:, None]


@FEW
@given(st.floats(0.1, 10), st.floats(-1, 1), st.floats(0.01, 1.99), st.integers(3, 60))
def test_a_linear_ramp_is_measured_exactly(slope, offset, when, points):
    """Interpolation of a straight line: 1e-13 covers rounding of numbers up to 20 over slopes of 0.1."""
    time, volts = ramp(slope, offset, points)
    threshold = np.array([offset + slope * when])
    measured = crossing(time, volts, threshold, 1.0, TICK)
    assert measured.time[0] == pytest.approx(when, abs=1e-12)
    assert measured.slope[0] == pytest.approx(slope, rel=1e-11)
    assert measured.v_start[0] == offset
    assert measured.v_end[0] == threshold[0]


def test_neurons_are_measured_one_by_one():
    """Early, in the middle, never; 1e-15 of rounding in the middle one."""
    time, volts = ramp(1.0, 0.0)
    measured = crossing(time, np.repeat(volts, 3, axis=1), np.array([-0.5, 0.55, 9.0]), 1.0, TICK)
    np.testing.assert_allclose(measured.time, [0.0, 0.55, np.inf], rtol=1e-14)
    np.testing.assert_allclose(measured.v_end, [0.0, 0.55, 2.0], rtol=1e-14)
    np.testing.assert_allclose(measured.slope, 1.0, rtol=1e-13)


def test_crossings_before_the_start_are_ignored():
    """Up to 2 V before t_min and back to 0: the threshold of 1 V counts only from t_min on."""
    time = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    volts = np.array([[0.0], [2.0], [0.0], [0.8], [1.6]])
    measured = crossing(time, volts, np.array([1.0]), 1.0, TICK)
    assert measured.time[0] == pytest.approx(1.25, rel=1e-14)  # one interpolation


def test_only_the_first_crossing_counts():
    time = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    volts = np.array([[0.0], [0.0], [2.0], [0.0], [2.0], [3.0]])
    assert crossing(time, volts, np.array([1.0]), 1.0, TICK).time[0] == 0.5


def test_reaching_the_threshold_on_a_point_is_a_crossing_there():
    time = np.array([1.0, 2.0, 3.0])
    volts = np.array([[0.0], [1.0], [2.0]])
    assert crossing(time, volts, np.array([1.0]), 1.0, TICK).time[0] == 1.0


def test_exactly_at_threshold_at_the_start_fires_at_once():
    time, volts = ramp(1.0, 0.25)
    measured = crossing(time, volts, np.array([0.25]), 1.0, TICK)
    assert measured.time[0] == 0.0
    assert measured.v_end[0] == 0.25


def test_the_tiny_first_step_behind_a_break_point_is_not_used_for_the_slope():
    """A step of 1e-9 with an error of 1e-9 V would give a slope of 2; the next segment gives 1."""
    time = np.array([0.0, 1.0, 1.0 + 1e-9, 2.0, 3.0])
    volts = np.array([[0.0], [0.0], [2e-9], [1.0], [2.0]])
    measured = crossing(time, volts, np.array([1e-9]), 1.0, TICK)
    assert measured.slope[0] == pytest.approx(1.0, rel=1e-8)  # the error itself over a unit step


def test_a_record_without_the_start_point_is_refused():
    time, volts = ramp(1.0, 0.0)
    with pytest.raises(SimulatorError, match="no point at t_min"):
        crossing(time, volts, np.array([0.5]), 1.0 + 0.5 * TICK, TICK)


def test_a_record_that_ends_at_the_start_point_is_refused():
    time, volts = ramp(1.0, 0.0)
    with pytest.raises(SimulatorError, match="ends at t_min"):
        crossing(time[:5], volts[:5], np.array([0.5]), 1.0, TICK)


TIME = np.array([0.0, 1.0, 3.0, 4.0])
AMPS = -np.array([9.0, 2.0, 4.0, 1.0])
"""Branch currents of a supply that gives are negative."""


@pytest.mark.parametrize(
    ("until", "joule"), [(0.0, 0.0), (1.0, 3.0), (2.0, 9.0), (3.0, 15.0), (3.5, 15.75), (4.0, 16.5)]
)
def test_stepped_currents_hold_for_the_whole_step_that_leads_to_them(until, joule):
    """1.5 V times 2 A for 1 s, 4 A for 2 s, 1 A for 1 s: exact in binary."""
    assert supply_energy(TIME, AMPS, 1.5, until) == joule


@pytest.mark.parametrize(("until", "joule"), [(0.0, 0.0), (1.0, 8.25), (2.0, 12.0), (4.0, 21.0)])
def test_smooth_currents_are_joined_by_straight_lines(until, joule):
    """1.5 V times 5.5, 2 + 0.5 and so on, by hand: exact in binary."""
    assert supply_energy(TIME, AMPS, 1.5, until, stepped=False) == joule


@FEW
@given(st.floats(0.0, 4.0), st.booleans())
def test_a_record_that_starts_late_is_extended_back_to_zero(until, stepped):
    """A constant current: energy = vdd * i * t to 1e-14, wherever the points lie."""
    time, current = np.array([0.5, 1.0, 2.5, 4.0]), np.full(4, -2.0)
    joule = supply_energy(time, current, 1.2, until, stepped)
    assert joule == pytest.approx(2.4 * until, rel=1e-14, abs=1e-300)


@FEW
@given(st.floats(0.0, 4.0), st.floats(0.0, 4.0), st.booleans())
def test_energy_never_shrinks_while_the_supply_gives(a, b, stepped):
    """1e-12 J of rounding in sums of about 20 J."""
    early, late = (supply_energy(TIME, AMPS, 1.5, t, stepped) for t in sorted((a, b)))
    assert late >= early - 1e-12
