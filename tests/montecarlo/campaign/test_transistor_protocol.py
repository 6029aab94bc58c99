"""Inputs of transistors: whole unit devices, and no partial sum leaves the swing."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign.transistor_protocol import CHARGES, stimuli, trajectory

GENERIC = Technology.load("generic130")
UNITS, POINT = GENERIC.transistors().units, GENERIC.operating_point


@pytest.mark.parametrize("synapses", [1, 4, 8, 33])
def test_no_partial_sum_leaves_the_swing_and_all_weights_are_whole_units(synapses):
    stim = stimuli(synapses, 5, 3, 48, 3, UNITS, POINT)
    units = stim.weights * UNITS
    assert np.array_equal(units, np.rint(units))
    assert np.all(units != 0)
    runs = [(w, t) for w in stim.weights for t in stim.input_time]
    runs += list(zip(stim.nominal_weight, stim.nominal_input_time, strict=True))
    for weights, times in runs:
        path = trajectory(weights, times)
        assert POINT.v_low < POINT.volts(path.min())
        assert POINT.volts(path.max()) < POINT.v_high
        assert CHARGES[0] <= path[-1] <= CHARGES[1]


def test_a_trajectory_is_the_sum_of_ramps():
    path = trajectory(np.array([1.0, -2.0, 5.0]), np.array([0.2, 0.5, np.inf]))
    assert path == pytest.approx([0.0, 0.3, 0.8 - 1.0])


def test_a_swing_without_room_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"stay inside -?0.00..0.00 units.*lower i_unit"):
        stimuli(8, 5, 3, 0, 3, UNITS, POINT.__class__(i_unit=1.0))


def test_without_nominal_runs_there_are_none_of_their_inputs():
    assert set(stimuli(4, 2, 3, 0, 3, UNITS, POINT).inputs) == {"weight", "input_time", "theta"}
