"""Spike times give every device's deviation back."""

from __future__ import annotations

import numpy as np
import pytest

from montecarlo.extraction.from_spike_times import as_mismatch, extract, weights_of


@pytest.mark.parametrize("synapses", [1, 2, 8])
def test_extraction_finds_what_was_drawn(make_dataset, synapses):
    dataset = make_dataset(50, entropy=2, synapses=synapses)
    found = extract(dataset)
    for name in ("synapse", "slope", "threshold", "capacitance"):
        # differences of float64 times of size 5, divided by charges down to 0.2: about 1e-14
        np.testing.assert_allclose(found[name].values, dataset[f"deviation_{name}"].values, atol=1e-12)


def test_each_term_is_seen_by_itself(make_dataset):
    names = ("synapse_source", "synapse_sink", "slope", "threshold", "capacitance")
    for name in names:
        found = extract(make_dataset(20, {**dict.fromkeys(names, 0.0), name: 0.1}))
        short = name.split("_")[0]
        for other in ("synapse", "slope", "threshold", "capacitance"):
            spread = float(np.abs(found[other].values).max())
            # 10 % sigma moves the largest of 20 by more than 5 %; the others by rounding only
            assert spread > 0.05 if other == short else spread < 1e-12


def test_the_injected_values_are_not_looked_at(make_dataset):
    dataset = make_dataset(20)
    blind = dataset.copy(deep=True)
    for name in ("synapse", "slope", "threshold", "capacitance"):
        blind[f"deviation_{name}"].values[:] = np.nan
    assert extract(blind).identical(extract(dataset))


def test_a_stimulus_that_did_not_fire_leaves_only_its_own_device_unknown(make_dataset):
    dataset = make_dataset(20)
    dataset["spike_time"].loc[{"sample": 3, "stimulus": "synapse_2"}] = np.inf
    dataset["spike_time"].loc[{"sample": 4, "stimulus": "synapse_5"}] = 0.0
    found = extract(dataset)["synapse"].values
    assert np.argwhere(np.isnan(found)).tolist() == [[3, 2], [4, 5]]


def test_without_a_ramp_nothing_but_the_capacitance_is_known(make_dataset):
    dataset = make_dataset(20)
    dataset["spike_time"].loc[{"sample": 3, "stimulus": "ramp_low"}] = np.inf
    found = extract(dataset).isel(sample=3)
    assert np.isnan(found["synapse"]).all()
    assert np.isnan(found["slope"])
    assert np.isnan(found["threshold"])
    assert np.isfinite(found["capacitance"])


def test_samples_carry_the_patterns_in_turn(make_dataset):
    dataset = make_dataset(12)
    weights = weights_of(dataset)
    assert weights.shape == (12, 8)
    assert np.array_equal(weights[7], dataset["weight"].values[2])
    assert np.array_equal(weights_of(dataset.isel(sample=[7]))[0], weights[7])


def test_samples_become_the_neurons_of_one_layer(make_dataset):
    dataset = make_dataset(15)
    found = as_mismatch(extract(dataset))
    assert found.synapse.shape == (1, 15, 8)
    assert found.slope.shape == (1, 15)
    # rounding, as above
    np.testing.assert_allclose(found.synapse[0], dataset["deviation_synapse"].values, atol=1e-12)
