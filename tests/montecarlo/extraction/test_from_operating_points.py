"""Nominal runs give the constants back, first transients the delays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_transistors import CONSTANTS, campaign

from circuits.errors import InputError
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.from_operating_points import FITTED, nominal_residual
from montecarlo.extraction.prediction import spike_times, weights_of


@pytest.fixture(scope="module")
def transistors():
    return campaign(100)


@pytest.fixture(scope="module")
def devices(transistors):
    return extract(transistors)


def test_constants_of_an_exact_circuit_are_given_back(devices):
    for name in FITTED:
        if name == "kick":
            continue
        # linear least squares on exact data, condition number about 1e3: rounding only
        assert getattr(devices.constants, name) == pytest.approx(getattr(CONSTANTS, name), abs=1e-10)


def test_delay_and_kick_are_told_apart_by_measured_delays(devices):
    # spread 0.012 of 100 neurons: standard error 0.0012, four of them
    assert devices.constants.delay == pytest.approx(CONSTANTS.delay, abs=4 * 0.0012)
    assert devices.errors["delay"] == pytest.approx(0.0012, rel=0.3)
    # nominal runs know their sum exactly
    assert devices.constants.delay + devices.constants.kick == pytest.approx(0.11, abs=1e-10)


def test_nothing_is_left_of_exact_nominal_runs(transistors, devices):
    assert np.abs(nominal_residual(transistors, devices.constants)).max() < 1e-10


def test_all_transients_follow_from_the_devices_and_the_delay_of_the_first(transistors, devices):
    predicted = spike_times(transistors, weights_of(transistors), devices.mismatch, devices.constants)
    # kick and delay are off by 0.001 at most, against a slope error near 3 %: the first transient's delay
    # takes that up, and leaves the same under every stimulus
    np.testing.assert_allclose(predicted, transistors["spike_time"].values, atol=1e-10)


def test_a_silent_first_transient_leaves_the_delay_unknown_only(transistors):
    one = transistors.copy(deep=True)
    one["spike_time"].values[3, 0] = np.inf
    devices = extract(one)
    assert np.flatnonzero(np.isnan(devices.deviations["delay"].values)).tolist() == [3]
    assert devices.complete.all()
    assert devices.mismatch.delay[0, 3] == 0.0


def test_nominal_runs_that_did_not_fire_are_left_out(transistors):
    one = transistors.copy(deep=True)
    one["nominal_spike_time"].values[:5] = [np.inf, np.nan, -0.1, np.inf, 0.0]
    assert extract(one).constants.theta_scale == pytest.approx(CONSTANTS.theta_scale, abs=1e-10)


def test_too_few_nominal_runs_are_refused(transistors):
    one = transistors.copy(deep=True)
    one["nominal_spike_time"].values[10:] = np.inf
    with pytest.raises(InputError, match="10 of 48 runs without mismatch fired; 18 are needed"):
        extract(one)


def test_one_threshold_cannot_tell_the_constants_apart(transistors):
    one = transistors.copy(deep=True)
    one["nominal_theta"].values[:] = 1.0
    with pytest.raises(InputError, match="do not tell all systematic constants apart"):
        extract(one)


def test_an_unknown_extraction_is_refused(transistors):
    with pytest.raises(InputError, match="extraction 'guess' is not known"):
        extract(transistors.assign_attrs(extraction="guess"))


def test_constants_that_are_not_fitted_stay_those_of_the_ideal_neuron(devices):
    rest = {f.name for f in dataclasses.fields(CONSTANTS)} - {*FITTED, "delay"}
    assert rest == {"gain_slope", "leakage", "delay_exponent"}
    assert all(getattr(devices.constants, n) == getattr(dataclasses.replace(CONSTANTS), n) for n in rest)
    assert set(devices.errors) == {*FITTED, "delay"}
