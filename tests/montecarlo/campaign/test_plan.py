"""Plans of every technology: what identifies one, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from montecarlo import Campaign, MismatchLaw
from montecarlo.campaign.plan import IDEAL_ONLY, TRANSISTORS_ONLY, VERSION, Plan
from montecarlo.campaign.rows import Rows

IDEAL = Campaign.characterize(Technology.load("ideal"), 20, 3)
GENERIC = Campaign.characterize(Technology.load("generic130"), 20, 3)
COMMON = {
    "point": OperatingPoint(vdd=1.3),
    "samples": 21,
    "synapses": 7,
    "entropy": 4,
    "patterns": 4,
    "random": 7,
}
COMMON |= {"batch": 128}
OTHER_IDEAL = COMMON | {"law": MismatchLaw(slope=0.01), "threshold": 5.0, "design": "sobol"}
OTHER_GENERIC = COMMON | {"technology": "sky130", "corner": "ss", "temperature": 85.0, "area": 2.0}
OTHER_GENERIC |= {"comparator": "zero_idle", "nominal": 5, "trials": 6}
ROWS = Rows(1, (3,), 8, 4.0, 1.0, 1.5, 0.1, ((0.5,),), (1.0,), (((0.2,),),), 0.4)
OTHER_GENERIC |= {"rows": ROWS}


@pytest.mark.parametrize(("plan", "other"), [(IDEAL, OTHER_IDEAL), (GENERIC, OTHER_GENERIC)])
def test_each_field_of_a_plan_can_be_told_from_its_hash(plan, other):
    hashes = [dataclasses.replace(plan, **{k: v}).hash for k, v in other.items()]
    assert len({plan.hash, *hashes}) == 1 + len(other)
    assert len(plan.hash) == 16
    assert plan.hash == dataclasses.replace(plan).hash


def test_plans_whose_sigmas_differ_by_one_bit_have_two_hashes():
    one, other = (
        dataclasses.replace(IDEAL, law=MismatchLaw(slope=s)) for s in (0.05, math.nextafter(0.05, 1))
    )
    assert one.hash != other.hash


def test_the_fields_above_are_all_there_are():
    assert {*OTHER_IDEAL, *OTHER_GENERIC, "version"} == {f.name for f in dataclasses.fields(Plan)}


@pytest.mark.parametrize("plan", [IDEAL, GENERIC])
def test_a_plan_as_json_holds_all_fields_whatever_their_values(plan):
    content = json.loads(plan.to_json())
    assert set(content) == {f.name for f in dataclasses.fields(Plan)}
    assert OperatingPoint(**content["point"]) == plan.point
    assert content["version"] == VERSION
    assert (content["law"] is None) == (plan is GENERIC)


@pytest.mark.parametrize(
    "item", ["samples", "synapses", "entropy", "patterns", "random", "batch", "nominal", "trials"]
)
@pytest.mark.parametrize("value", [-1, 2.5, "3", None, True])
def test_counts_that_are_no_counts_are_refused(item, value):
    with pytest.raises(InputError, match=f"campaign: {item} must be a whole number"):
        dataclasses.replace(GENERIC, **{item: value})


@pytest.mark.parametrize("item", ["samples", "synapses", "batch"])
def test_zero_of_anything_needed_is_refused(item):
    with pytest.raises(InputError, match=f"{item} must be a whole number >= 1"):
        dataclasses.replace(IDEAL, **{item: 0})


@pytest.mark.parametrize(
    ("synapses", "law", "message"),
    [
        (100_000, {}, "100000 synapses are more than the 4096 of the widest neuron.*ask for fewer"),
        (600, {"common": (("slope", 0.1),)}, "sums, .* not common; ask for at most 512"),
    ],
)
def test_a_fan_in_that_cannot_be_asked_for_is_refused_before_anything_is_made(synapses, law, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(IDEAL, synapses=synapses, law=MismatchLaw(**law))


@pytest.mark.parametrize(
    ("plan", "names", "values", "kind"),
    [
        (IDEAL, TRANSISTORS_ONLY, OTHER_GENERIC, "ideal sources"),
        (GENERIC, IDEAL_ONLY, OTHER_IDEAL, "transistors"),
    ],
)
def test_fields_of_the_other_kind_are_refused_with_value_and_remedy(plan, names, values, kind):
    for name in names:
        with pytest.raises(InputError, match=rf"campaign: {name} .*has {kind}.*leave it out") as error:
            dataclasses.replace(plan, **{name: values[name]})
        assert repr(values[name])[:20] in str(error.value)


def test_each_number_of_rows_can_be_told_from_the_hash_of_their_plan():
    """A campaign on a layer is another one if anything of the layer changes."""
    plan = dataclasses.replace(GENERIC, rows=ROWS)
    other = {
        "layer": 2, "neurons": (4,), "units": 4, "most": 5.0, "t_min": 1.1, "window": 1.6, "delay": 0.11,
        "weights": ((0.25,),), "theta": (1.1,), "input_time": (((0.3,),),), "lowest": 0.5, "network": "f",
        "spiking": False,
    }  # fmt: skip
    assert set(other) == {f.name for f in dataclasses.fields(Rows)}
    changed = [dataclasses.replace(ROWS, **{k: v}) for k, v in other.items()]
    comparators = ["ota" if r.spiking else None for r in changed]  # read-outs have none
    plans = [
        dataclasses.replace(plan, rows=r, comparator=c) for r, c in zip(changed, comparators, strict=True)
    ]
    assert len({plan.hash, *(p.hash for p in plans)}) == 1 + len(other)


def test_a_layer_may_be_of_any_area_and_a_test_neuron_may_not():
    """Placements say what larger transistors hang on the membrane; the standard point does not."""
    assert dataclasses.replace(GENERIC, area=9.0, rows=ROWS).area == 9.0
    with pytest.raises(InputError, match=r"must lie in 1/4\.\.4, got 9.0"):
        dataclasses.replace(GENERIC, area=9.0)


@pytest.mark.parametrize(
    ("plan", "change", "message"),
    [
        (IDEAL, {"law": None}, "law None.*MismatchLaw"),
        (IDEAL, {"threshold": 100.0}, r"must lie in \[2, 10\] tau_c, got 100.0"),
        (IDEAL, {"design": "grid"}, "unknown design 'grid'"),
        (IDEAL, {"version": 2}, "version 2, 3 is known"),
        (GENERIC, {"threshold": 2.0}, "threshold 2.0"),
        (GENERIC, {"corner": "xx"}, "generic130 technology has no corner 'xx'; it has tt"),
        (GENERIC, {"corner": None}, "corner None"),
        (GENERIC, {"temperature": 300.0}, "temperature 300.0 is outside"),
        (GENERIC, {"temperature": None}, "temperature None"),
        (GENERIC, {"area": 100.0}, "area .*got 100.0"),
        (GENERIC, {"comparator": "none"}, "comparator is one of .*'none'"),
        (GENERIC, {"technology": "unknown"}, "unknown technology"),
    ],
)
def test_what_a_technology_cannot_have_is_refused(plan, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(plan, **change)
