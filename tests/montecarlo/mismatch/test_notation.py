"""Mismatch as it is written on a command line, down to what ngspice was given."""

from __future__ import annotations

import json

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign.schema import open_dataset
from montecarlo.mismatch.law import TERMS
from montecarlo.mismatch.notation import parse_conditions, parse_law, parse_sigmas

IDEAL = Technology.load("ideal")


def test_later_sigmas_win():
    assert parse_sigmas(("0.1", "slope=0.2")) == {**dict.fromkeys(TERMS, 0.1), "slope": 0.2}
    assert parse_sigmas(("slope=0.2", "0.1")) == dict.fromkeys(TERMS, 0.1)


def test_a_law_has_what_was_asked_for_and_the_rest_of_the_technology():
    law = parse_law(
        IDEAL,
        ("slope=0.1",),
        ("slope=student-t:4", "capacitance=normal"),
        ("slope.threshold=-0.5",),
        ("slope=0.03",),
    )
    assert law.sigma == {**IDEAL.mismatch, "slope": 0.1}
    assert law.distribution == (("slope", "student-t:4"), ("capacitance", "normal"))
    assert law.correlation == (("slope", "threshold", -0.5),)
    assert law.common == (("slope", 0.03),)
    assert parse_law(IDEAL, ()).sigma == IDEAL.mismatch


def test_conditions_are_numbers_or_names():
    assert parse_conditions(("size=4", "corner=ss")) == {"size": 4.0, "corner": "ss"}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ({"sigmas": ("x",)}, "--sigma 'x': 'x' is not a number"),
        ({"sigmas": ("diode=0.1",)}, "unknown mismatch term"),
        ({"sigmas": (), "commons": ("slope=much",)}, "--common 'slope=much'"),
        ({"sigmas": (), "distributions": ("slope",)}, "--distribution 'slope' is not of the form TERM=NAME"),
        ({"sigmas": (), "correlations": ("slope.threshold",)}, "TERM.TERM=RHO"),
        ({"sigmas": (), "correlations": ("slope.threshold=x",)}, "'x' is not a number"),
        ({"sigmas": (), "correlations": ("slope=0.5",)}, "give each pair"),
    ],
)
def test_a_mistake_is_named(items, said):
    with pytest.raises(InputError, match=said):
        parse_law(IDEAL, **items)


@pytest.mark.ngspice
def test_characterize_takes_the_whole_law_and_conditions(succeed, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ("characterize", "--samples", 20, "--synapses", 2, "--distribution", "slope=student-t:4")
    line += ("--correlation", "slope.capacitance=0.6", "--common", "threshold=0.02", "--design", "latin")
    found = succeed(*line, "--at", "size=4", "--at", "supply=1.5")
    dataset = open_dataset(found["path"])
    plan = json.loads(dataset.attrs["plan"])
    assert plan["law"]["distribution"] == [["slope", "student-t:4"]]
    assert plan["law"]["correlation"] == [["slope", "capacitance", 0.6]]
    assert plan["law"]["common"] == [["threshold", 0.02]]
    assert plan["law"]["slope"] == 0.025
    assert (plan["design"], plan["point"]["vdd"]) == ("latin", 1.5)
    assert np.all(dataset["status"] == 0)
    code, _, err = call(*line, "--at", "corner=ss", "--out", "other.zarr")
    assert code == 2
    assert "the ideal technology has no corner" in err
    code, _, err = call(*line, "--at", "size")
    assert code == 2
    assert "AXIS=VALUE" in err
