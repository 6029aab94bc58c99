"""Sizing: the smallest devices for a yield, judged on chips that the search never met."""

from __future__ import annotations

import numpy as np
import pytest
from placing import placed

from circuits.errors import InputError
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.remedies import sizing
from ttfs_analog.remedies.remedies import Setting
from ttfs_analog.remedies.sizing import AREAS, silicon, size


PARTS = {"synapses": 4e-9, "neurons": 1e-9, "references": 2e-9, "capacitors": 8e-9}


@pytest.fixture(scope="module")
def small(net):
    """A network that says what its circuit takes."""
    made = placed(net, -60.0, 60.0, units=64, most=640)
    for layer in made.metadata["placement"]["layers"]:
        layer["area_parts_m2"] = dict(PARTS)
    return made


@pytest.fixture(scope="module")
def setting(digits, make_noise):
    return Setting(digits, make_noise(0.004).extrapolated(), steps=1, patterns=4)


def test_gates_shrink_and_capacitors_stay(small):
    whole, half = (silicon(small, "windows", area) for area in (1.0, 0.5))
    about = small.metadata["placement"]["layers"]
    for name in ("synapses", "neurons", "references"):
        assert whole[name] == pytest.approx(sum(layer["area_parts_m2"][name] for layer in about))
        assert half[name] == pytest.approx(whole[name] / 2)
    assert half["capacitors"] == whole["capacitors"]
    assert whole["trim DACs"] == 0


def test_dacs_cost_their_unit_devices(small):
    three, six = (silicon(small, f"trim-{bits}", 1.0)["trim DACs"] for bits in (3, 6))
    assert three > 0
    assert six == pytest.approx(9 * three)  # 63 of 7 units
    spiking = sum(layer.n_out for layer in small.layers if layer.spiking)
    assert silicon(small, f"trim-3@{spiking // 2}", 1.0)["trim DACs"] == pytest.approx(
        three * (spiking // 2) / spiking
    )


def test_bisection_finds_the_smallest_good_area_and_judges_it_afresh(small, setting, monkeypatch):
    asked = []

    def known(net, at, remedy, area, target, chips, first):
        asked.append((area, first))
        good = 0.95 if area > (0.1 if remedy == "trim-4" else 0.3) else 0.2
        return good, np.full(chips, good)

    monkeypatch.setattr(sizing, "_yield", known)
    points, beyond = size(small, setting, target=0.9, wanted=0.9, remedies=("windows", "trim-4"), chips=20)
    assert {p.remedy: p.area for p in points} == {
        "windows": min(a for a in AREAS if a > 0.3),
        "trim-4": min(a for a in AREAS if a > 0.1),
    }
    assert not beyond
    assert all(p.holds and p.yield_promised[0] < 0.95 <= p.yield_promised[1] for p in points)
    assert sum(first == sizing.FRESH for _, first in asked) == 2


def test_a_small_search_keeps_its_promise(small, setting):
    points, beyond = size(small, setting, target=0.3, wanted=0.8, remedies=("windows",), chips=20)
    assert len(points) + len(beyond) == 1
    for point in points:
        assert point.silicon_m2 == pytest.approx(sum(point.parts_m2.values()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wanted": 1.5}, "target and yield lie in"),
        ({"remedies": ("trim",)}, "DACs without a number of bits"),
        ({"remedies": ("magic",)}, "unknown remedy"),
    ],
)
def test_what_cannot_be_sized_is_refused(small, setting, options, message):
    with pytest.raises(InputError, match=message):
        size(small, setting, **({"target": 0.9, "wanted": 0.9, "chips": 20} | options))


def test_ideal_sources_have_no_silicon(net, setting):
    with pytest.raises(InputError, match="place it first"):
        size(net, setting, target=0.9, wanted=0.9)


def test_the_law_of_the_search_is_pelgroms(setting):
    assert isinstance(setting.noise, NoiseModel)
    assert setting.noise.scaled(0.25**-0.5).law.slope == pytest.approx(2 * setting.noise.law.slope)
