"""Area laws: the convention of each name, planted exponents found again, and slips of the unit refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from circuits.errors import InputError
from montecarlo.pelgrom import (
    AreaLaw,
    Device,
    current_law,
    device_sigmas,
    draw_devices,
    sigma_mirror,
    synapse_sigmas,
    term_sigmas,
)

VT, BETA = AreaLaw.of_single(3.5e-9), AreaLaw.of_single(5e-9)
AREA = st.floats(1e-15, 1e-9)


def test_a_pair_differs_by_root_two_of_one_device():
    assert VT.sigma_pair(1e-12) == pytest.approx(math.sqrt(2) * VT.sigma_single(1e-12))
    assert VT.sigma_single(1e-12) == pytest.approx(3.5e-3)
    assert AreaLaw.of_pair(5e-9).sigma_pair(1e-12) == pytest.approx(5e-3)
    assert AreaLaw.of_pair(5e-9).sigma_single(1e-12) == pytest.approx(3.536e-3, rel=1e-3)


def test_a_pair_of_drawn_devices_differs_by_sigma_pair():
    """20 000 pairs know their std to 0.5 %: 4 of it."""
    device = Device("slope", 1e-6, 2e-6)
    drawn = draw_devices([device] * 40_000, {"slope": VT}, np.random.default_rng(0)).reshape(2, -1)
    assert (drawn[0] - drawn[1]).std() == pytest.approx(VT.sigma_pair(device.area), rel=0.02)


@pytest.mark.parametrize(
    ("width", "length", "count", "gm_over_i", "percent"),
    [
        (0.3, 2, 1, 20.0, 9.05),
        (0.6, 4, 1, 20.0, 4.53),
        (0.3, 2, 4, 20.0, 4.53),
        (0.3, 4, 1, 21.2, 6.79),
        (0.3, 4, 8, 21.2, 2.40),
    ],
)
def test_a_current_varies_as_worked_out_by_hand(width, length, count, gm_over_i, percent):
    """A_VT 3.5 mV um and A_beta 0.5 % um; rounded to 0.01 %, gm/I to 0.1 / V."""
    device = Device("slope", width * 1e-6, length * 1e-6, count)
    sigma = current_law(VT, BETA, gm_over_i).sigma_single(device.area)
    assert 100 * sigma == pytest.approx(percent, rel=0.01)


def test_a_mirror_of_equal_sides_is_a_pair_and_a_huge_input_leaves_the_output_alone():
    law = current_law(VT, BETA, 20)
    assert sigma_mirror(law, 1e-12, 1e-12) == pytest.approx(law.sigma_pair(1e-12))
    assert sigma_mirror(law, 1e-7, 1e-12) == pytest.approx(law.sigma_single(1e-12), rel=1e-5)


@given(AREA)
def test_the_area_for_a_sigma_gives_that_sigma(area):
    law = current_law(VT, BETA, 25)
    assert law.area_for_single(law.sigma_single(area)) == pytest.approx(area)
    assert law.area_for_pair(law.sigma_pair(area)) == pytest.approx(area)


def slope_over_area(sigma_of, seed):
    """Exponent of the drawn spread over area with its 95 % interval, from 12 sizes of 400 devices."""
    rng = np.random.default_rng(seed)
    areas = np.geomspace(1e-13, 1e-10, 12)
    spread = [(sigma_of(area) * rng.standard_normal(400)).std(ddof=1) for area in areas]
    fit = stats.linregress(np.log(areas), np.log(spread))
    half = stats.t.ppf(0.975, len(areas) - 2) * fit.stderr
    return fit.slope - half, fit.slope + half


def test_the_planted_exponent_is_found_again_and_a_wrong_one_is_not():
    """38 of 40 intervals on average; fewer than 33 happens once in 100 times."""

    def drawn(area):
        return device_sigmas([Device("slope", area / 1e-6, 1e-6)], {"slope": VT})[0]

    right = [slope_over_area(drawn, seed) for seed in range(40)]
    assert sum(low <= -0.5 <= high for low, high in right) >= 33
    wrong = [slope_over_area(lambda area: drawn(area) * (area / 1e-12) ** -0.1, seed) for seed in range(40)]
    assert sum(low <= -0.5 <= high for low, high in wrong) == 0


def test_units_in_parallel_share_their_spread():
    one = Device("synapse_source", 0.3e-6, 2e-6)
    law = current_law(VT, BETA, 20)
    sigma = synapse_sigmas(law, one, np.array([[0.25, -1.0, 0.0]]), step=0.25)
    unit = law.sigma_single(one.area)
    np.testing.assert_allclose(sigma, [[unit, unit / 2, 0.0]], rtol=1e-15)


def test_larger_devices_are_the_same_chip_with_smaller_deviations():
    small, large = ([Device("slope", w, 1e-6), Device("threshold", w, 1e-6)] for w in (1e-6, 4e-6))
    laws = {"slope": BETA, "threshold": VT}
    one, other = (draw_devices(d, laws, np.random.default_rng(3)) for d in (small, large))
    np.testing.assert_allclose(other, one / 2, rtol=1e-14)


def test_sizes_become_the_sigmas_of_terms():
    devices = [Device("slope", 1e-6, 1e-6), Device("threshold", 2e-6, 2e-6)]
    found = term_sigmas(devices, {"slope": BETA, "threshold": VT.scaled(1 / 0.25)})
    assert found == pytest.approx({"slope": 5e-3, "threshold": 7e-3})
    with pytest.raises(InputError, match="several devices"):
        term_sigmas([devices[0]] * 2, {"slope": BETA})


@pytest.mark.parametrize("value", [0.0, -1e-6, math.nan, math.inf, "1u"])
def test_sizes_that_are_no_sizes_are_refused(value):
    with pytest.raises(InputError, match=r"width of slope must be a number > 0.*1 um is 1e-6"):
        Device("slope", value, 1e-6)
    with pytest.raises(InputError, match="area must be a number > 0"):
        VT.sigma_single(value)


@pytest.mark.parametrize(
    ("slip", "says"),
    [
        (lambda: Device("slope", 1.0, 1e-6), "width of slope of 1 looks like a slip.*1 um is 1e-6"),
        (lambda: Device("slope", 1e-6, 1e-12), "length of slope.*slip"),
        (lambda: VT.sigma_single(1.0), "area of 1 looks like a slip.*1 um x 1 um is 1e-12"),
        (lambda: AreaLaw.of_pair(5e-3), "coefficient.*3.5 mV um is 3.5e-9"),
        (lambda: current_law(VT, BETA, 25e3), "gm/I.*1/V"),
        (lambda: current_law(VT, BETA, 0.0), "gm/I must be a number > 0"),
        (lambda: VT.area_for_single(0.0), "sigma must be a number > 0"),
        (lambda: VT.area_for_single(1e-9), "area.*slip"),
        (lambda: synapse_sigmas(VT, Device("s", 1e-6, 1e-6), np.ones((1, 1)), 0.0), "unit device must be"),
        (lambda: device_sigmas([Device("x", 1e-6, 1e-6)], {"slope": VT}), "no area law for x"),
    ],
)
def test_slips_are_refused_with_the_unit_wanted(slip, says):
    with pytest.raises(InputError, match=says):
        slip()
