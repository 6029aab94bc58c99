"""Energy coefficients: given back where energies obey them, with honest intervals where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_transistors import ENERGY, campaign

from montecarlo.extraction import energy_fit
from montecarlo.extraction.by_technology import extract


@pytest.fixture(scope="module")
def transistors():
    return campaign(60)


def test_coefficients_of_exact_energies_are_given_back(transistors):
    devices = extract(transistors)
    fitted = energy_fit.fit(transistors, devices)
    assert list(fitted) == list(energy_fit.FITTED)
    for part, value in ENERGY.items():
        # constants enter the charge, and are known to 1e-10
        assert fitted[part].value == pytest.approx(value, rel=1e-8)
    predicted = energy_fit.predict(transistors, devices, energy_fit.estimates(transistors, devices))
    np.testing.assert_allclose(predicted, energy_fit.measured(transistors), rtol=1e-8)


def test_ideal_sources_have_two_parts_with_coefficient_one(dataset):
    fitted = energy_fit.fit(dataset, extract(dataset))
    assert list(fitted) == list(energy_fit.IDEAL_PARTS)
    for c in fitted.values():
        # charge is counted exactly; extraction rounds at 1e-12 or so
        assert c.value == pytest.approx(1.0, abs=1e-9)


def test_a_bias_current_that_differs_from_neuron_to_neuron_does_not_blur_the_shape(transistors):
    """20 % of spread: the mean is known to +-2 x 20 % / sqrt(60) = 5 %, the ratio of both parts exactly."""
    spread = transistors.copy(deep=True)
    factor = 1.0 + 0.2 * np.random.default_rng(1).standard_normal(60)
    spread["energy"].loc[{"supply": "comparator"}] *= factor[:, None, None]
    fitted = energy_fit.fit(spread, extract(spread))
    bias, switching = fitted["comparator", "bias"], fitted["comparator", "switching"]
    truth = ENERGY["comparator", "bias"], ENERGY["comparator", "switching"]
    assert bias.value == pytest.approx(truth[0] * factor.mean(), rel=1e-3)
    # twenty rounds leave 1e-4 or so
    assert switching.value / bias.value == pytest.approx(truth[1] / truth[0], rel=0.01)
    half = (bias.high - bias.low) / 2 / bias.value
    # a standard deviation of 60 neurons, by 50 groups: +-10 % each, four times that
    assert half == pytest.approx(2.0 * 0.2 / np.sqrt(60), rel=0.4)


def test_a_silent_neuron_does_not_set_its_latch(transistors):
    quiet = transistors.copy(deep=True)
    quiet["spike_time"].values[:30] = np.inf
    quiet["energy"].loc[{"supply": "latch", "phase": "firing"}][:30] = 0.0
    fitted = energy_fit.fit(quiet, extract(transistors))
    assert fitted["latch", "switching"].value == pytest.approx(ENERGY["latch", "switching"], rel=1e-8)
