"""Held-out figures: exact where the model is true, poor where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_transistors import LAW, campaign

from circuits.errors import InputError
from montecarlo.extraction import holdout
from montecarlo.extraction.holdout import LEVELS, validate


def figures_of(dataset):
    return validate(dataset, np.random.default_rng(0))


@pytest.fixture(scope="module")
def ideal(make_dataset):
    return make_dataset(500, entropy=6)


@pytest.fixture(scope="module")
def figures(ideal):
    return figures_of(ideal)


@pytest.fixture(scope="module")
def transistors():
    return campaign(500)


@pytest.fixture(scope="module")
def transistor_figures(transistors):
    return figures_of(transistors)


def test_own_deviations_predict_spike_times_to_rounding(figures):
    # extraction and prediction in float64, times up to 5
    assert figures["rms_tau_c"] < 1e-12
    assert figures["rms_known_delay_tau_c"] < 1e-12
    assert figures["energy_relative_rms"] < 1e-12
    assert figures["wrongly_silent_or_firing"] == 0


def test_the_delay_is_what_operating_points_do_not_show(transistor_figures):
    # 500 neurons: the rms of their delays is that of the law to four standard errors, 13 %
    assert transistor_figures["rms_tau_c"] == pytest.approx(LAW.delay, rel=0.13)
    # kick and delay are known to 0.0006 and meet slope errors of 3 %, which the first transient takes up
    assert transistor_figures["rms_known_delay_tau_c"] < 1e-10
    assert abs(transistor_figures["energy_relative_bias"]) < 1e-10


def test_without_the_model_or_any_one_term_predictions_are_worse(figures):
    assert figures["rms_without_model_tau_c"] > 0.05  # 5 % of times near 2, several terms
    assert set(figures["rms_without_term_tau_c"]) == {"synapse", "slope", "threshold", "capacitance"}
    for value in figures["rms_without_term_tau_c"].values():
        assert 0.01 < value < 2 * figures["rms_without_model_tau_c"]


def test_every_neuron_is_judged_once(figures, transistor_figures):
    assert (figures["n_neurons"], figures["n_stimuli"], figures["silent"]) == (500, 8, 0)
    assert (transistor_figures["n_neurons"], transistor_figures["n_stimuli"]) == (500, 3)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["figures", "transistor_figures"])
def test_intervals_of_the_fitted_law_cover_their_level(request, kind, level):
    found = request.getfixturevalue(kind)
    low, high = found[f"coverage_{level}_ci"]
    assert low <= found[f"coverage_{level}"] <= high
    # stimuli of one neuron are correlated, so 500 neurons count: four standard errors
    p = level / 100
    assert abs(found[f"coverage_{level}"] - p) < 4 * np.sqrt(p * (1 - p) / 500)


def test_a_fit_does_not_see_the_pattern_that_it_is_judged_on(transistors, transistor_figures, monkeypatch):
    """Neurons and nominal runs of the other patterns only."""
    seen, real = [], holdout.extract

    def watched(dataset):
        seen.append((set(dataset["sample"].values % 5), set(dataset["nominal"].values % 5)))
        return real(dataset)

    monkeypatch.setattr(holdout, "extract", watched)
    assert figures_of(transistors) == transistor_figures
    assert seen[0] == ({*range(5)}, {*range(5)})
    assert seen[1:] == [(({*range(5)} - {k}),) * 2 for k in range(5)]


def test_intervals_of_a_wrong_law_do_not_cover(ideal, monkeypatch):
    real = holdout.law_of

    def half(terms, units):
        return real({k: t._replace(std=0.4 * t.std) for k, t in terms.items()}, units)

    monkeypatch.setattr(holdout, "law_of", half)
    assert figures_of(ideal)["coverage_95"] < 0.75  # +-0.8 sigma instead of +-1.96 holds 58 %


def test_a_technology_without_spread_is_covered_whole(make_dataset):
    names = ("synapse_source", "synapse_sink", "slope", "threshold", "capacitance")
    found = figures_of(make_dataset(25, dict.fromkeys(names, 0.0)))
    assert found["coverage_50"] == found["coverage_95"] == 1.0
    # 25 of 25 neurons: Clopper-Pearson, 0.025^(1/25)
    assert found["coverage_95_ci"] == pytest.approx([0.8628, 1.0], abs=1e-4)


def test_neurons_that_never_fire_are_not_predicted_to_perfection(make_dataset):
    silent = make_dataset(25).copy(deep=True)
    random = [s for s in silent["stimulus"].values if str(s).startswith("random_")]
    silent["spike_time"].loc[{"stimulus": random}] = np.inf
    with pytest.raises(InputError, match="neurons that fire under two"):
        figures_of(silent)


def test_the_delay_is_known_from_the_first_spike_of_each_neuron(ideal):
    late = ideal.copy(deep=True)
    late["spike_time"].loc[{"stimulus": "random_0"}] = np.inf
    late["spike_time"].loc[{"stimulus": ["random_1", "random_2"]}] += 0.1
    # relative to random_1 five of the six others are off by 0.1, and random_2 is not
    expected = 0.1 * np.sqrt(5 / 6)
    assert figures_of(late)["rms_known_delay_tau_c"] == pytest.approx(expected, rel=1e-9)


def test_one_changed_spike_time_shows_in_the_residual(ideal):
    wrong = ideal.copy(deep=True)
    wrong["spike_time"].loc[{"stimulus": "random_0"}] += 0.1
    # one stimulus of eight is off by 0.1
    assert figures_of(wrong)["rms_tau_c"] == pytest.approx(0.1 / np.sqrt(8), rel=1e-9)


def test_silent_and_early_spikes_are_counted_and_left_out_of_the_residual(ideal, figures):
    wrong = ideal.copy(deep=True)
    wrong["spike_time"].loc[{"stimulus": "random_0", "sample": [3, 4, 5]}] = np.inf
    wrong["spike_time"].loc[{"stimulus": "random_1", "sample": 7}] = 0.0
    changed = figures_of(wrong)
    assert (changed["silent"], changed["early"]) == (3, 1)
    assert changed["wrongly_silent_or_firing"] == 3
    # the early one is off by its own time, 2 to 5, of 3,997 spikes
    assert 2.0 / np.sqrt(3997) < changed["rms_tau_c"] < 5.0 / np.sqrt(3997)


def test_one_weight_pattern_cannot_be_held_out(ideal):
    with pytest.raises(InputError, match="at least two weight patterns"):
        figures_of(ideal.isel(sample=slice(0, None, 5)))
