"""The standard campaign of a technology: its sigmas, its operating point, the conditions of an axis."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo import Campaign, MismatchLaw
from montecarlo.campaign.ideal_neuron import V_RANGE
from montecarlo.campaign.protocol import T_MIN, THETA_HIGH

IDEAL, GENERIC = Technology.load("ideal"), Technology.load("generic130")


def test_sigmas_replace_those_of_the_technology_one_by_one():
    assert Campaign.characterize(IDEAL, 20, 3).law.sigma == IDEAL.mismatch
    plan = Campaign.characterize(IDEAL, 20, sigma={"slope": 0.2, "threshold": 0.0})
    assert plan.law.sigma == {**IDEAL.mismatch, "slope": 0.2, "threshold": 0.0}
    with pytest.raises(InputError, match="speed"):
        Campaign.characterize(IDEAL, 20, sigma={"speed": 0.1})


@pytest.mark.parametrize("synapses", [1, 4, 8, 24])
def test_the_operating_point_holds_all_that_the_protocol_reaches(synapses):
    """Perfect neurons: partial sums in any order, and twice the threshold at which the membrane stops."""
    plan = Campaign.characterize(IDEAL, 20, synapses=synapses)
    plan.point.check_swing(*V_RANGE, "protocol")
    stim = plan.neuron.stimuli
    charge = np.where(np.isfinite(stim.input_time), T_MIN - stim.input_time, 0.0)
    path = [np.minimum(stim.weights, 0) @ charge.T, np.maximum(stim.weights, 0) @ charge.T]
    plan.point.check_swing(float(path[0].min()), float(path[1].max()), "inputs alone")
    assert stim.theta.max() == THETA_HIGH
    assert V_RANGE[1] == 2 * THETA_HIGH


@pytest.mark.parametrize(
    "options", [{"sigma": {"slope": 0.1}}, {"law": MismatchLaw(slope=0.1)}, {"design": "sobol"}]
)
def test_the_spread_of_transistors_is_not_set_but_follows(options):
    with pytest.raises(InputError, match=r"no sigmas.*axis size"):
        Campaign.characterize(GENERIC, 10, **options)


def test_conditions_reach_the_plan():
    settings = {"corner": "fs", "temperature": -40.0, "supply": 1.1, "size": 2.0}
    plan = Campaign.characterize(GENERIC, 10, settings=settings)
    assert (plan.corner, plan.temperature, plan.point.vdd, plan.area) == ("fs", -40.0, 1.1, 2.0)


@pytest.mark.parametrize(
    ("axis", "value", "message"),
    [
        ("window", 3.0, "no 'window' to set.*Axes: size, "),
        ("corner", "xx", "'xx'"),
        ("temperature", 300.0, "temperature"),
        ("current", 1e-15, "current.*stay within"),
        ("capacitance", 1.0, "capacitance.*stay within"),
        ("supply", 3.0, "supply.*stay within"),
        ("size", 16.0, "size"),
    ],
)
def test_a_condition_that_transistors_do_not_have_is_refused(axis, value, message):
    with pytest.raises(InputError, match=message):
        Campaign.characterize(GENERIC, 10, settings={axis: value})


@pytest.mark.parametrize("technology", [IDEAL, GENERIC])
def test_one_rule_for_the_supply_of_all_technologies(technology):
    point, vdd = technology.operating_point, 0.76 * technology.operating_point.vdd
    made = Campaign.characterize(technology, 10, settings={"supply": vdd}).point
    assert (made.vdd, made.v_high) == (vdd, min(point.v_high, vdd))
    with pytest.raises(InputError, match=r"supply .*stay within"):
        Campaign.characterize(technology, 10, settings={"supply": 0.74 * point.vdd})
