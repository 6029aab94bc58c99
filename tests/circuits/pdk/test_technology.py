"""Technologies: every built-in one is complete, and an unknown one is refused with the list."""

from __future__ import annotations

import pytest

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import FOLDER, Technology

KNOWN = Technology.available()


def test_the_ideal_technology_is_there():
    assert "ideal" in KNOWN
    assert sorted(KNOWN) == KNOWN


@pytest.mark.parametrize("name", KNOWN)
def test_every_technology_loads_complete(name):
    technology = Technology.load(name)
    assert technology.name == name
    assert technology.description
    assert technology.needs
    assert isinstance(technology.environment, tuple)
    assert isinstance(technology.operating_point, OperatingPoint)


@pytest.mark.parametrize("name", KNOWN)
def test_every_sigma_is_a_fraction(name):
    technology = Technology.load(name)
    sigma = technology.mismatch
    assert bool(sigma) != bool(technology.process)  # with transistors, the process has the figures
    assert all(0 <= value < 1 for value in sigma.values())


def test_the_ideal_operating_point_is_the_default_one():
    assert Technology.load("ideal").operating_point == OperatingPoint()


def test_two_loads_share_no_state():
    first = Technology.load("ideal")
    first.mismatch["slope"] = 99.0
    assert Technology.load("ideal").mismatch["slope"] != 99.0


@pytest.mark.parametrize("name", ["", "nowhere", "Ideal", "../technologies/ideal", "ideal.toml"])
def test_an_unknown_name_is_refused_with_the_list(name):
    with pytest.raises(InputError, match=r"available: .*ideal"):
        Technology.load(name)


def test_files_lie_beside_the_module():
    assert {p.stem for p in FOLDER.glob("*.toml")} == set(KNOWN)
