"""Campaigns as plans: what identifies one, what is refused, and the scale that fits the protocol."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from montecarlo import Campaign, MismatchLaw
from montecarlo.campaign.campaign import V_RANGE
from montecarlo.campaign.protocol import T_MIN, THETA_HIGH

IDEAL = Technology.load("ideal")
PLAN = Campaign.characterize(IDEAL, 20, 3)
OTHER = {
    "technology": "other",
    "law": MismatchLaw(slope=0.01),
    "point": OperatingPoint(),
    "samples": 21,
    "synapses": 7,
    "entropy": 4,
    "patterns": 4,
    "random": 7,
    "threshold": 5.0,
    "batch": 128,
    "design": "sobol",
}


def test_the_standard_plan_takes_its_sigmas_from_the_technology():
    assert PLAN.law.sigma == IDEAL.mismatch
    assert (PLAN.technology, PLAN.samples, PLAN.entropy) == ("ideal", 20, 3)


def test_given_sigmas_replace_those_of_the_technology_one_by_one():
    plan = Campaign.characterize(IDEAL, 20, sigma={"slope": 0.2, "threshold": 0.0})
    assert plan.law.sigma == {**IDEAL.mismatch, "slope": 0.2, "threshold": 0.0}


def test_an_unknown_sigma_is_refused():
    with pytest.raises(InputError, match="speed"):
        Campaign.characterize(IDEAL, 20, sigma={"speed": 0.1})


def test_the_same_plan_has_the_same_hash():
    assert Campaign.characterize(IDEAL, 20, 3).hash == PLAN.hash
    assert len(PLAN.hash) == 16


def test_plans_of_before_there_were_designs_and_shapes_keep_their_hash():
    """The hash of a dataset on somebody's disk."""
    assert Campaign.characterize(IDEAL, 5, 11, synapses=2).hash == "878c4a8843a6396a"


def test_every_field_of_a_plan_can_be_told_from_its_hash():
    assert set(OTHER) == {f.name for f in dataclasses.fields(Campaign)}
    hashes = [dataclasses.replace(PLAN, **{k: v}).hash for k, v in OTHER.items()]
    assert len({PLAN.hash, *hashes}) == 1 + len(OTHER)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_plans_have_one_hash_if_and_only_if_their_sigmas_agree(a, b):
    one, other = (Campaign.characterize(IDEAL, 5, sigma={"slope": s}) for s in (a, b))
    assert (one.hash == other.hash) == (repr(a) == repr(b))


def test_a_plan_as_json_holds_every_field():
    content = json.loads(PLAN.to_json())
    assert set(content) == set(OTHER) - {"design", "threshold"}  # as before there were such
    assert set(json.loads(dataclasses.replace(PLAN, design="latin", threshold=5.0).to_json())) == set(OTHER)
    assert content["law"]["slope"] == IDEAL.mismatch["slope"]
    assert OperatingPoint(**content["point"]) == PLAN.point


@pytest.mark.parametrize("item", ["samples", "synapses", "entropy", "batch"])
@pytest.mark.parametrize("value", [-1, 2.5, "3", None])
def test_counts_that_are_no_counts_are_refused(item, value):
    with pytest.raises(InputError, match=f"campaign: {item} must be a whole number"):
        dataclasses.replace(PLAN, **{item: value})


@pytest.mark.parametrize("item", ["samples", "synapses", "batch"])
def test_zero_of_anything_is_refused(item):
    with pytest.raises(InputError, match=f"{item} must be a whole number >= 1"):
        dataclasses.replace(PLAN, **{item: 0})


def test_a_plan_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAN.samples = 3


@pytest.mark.parametrize("synapses", [1, 4, 8, 24])
def test_the_operating_point_holds_all_that_the_protocol_reaches(synapses):
    """Perfect neurons: partial sums in any order, and twice the threshold at which the membrane stops."""
    plan = Campaign.characterize(IDEAL, 20, synapses=synapses)
    plan.point.check_swing(*V_RANGE, "protocol")
    stim = plan.stimuli
    charge = np.where(np.isfinite(stim.input_time), T_MIN - stim.input_time, 0.0)
    path = [np.minimum(stim.weights, 0) @ charge.T, np.maximum(stim.weights, 0) @ charge.T]
    plan.point.check_swing(float(path[0].min()), float(path[1].max()), "inputs alone")
    assert stim.theta.max() == THETA_HIGH
    assert V_RANGE[1] == 2 * THETA_HIGH


def test_stimuli_follow_the_plan():
    stim = dataclasses.replace(PLAN, synapses=3, patterns=2, random=4).stimuli
    assert stim.weights.shape == (2, 3)
    assert stim.input_time.shape == (3 + 3 + 4, 3)
