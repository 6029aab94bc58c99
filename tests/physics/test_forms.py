"""Every circuit form against its own closed form in ngspice; each tolerance with its reason."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.ideal import alpha, leaky, multiplier, pooling
from circuits.ideal.crossings import cross
from circuits.ideal.switched_sources import first_crossing
from circuits.model.layer import LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.spice.ngspice import Ngspice

POINT = OperatingPoint().fit_swing(-6.0, 8.0)
EXACT = 1e-12
"""Of the window: sums of some hundred currents and some hundred time steps, rounding only."""
ON_THE_GRID = 1e-8
"""tau_c: a time that itself is the output lies on the simulator's grid; half a tick is 5e-9 here."""


@pytest.fixture(scope="module")
def simulator() -> Ngspice:
    return Ngspice()


def deviations(rng, samples: int, n_out: int, n_in: int, sigma: float = 0.03) -> LayerMismatch:
    neuron = (sigma * rng.normal(size=(samples, n_out)) for _ in range(3))
    return LayerMismatch(sigma * rng.normal(size=(samples, n_out, n_in)), *neuron)


def relu_weights(rng, n_out: int, n_in: int, most: float = 0.9) -> np.ndarray:
    """Weights whose sum stays below `most` in every neuron."""
    w = rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)
    return w - np.maximum(w.sum(1, keepdims=True) - most, 0.0) / n_in


def inputs(rng, n_in: int) -> np.ndarray:
    t = rng.uniform(0, 1, n_in)
    t[rng.random(n_in) < 0.3] = np.inf
    return t


@pytest.mark.parametrize("trial", range(5))
def test_alpha_form_with_mismatch(simulator, trial):
    rng = np.random.default_rng(trial)
    layer = alpha.AlphaLayer.from_relu(relu_weights(rng, 8, 24), 0.5 * rng.normal(size=8), 1.0, 5.0)
    times, mismatch = inputs(rng, 24), deviations(rng, 3, 8, 24, 0.01)
    cell = alpha.cell(layer, times, POINT, mismatch)
    found = alpha.read(layer, POINT, cross([cell], simulator)[0].time, 3)
    assert np.max(np.abs(found - alpha.response(layer, times, mismatch))) <= EXACT * layer.t_max


@pytest.mark.parametrize("maker", ["from_relu", "equal_weights"])
def test_alpha_form_is_the_relu_network(rng, maker):
    """x = t_max - t equals relu(w x + b) for every alpha; a forced spike at t_max is x = 0. Rounding."""
    w, b, t = relu_weights(rng, 20, 12), rng.normal(size=20), inputs(rng, 12)
    layer = getattr(alpha.AlphaLayer, maker)(w, b, 1.0, 6.0)
    none = LayerMismatch(np.zeros((1, 20, 12)), *(np.zeros((1, 20)) for _ in range(3)))
    x = 5.0 - alpha.response(layer, t, none)[0]
    relu = np.maximum(w @ np.where(np.isfinite(t), 1.0 - t, 0.0) + b, 0.0)
    np.testing.assert_allclose(x, relu, rtol=0, atol=1e-13)
    if maker == "equal_weights":
        np.testing.assert_allclose(layer.slope, 1.0, atol=1e-14)
        np.testing.assert_allclose(layer.weights, w, rtol=1e-14)


def test_alpha_form_forces_a_last_spike_in_ngspice_too(simulator, rng):
    layer = alpha.AlphaLayer.from_relu(relu_weights(rng, 6, 8), np.full(6, -10.0), 1.0, 3.0)
    none = LayerMismatch(np.zeros((1, 6, 8)), *(np.zeros((1, 6)) for _ in range(3)))
    cell = alpha.cell(layer, inputs(rng, 8), POINT, none)
    found = alpha.read(layer, POINT, cross([cell], simulator)[0].time, 1)
    assert np.all(found == 2.0)


