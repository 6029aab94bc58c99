"""The plan of a transistor-level campaign: its inputs stay inside the swing, its hash is its content."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from circuits import InputError, Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.transistor_batches import batches, drawn
from montecarlo.campaign.transistor_campaign import TransistorCampaign
from montecarlo.campaign.transistor_plan import CHARGES, trajectory
from montecarlo.mismatch.law import MismatchLaw

GENERIC = Technology.load("generic130")


def plan(**options) -> TransistorCampaign:
    return dataclasses.replace(TransistorCampaign.characterize(GENERIC, 20, 3), **options)


@pytest.mark.parametrize("synapses", [1, 4, 8, 33])
def test_no_partial_sum_leaves_the_swing_and_all_weights_are_whole_units(synapses):
    p = plan(synapses=synapses)
    stim, point = p.stimuli, p.point
    units = stim.weights * GENERIC.transistors().units
    assert np.array_equal(units, np.rint(units))
    assert np.all(units != 0)
    runs = [(w, t) for w in stim.weights for t in stim.input_time]
    runs += list(zip(stim.nominal_weights(), stim.nominal_time, strict=True))
    for weights, times in runs:
        path = trajectory(weights, times)
        assert point.v_low < point.volts(path.min())
        assert point.volts(path.max()) < point.v_high
        assert CHARGES[0] <= path[-1] <= CHARGES[1]


def test_a_trajectory_is_the_sum_of_ramps():
    path = trajectory(np.array([1.0, -2.0, 5.0]), np.array([0.2, 0.5, np.inf]))
    assert path == pytest.approx([0.0, 0.3, 0.8 - 1.0])


def test_the_hash_is_that_of_the_content():
    assert plan().hash == plan().hash
    changes = [{"corner": "ss"}, {"temperature": 85.0}, {"area": 2.0}, {"entropy": 4}, {"random": 2}]
    assert len({plan(**c).hash for c in changes} | {plan().hash}) == len(changes) + 1


def test_batches_hold_every_run_once():
    p = plan(nominal=13, trials=9, batch=6)
    seen = [(part, k) for part, first, last in batches(p) for k in range(first, last)]
    wanted = [("nominal", k) for k in range(13)] + [("trial", k) for k in range(9)]
    assert seen == wanted + [("sample", k) for k in range(20)]


def test_a_sample_is_the_same_whatever_else_is_drawn():
    p, longer = plan(), plan(samples=500)
    assert drawn(p, 7) == drawn(longer, 7)
    assert drawn(p, 7) != drawn(p, 8)
    assert drawn(p, 7) != drawn(plan(entropy=4), 7)


def test_more_area_is_the_same_chip_with_smaller_deviations():
    (small, _), (large, _) = drawn(plan(), 2), drawn(plan(area=4.0), 2)
    assert large["n_cmp_m1"][0] == pytest.approx(small["n_cmp_m1"][0] / 2)
    assert large["n_latch_m13"] == small["n_latch_m13"]  # not a matched role


def test_what_transistors_do_not_have_is_refused_by_name():
    with pytest.raises(InputError, match="'window'"):
        TransistorCampaign.characterize(GENERIC, 10, settings={"window": 3.0})
    with pytest.raises(InputError, match="no sigmas"):
        Campaign.characterize(GENERIC, 10, sigma={"slope": 0.1})
    with pytest.raises(InputError, match="no sigmas"):
        Campaign.characterize(GENERIC, 10, law=MismatchLaw.of({"slope": 0.1}))
    with pytest.raises(InputError, match="'xx'"):
        Campaign.characterize(GENERIC, 10, settings={"corner": "xx"})
    with pytest.raises(InputError, match="temperature"):
        Campaign.characterize(GENERIC, 10, settings={"temperature": 300.0})
    with pytest.raises(InputError, match="area"):
        plan(area=100.0)


def test_conditions_reach_the_plan():
    p = Campaign.characterize(
        GENERIC, 10, settings={"corner": "fs", "temperature": -40.0, "supply": 1.1, "size": 2.0}
    )
    assert isinstance(p, TransistorCampaign)
    assert (p.corner, p.temperature, p.point.vdd, p.area) == ("fs", -40.0, 1.1, 2.0)


@pytest.mark.parametrize(
    ("axis", "value"), [("current", 1e-15), ("capacitance", 1.0), ("supply", 3.0), ("size", 16.0)]
)
def test_a_condition_under_which_no_circuit_works_is_refused(axis, value):
    with pytest.raises(InputError, match=f"{axis}.*stay within|size"):
        TransistorCampaign.characterize(GENERIC, 10, settings={axis: value})


def test_a_lower_supply_takes_the_top_of_the_swing_with_it():
    point = TransistorCampaign.characterize(GENERIC, 10, settings={"supply": 0.97}).point
    assert (point.vdd, point.v_high) == (0.97, 0.97)
