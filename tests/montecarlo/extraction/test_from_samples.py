"""Runs of read-outs without mismatch give the constants back, and every sample follows from its devices."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_transistors import ENERGY, JITTER, READ_OUT, read_outs

from circuits.errors import InputError
from montecarlo.extraction import energy_fit
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.from_samples import FITTED, nominal_residual
from montecarlo.extraction.holdout import validate
from montecarlo.extraction.prediction import potentials, weights_of
from montecarlo.extraction.terms import columns, jitter_column, reference_columns


@pytest.fixture(scope="module")
def dataset():
    return read_outs(120)


@pytest.fixture(scope="module")
def devices(dataset):
    return extract(dataset)


def test_constants_of_an_exact_circuit_are_given_back(dataset, devices):
    for name in FITTED:
        # the bend converges with the cube of a hundredth a round
        assert getattr(devices.constants, name) == pytest.approx(getattr(READ_OUT, name), abs=1e-7)
    assert np.abs(nominal_residual(dataset, devices.constants)).max() < 1e-7
    assert not devices.constants.delay


def test_all_samples_follow_from_their_devices(dataset, devices):
    predicted = potentials(dataset, weights_of(dataset), devices.mismatch, devices.constants)
    np.testing.assert_allclose(predicted, dataset["v_t_min"].values, atol=1e-7)


def test_a_read_out_has_the_terms_of_its_synapses_and_capacitor_only(dataset, devices):
    assert set(columns(dataset, devices)) == {"synapse_source", "synapse_sink", "capacitance"}
    assert set(reference_columns(dataset)) == {"source", "sink"}
    assert devices.complete.all()
    assert not devices.mismatch.slope.any()


def test_jitter_is_that_of_the_samples(dataset):
    assert jitter_column(dataset).std() == pytest.approx(JITTER, rel=4 / np.sqrt(60))


def test_energies_are_those_of_the_sources(dataset, devices):
    fitted = energy_fit.estimates(dataset, devices)
    assert set(fitted) == set(energy_fit.READ_OUT)
    for part, value in fitted.items():
        assert value == pytest.approx(ENERGY[part], rel=1e-6)


def test_held_out_samples_are_predicted_and_covered(dataset):
    figures = validate(dataset, np.random.default_rng(1))
    assert figures["rms_potential"] < 1e-6
    assert figures["rms_without_term_potential"]["synapse"] > 0.01
    # 120 neurons under eight inputs that share their devices: four standard errors
    assert figures["coverage_95"] == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / 120))
    assert figures["energy_relative_rms"] < 1e-6


def test_too_few_runs_are_refused(dataset):
    few = dataset.copy(deep=True)
    few["nominal_v_t_min"].values[10:] = np.nan
    with pytest.raises(InputError, match="10 of 32 runs without mismatch"):
        extract(few)