def test_always_positive_slope_needs_no_held_threshold(simulator, rng):
    w = rng.normal(size=(10, 16))
    w *= 0.9 / np.maximum(w, 0).sum(1, keepdims=True)  # positive weights sum to 0.9
    b, times = 0.2 * rng.normal(size=10), inputs(rng, 16)
    layer = alpha.AlphaLayer.from_relu(w, b, 1.0, 5.0, blocked=False)
    assert layer.positive_slope
    none = LayerMismatch(np.zeros((1, 10, 16)), *(np.zeros((1, 10)) for _ in range(3)))
    cell = alpha.cell(layer, times, POINT, none)
    assert cell.armed == 0
    rates = cell.sources.rows(cell.grid)[1]
    assert np.all(rates > 0)  # at every moment, whatever the order of inputs
    found = alpha.read(layer, POINT, cross([cell], simulator)[0].time, 1)
    assert np.max(np.abs(found - alpha.response(layer, times, none))) <= EXACT * layer.t_max


def test_alpha_form_whose_slope_a_deviation_turns_negative_is_forced(simulator):
    """B = alpha + sum J is small where sum w is very negative; +5 % on all synapses makes it negative."""
    layer = alpha.AlphaLayer.from_relu(np.full((1, 8), -4.0), np.zeros(1), 1.0, 5.0)
    mismatch = LayerMismatch(np.full((1, 1, 8), 0.05), *(np.zeros((1, 1)) for _ in range(3)))
    times = np.linspace(0.1, 0.8, 8)
    cell = alpha.cell(layer, times, POINT, mismatch)
    found = alpha.read(layer, POINT, cross([cell], simulator)[0].time, 1)
    assert found == alpha.response(layer, times, mismatch) == 4.0


def test_alpha_form_refuses_neurons_that_never_rise(rng):
    with pytest.raises(InputError, match="below 1"):
        alpha.AlphaLayer.from_relu(np.full((1, 4), 0.3), np.zeros(1), 1.0, 3.0)
    with pytest.raises(InputError, match="rescale"):
        alpha.AlphaLayer(np.full((1, 2), -2.0), np.zeros(1), np.ones(1), 1.0, 3.0)


@pytest.mark.parametrize("quadrants", [1, 2, 4])
@pytest.mark.parametrize("trial", range(3))
def test_multiplier_with_pulses_anywhere_in_phase_1(simulator, quadrants, trial):
    rng = np.random.default_rng([quadrants, trial])
    w = rng.normal(size=(6, 20)) / np.sqrt(20)
    x = rng.uniform(-1, 1, 20)
    if quadrants < 4:
        x = np.abs(x)
    x[:2] = 0.0
    machine = multiplier.Multiplier(np.abs(w) if quadrants == 1 else w, quadrants, phase_2=3.0)
    y = []
    for _ in range(2):  # the same lengths elsewhere in the phase: only the length counts
        start = rng.uniform(0, 1, 20) * (1 - np.abs(x))
        cell = multiplier.cell(machine, x, start, POINT)
        y.append(multiplier.read(machine, POINT, cross([cell], simulator)[0].time)[0])
    wanted, _ = multiplier.response(machine, x)
    assert np.max(np.abs(y[0] - wanted)) <= EXACT * 4.0
    assert np.max(np.abs(y[1] - y[0])) <= EXACT * 4.0
    product = machine.weights @ x
    np.testing.assert_allclose(wanted, product if quadrants == 4 else np.maximum(product, 0), atol=1e-13)


def test_relu_gate_of_the_four_quadrant_multiplier(simulator):
    """1e-7 tau_c: two comparators of gain 1e8 and a gate (see whole_network); no pulse too many."""
    rng = np.random.default_rng(4)
    machine = multiplier.Multiplier(rng.normal(size=(8, 12)) / 4, 4, phase_2=3.0)
    x = rng.uniform(-1, 1, 12)
    cell = multiplier.cell(machine, x, rng.uniform(0, 1, 12) * (1 - np.abs(x)), POINT)
    plot = simulator.run(multiplier.gated(cell, POINT.vdd))
    y, _ = multiplier.response(machine, x)
    assert (y > 0).any()
    assert (y < 0).any()
    for i in range(8):
        length = np.trapezoid(plot[f"v(r{i})"], plot["time"]) / POINT.tau_c
        assert abs(length - max(y[i], 0.0)) < 1e-7


