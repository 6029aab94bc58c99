"""Spikes on the time grid: exact charges, whatever the grid, and edges inside their windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.ideal.stimulus import place, stimulus
from circuits.ideal.switched_sources import NEVER, Grid
from circuits.model.layer import Layer
from circuits.model.operating_point import OperatingPoint

FEW = settings(max_examples=50, deadline=None)
POINT = OperatingPoint()
SPIKES = st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=8)
TIME = st.floats(1e-3, 1e3)


def placed(fractions, t_min, window, tau_c=100e-9):
    """Stimulus with spikes at fractions of t_min, and its layer and input times."""
    layer = Layer(np.ones((1, len(fractions))), [0.0], t_min=t_min, t_max=t_min + window)
    times = np.array([np.inf if f is None else f * t_min for f in fractions])
    point = OperatingPoint(tau_c=tau_c)
    return layer, times, stimulus(layer, times, point), point


@FEW
@given(SPIKES, TIME, TIME, st.floats(1e-12, 1e-3))
def test_no_charge_is_lost_whatever_the_grid(fractions, t_min, window, tau_c):
    """gain * ticks on = t_min - t_j; a relative 1e-12 of t_min covers rounding of tick counts to 1e10."""
    layer, times, stim, point = placed(fractions, t_min, window, tau_c)
    pulses, tick = stim.inputs, stim.grid.tick
    on = np.where(pulses.on >= 0, pulses.off - pulses.on, 0) * pulses.gain * tick
    wanted = np.where(np.isfinite(times), layer.t_min - times, 0.0) * point.tau_c
    np.testing.assert_allclose(on, wanted, rtol=0, atol=1e-12 * t_min * point.tau_c)
    phase = stim.phase_gain * stim.n_min * tick
    assert phase == pytest.approx(layer.t_min * point.tau_c, rel=1e-12)


@FEW
@given(SPIKES, TIME, TIME)
def test_edges_are_ticks_of_the_input_window(fractions, t_min, window):
    _, times, stim, _ = placed(fractions, t_min, window)
    active = np.isfinite(times) & (times * 100e-9 < t_min * 100e-9)  # in seconds, as it is placed
    assert np.array_equal(stim.inputs.on != NEVER, active)
    assert np.all(stim.inputs.on[active] < stim.n_min)
    assert np.all(stim.inputs.off[active] == stim.n_min)
    assert np.all(stim.inputs.gain[~active] == 0)


@FEW
@given(SPIKES, TIME, TIME)
def test_the_run_lasts_until_the_firing_window_is_over(fractions, t_min, window):
    """The window counts from the tick of t_min, which may lie half a tick late."""
    layer, _, stim, point = placed(fractions, t_min, window)
    assert (stim.grid.stop - stim.n_min) * stim.grid.tick >= layer.window * point.tau_c
    assert stim.grid.stop > stim.n_min


@FEW
@given(SPIKES)
def test_gain_is_one_up_to_the_grid_unless_a_spike_is_nearly_at_t_min(fractions):
    """A spike n ticks ahead of t_min is off by at most one tick in n."""
    _, _, stim, _ = placed(fractions, 1.0, 2.0)
    active = stim.inputs.on != NEVER
    ahead = stim.n_min - stim.inputs.on[active]
    assert np.all(np.abs(stim.inputs.gain[active] - 1) <= 1.0 / ahead + 1e-12)


def test_simultaneous_spikes_share_an_edge():
    on = placed([0.3, 0.3, 0.7], 1.0, 2.0)[2].inputs.on
    assert on[0] == on[1] < on[2]


def test_a_spike_at_t_min_is_silent():
    on = placed([1.0, 0.0], 1.0, 2.0)[2].inputs.on
    assert on[0] == NEVER
    assert on[1] == 0


def test_times_outside_the_window_are_refused():
    layer = Layer([[1.0]], [0.0], t_min=1.0, t_max=2.0)
    with pytest.raises(InputError, match="input spikes lie in"):
        stimulus(layer, np.array([1.5]), POINT)


@FEW
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8), st.integers(-14, -3))
def test_pulses_of_any_start_and_end_keep_their_charge(ends, exponent):
    """Also pulses far shorter than a tick; 1e-12 of their own length, and 1e-15 s of rounding of a
    difference of times up to 1 s."""
    start, end = np.array(ends).T
    pulses = place(start, end, Grid(exponent, 10**14))
    tick = float(f"1e{exponent}")
    on = np.where(pulses.on != NEVER, pulses.off - pulses.on, 0) * pulses.gain * tick
    np.testing.assert_allclose(on, np.maximum(end - start, 0.0), rtol=1e-12, atol=1e-15)
    assert np.all(pulses.off > pulses.on)


def test_pulses_that_never_come_or_are_empty_are_off():
    pulses = place(np.array([np.inf, 0.5, 0.7]), np.array([1.0, 0.5, 0.6]), Grid(-3, 2000))
    assert np.array_equal(pulses.on, [NEVER] * 3)
    assert not pulses.gain.any()


def test_one_end_serves_all_pulses():
    pulses = place(np.array([0.1, 0.2]), np.array([0.5]), Grid(-3, 2000))
    assert np.array_equal(pulses.on, [100, 200])
    assert np.array_equal(pulses.off, [500, 500])
