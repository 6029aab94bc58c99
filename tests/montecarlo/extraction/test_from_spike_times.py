"""Spike times give every device's deviation back."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.prediction import activations, only_complete, spike_times, weights_of
from montecarlo.extraction.terms import spreads
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.noise.noise_model import NoiseModel

NAMES = ("synapse", "slope", "threshold", "capacitance")


@pytest.mark.parametrize("synapses", [1, 8])
def test_extraction_inverts_the_closed_form(make_dataset, synapses):
    dataset = make_dataset(50, entropy=2, synapses=synapses)
    devices = extract(dataset)
    for name in NAMES:
        # differences of float64 times of size 5, divided by charges down to 0.2: about 1e-14
        injected = dataset[f"deviation_{name}"].values
        np.testing.assert_allclose(devices.deviations[name].values, injected, atol=1e-12)
    predicted = spike_times(dataset, weights_of(dataset), devices.mismatch)
    own = dataset["stimulus"].values != "reference"  # there the slope is a test current
    np.testing.assert_allclose(predicted[:, own], dataset["spike_time"].values[:, own], atol=1e-12)


def test_offset_and_capacitor_are_told_apart_to_second_order(make_dataset):
    """theta (1 + c) + o, not (theta + o)(1 + c): at 10 % each they differ by 1 %, not by rounding."""
    sigma = {"synapse_source": 0.0, "synapse_sink": 0.0, "slope": 0.0, "threshold": 0.1, "capacitance": 0.1}
    dataset = make_dataset(50, sigma)
    o, c = (dataset[f"deviation_{n}"].values for n in ("threshold", "capacitance"))
    np.testing.assert_allclose(extract(dataset).deviations["threshold"].values, o, atol=1e-12)
    assert np.abs(o * c).max() > 0.01
    # the slope is perfect: the ramp to theta = 4 ends when the charge is theta (1 + c) + o
    high = dataset["spike_time"].sel(stimulus="ramp_high").values
    np.testing.assert_allclose(high, 4.0 * (1 + c) + o, atol=1e-12)


def test_the_injected_values_are_not_looked_at(make_dataset):
    dataset = make_dataset(20)
    blind = dataset.copy(deep=True)
    for name in NAMES:
        blind[f"deviation_{name}"].values[:] = np.nan
    assert extract(blind).deviations.identical(extract(dataset).deviations)


@pytest.mark.parametrize("units", [None, 4])
def test_sums_of_a_wide_neuron_tell_the_sigmas_that_were_injected(tmp_path, units):
    """40 x 128 sums a sign: a sigma to 1 %; asked one by one the same neurons would take 600 stimuli."""
    law = MismatchLaw(units=units, synapse_source=0.03, synapse_sink=0.06, slope=0.02)
    plan = Campaign.characterize(Technology.load("ideal"), 40, 3, synapses=600, law=law)
    dataset = plan.run(tmp_path / "s.zarr", level="closed-form").load()
    assert dataset.sizes["stimulus"] == 3 + 256 + 8
    devices = extract(dataset)
    x = activations(dataset)
    assert np.array_equal(x[3:-8].sum(0), np.ones(600))  # every synapse once
    found = spreads(dataset, devices)
    assert found["synapse_source"].std == pytest.approx(0.03, rel=0.04)
    assert found["synapse_sink"].std == pytest.approx(0.06, rel=0.04)
    current = weights_of(dataset) * (1 + dataset["deviation_synapse"].values)
    sums = (current @ x[3:-8].T) / (weights_of(dataset) @ x[3:-8].T) - 1.0
    np.testing.assert_allclose(devices.deviations["synapse"].values[:, :256], sums, atol=1e-10)
    model = NoiseModel.fit(dataset, 0)
    low, high = model.terms["synapse_sink"].std_ci
    assert low < 0.06 < high
    assert high - low < 0.004


def test_a_stimulus_that_did_not_fire_leaves_its_device_unknown(make_dataset):
    dataset = make_dataset(20)
    dataset["spike_time"].loc[{"sample": 3, "stimulus": "synapse_2"}] = np.inf
    dataset["spike_time"].loc[{"sample": 4, "stimulus": "synapse_5"}] = 0.0
    dataset["spike_time"].loc[{"sample": 6, "stimulus": "ramp_low"}] = np.inf
    devices = extract(dataset)
    unknown = np.argwhere(np.isnan(devices.deviations["synapse"].values)).tolist()
    assert unknown == [[3, 2], [4, 5], *([6, j] for j in range(8))]
    assert np.isnan(devices.deviations["slope"].values[6])
    assert np.isfinite(devices.deviations["capacitance"].values[6])
    assert np.flatnonzero(~devices.complete).tolist() == [3, 4, 6]


def test_incomplete_neurons_are_dropped_with_their_devices_and_counted(make_dataset):
    dataset = make_dataset(200)
    dataset["spike_time"].loc[{"sample": 3, "stimulus": "synapse_2"}] = np.inf
    rest, devices, lost = only_complete(dataset, extract(dataset))
    assert lost == 1
    assert 3 not in rest["sample"].values
    assert devices.mismatch.synapse.shape == (1, 199, 8)
    # samples keep the pattern of their number, not of their place
    assert np.array_equal(weights_of(rest), np.delete(weights_of(dataset), 3, axis=0))
