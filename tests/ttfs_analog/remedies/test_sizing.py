"""Sizing: the smallest devices for a yield, judged on chips that the search never met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from placing import placed

from circuits.errors import InputError
from ttfs_analog.evaluation.energy import energy
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.remedies import sizing
from ttfs_analog.remedies.cost import CHIPS, IMAGES, joules, silicon
from ttfs_analog.remedies.remedies import Setting, State
from ttfs_analog.remedies.sizing import AREAS, Candidate, size

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

    def known(candidate, remedy, area, target, chips, first):
        asked.append((area, first))
        good = 0.95 if area > (0.1 if remedy == "trim-4" else 0.3) else 0.2
        return sizing._Judged(good, np.full(chips, good), 1e-12)

    monkeypatch.setattr(sizing, "_judged", known)
    one = Candidate("a", small, setting)
    points, beyond = size([one], target=0.9, wanted=0.9, remedies=("windows", "trim-4"), chips=20)
    assert {p.remedy: p.area for p in points} == {
        "windows": min(a for a in AREAS if a > 0.3),
        "trim-4": min(a for a in AREAS if a > 0.1),
    }
    assert not beyond
    assert all(p.holds and p.yield_promised[0] < 0.95 <= p.yield_promised[1] for p in points)
    assert sum(first == sizing.FRESH for _, first in asked) == 2


def test_of_several_placements_the_cheapest_is_chosen_and_the_front_told(small, setting, monkeypatch):
    """Energies are known; placement b takes less of it, and as much silicon less its smaller gates."""

    def known(candidate, remedy, area, target, chips, first):
        joules = {"a": 3e-12, "b": 2e-12, "c": 4e-12}[candidate.name]
        good = 0.95 if area > {"a": 0.1, "b": 0.3, "c": 0.6}[candidate.name] else 0.2
        return sizing._Judged(good, np.full(chips, good), joules)

    monkeypatch.setattr(sizing, "_judged", known)
    some = [Candidate(name, small, setting) for name in "abc"]
    options = {"target": 0.9, "wanted": 0.9, "remedies": ("windows",), "chips": 20}
    by_silicon, _ = size(some, **options)
    by_energy, _ = size(some, least="energy", **options)
    assert [p.net for p in by_silicon] == ["a", "b", "c"]
    assert [p.net for p in by_energy] == ["b", "a", "c"]
    assert {p.net: p.on_front for p in by_energy} == {"a": True, "b": True, "c": False}


def test_energy_is_that_of_the_ledger(small, setting, digits):
    """Of the first chips and images; a network of its own for a chip counts for that chip."""
    state = State((small,), setting.noise.sample(small, CHIPS + 4, 3))
    ledger = energy(small, digits.x_test[:IMAGES], setting.noise, chips=CHIPS + 4, seed=3)
    each = ledger["energy"].sum(["layer", "part"]).values
    assert joules(state, setting) == pytest.approx(each[:CHIPS].mean(), rel=1e-9, abs=0)
    assert abs(each.mean() / each[:CHIPS].mean() - 1) > 1e-9  # the others do not
    quiet = small.clone()
    with torch.no_grad():
        quiet.layers[0].weight.mul_(0.5)
    assert joules(replace(state, nets=(quiet, *[small] * (CHIPS + 3))), setting) < joules(state, setting)


def test_a_small_search_keeps_its_promise(small, setting):
    one = Candidate("a", small, setting)
    points, beyond = size([one], target=0.3, wanted=0.8, remedies=("windows",), chips=20)
    assert len(points) + len(beyond) == 1
    for point in points:
        assert point.silicon_m2 == pytest.approx(sum(point.parts_m2.values()))
        assert point.energy_j > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wanted": 1.5}, "target and yield lie in"),
        ({"remedies": ("trim",)}, "DACs without a number of bits"),
        ({"remedies": ("magic",)}, "unknown remedy"),
        ({"least": "money"}, "unknown cost"),
    ],
)
def test_what_cannot_be_sized_is_refused(small, setting, options, message):
    with pytest.raises(InputError, match=message):
        size([Candidate("a", small, setting)], **({"target": 0.9, "wanted": 0.9, "chips": 20} | options))


def test_ideal_sources_have_no_silicon(net, setting):
    with pytest.raises(InputError, match="place it first"):
        size([Candidate("a", net, setting)], target=0.9, wanted=0.9)


def test_the_law_of_the_search_is_pelgroms(setting):
    assert isinstance(setting.noise, NoiseModel)
    assert setting.noise.scaled(0.25**-0.5).law.slope == pytest.approx(2 * setting.noise.law.slope)
