"""A characterization at transistor level: stored, resumed, bit-identical, and true."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from circuits import Technology
from circuits.benches.neuron import neuron_bench
from circuits.benches.operating_points import static
from circuits.errors import SimulatorError
from circuits.spice.ngspice import Ngspice
from montecarlo import Campaign
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.from_operating_points import nominal_residual
from montecarlo.extraction.prediction import spike_times, weights_of
from montecarlo.mismatch.transistors import draw
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.noise.terms import NAMES

GENERIC = Technology.load("generic130")


def plan(**options) -> Campaign:
    made = Campaign.characterize(GENERIC, 24, 5, synapses=4)
    return dataclasses.replace(made, **{"nominal": 30, "trials": 3, "random": 2, "batch": 4, **options})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> xr.Dataset:
    folder: Path = tmp_path_factory.mktemp("campaign")
    return plan().run(folder / "run.zarr", workers=2).load()


def test_nothing_fails_and_everything_has_units(dataset):
    assert np.all(dataset["status"].values == 0)
    assert np.all(dataset["nominal_status"].values == 0)
    assert np.all(dataset["trial_status"].values == 0)
    assert dataset["supply"].values.tolist() == ["source", "comparator", "latch"]
    assert (dataset.attrs["extraction"], dataset.attrs["t_min"], dataset.attrs["window"]) == (
        "operating_points",
        1.0,
        2.0,
    )
    assert np.all(np.isfinite(dataset["spike_time"].values))
    assert all("units" in v.attrs for v in dataset.variables.values())


def left_over(dataset, devices) -> np.ndarray:
    """Spike times of transients less their prediction, without the delays that come from them."""
    known = dataclasses.replace(devices, deviations=devices.deviations.drop_vars("delay"))
    predicted = spike_times(dataset, weights_of(dataset), known.mismatch, devices.constants)
    return dataset["spike_time"].values - predicted


def test_constants_and_operating_points_predict_transients(dataset):
    """Without a model spike times miss by several per cent of tau_c; delay mismatch, about 1 %, remains."""
    devices = extract(dataset)
    constants, residual = devices.constants, left_over(dataset, devices)
    assert np.std(nominal_residual(dataset, constants)) < 2e-3
    assert constants.gain_source == pytest.approx(1.0, abs=0.01)
    assert constants.gain_sink == pytest.approx(1.0, abs=0.01)
    assert constants.delay == pytest.approx(0.15, abs=0.02)  # measured in CIRCUITS.md
    alone = dataset["spike_time"].values - spike_times(dataset, weights_of(dataset), None, constants)
    assert np.std(residual) < 0.02
    assert np.std(residual) < np.std(alone) / 3
    # what remains is each neuron's delay: the same under every input
    assert np.sqrt(np.mean((residual[:, 1:] - residual[:, :1]) ** 2)) < 0.005


def test_a_wrong_assignment_of_errors_predicts_nothing(dataset):
    """The same errors dealt to other neurons: the agreement above is no accident of their size."""
    devices = extract(dataset)
    rolled = dataclasses.replace(devices, deviations=devices.deviations.roll(sample=5))
    assert np.std(left_over(dataset, rolled)) > 3 * np.std(left_over(dataset, devices))


def test_the_noise_model_of_transistors_predicts_what_it_has_not_seen(dataset, tmp_path):
    model = NoiseModel.fit(dataset)
    assert set(model.terms) == set(NAMES)
    assert NoiseModel.load(model.save(tmp_path / "noise.json")) == model
    # a slope that is wrong by 3 % over two inputs that differ by 1 tau_c would leave 0.03
    assert model.holdout["rms_known_delay_tau_c"] < 0.005
    # of each neuron its comparator's current is unknown, 14 % of half the energy; 24 of them: four errors
    assert abs(model.holdout["energy_relative_bias"]) < 4 * 0.07 / np.sqrt(24)
    at_point = {(s, p): c["value"] for s, parts in model.energy.items() for p, c in parts.items()}
    assert at_point["source", "synapse"] == pytest.approx(1.0, abs=0.1)
    assert at_point["source", "slope"] == pytest.approx(1.0, abs=0.1)
    assert at_point["comparator", "bias"] == pytest.approx(400e-9, rel=0.2)  # the tail current it is given


def test_a_campaign_that_is_cut_off_resumes_to_the_same_bits(dataset, tmp_path):
    def cut(done: int, total: int) -> None:
        if done >= 30 + 3 + 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan().run(tmp_path / "run.zarr", progress=cut)
    calls: list[tuple[int, int]] = []
    resumed = plan().run(tmp_path / "run.zarr", workers=2, progress=lambda *c: calls.append(c)).load()
    assert calls[0] == (37, 57)  # what was written before stays
    xr.testing.assert_identical(resumed, dataset)


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


def test_a_transient_that_fails_is_data_in_each_part(tmp_path, monkeypatch):
    real = Ngspice._run

    def picky(self, decks, texts, *rest, **options):
        if any(".tran" in deck.text for deck in decks):
            raise SimulatorError("Timestep too small\n| more")
        return real(self, decks, texts, *rest, **options)

    monkeypatch.setattr(Ngspice, "_run", picky)
    failed = plan(samples=2, nominal=1, trials=1, batch=2).run(tmp_path / "run.zarr").load()
    assert failed["reason"].values.tolist() == ["Timestep too small"] * 2
    for part, measured in (("", "spike_time"), ("nominal_", "nominal_energy"), ("trial_", "trial_v_t_min")):
        assert np.all(failed[f"{part}status"].values == 1)
        assert np.all(np.isnan(failed[measured].values))
    assert np.all(np.isfinite(failed["deviation_synapse"].values))


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
