"""Simulating layers and networks: levels agree, samples stay in order, layers pass on their spikes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import circuits
from circuits.errors import InputError
from circuits.ideal import ideal_layer
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.model import closed_form
from circuits.model.layer import Layer, LayerMismatch, join
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import LEVELS, feed_forward, simulate
from circuits.spice.ngspice import Ngspice

POINT = OperatingPoint().fit_swing(-4, 6)
CLOSE = 1e-11
"""Ten times the 1e-12 that rounding leaves in potentials and times of size 1 to 6."""

ARRAYS = ("delay", "v_t_min", "slope", "energy_by_supply")


def deviations(rng, layer, samples):
    shape = (samples, layer.n_out)
    return LayerMismatch(
        0.05 * rng.normal(size=(samples, *layer.weights.shape)),
        *(0.05 * rng.normal(size=shape) for _ in range(3)),
    )


def chain(rng, spiking_end=True) -> list[Layer]:
    """Two layers, 5 -> 4 -> 3; the second's input window is the first's firing window."""
    first = Layer(rng.normal(size=(4, 5)) / 2, rng.normal(size=4) / 2, t_min=1.0, t_max=4.0)
    second = Layer(
        rng.normal(size=(3, 4)) / 2, rng.normal(size=3) / 2, t_min=3.0, t_max=6.0, spiking=spiking_end
    )
    return [first, second]


def assert_close(one, other, window):
    """Activations, which are continuous where a spike is lost, and potentials."""
    np.testing.assert_allclose(one.activation(window), other.activation(window), rtol=0, atol=CLOSE)
    np.testing.assert_allclose(one.v_t_min, other.v_t_min, rtol=0, atol=CLOSE)


def test_the_package_offers_simulate():
    assert circuits.simulate is simulate
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = circuits.simulat


def test_an_unknown_level_is_refused_with_the_list(rng, make_layer):
    layer, times = make_layer(rng, 2, 3)
    with pytest.raises(InputError, match="closed-form, ngspice"):
        simulate(layer, times, POINT, level="f7")


def test_the_closed_form_level_is_the_closed_form(rng, make_layer):
    layer, times = make_layer(rng, 4, 6)
    mismatch = deviations(rng, layer, 3)
    one = simulate(layer, times, POINT, mismatch, level="closed-form")
    other = closed_form.response(layer, times, POINT, mismatch)
    for name in ARRAYS:
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)


@pytest.mark.ngspice
@pytest.mark.parametrize("spiking", [True, False])
def test_levels_agree(rng, make_layer, spiking):
    layer, times = make_layer(rng, 4, 6, spiking=spiking)
    mismatch = deviations(rng, layer, 3)
    one, other = (simulate(layer, times, POINT, mismatch, level=level) for level in LEVELS)
    assert_close(one, other, layer.window)
    scale = POINT.unit_energy * (layer.t_min + layer.window)
    np.testing.assert_allclose(one.energy, other.energy, rtol=0, atol=CLOSE * scale * layer.n_in)


@pytest.mark.ngspice
def test_samples_keep_their_order_over_several_decks(rng, make_layer, monkeypatch):
    """Seven samples of two neurons in decks of at most four neurons, by two workers."""
    layer, times = make_layer(rng, 2, 5)
    mismatch = deviations(rng, layer, 7)
    monkeypatch.setattr(ideal_layer, "NEURONS_PER_DECK", 4)
    measured = simulate(layer, times, POINT, mismatch, workers=2)
    assert measured.delay.shape == (7, 2)
    assert_close(measured, closed_form.response(layer, times, POINT, mismatch), layer.window)


@pytest.mark.ngspice
def test_delaying_inputs_and_window_shifts_no_spike_in_the_circuit(rng):
    layer = Layer(rng.normal(size=(3, 4)), rng.normal(size=3), t_min=1.0, t_max=4.0)
    late = dataclasses.replace(layer, t_min=2.5, t_max=5.5)
    times = rng.uniform(0, 1, 4)
    one, other = simulate(layer, times, POINT), simulate(late, times + 1.5, POINT)
    assert_close(one, other, layer.window)


@pytest.mark.ngspice
def test_the_circuit_does_not_depend_on_the_unit_current(rng, make_layer):
    """Half the current is half the volts, and the same spike times."""
    layer, times = make_layer(rng, 3, 4)
    half = dataclasses.replace(POINT, i_unit=POINT.i_unit / 2)
    assert_close(simulate(layer, times, POINT), simulate(layer, times, half), layer.window)


@pytest.mark.ngspice
def test_a_waveform_runs_from_reset_through_t_min_to_threshold():
    """At t_min the membrane holds 0.65 units; 1e-11 V of rounding. Time starts at 0, ends behind t_max."""
    layer = Layer([[1.0, -0.2]], [0.5], t_min=1.0, t_max=3.0)
    neuron, simulator = IdealNeuron(POINT), Ngspice()
    time, volts, threshold = neuron.waveforms(layer, np.array([0.25, 0.5]), None, simulator=simulator)
    assert time[0] < 0.02
    assert time[-1] >= 3.0
    assert volts[0, 0] == pytest.approx(POINT.v_reset, abs=1e-3)
    at = int(np.argmin(np.abs(time - 1.0)))
    assert volts[at, 0] == pytest.approx(POINT.volts(0.65), abs=1e-11)
    assert threshold[0] == pytest.approx(POINT.volts(1.5), rel=1e-15)
    assert volts[-1, 0] > threshold[0]
    assert len(time) > 200


@pytest.mark.parametrize("spiking_end", [True, False])
def test_a_network_is_its_layers_one_after_the_other(rng, spiking_end):
    """The same operations in the same order: exact."""
    layers = chain(rng, spiking_end)
    mismatch = [deviations(rng, layer, 3) for layer in layers]
    x = np.array([[0.2, 0.0, 1.0, 0.7, 0.4]])
    ((image, (first, second)),) = feed_forward(layers, [POINT] * 2, x, mismatch, level="closed-form")
    assert image == 0
    times = np.where(x[0] > 0, 1.0 - x[0], np.inf)
    assert np.array_equal(first.delay, closed_form.response(layers[0], times, POINT, mismatch[0]).delay)
    for chip in range(3):
        between = np.where(np.isfinite(first.delay[chip]), first.delay[chip], np.inf)
        alone = closed_form.response(layers[1], between, POINT, mismatch[1][chip])
        # 1e-14: a delay becomes an activation and a delay again
        np.testing.assert_allclose(alone.v_t_min[0], second.v_t_min[chip], rtol=0, atol=1e-14)


@pytest.mark.ngspice
def test_a_network_in_ngspice_equals_the_closed_form(rng):
    layers = chain(rng)
    mismatch = [deviations(rng, layer, 2) for layer in layers]
    x = rng.random((3, 5)) * (rng.random((3, 5)) > 0.3)
    measured = dict(feed_forward(layers, [POINT] * 2, x, mismatch, workers=2))
    wanted = dict(feed_forward(layers, [POINT] * 2, x, mismatch, level="closed-form"))
    assert sorted(measured) == [0, 1, 2]
    for image in wanted:
        for layer, one, other in zip(layers, measured[image], wanted[image], strict=True):
            assert_close(one, other, layer.window)


def test_a_chip_does_not_depend_on_the_chips_beside_it(rng):
    """1e-13: the sums of the first layer may be taken in another order."""
    layers = chain(rng)
    mismatch = [deviations(rng, layer, 4) for layer in layers]
    x = rng.random((2, 5))
    together = dict(feed_forward(layers, [POINT] * 2, x, mismatch, level="closed-form"))
    one = [m[2] for m in mismatch]
    alone = dict(feed_forward(layers, [POINT] * 2, x, one, level="closed-form"))
    for image in (0, 1):
        for a, b in zip(together[image], alone[image], strict=True):
            np.testing.assert_allclose(a.v_t_min[2], b.v_t_min[0], rtol=0, atol=1e-13)


def test_layers_and_points_must_match_in_number(rng):
    layers = chain(rng)
    mismatch = [LayerMismatch.none(layer) for layer in layers]
    with pytest.raises(ValueError, match="shorter"):
        list(feed_forward(layers, [POINT], np.ones((1, 5)), mismatch, level="closed-form"))


def test_joined_samples_keep_their_order(rng, make_layer):
    layer, times = make_layer(rng, 2, 3)
    mismatch = deviations(rng, layer, 5)
    parts = [closed_form.response(layer, times, POINT, mismatch[k]) for k in range(5)]
    whole = join(parts)
    for k in range(5):
        for name in ARRAYS:
            assert np.array_equal(getattr(whole, name)[k], getattr(parts[k], name)[0], equal_nan=True)
