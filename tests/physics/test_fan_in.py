"""Operating points at transistor level: neurons of 8 to 784 synapses fire when they must, as expected."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from circuits.benches.neuron import neuron_bench
from circuits.biasing.bounds import Bounds
from circuits.biasing.cell_figures import Figures, figures
from circuits.biasing.choose import OBJECTIVES, choose
from circuits.biasing.transistor_layer import TransistorNeuron, read
from circuits.errors import InputError
from circuits.model.coding import encode
from circuits.model.layer import Layer
from circuits.pdk.technology import Technology
from circuits.simulation import expected_response, simulate
from circuits.spice.ngspice import Ngspice

ROOT = Path(__file__).resolve().parents[2]
SIZES = [8, 128, *(pytest.param(k, marks=pytest.mark.slow) for k in (16, 32, 64, 256, 512, 784))]
TECHNOLOGY = Technology.load("generic130")


@pytest.fixture(scope="module")
def fan_in():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import fan_in

    sys.path.remove(str(ROOT / "benchmarks"))
    return fan_in


@pytest.fixture(scope="module")
def simulator() -> Ngspice:
    return Ngspice()


@pytest.fixture(scope="module")
def measured(simulator) -> Figures:
    return figures(TECHNOLOGY, simulator=simulator)


@pytest.mark.parametrize("k", SIZES)
def test_a_neuron_of_any_fan_in_fires_when_it_must_and_only_then(fan_in, simulator, measured, k):
    """Nothing is fitted to these neurons: 2 % of tau_c is left; the ideal equation with the comparator's
    delay misses by up to 6 %. The membrane is what was asked for to 1 %."""
    one = fan_in.case(k, TECHNOLOGY, measured, "spread", simulator)
    found = fan_in.simulate(one, simulator)
    _, error, right = fan_in.judge(one, found)
    assert right
    assert np.abs(error).max() < 0.02
    slope = float(np.median([m.slope for m in found[:-2]]))
    assert fan_in.capacitance(one, slope, simulator) == pytest.approx(one.bias.point.c_mem, rel=0.01)


def test_without_an_operating_point_of_its_own_a_large_fan_in_is_refused():
    with pytest.raises(InputError, match="synapses and the neuron hang"):
        neuron_bench(TECHNOLOGY, np.full(512, 0.125), np.full(512, np.inf))


def small() -> tuple[Layer, np.ndarray]:
    rng = np.random.default_rng(5)
    layer = Layer(rng.normal(size=(2, 8)) * 0.3, [0.2, 0.0], t_min=1.0, t_max=2.5, slope=[1.0, 1.5])
    return layer, np.where(rng.random((6, 8)) < 0.6, rng.uniform(0.1, 0.9, (6, 8)), 0.0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_gives_a_circuit_that_keeps_its_promises(simulator, measured, objective):
    """Spike times to 3 % of tau_c (charges are those of the technology's own point); energy to 15 %."""
    layer, x = small()
    (bias,) = choose([layer], x, TECHNOLOGY, measured, objective=objective)
    spikes, wanted, energy = [], [], []
    for row in x[:3]:
        found = read(TransistorNeuron(bias).benches(encode(row, 1.0)), simulator)
        spikes.append([m.spike_time for m in found])
        energy.append([m.total for m in found])
        known = expected_response(bias.layer, encode(row, 1.0), TransistorNeuron(bias))
        wanted.append(known.delay[0] + bias.delays)
        low = bias.point.unit_free(bias.point.v_low)
        assert all(m.lowest >= low for m in found)
    np.testing.assert_allclose(spikes, wanted, atol=0.03)
    assert np.mean(energy) == pytest.approx(bias.worth.energy.mean(), rel=0.15, abs=0)


def test_leakage_is_what_a_silent_input_shows(simulator, measured):
    """128 sinks that are off, 85 C and long windows: the membrane droops by what the figures say, to 15 %."""
    hot = figures(TECHNOLOGY, temperature=85.0, simulator=simulator)
    assert 8 < hot.leak_sink / measured.leak_sink < 20
    layer = Layer(-np.full((1, 128), 1 / 8), [2.5], t_min=3.0, t_max=6.0)
    x = np.zeros((1, 128))
    x[0, 0] = 0.5
    (bias,) = choose([layer], x, TECHNOLOGY, hot, bounds=Bounds(leakage=0.2))
    neuron = TransistorNeuron(bias, temperature=85.0)
    (found,) = read(neuron.benches(np.full(128, np.inf)), simulator)
    droop = bias.worth.leakage[0] * (layer.t_min + 0.05) / (layer.t_min + layer.window)
    assert found.v_t_min == pytest.approx(droop, rel=0.15)
    assert found.v_t_min < -0.003


def test_the_next_layer_gets_activations_with_the_delay_taken_off(simulator, measured):
    layer, x = small()
    (bias,) = choose([layer], x, TECHNOLOGY, measured)
    found = simulate(layer, encode(x[0], 1.0), TransistorNeuron(bias), simulator=simulator)
    ideal = (layer.theta - layer.weights @ x[0]) / layer.slope
    want = np.where(ideal < layer.window, layer.window - ideal, 0.0)
    np.testing.assert_allclose(
        found.activation(layer.window)[0], want, atol=0.15
    )  # rounding of weights and charges


def test_figures_are_those_of_the_cells(measured):
    """Against separate measurements of the same cells: 9 % and 7 % a unit mirror, 13 mV, 15 ns."""
    assert measured.spread(1, 31.25e-9) == pytest.approx(0.0905, rel=0.03)
    assert measured.spread(-1, 31.25e-9) == pytest.approx(0.068, rel=0.03)
    assert measured.offset == pytest.approx(12.9e-3, rel=0.03)
    assert measured.delay == pytest.approx(15e-9, rel=0.03)
    assert measured.gm_over_i(1, 3.1e-9) == pytest.approx(23.3, rel=0.02)
    unit_charge = measured.unit * 100e-9
    assert measured.extra_source[-1] / measured.counts[-1] / unit_charge == pytest.approx(0.042, abs=0.006)
    assert -measured.extra_sink[-1] / measured.counts[-1] / unit_charge == pytest.approx(0.050, abs=0.006)


def test_the_delay_follows_slope_and_tail_as_stated(simulator, measured):
    """delay ~ slope^-0.4 I_tail^-0.5 to 10 %, over a factor of ten of each."""
    process = TECHNOLOGY.transistors()
    slow = dataclasses.replace(TECHNOLOGY.operating_point, tau_c=1e-6, i_unit=25e-9)
    weak = dataclasses.replace(process, currents={**process.currents, "tail": 100e-9})
    for point, own, factor in ((slow, process, 10**0.4), (TECHNOLOGY.operating_point, weak, 2.0)):
        other = dataclasses.replace(TECHNOLOGY, operating_point=point, process=own)
        found = figures(other, simulator=simulator)
        assert found.delay / measured.delay == pytest.approx(factor, rel=0.1)
