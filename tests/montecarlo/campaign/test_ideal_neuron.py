"""Neurons of ideal sources under test: draws that do not depend on their batch, and what is measured."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from circuits.model import closed_form
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Canceled, HostError
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.ideal_neuron import draw_samples
from montecarlo.campaign.neuron_under_test import attempt
from montecarlo.campaign.schema import MEASURED
from montecarlo.mismatch.law import TERMS

PLAN = dataclasses.replace(
    Campaign.characterize(Technology.load("ideal"), 5, 11, synapses=2), patterns=2, random=1, batch=2
)
"""Five samples in batches of 2, 2 and 1; six stimuli."""
FIELDS = ("synapse", "slope", "threshold", "capacitance", "delay")
LAW = dataclasses.replace(
    PLAN.law, delay=0.01, common=(("slope", 0.1),), reference=tuple((t, 0.1) for t in TERMS)
)


@pytest.mark.parametrize("law", [PLAN.law, LAW])
def test_a_sample_does_not_depend_on_its_batch_or_its_place_in_it(law):
    """No tolerance: the same draws, parts that a chip or a layer shares and delays included."""
    plan = dataclasses.replace(PLAN, law=law)
    together = draw_samples(plan, np.array([3, 1, 0, 4, 2]))
    for k, place in ((0, 2), (1, 1), (2, 4), (3, 0), (4, 3)):
        alone = draw_samples(plan, np.array([k]))
        for field in FIELDS:
            assert np.array_equal(getattr(together, field)[:, place], getattr(alone, field)[:, 0])


@pytest.mark.parametrize("level", ["closed-form", pytest.param("ngspice", marks=pytest.mark.ngspice)])
def test_each_sample_is_measured_under_each_stimulus(tmp_path, level):
    """Against the closed form of the deviations in the file, 1e-10: 1e-12 of rounding, with room for
    times of up to 6 units and their division by slopes."""
    dataset = PLAN.run(tmp_path / "store", level=level).load()
    assert np.all(dataset["status"] == 0)
    assert np.all(dataset["reason"] == "")
    samples, stim = np.arange(5), PLAN.neuron.stimuli
    mismatch = draw_samples(PLAN, samples)
    for field in FIELDS:
        assert np.array_equal(dataset[f"deviation_{field}"], getattr(mismatch, field)[0])
    for s, label in enumerate(stim.label):
        part = mismatch
        if label == "reference":  # the test current stands in for the slope source, and is perfect
            part = dataclasses.replace(mismatch, slope=np.zeros((1, 5)))
        wanted = closed_form.response(stim.layer(s, samples), stim.input_time[s], PLAN.point, part)
        measured = dataset.isel(stimulus=s)
        np.testing.assert_allclose(measured["spike_time"], wanted.delay[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(measured["v_t_min"], wanted.v_t_min[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(measured["slope"], wanted.slope[0], rtol=1e-7)
        joules = wanted.energy_by_supply[0]
        np.testing.assert_allclose(measured["energy"], joules, rtol=1e-6, atol=1e-6 * joules.max())
        assert np.all(measured["delay"] == 0)
    assert np.array_equal(dataset["input_time"], stim.input_time)
    assert np.array_equal(dataset["weight"], stim.weights)
    assert np.array_equal(dataset["theta"], stim.theta)


@pytest.mark.ngspice
def test_a_run_that_fails_is_data_with_its_reason(tmp_path, monkeypatch):
    """A current of 1e300 units is more than the simulator can add up; draws are there all the same."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plan = dataclasses.replace(PLAN, point=dataclasses.replace(PLAN.point, i_unit=1e300, c_mem=1e-300))
    dataset = plan.run(tmp_path / "store").load()
    assert np.all(dataset["status"] == 1)
    assert all(str(r) and "\n" not in str(r) for r in dataset["reason"].values)
    assert np.all(np.isfinite(dataset["deviation_synapse"]))
    assert all(np.all(np.isnan(dataset[name])) for name in MEASURED)


@pytest.mark.parametrize("error", [HostError("no room on the disk"), Canceled("stopped")])
def test_a_fault_of_the_machine_is_no_data(error):
    def simulate():
        raise error

    with pytest.raises(type(error)):
        attempt(simulate)
