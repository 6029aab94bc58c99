"""Theory meets ngspice: closed form, step tables, PULSE sources, and the supply's own account."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.ideal.ideal_layer import IdealNeuron, sense_supply
from circuits.model import closed_form
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import feed_forward, simulate
from circuits.spice.ngspice import Ngspice

POINT = OperatingPoint().fit_swing(-6.0, 8.0)


def some_mismatch(rng, layer, samples):
    shape = (samples, layer.n_out)
    return LayerMismatch(
        0.05 * rng.normal(size=(samples, *layer.weights.shape)),
        *(0.05 * rng.normal(size=shape) for _ in range(3)),
    )


@pytest.mark.parametrize("trial", range(12))
@pytest.mark.parametrize("spiking", [True, False])
def test_step_table_equals_closed_form(rng, make_layer, trial, spiking):
    """1e-12 of the window: rounding of the summed currents and of a few hundred time steps."""
    rng = np.random.default_rng([trial, spiking])
    sizes = (int(rng.integers(1, 40)), int(rng.integers(1, 200)))
    layer, times = make_layer(rng, *sizes, slope=float(rng.uniform(0.5, 2)), spiking=spiking)
    if trial == 0:
        times[:] = np.inf  # nothing arrives: V stays at the reset level, then ramps
    mismatch = some_mismatch(rng, layer, samples=int(rng.integers(1, 16)))
    circuit = simulate(layer, times, POINT, mismatch)
    theory = closed_form.response(layer, times, POINT, mismatch)
    unit = layer.t_min + layer.window
    assert np.array_equal(np.isfinite(circuit.delay), np.isfinite(theory.delay))
    fired = np.isfinite(theory.delay)
    assert np.all(np.abs(circuit.delay[fired] - theory.delay[fired]) <= 1e-12 * unit)
    assert np.all(np.abs(circuit.v_t_min - theory.v_t_min) <= 1e-12 * unit)
    np.testing.assert_allclose(circuit.slope, theory.slope, rtol=1e-8)
    energy = POINT.unit_energy * unit
    assert np.all(np.abs(circuit.energy - theory.energy) <= 1e-12 * energy * layer.n_in)


@pytest.mark.parametrize("trial", range(4))
@pytest.mark.parametrize("form", ["pulse", "pwl"])
def test_other_forms_equal_closed_form(rng, make_layer, trial, form):
    """One source per synapse, and PWL sums for an ngspice without XSPICE: the same 1e-12."""
    rng = np.random.default_rng(trial)
    layer, times = make_layer(rng, 6, 24)
    mismatch = some_mismatch(rng, layer, 2)
    found = simulate(layer, times, IdealNeuron(POINT, form), mismatch)
    theory = closed_form.response(layer, times, POINT, mismatch)
    fired = np.isfinite(theory.delay)
    assert np.array_equal(np.isfinite(found.delay), fired)
    unit = layer.t_min + layer.window
    assert np.all(np.abs(found.delay[fired] - theory.delay[fired]) <= 1e-12 * unit)


@pytest.mark.parametrize("spiking", [True, False])
def test_energy_account_closes_on_the_integral_of_the_supply_current(spiking):
    """The charge account, the closed form and the integral of vdd * i(vdd), 1e-9: the pulse edges.

    With mismatch; early, firing and silent neurons; and read-out neurons with their drive.
    """
    rng = np.random.default_rng(8)
    bias = np.linspace(-4, 4, 12)
    layer = Layer(rng.normal(size=(12, 20)) / 3, bias, t_min=1.0, t_max=3.5, spiking=spiking)
    times = rng.uniform(0, 1, 20)
    mismatch = some_mismatch(rng, layer, 1)
    simulator = Ngspice()
    account = simulate(layer, times, POINT, mismatch, simulator=simulator)
    theory = closed_form.response(layer, times, POINT, mismatch)
    if spiking:
        delay = account.delay[0]
        assert (delay == 0).any()
        assert np.isinf(delay).any()
        assert ((delay > 0) & np.isfinite(delay)).any()
    sensed = sense_supply(layer, times, POINT, mismatch, account.delay[0], simulator)
    unit = 1e-9 * POINT.unit_energy
    np.testing.assert_allclose(account.energy[0], sensed, rtol=1e-9, atol=unit)
    np.testing.assert_allclose(theory.energy[0], sensed, rtol=1e-9, atol=unit)


def test_lost_break_points_do_not_happen_where_edges_nearly_meet():
    """Inputs closer than ngspice's break-point distance once made errors of 1e-3, with exit code 0."""
    tau = POINT.tau_c
    for gap in (0.0, 1e-22, 1e-21, 1e-19, 1e-17, 3e-16, 1e-15, 1e-12):
        layer = Layer([[1.0, 0.7], [0.4, -0.9]], [1.0, 1.0], t_min=1.0, t_max=3.0)
        times = np.array([0.3, 0.3 + gap / tau])
        circuit = simulate(layer, times, POINT)
        theory = closed_form.response(layer, times, POINT)
        assert np.max(np.abs(circuit.delay - theory.delay)) < 1e-12