def test_multiplier_refuses_what_it_cannot_take():
    with pytest.raises(InputError, match="weights >= 0"):
        multiplier.Multiplier(np.array([[-1.0]]), 1)
    two = multiplier.Multiplier(np.array([[1.0, -1.0]]), 2)
    with pytest.raises(InputError, match="x >= 0"):
        two.check(np.array([-0.1, 0.1]), np.zeros(2))
    with pytest.raises(InputError, match="within phase 1"):
        two.check(np.array([0.5, 0.6]), np.array([0.6, 0.0]))


@pytest.mark.parametrize("kind", ["max", "min"])
def test_pooling_by_charge_pulses(simulator, kind):
    """Against the exact waveform to rounding; against the formula to the grid."""
    rng = np.random.default_rng(1)
    times = rng.uniform(0, 3, (12, 4))
    if kind == "max":
        times[0] = np.inf  # nobody fires
        times[1, 2] = np.inf
    else:
        times[0, 3] = np.inf  # one is silent: the latest never comes
    cell = pooling.cell(kind, times, 3.0, POINT)
    found = cross([cell], simulator)[0].time / POINT.tau_c
    exact = first_crossing(cell)[0] / POINT.tau_c
    fired = np.isfinite(exact)
    assert np.array_equal(np.isfinite(found), fired)
    assert not fired[0]
    assert np.max(np.abs(found[fired] - exact[fired])) <= EXACT * 3.0
    formula = pooling.response(kind, times)
    assert np.max(np.abs(found[fired] - formula[fired])) <= ON_THE_GRID


def test_pooling_where_pulses_overlap(simulator):
    """Two spikes within one pulse width: the formula's latency does not hold, the waveform still does."""
    times = np.array([[1.0, 1.0 + 0.2 * pooling.WIDTH, 2.0]])
    for kind in pooling.KINDS:
        cell = pooling.cell(kind, times, 3.0, POINT)
        found = cross([cell], simulator)[0].time[0] / POINT.tau_c
        assert abs(found - first_crossing(cell)[0][0] / POINT.tau_c) <= EXACT * 3.0


@pytest.mark.parametrize("kind", ["max", "min"])
@pytest.mark.parametrize("trial", range(4))
def test_pooling_by_first_and_last_arrival(simulator, kind, trial):
    rng = np.random.default_rng(trial)
    times = rng.uniform(0, 3, int(rng.integers(2, 7)))
    if trial == 3:
        times[0] = np.inf
    deck, grid = pooling.logic(kind, times, 3.0, POINT.tau_c)
    plot = simulator.run(deck)
    found = pooling.arrival(plot["time"], plot["v(q)"], grid) / POINT.tau_c
    wanted = times.min() if kind == "max" else times.max()
    assert found == wanted or abs(found - wanted) <= ON_THE_GRID


def test_leaky_neuron_follows_its_exponentials(simulator):
    """Error of the trapezoidal rule: second order in the step (slope 2 +- 0.3), 1e-7 at 4000 steps."""
    synapse = leaky.LeakySynapse(1e-6, 2e-6)
    weights, spikes = np.array([1.0, -0.5, 0.7, 0.3]), np.array([0.1e-6, 0.5e-6, 0.8e-6, np.inf])
    steps, errors = np.array([1000, 2000, 4000]), []
    for count in steps:
        plot = simulator.run(leaky.deck(synapse, weights, spikes, 3e-6, int(count)))
        late = plot["time"] > 0.9e-6
        wanted = leaky.potential(synapse, weights, spikes, plot["time"])
        errors.append(np.abs(plot["v(m)"] - wanted)[late].max())
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 1.7 < order < 2.3
    assert errors[-1] < 1e-7


def test_linear_range_of_the_double_exponential():
    """The ramp t / tau_1 errs by about t (1/2 + tau_1 / tau_2) / tau_1: 39 % at half of tau_1."""
    synapse = leaky.LeakySynapse(1.0, 2.0)
    t = np.array([1e-4, 1e-3, 1e-2])
    np.testing.assert_allclose(1 - leaky.response(synapse, t) / t, t * (0.5 + 0.5), rtol=1e-2)
    assert 1 - leaky.response(synapse, np.array([0.5]))[0] / 0.5 == pytest.approx(0.387, abs=1e-3)
    with pytest.raises(InputError, match="tau_2 >= 2 tau_1"):
        leaky.LeakySynapse(1.0, 1.5)
