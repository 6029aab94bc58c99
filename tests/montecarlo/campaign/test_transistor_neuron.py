"""Neurons of transistors under test: what a campaign draws and in which parts."""

from __future__ import annotations

import dataclasses

import pytest
from synthetic_transistors import read_out_plan

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo import Campaign
from montecarlo.campaign.neuron_under_test import Part
from montecarlo.campaign.transistor_runs import TransistorsUnderTest

PLAN = Campaign.characterize(Technology.load("generic130"), 20, 3)


def neuron(**options) -> TransistorsUnderTest:
    return TransistorsUnderTest(dataclasses.replace(PLAN, **options))


def test_a_sample_is_the_same_whatever_else_is_drawn():
    assert neuron().draw(7) == neuron(samples=500).draw(7)
    assert neuron().draw(7) != neuron().draw(8)
    assert neuron().draw(7) != neuron(entropy=4).draw(7)


def test_more_area_is_the_same_chip_with_smaller_deviations():
    (small, _), (large, _) = neuron().draw(2), neuron(area=4.0).draw(2)
    assert large["n_cmp_m1"][0] == pytest.approx(small["n_cmp_m1"][0] / 2)
    assert large["n_latch_m13"] == small["n_latch_m13"]  # not a matched role


def test_parts_hold_each_run_once_and_those_without_runs_are_left_out():
    parts = neuron(nominal=13, trials=9, batch=6).parts
    seen = [(b.part, k) for part in parts for b in part.batches() for k in range(b.first, b.last)]
    wanted = [("nominal", k) for k in range(13)] + [("trial", k) for k in range(9)]
    assert seen == wanted + [("sample", k) for k in range(20)]
    assert neuron(nominal=0, trials=0, batch=6).parts == (Part("sample", 20, 6),)


def test_the_closed_form_has_no_constants_for_them_yet(tmp_path):
    with pytest.raises(InputError, match=r"level 'closed-form'.*use level 'ngspice'"):
        PLAN.run(tmp_path / "run", level="closed-form")
    assert list(tmp_path.iterdir()) == []


def test_read_outs_have_no_comparator_and_each_of_their_inputs_once():
    plan = read_out_plan(8)
    under = TransistorsUnderTest(plan)
    assert (under.spiking, under.extraction, under.devices) == (False, "samples", ())
    stim = under.stimuli
    runs = {
        (w.tobytes(), t.tobytes()) for w, t in zip(stim.nominal_weight, stim.nominal_input_time, strict=True)
    }
    assert len(runs) == plan.nominal == 32
    assert not stim.nominal_theta.any()
    with pytest.raises(InputError, match="read-outs have no comparator, got 'ota'"):
        dataclasses.replace(plan, comparator="ota")
