"""Energy coefficients: given back where energies obey them, with honest intervals where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_transistors import ENERGY, campaign

from montecarlo.extraction import energy_fit
from montecarlo.extraction.devices import extract


@pytest.fixture(scope="module")
def transistors():
    return campaign(60)


def test_coefficients_of_exact_energies_are_given_back(transistors):
    devices = extract(transistors)
    fitted = energy_fit.fit(transistors, devices)
    assert list(fitted) == list(energy_fit.PARTS)
    for part, value in ENERGY.items():
        # constants enter the charge, and are known to 1e-10
        assert fitted[part].value == pytest.approx(value, rel=1e-8)
    predicted = energy_fit.predict(transistors, devices, fitted)
    np.testing.assert_allclose(predicted, energy_fit.measured(transistors), rtol=1e-8)


def test_ideal_sources_have_two_parts_with_coefficient_one(dataset):
    fitted = energy_fit.fit(dataset, extract(dataset))
    assert list(fitted) == list(energy_fit.IDEAL_PARTS)
    for c in fitted.values():
        # charge is counted exactly; extraction rounds at 1e-12 or so
        assert c.value == pytest.approx(1.0, abs=1e-9)


def test_intervals_count_neurons_not_transients(transistors):
    """A bias current with 20 % spread, the same under all stimuli of a neuron: +-2 x 20 % / sqrt(60)."""
    spread = transistors.copy(deep=True)
    factor = 1.0 + 0.2 * np.random.default_rng(1).standard_normal(60)
    spread["energy"].loc[{"supply": "comparator"}] *= factor[:, None, None]
    c = energy_fit.fit(spread, extract(spread))["comparator", "bias"]
    half = (c.high - c.low) / 2 / c.value
    # the regressors overlap, so more than 5 %; transients taken as independent would say 3 % or less
    assert 0.05 < half < 0.15
    assert c.low < ENERGY["comparator", "bias"] < c.high


def test_a_silent_neuron_does_not_set_its_latch(transistors):
    quiet = transistors.copy(deep=True)
    quiet["spike_time"].values[:30] = np.inf
    quiet["energy"].loc[{"supply": "latch", "phase": "firing"}][:30] = 0.0
    fitted = energy_fit.fit(quiet, extract(transistors))
    assert fitted["latch", "switching"].value == pytest.approx(ENERGY["latch", "switching"], rel=1e-8)
