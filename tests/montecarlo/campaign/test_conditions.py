"""Axes of a sweep: which there are, who has them, and what their values do to the law."""

from __future__ import annotations

import dataclasses
import json

import pytest

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign.conditions import AXES, check_axis, law_at
from montecarlo.mismatch.law import TERMS, MismatchLaw
from montecarlo.sweeps.neuron_sweep import campaign_at
from montecarlo.sweeps.sweep import Sweep

IDEAL, GENERIC = Technology.load("ideal"), Technology.load("generic130")
BASE = MismatchLaw.of(IDEAL.mismatch)
PLAN = Sweep("ideal", (("size", (1.0, 4.0)),), samples=10, synapses=2)


def test_corners_and_temperatures_are_those_of_the_technology():
    check_axis(GENERIC, "corner", GENERIC.corners)
    check_axis(GENERIC, "temperature", (-40.0, 0.0, 125.0))
    for technology, name, value, message in (
        (IDEAL, "corner", "tt", "the ideal technology has no corner"),
        (IDEAL, "temperature", 27.0, "the ideal technology has no temperature"),
        (GENERIC, "corner", "xx", "has no corner 'xx'; it has tt, "),
        (GENERIC, "corner", 1.0, "has no corner 1.0"),
        (GENERIC, "temperature", 300.0, "temperature 300.0 is outside -40 to 125 degC"),
        (GENERIC, "temperature", "hot", "temperature 'hot' is outside"),
    ):
        with pytest.raises(InputError, match=message):
            check_axis(technology, name, (value,))


@pytest.mark.parametrize(("name", "value"), [("corner", "ss"), ("temperature", 85.0), ("supply", 1.1)])
def test_a_network_on_transistors_is_operated_at_a_condition_or_has_a_noise_model(name, value):
    axes = ((name, (value,)),)
    check_axis(GENERIC, name, (value,), network=True)
    with pytest.raises(InputError, match=r"ideal technology has no|linear technology does not change"):
        check_axis(IDEAL, name, (value,), network=True)
    assert Sweep("generic130", axes, network="net.pt").placed
    assert not Sweep("generic130", (("window", (1.0,)),), network="net.pt", noise="noise.json").placed
    with pytest.raises(InputError, match=f"holds at the {name} that it was measured at; leave out noise"):
        Sweep("generic130", axes, network="net.pt", noise="noise.json")


def test_a_sweep_of_transistors_reaches_its_campaigns():
    plan = Sweep("generic130", (("corner", ("ss", "ff")), ("temperature", (-40.0, 85.0))), samples=4)
    made = [campaign_at(plan, GENERIC, settings) for _, settings in plan.points()]
    assert [(c.corner, c.temperature) for c in made] == [("ss", -40), ("ss", 85), ("ff", -40), ("ff", 85)]
    assert len({c.hash for c in made}) == 4
    assert json.loads(plan.to_json())["axes"][0] == ["corner", ["ss", "ff"]]


def test_global_variation_is_an_axis_and_does_not_shrink_with_size():
    law = law_at({"common": 0.02, "common_slope": 0.1, "size": 4.0}, BASE)
    assert dict(law.common) == {**dict.fromkeys(TERMS, 0.02), "slope": 0.1}
    assert law.slope == 0.025
    wide = dataclasses.replace(BASE, delay=0.02, reference=(("slope", 0.08),))
    law = law_at({"size": 4.0}, wide)
    assert (law.delay, law.reference) == (0.01, (("slope", 0.04),))
    kept = dataclasses.replace(BASE, common=(("slope", 0.03),))
    assert law_at({}, kept).common == kept.common
    assert law_at({"common": 0.0}, kept).common == ()
    assert law_at({"common": 0.0}, BASE) == BASE


def test_every_axis_has_a_unit():
    assert all(AXES.values())
    assert AXES["temperature"] == "degC"


def read(tmp_path, text: str) -> Sweep:
    (tmp_path / "s.toml").write_text(text)
    return Sweep.from_toml(tmp_path / "s.toml")


LAW = "[distribution]\nslope = 'student-t:4'\n[correlation]\nslope.threshold = 0.6\n[common]\nslope = 0.03\n"


def test_a_file_may_say_how_devices_are_distributed(tmp_path):
    plan = read(tmp_path, f"design = 'sobol'\n[axes]\nsize = [1, 4]\n{LAW}")
    campaign = campaign_at(plan, IDEAL, {"size": 4})
    assert campaign.design == "sobol"
    assert campaign.law.distribution == (("slope", "student-t:4"),)
    assert campaign.law.correlation == (("slope", "threshold", 0.6),)
    assert campaign.law.common == (("slope", 0.03),)
    held = json.loads(plan.to_json())
    assert held["correlation"] == [["slope", "threshold", 0.6]]


def test_what_is_asked_for_is_in_the_hash():
    asked = [{"design": "latin"}, {"common": (("slope", 0.1),)}, {"distribution": (("slope", "normal"),)}]
    assert len({dataclasses.replace(PLAN, **a).hash for a in asked} | {PLAN.hash}) == 4
    assert set(json.loads(PLAN.to_json())) == {f.name for f in dataclasses.fields(Sweep)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("design = 'grid'\n[axes]\nsize = [1]", "unknown design 'grid'"),
        ("[axes]\nsize = [1]\n[distribution]\nslope = 3", "distribution.slope must be text, got 3"),
        ("[axes]\nsize = [1]\n[distribution]\nslope = 'cauchy'", "unknown distribution 'cauchy'"),
        ("[axes]\nsize = [1]\n[common]\nslope = 'x'", "common.slope must be a finite number, got 'x'"),
        ("[axes]\nsize = [1]\n[common]\ncolor = 0.1", "common sigma of 'color'"),
        ("[axes]\nsize = [1]\n[correlation]\nslope = 0.6", "correlation.slope must be an object, got 0.6"),
        ("[axes]\nsize = [1]\n[correlation]\nslope.color = 0.6", "correlation of 'slope' and 'color'"),
        ("[axes]\nsigma = [0.01, 0.3]\n[distribution]\nslope = 'normal'", "could change a device's sign"),
        ("[axes]\ncommon = [-1]", "common must be > 0"),
        ("technology = 'generic130'\n[axes]\ncorner = ['tt', 'tt']", "list of different names"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
