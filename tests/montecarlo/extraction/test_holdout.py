"""Held-out figures: exact where the model is true, poor where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from montecarlo.extraction.holdout import LEVELS, validate
from montecarlo.mismatch.law import MismatchLaw

LAW = MismatchLaw(0.05, 0.05, 0.05, 0.05, 0.05)


@pytest.fixture(scope="module")
def held(make_dataset):
    """200 neurons with the last weight pattern."""
    return make_dataset(1000, entropy=6).isel(sample=slice(4, None, 5))


@pytest.fixture(scope="module")
def figures(held):
    return validate(held, LAW, np.random.default_rng(0))


def test_own_deviations_predict_spike_times_to_rounding(figures):
    # extraction and prediction in float64, times up to 5
    assert figures["rms_tau_c"] < 1e-12
    assert figures["wrongly_silent_or_firing"] == 0


def test_without_the_model_or_any_one_term_predictions_are_worse(figures):
    assert figures["rms_without_model_tau_c"] > 0.05  # 5 % of times near 2, several terms
    assert set(figures["rms_without_term_tau_c"]) == {"synapse", "slope", "threshold", "capacitance"}
    for value in figures["rms_without_term_tau_c"].values():
        assert 0.01 < value < 2 * figures["rms_without_model_tau_c"]


def test_sizes_are_those_of_the_held_out_part(figures):
    assert (figures["n_neurons"], figures["n_stimuli"]) == (200, 8)
    assert figures["silent"] == 0


@pytest.mark.parametrize("level", LEVELS)
def test_intervals_of_the_true_law_cover_their_level(figures, level):
    found = figures[f"coverage_{level}"]
    low, high = figures[f"coverage_{level}_ci"]
    assert low <= found <= high
    # stimuli of one neuron are correlated, so 200 neurons count: four standard errors
    p = level / 100
    assert abs(found - p) < 4 * np.sqrt(p * (1 - p) / 200)


def test_intervals_of_a_wrong_law_do_not_cover(held):
    half = MismatchLaw(0.02, 0.02, 0.02, 0.02, 0.02)
    figures = validate(held, half, np.random.default_rng(0))
    assert figures["coverage_95"] < 0.75  # +-0.8 sigma instead of +-1.96 holds 58 %


def test_a_technology_without_spread_is_covered_whole(make_dataset):
    names = ("synapse_source", "synapse_sink", "slope", "threshold", "capacitance")
    held = make_dataset(25, dict.fromkeys(names, 0.0)).isel(sample=slice(4, None, 5))
    figures = validate(held, MismatchLaw(), np.random.default_rng(0))
    assert figures["coverage_50"] == figures["coverage_95"] == 1.0
    assert figures["coverage_95_ci"] == [1.0, 1.0]


def test_one_changed_spike_time_shows_in_the_residual(held):
    wrong = held.copy(deep=True)
    wrong["spike_time"].loc[{"stimulus": "random_0"}] += 0.1
    figures = validate(wrong, LAW, np.random.default_rng(0))
    # one stimulus of eight is off by 0.1
    assert figures["rms_tau_c"] == pytest.approx(0.1 / np.sqrt(8), rel=1e-9)
