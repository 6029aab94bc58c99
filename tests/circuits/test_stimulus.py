"""The time grid: exact charges, edges far enough apart, and times that read back as the same tick."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.layer import Layer
from circuits.operating_point import OperatingPoint
from circuits.stimulus import BREAK_DISTANCE, stimulus

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
    on = np.where(stim.start >= 0, stim.n_min - stim.start, 0) * stim.gain * stim.tick
    wanted = np.where(np.isfinite(times), layer.t_min - times, 0.0) * point.tau_c
    np.testing.assert_allclose(on, wanted, rtol=0, atol=1e-12 * t_min * point.tau_c)
    phase = stim.phase_gain * stim.n_min * stim.tick
    assert phase == pytest.approx(layer.t_min * point.tau_c, rel=1e-12)


@FEW
@given(SPIKES, TIME, TIME)
def test_edges_are_ticks_of_the_input_window(fractions, t_min, window):
    _, times, stim, _ = placed(fractions, t_min, window)
    active = np.isfinite(times) & (times < t_min)
    assert np.array_equal(stim.start >= 0, active)
    assert np.all(stim.start[active] < stim.n_min)
    assert np.all(stim.gain[~active] == 0)


@FEW
@given(SPIKES, TIME, TIME)
def test_a_tick_is_longer_than_what_the_simulator_merges(fractions, t_min, window):
    """At least four break-point distances, and at most ten times that: a power of ten. 1e-9: rounding."""
    layer, _, stim, point = placed(fractions, t_min, window)
    relative = stim.tick / (layer.t_max * point.tau_c)
    assert BREAK_DISTANCE * (1 - 1e-9) <= relative <= 10 * BREAK_DISTANCE * (1 + 1e-9)
    assert BREAK_DISTANCE >= 4e-10


@FEW
@given(SPIKES, TIME, TIME)
def test_the_run_lasts_until_the_firing_window_is_over(fractions, t_min, window):
    """The window counts from the tick of t_min, which may lie half a tick late."""
    layer, _, stim, point = placed(fractions, t_min, window)
    assert (stim.n_stop - stim.n_min) * stim.tick >= layer.window * point.tau_c
    assert stim.n_stop > stim.n_min


@FEW
@given(SPIKES)
def test_gain_is_one_up_to_the_grid_unless_a_spike_is_nearly_at_t_min(fractions):
    """A spike n ticks ahead of t_min is off by at most one tick in n."""
    _, _, stim, _ = placed(fractions, 1.0, 2.0)
    active = stim.start >= 0
    ahead = stim.n_min - stim.start[active]
    assert np.all(np.abs(stim.gain[active] - 1) <= 1.0 / ahead + 1e-12)


@FEW
@given(st.integers(0, 10**10))
def test_a_tick_reads_back_as_a_time(ticks):
    """One rounding in each of two ways to the same product: 1e-15."""
    _, _, stim, _ = placed([0.5], 1.0, 2.0)
    assert float(stim.seconds(ticks)) == pytest.approx(ticks * stim.tick, rel=1e-15)


def test_the_same_tick_is_the_same_text_whatever_its_type():
    _, _, stim, _ = placed([0.5], 1.0, 2.0)
    assert stim.seconds(7) == stim.seconds(np.int64(7)) == f"7e{stim.exponent}"


def test_simultaneous_spikes_share_an_edge():
    _, _, stim, _ = placed([0.3, 0.3, 0.7], 1.0, 2.0)
    assert stim.start[0] == stim.start[1] < stim.start[2]


def test_a_spike_at_t_min_is_silent():
    _, _, stim, _ = placed([1.0, 0.0], 1.0, 2.0)
    assert stim.start[0] == -1
    assert stim.start[1] == 0


def test_times_outside_the_window_are_refused():
    layer = Layer([[1.0]], [0.0], t_min=1.0, t_max=2.0)
    with pytest.raises(InputError, match="input spikes lie in"):
        stimulus(layer, np.array([1.5]), POINT)
