"""Nominal runs give the constants back, transients the delays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_transistors import CONSTANTS, campaign

from circuits.errors import InputError
from circuits.model.closed_form import Constants, charges, ramp_times
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.from_operating_points import EARLY, FITTED, LEAST_EARLY, nominal_residual
from montecarlo.extraction.prediction import activations, spike_times, stimulus_layer, weights_of


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


def test_all_transients_follow_from_the_devices_and_the_delay_of_each_neuron(transistors, devices):
    predicted = spike_times(transistors, weights_of(transistors), devices.mismatch, devices.constants)
    # kick and delay are off by 0.001 at most, against a slope error near 3 %: the delay of each neuron takes
    # that up, and leaves the same under every stimulus
    np.testing.assert_allclose(predicted, transistors["spike_time"].values, atol=1e-10)


def late(transistors, change) -> np.ndarray:
    """Deviations of the delays of a campaign with changed spike times."""
    one = transistors.copy(deep=True)
    change(one["spike_time"].values)
    devices = extract(one)
    assert devices.complete.all()
    return devices.deviations["delay"].values


def test_the_delay_of_a_neuron_is_the_mean_over_its_transients(transistors, devices):
    def change(times):
        times[3] += [0.03, -0.01, 0.01]  # mean 0.01
        times[5, 1] = np.inf  # the others are as they were
        times[6, :2] = [np.nan, 0.0]

    before, after = devices.deviations["delay"].values, late(transistors, change)
    moved = np.zeros(len(before))
    moved[3] = 0.01
    np.testing.assert_allclose(after - before, moved, atol=1e-10)


def test_a_neuron_that_never_fires_leaves_its_delay_unknown_only(transistors):
    def silence(times):
        times[3] = np.inf

    after = late(transistors, silence)
    assert np.flatnonzero(np.isnan(after)).tolist() == [3]


def test_transients_within_two_delays_say_nothing_of_a_delay(transistors, devices):
    """The comparator is overdriven there: what they leave is not the neuron's own delay."""
    one, constants = transistors.copy(deep=True), devices.constants
    one["theta"].values[2] = 0.35
    times = spike_times(one, weights_of(one), devices.mismatch, constants, bounded=False)
    near = times[:, 2] < 3 * constants.delay
    assert 20 < near.sum() < 100
    times[near, 2] -= 0.02
    one["spike_time"].values[:] = times
    np.testing.assert_allclose(
        extract(one).deviations["delay"].values, devices.deviations["delay"].values, atol=1e-10
    )


def test_nominal_runs_that_did_not_fire_are_left_out(transistors):
    one = transistors.copy(deep=True)
    one["nominal_spike_time"].values[:5] = [np.inf, np.nan, -0.1, np.inf, 0.0]
    assert extract(one).constants.theta_scale == pytest.approx(CONSTANTS.theta_scale, abs=1e-10)


def test_too_few_nominal_runs_are_refused(transistors):
    one = transistors.copy(deep=True)
    one["nominal_spike_time"].values[10:] = np.inf
    with pytest.raises(InputError, match="10 of 48 runs without mismatch fired; 22 are needed"):
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
    """No run of this campaign crosses so soon that it could show early_1 to early_3."""
    rest = {f.name for f in dataclasses.fields(CONSTANTS)} - {*FITTED, "delay", "shortest"}
    assert rest == {"gain_slope", "leakage", "delay_exponent", *EARLY}
    assert all(getattr(devices.constants, n) == getattr(Constants(), n) for n in rest)
    assert devices.constants.shortest == CONSTANTS.shortest == 0.004
    assert set(devices.errors) == {*FITTED, "delay", "shortest"}
    assert devices.errors["shortest"] == 0.0


EARLIER = {"early_1": 0.03, "early_2": 0.02, "early_3": 0.006}


def overdriven(transistors, runs: int):
    """The same campaign, some of whose runs without mismatch cross within two delays; delays are known."""
    one = transistors.copy(deep=True)
    one["delay"].values[:] = CONSTANTS.delay
    some = np.linspace(0, 47, runs).round().astype(int)
    theta, wanted = one["nominal_theta"].values, np.linspace(0.45, 1.95, runs) * CONSTANTS.delay
    for _ in range(20):  # the ramp goes with theta, but for its bend
        theta[some] += wanted - ramps(one, CONSTANTS)[some]
    constants = dataclasses.replace(CONSTANTS, **EARLIER)
    one["nominal_spike_time"].values[:] = ramps(one, constants) + CONSTANTS.delay
    return one


def ramps(dataset, constants) -> np.ndarray:
    """When the ramps of the runs without mismatch cross, what comes earlier included."""
    layer = stimulus_layer(dataset, dataset["nominal_weight"].values, dataset["nominal_theta"].values)
    charge = np.diagonal(charges(layer, activations(dataset, "nominal_input_time"), None, constants))
    return ramp_times(layer, charge, None, constants)


def test_what_comes_earlier_of_overdriven_comparators_is_given_back(transistors):
    devices = extract(overdriven(transistors, 20))
    for name, value in EARLIER.items():
        assert getattr(devices.constants, name) == pytest.approx(value, abs=1e-8), name
        assert devices.errors[name] < 1e-8
    # and it does not spoil what the slower ramps say
    for name in FITTED:
        assert getattr(devices.constants, name) == pytest.approx(getattr(CONSTANTS, name), abs=1e-8), name


def test_too_few_overdriven_runs_show_nothing(transistors):
    devices = extract(overdriven(transistors, LEAST_EARLY - 1))
    assert all(getattr(devices.constants, name) == 0.0 for name in EARLY)
    assert not set(EARLY) & set(devices.errors)
    enough = extract(overdriven(transistors, LEAST_EARLY))
    assert set(EARLY) <= set(enough.errors)
