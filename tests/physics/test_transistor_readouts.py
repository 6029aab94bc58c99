"""A layer of transistors that is sampled: what its circuit gives is what the equation says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_transistors import read_out_plan

from circuits.benches.device_noise import BOLTZMANN, draw
from circuits.benches.neuron_waveforms import measure
from circuits.benches.readout import SHARE
from circuits.biasing.cell_figures import figures
from circuits.biasing.choose import choose
from circuits.biasing.transistor_layer import TransistorNeuron
from circuits.model.layer import Layer
from circuits.pdk.technology import Technology
from circuits.simulation import expected_response, simulate
from circuits.spice.ngspice import Ngspice
from montecarlo.extraction.from_samples import nominal_residual, systematic
from montecarlo.extraction.known_chip import known, perfect
from montecarlo.mismatch.chip import draw as draw_chip

GENERIC = Technology.load("generic130")
WEIGHTS = np.array([[0.5, -0.25, 0.25, 0.0], [-0.25, 0.5, -0.5, 0.25]])
TIMES = np.array([0.2, 0.6, np.inf, 0.9])


@pytest.fixture(scope="module")
def kind() -> TransistorNeuron:
    rng = np.random.default_rng(0)
    layer = Layer(WEIGHTS, [0.0, 0.0], 1.0, 1.0, spiking=False)
    (bias,) = choose([layer], rng.uniform(0, 1, (32, 4)), GENERIC, figures(GENERIC), units=8)
    return TransistorNeuron(bias)


@pytest.fixture(scope="module")
def nominal(kind):
    return simulate(kind.layer, TIMES, kind)


def test_samples_are_those_of_the_equation(kind, nominal):
    assert np.isinf(nominal.delay).all()
    expected = expected_response(kind.layer, TIMES, kind).v_t_min
    assert np.abs(nominal.v_t_min - expected).max() < 0.05  # figures of cells; a campaign is sharper
    assert nominal.supplies == ("source", "comparator", "latch")
    assert nominal.energy_by_supply.shape == (1, 2, 3, 2)
    assert not nominal.energy_by_supply[:, :, 1:].any()
    charge = np.maximum(WEIGHTS, 0) @ np.nan_to_num(1.0 - TIMES, neginf=0.0)
    supplied = nominal.energy_by_supply[0, :, 0, 0] / kind.point.unit_energy
    assert supplied == pytest.approx(charge, rel=0.15)  # and what switches on


def test_a_chip_deviates_as_its_devices_say(kind, nominal):
    (chip,) = draw_chip([kind.layer], [kind], GENERIC, 3, 1)
    terms = known(kind, chip, {}, perfect(kind)).terms
    wanted = expected_response(kind.layer, TIMES, kind, terms).v_t_min
    expected = expected_response(kind.layer, TIMES, kind).v_t_min
    found = simulate(kind.layer, TIMES, kind, chip).v_t_min - nominal.v_t_min
    assert np.abs(found).max() > 2e-3
    assert found == pytest.approx(wanted - expected, abs=1e-3)


def test_silent_synapses_may_be_left_out(kind, nominal):
    """What they leak is less than a thousandth."""
    less = dataclasses.replace(kind, leave_out=True)
    benches = less.benches(TIMES)
    assert "gw2" not in benches[0].deck.text
    assert simulate(kind.layer, TIMES, less).v_t_min == pytest.approx(nominal.v_t_min, abs=1e-3)


def test_noise_of_a_sample_is_that_of_the_hold_capacitor(kind):
    bench, point = kind.benches(TIMES)[0], kind.point
    rng = np.random.default_rng(2)
    quiet = np.zeros(4)
    trials = [draw(quiet, TIMES, bench.phases, point, GENERIC, None, rng, share=SHARE) for _ in range(400)]
    wanted = np.sqrt(BOLTZMANN * 300.15 / (SHARE * point.c_mem))
    assert np.std([t.reset for t in trials]) == pytest.approx(wanted, rel=4 / np.sqrt(800))


def test_a_campaign_shows_the_constants(tmp_path):
    """Potentials of eight synapses to a few thousandths of a unit; devices and noise are measured, too."""
    plan = dataclasses.replace(
        read_out_plan(2, patterns=2, count=10), nominal=20, trials=2, random=10, batch=2
    )
    dataset = plan.run(tmp_path / "run.zarr").load()
    assert not dataset["status"].values.any()
    constants, errors = systematic(dataset)
    assert constants.gain_source == pytest.approx(1.0, abs=0.1)
    assert 0 < constants.turn_on_source < 0.1
    assert np.std(nominal_residual(dataset, constants)) < 3e-3
    assert errors["gain_source"] < 0.05
    assert np.isinf(dataset["spike_time"].values).all()
    noise = dataset["trial_v_t_min"].values - dataset["nominal_v_t_min"].values[0]
    assert 0 < np.abs(noise).max() < 0.02
    one = measure(bench := plan.neuron.bench(*_first(plan)), Ngspice().run(bench.deck))
    assert one.v_t_min == pytest.approx(float(dataset["nominal_v_t_min"][0]), abs=1e-3)


def _first(plan):
    stim = plan.neuron.stimuli
    return stim.nominal_weight[0], stim.nominal_input_time[0]
