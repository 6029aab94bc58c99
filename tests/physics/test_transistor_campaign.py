"""A characterization at transistor level: stored, resumed, bit-identical, and true."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from montecarlo.campaign.transistor_campaign import TransistorCampaign

from circuits import InputError, Technology
from circuits.benches.neuron import neuron_bench
from circuits.benches.operating_points import static
from circuits.errors import SimulatorError
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign import transistor_campaign
from montecarlo.extraction.from_operating_points import CONSTANTS, predict, summary, systematic
from montecarlo.mismatch.transistors import draw

GENERIC = Technology.load("generic130")


def plan(**options) -> TransistorCampaign:
    made = TransistorCampaign.characterize(GENERIC, 12, 5, synapses=4)
    return dataclasses.replace(made, **{"nominal": 24, "trials": 3, "random": 2, "batch": 4, **options})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> xr.Dataset:
    folder: Path = tmp_path_factory.mktemp("campaign")
    return plan().run(folder / "run.zarr", workers=2).load()


def test_nothing_fails_and_everything_has_units(dataset):
    assert np.all(dataset["status"].values == 0)
    assert np.all(dataset["nominal_status"].values == 0)
    assert np.all(np.isfinite(dataset["spike_time"].values))
    assert all("units" in v.attrs for v in dataset.variables.values())


def test_constants_of_the_nominal_circuit_and_the_frozen_errors_predict_transients(dataset):
    """Without a model spike times miss by several per cent of tau_c; delay mismatch, about 1 %, remains."""
    constants = systematic(dataset)
    assert constants.rms < 2e-3
    assert constants["gain_source"] == pytest.approx(1.0, abs=0.01)
    assert constants["gain_sink"] == pytest.approx(1.0, abs=0.01)
    time = dataset["spike_time"].values
    left = np.std(time - predict(dataset, constants))
    alone = np.std(time - predict(dataset, constants, frozen=False))
    assert left < 0.02
    assert left < alone / 3


def test_a_wrong_assignment_of_errors_predicts_nothing(dataset):
    """The same errors dealt to other neurons: the agreement above is no accident of their size."""
    names = ["deviation_synapse", "deviation_slope", "deviation_threshold", "deviation_capacitance"]
    rolled = dataset.assign({n: (dataset[n].dims, np.roll(dataset[n].values, 5, axis=0)) for n in names})
    constants, time = systematic(dataset), dataset["spike_time"].values
    assert np.std(time - predict(rolled, constants)) > 3 * np.std(time - predict(dataset, constants))


def test_the_summary_names_every_term_and_constant(dataset):
    found = summary(dataset)
    assert set(found["systematic"]) == set(CONSTANTS)
    assert found["check"]["spike_time_rms_known_delay_tau_c"] < found["check"]["spike_time_rms_tau_c"]
    assert sum(found["energy_j"]["by_supply"].values()) == pytest.approx(found["energy_j"]["mean"])
    assert 2e-14 < found["energy_j"]["mean"] < 3e-13


def test_a_campaign_that_is_cut_off_resumes_to_the_same_bits(dataset, tmp_path, monkeypatch):
    real, seen = transistor_campaign.run_batch, []

    def counted(plan, batch, simulator):
        seen.append(batch)
        if len(seen) == 5:
            raise SimulatorError("the power failed")
        return real(plan, batch, simulator)

    monkeypatch.setattr(transistor_campaign, "run_batch", counted)
    with pytest.raises(SimulatorError, match="power"):
        plan().run(tmp_path / "run.zarr")
    monkeypatch.setattr(transistor_campaign, "run_batch", real)
    calls: list[tuple[int, int]] = []
    found = plan().run(tmp_path / "run.zarr", workers=2, progress=lambda *c: calls.append(c)).load()
    assert 0 < calls[0][0] < calls[0][1]  # what was written before stays
    xr.testing.assert_identical(found, dataset)


def test_another_plan_does_not_take_over_a_store(dataset, tmp_path):
    small = plan(samples=2, nominal=1, trials=1, batch=2)
    small.run(tmp_path / "run.zarr")
    with pytest.raises(InputError, match="another campaign"):
        dataclasses.replace(small, corner="ss").run(tmp_path / "run.zarr")


def test_a_transient_that_does_not_converge_is_run_again_more_exactly(tmp_path, monkeypatch):
    """Runs at the campaign setting (with bypass) fail here; those at the converged setting go through."""
    real = Ngspice._run

    def picky(self, decks, texts, *rest, **options):
        if any("bypass=1" in deck.text for deck in decks):
            raise SimulatorError("Timestep too small")
        return real(self, decks, texts, *rest, **options)

    monkeypatch.setattr(Ngspice, "_run", picky)
    found = plan(samples=2, nominal=1, trials=1, batch=2).run(tmp_path / "run.zarr").load()
    assert found["retried"].values.tolist() == [2, 2]
    assert found["status"].values.tolist() == [0, 0]


def test_a_sample_that_fails_is_data(tmp_path, monkeypatch):
    real = Ngspice._run

    def picky(self, decks, texts, *rest, **options):
        if any("mu_cmp_m1" in deck.text and ".tran" in deck.text for deck in decks):
            raise SimulatorError("Timestep too small\n| more")
        return real(self, decks, texts, *rest, **options)

    monkeypatch.setattr(Ngspice, "_run", picky)
    found = plan(samples=2, nominal=1, trials=1, batch=2).run(tmp_path / "run.zarr").load()
    assert found["status"].values.tolist() == [1, 1]
    assert found["reason"].values.tolist() == ["Timestep too small"] * 2
    assert np.all(np.isnan(found["spike_time"].values))


def test_static_currents_follow_the_matching_of_the_process():
    """sigma(ln I) = hypot(gm/I sigma_VT, sigma_beta), here 9.3 % for a unit source; 96 draws, 4 errors."""
    weights = np.array([0.125, 0.125, 0.125])
    bench = neuron_bench(GENERIC, weights, np.full(3, 0.5)).bench
    rng = np.random.default_rng(1)
    own = [d for d in bench.devices if not d.path.startswith("ref_")]
    copies = [draw(own, rng) for _ in range(32)]
    found = static(GENERIC, weights, copies)
    log = np.log(found.synapse)
    sigma, error = log.std(ddof=1), log.std(ddof=1) / np.sqrt(2 * (log.size - 1))
    unit = next(d for d in own if d.path == "w0_ma")
    predicted = np.hypot(20.0 * unit.sigma_vth, unit.sigma_beta)
    assert abs(sigma - predicted) < 4 * error
    assert abs(sigma - 2 * predicted) > 4 * error
    assert found.trip.std() == pytest.approx(12.9e-3, rel=0.5)
