"""Technologies: every built-in one is complete, and an unknown one is refused with the list."""

from __future__ import annotations

import pytest

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import FOLDER, Size, Technology

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


LEAST = (0.15e-6, 0.13e-6)


def test_area_is_scaled_at_the_same_shape():
    scaled = Size("n", 1e-6, 0.5e-6).scaled(4.0, LEAST)
    assert (scaled.kind, scaled.width, scaled.length) == ("n", pytest.approx(2e-6), pytest.approx(1e-6))
    small = Size("n", 1e-6, 0.6e-6).scaled(0.25, LEAST)
    assert (small.width, small.length) == (pytest.approx(0.5e-6), pytest.approx(0.3e-6))


@pytest.mark.parametrize(
    ("width", "length", "area", "to"),
    [
        (0.2e-6, 1e-6, 0.25, (0.15e-6, 1e-6 / 3)),  # the width is at its floor, the length takes the rest
        (1e-6, 0.2e-6, 0.25, (1e-6 * 0.25 * 0.2 / 0.13, 0.13e-6)),
        (0.2e-6, 0.15e-6, 0.25, LEAST),  # both: the area is larger than what is wanted
        (0.15e-6, 1e-6, 0.25, (0.15e-6, 0.25e-6)),
        (0.15e-6, 0.13e-6, 0.5, LEAST),
    ],
)
def test_where_one_side_is_at_its_floor_the_other_takes_the_rest(width, length, area, to):
    """By hand: the area is kept until both sides are the least."""
    scaled = Size("p", width, length).scaled(area, LEAST)
    assert (scaled.width, scaled.length) == (pytest.approx(to[0]), pytest.approx(to[1]))


def test_more_area_at_a_floor_is_more_area():
    """Smaller than the floors is what a technology may draw itself; growing it never shrinks a side."""
    scaled = Size("n", 0.15e-6, 0.13e-6).scaled(2.0, LEAST)
    assert scaled.width * scaled.length == pytest.approx(2 * 0.15e-6 * 0.13e-6)


@pytest.mark.parametrize("name", [n for n in KNOWN if n != "ideal"])
@pytest.mark.parametrize("area", [1 / 64, 1 / 4, 1 / 2, 2.0, 4.0])
def test_matched_transistors_of_every_technology_keep_to_the_rules_of_their_kind(name, area):
    technology = Technology.load(name)
    process, resized = technology.transistors(), technology.resized(area).transistors()
    for role, size in process.sizes.items():
        new = resized.size(role)
        if role not in process.matched:
            assert new == size
            continue
        width, length = process.least[size.kind]
        assert new.width >= width * (1 - 1e-12)
        assert new.length >= length * (1 - 1e-12)
        wanted = max(area * size.width * size.length, width * length)
        assert new.width * new.length == pytest.approx(wanted)
