"""Areas: what is predicted is what a campaign at the smaller sigma finds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.model.layer import Layer
from circuits.model.operating_point import OperatingPoint
from montecarlo.analysis.attribution import attribute
from montecarlo.analysis.device_area import area_for, enlarged, part
from montecarlo.mismatch.law import TERMS, MismatchLaw

LAW = MismatchLaw.of(dict.fromkeys(TERMS, 0.05))
LAYER = Layer([[1.0, -0.5, 0.8]], [0.5], t_min=1.0, t_max=4.0)
POINT = OperatingPoint().fit_swing(-3, 6)


def attributed(law=LAW, samples=6000):
    times = np.array([0.1, 0.5, 0.3])
    return attribute(LAYER, times, POINT, law, level="closed-form", samples=samples)


@pytest.fixture(scope="module")
def attribution():
    return attributed()


@pytest.mark.parametrize(("term", "area"), [("slope", 4.0), ("capacitance", 2.0), ("synapse_source", 0.25)])
@pytest.mark.parametrize("quantity", ["spike_time", "slope", "energy"])
def test_a_larger_device_gives_the_variance_that_was_predicted(attribution, term, area, quantity):
    """Drawn again at sigma / sqrt(area): 4 standard errors of a variance of 6000 samples."""
    law = LAW.replace(**{term: 0.05 / math.sqrt(area)})
    again = attributed(law)
    wanted, error = (float(again[f"{quantity}_total_variance{k}"]) for k in ("", "_se"))
    assert abs(enlarged(attribution, {term: area}, quantity) - wanted) < 4 * error


def test_the_target_is_met_by_the_area_that_was_asked_for(attribution):
    """1e-9 of rounding: the two functions are each other's inverse."""
    sigma = math.sqrt(float(attribution["spike_time_total_variance"]))
    for device in ("capacitor", "capacitance", "slope_source", "all"):
        area = area_for(attribution, device, 0.95 * sigma)
        assert area > 1
        assert math.sqrt(enlarged(attribution, {device: area})) == pytest.approx(0.95 * sigma, rel=1e-9)
    assert area_for(attribution, "all", 1.1 * sigma) < 1


def test_what_the_others_spoil_cannot_be_met(attribution):
    assert area_for(attribution, "comparator", 1e-3) == math.inf


def test_a_term_is_all_of_its_devices(attribution):
    single = [part(attribution, f"synapse_source_{j}") for j in (0, 2)]
    assert part(attribution, "synapse_source") == pytest.approx(sum(single), rel=1e-12)
    assert part(attribution, "all") == pytest.approx(float(attribution["spike_time_part"].sum()), rel=1e-12)


def test_a_device_goes_before_its_term_and_that_before_all(attribution):
    total = float(attribution["spike_time_total_variance"])
    area = {"synapse_source_0": 1.0, "synapse_source": 2.0, "all": 1.0}
    share = part(attribution, "synapse_source_2") / part(attribution, "all")
    assert enlarged(attribution, area) == pytest.approx(total * (1 - 0.5 * share), rel=1e-12)


@pytest.mark.parametrize("off", [0.9, 1.02, 1.0])
def test_all_devices_larger_is_every_sigma_smaller(attribution, off):
    """A sample varies a little less or more than the parts say, and that is no part of its own."""
    few = attribution.assign(spike_time_total_variance=off * attribution["spike_time_part"].sum())
    total = float(few["spike_time_total_variance"])
    assert enlarged(few, {"all": 1e9}) == pytest.approx(0.0, abs=1e-8)
    assert enlarged(few, {"all": 4.0}) == pytest.approx(total / 4, rel=1e-9)
    assert area_for(few, "all", math.sqrt(total) / 2) == pytest.approx(4.0, rel=1e-9)


def test_what_no_device_makes_stays(attribution):
    """Half as much again as the parts, of 6000 samples, is no error of sampling."""
    more = attribution.assign(spike_time_total_variance=1.5 * attribution["spike_time_part"].sum())
    assert enlarged(more, {"all": 1e9}) == pytest.approx(float(more["spike_time_part"].sum()) / 2, rel=1e-6)


def test_spikes_that_the_window_cuts_off_leave_no_area():
    """Threshold such that a third of the neurons stay silent."""
    layer = Layer([[0.5, -0.25, 0.7]], [-0.45], t_min=1.0, t_max=3.0)
    times = np.array([0.2, 0.1, 0.5])
    cut = attribute(layer, times, POINT, LAW, level="closed-form", samples=400)
    # 2.45 - 0.525 = 1.925 of 2, and a sigma of 0.166 by hand: 0.05 (2.45, 1.925, 1, 0.4, 0.35, 0.225)
    sigma = 0.05 * math.sqrt(2.45**2 + 1.925**2 + 1 + 0.4**2 + 0.35**2 + 0.225**2)
    assert math.sqrt(part(cut, "all")) == pytest.approx(sigma, rel=1e-5)
    assert int(cut["n_silent"]) > 100
    for quantity in ("spike_time", "threshold", "energy"):
        with pytest.raises(InputError, match="of 400 samples were silent or early"):
            enlarged(cut, {"all": 2.0}, quantity)
    with pytest.raises(InputError, match="no area follows"):
        area_for(cut, "all", 0.1)
    assert 0.4 < enlarged(cut, {"all": 2.0}, "slope") / float(cut["slope_total_variance"]) < 0.6


def test_what_cannot_be_is_refused(attribution):
    for factor in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="area of slope must be > 0"):
            enlarged(attribution, {"slope": factor})
    with pytest.raises(InputError, match="unknown device 'diode'; known: all, synapse_source"):
        enlarged(attribution, {"diode": 2.0})
    with pytest.raises(InputError, match="unknown quantity 'color'; known: spike_time"):
        part(attribution, "slope", "color")
    with pytest.raises(InputError, match="target sigma must be > 0"):
        area_for(attribution, "slope", 0.0)
