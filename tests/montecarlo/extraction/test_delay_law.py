"""The law of delays: planted coefficients come back, and what tells nothing makes no law."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from synthetic_transistors import CONSTANTS, DELAYS, campaign

from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.delay_law import (
    FACTOR,
    INTERCEPT,
    LEAST,
    SLOPE,
    TAIL,
    features,
    fit,
    late_by,
    of_samples,
)
from montecarlo.extraction.holdout import validate

DEVICES = ("n_cmp_m1", "n_cmp_m2", "n_cmp_m5", "n_latch_m13")
PLANTED = {TAIL: -0.5, SLOPE: 0.4, "n_cmp_m1": 3.0, "n_cmp_m2": -3.0, "n_latch_m13" + FACTOR: 0.3}
DELAY = 0.15


def chips(rng, samples: int) -> xr.Dataset:
    """Devices of independent copies."""
    shape = (samples, len(DEVICES))
    return xr.Dataset(
        {
            "deviation_tail": ("sample", np.expm1(0.05 * rng.standard_normal(samples))),
            "deviation_slope": ("sample", np.expm1(0.03 * rng.standard_normal(samples))),
            "shift": (("sample", "device"), 0.01 * rng.standard_normal(shape)),
            "factor": (("sample", "device"), np.exp(0.02 * rng.standard_normal(shape))),
        },
        coords={"device": list(DEVICES)},
    )


def test_the_law_by_hand():
    """0.15 (exp(0.1 - 0.5 ln 1.1 + 0.4 ln 0.9 + 3 * 0.01 + 0.3 ln 1.02) - 1)."""
    columns = features(
        np.array([0.1]), np.array([-0.1]), DEVICES, np.array([[0.01, 0.0, 0.5, 0.0]]),
        np.array([[1.0, 1.0, 2.0, 1.02]]),
    )  # fmt: skip
    late = late_by({INTERCEPT: 0.1, **PLANTED}, columns, DELAY)
    wanted = 0.1 - 0.5 * np.log(1.1) + 0.4 * np.log(0.9) + 0.03 + 0.3 * np.log(1.02)
    np.testing.assert_allclose(late, [DELAY * np.expm1(wanted)], rtol=1e-14)
    assert np.array_equal(late_by({}, columns, DELAY), [0.0])


def test_what_the_tail_deviates_by_is_in_its_current(rng):
    names = set(of_samples(chips(rng, 3)))
    others = {d for d in DEVICES if d != "n_cmp_m5"}
    assert names == {TAIL, SLOPE, *others, *(d + FACTOR for d in others)}


def test_planted_coefficients_come_back(rng):
    """The ridge weighs as one sample of 2000: coefficients lose 1 / 2000 of themselves, and next to nothing
    to each other, whose columns are correlated by 1 / sqrt(2000) of chance.
    """
    dataset = chips(rng, 2000)
    late = late_by({INTERCEPT: 0.02, **PLANTED}, of_samples(dataset), DELAY)
    found = fit(dataset, late, DELAY)
    assert found[INTERCEPT] == pytest.approx(0.02, abs=1e-4)
    for name in of_samples(dataset):
        # those that were not planted: 1 / 2000 of the others, times chance and ratios of scales
        wanted = PLANTED.get(name, 0.0)
        assert found[name] == pytest.approx(wanted, rel=1e-3, abs=2e-3), name


def test_delays_that_are_not_known_are_left_out(rng):
    dataset = chips(rng, 300)
    late = late_by(PLANTED, of_samples(dataset), DELAY)
    some = np.arange(300) % 3 != 0
    gaps = np.where(some, late, np.nan)
    gaps[1] = -2 * DELAY  # no delay is below zero
    some[1] = False
    alone = fit(dataset.isel(sample=np.flatnonzero(some)), late[some], DELAY)
    assert fit(dataset, gaps, DELAY) == alone


def test_what_does_not_vary_has_no_coefficient(rng):
    dataset = chips(rng, 50)
    dataset["factor"].values[:, 0] = 1.0
    law = fit(dataset, late_by(PLANTED, of_samples(dataset), DELAY), DELAY)
    assert "n_cmp_m1" in law
    assert "n_cmp_m1" + FACTOR not in law


def test_a_campaign_that_cannot_tell_has_no_law(rng):
    dataset = chips(rng, 50)
    late = late_by(PLANTED, of_samples(dataset), DELAY)
    assert fit(dataset.drop_vars(["shift", "factor"]), late, DELAY) == {}
    assert fit(dataset, late, 0.0) == {}
    few = np.where(np.arange(50) < LEAST - 1, late, np.nan)
    assert fit(dataset, few, DELAY) == {}
    enough = np.where(np.arange(50) < LEAST, late, np.nan)
    assert fit(dataset, enough, DELAY) != {}
    silent = dataset.copy(deep=True)
    silent["deviation_tail"].values[3] = np.nan
    assert of_samples(silent) is None
    assert fit(silent, late, DELAY) == {}


@pytest.fixture(scope="module")
def transistors():
    return campaign(300)


def test_a_campaign_shows_the_law_of_its_comparators(transistors):
    """300 neurons; the delays that are extracted are off by a mean of 0.001, which tilts all by 0.7 %."""
    devices = extract(transistors)
    law = fit(transistors, devices.deviations["delay"].values, devices.constants.delay)
    for name, value in DELAYS.items():
        assert law[name] == pytest.approx(value, rel=0.03), name
    assert CONSTANTS.delay == DELAY


def test_the_law_predicts_delays_of_neurons_that_it_has_not_seen(transistors):
    """Without it they are off by their whole spread, 0.012; with it by what the ridge takes."""
    figures = validate(transistors, np.random.default_rng(0))
    assert figures["rms_tau_c"] > 0.01
    assert figures["rms_delay_law_tau_c"] < 0.05 * figures["rms_tau_c"]