def test_an_input_at_the_very_end_and_the_very_start_of_its_window_counts():
    layer = Layer([[1.0, 1.0, 1.0]], [1.0], t_min=1.0, t_max=3.0)
    times = np.array([0.0, 1.0, 1.0 - 1e-13])
    circuit, theory = (simulate(layer, times, POINT, level=v) for v in ("ngspice", "closed-form"))
    assert abs(circuit.delay[0, 0] - theory.delay[0, 0]) < 1e-12


@pytest.mark.parametrize("t_max", [1.5, 12.0, 150.0, 1500.0])
def test_windows_of_any_length(rng, t_max):
    """The grid grows with the window; potentials stay exact because pulses carry their charge."""
    layer = Layer(rng.normal(size=(5, 30)), np.full(5, 0.3 * t_max), t_min=1.0, t_max=t_max)
    times = rng.uniform(0, 1, 30)
    point = OperatingPoint().fit_swing(-10, t_max + 10)
    circuit = simulate(layer, times, point)
    theory = closed_form.response(layer, times, point)
    fired = np.isfinite(theory.delay)
    assert fired.any()
    assert np.max(np.abs(circuit.delay[fired] - theory.delay[fired])) <= 1e-12 * t_max


def test_layer_by_layer_network_equals_closed_form(rng):
    """Three layers, chips with their own deviations: errors of one layer are the next one's inputs."""
    sizes, windows = (12, 8, 6, 4), (1.0, 4.0, 5.0)
    layers = [
        Layer(
            rng.normal(size=(sizes[n + 1], sizes[n])) / np.sqrt(sizes[n]),
            rng.normal(size=sizes[n + 1]) * 0.3,
            t_min=windows[n],
            t_max=windows[n] + (windows[n + 1] if n < 2 else 0.0),
            spiking=n < 2,
        )
        for n in range(3)
    ]
    mismatch = [some_mismatch(rng, layer, 3) for layer in layers]
    points = [POINT] * 3
    x = rng.random((4, 12)) * (rng.random((4, 12)) > 0.3)
    circuit = dict(feed_forward(layers, points, x, mismatch, workers=2))
    theory = dict(feed_forward(layers, points, x, mismatch, level="closed-form"))
    assert sorted(circuit) == [0, 1, 2, 3]
    for image in circuit:
        for a, b in zip(circuit[image], theory[image], strict=True):
            assert np.max(np.abs(a.v_t_min - b.v_t_min)) < 1e-11
            assert np.array_equal(np.isfinite(a.delay), np.isfinite(b.delay))


def test_samples_do_not_depend_on_the_deck_they_share(rng, make_layer):
    """One sample alone, in a deck of 40, and beside others: 1e-12; the time steps may differ."""
    layer, times = make_layer(rng, 3, 10)
    mismatch = some_mismatch(rng, layer, 40)
    together = simulate(layer, times, POINT, mismatch)
    for k in (0, 17, 39):
        alone = simulate(layer, times, POINT, mismatch[k])
        np.testing.assert_allclose(alone.v_t_min, together.v_t_min[k : k + 1], rtol=0, atol=1e-12)
