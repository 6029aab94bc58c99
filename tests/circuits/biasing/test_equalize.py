"""Rescaled layers: the same function, in windows that are filled and room that is not left."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from circuits.biasing.equalize import EDGE, PERCENTILE, equalize
from circuits.model.closed_form import trajectory_range
from circuits.model.layer import Layer

WINDOW, ROOM = 1.5, 0.5
SIZES = (12, 10, 9, 5)


def network(seed: int, spread: float = 2.0) -> tuple[list[Layer], np.ndarray]:
    """Three layers with slopes of their own, whose neurons differ by factors; windows that clip nothing."""
    rng, layers, start = np.random.default_rng(seed), [], 1.0
    for n, (n_in, n_out) in enumerate(itertools.pairwise(SIZES)):
        gain = np.exp(spread * rng.uniform(-1, 1, (n_out, 1)))
        last = n == len(SIZES) - 2
        slope = np.ones(n_out) if last else rng.uniform(0.5, 2.0, n_out)
        weights, bias = gain * rng.normal(size=(n_out, n_in)) / np.sqrt(n_in), 0.3 * rng.normal(size=n_out)
        layers.append(Layer(weights, bias, start, start + 1e3, slope, spiking=not last))
        start = 1e3
    x = np.where(rng.random((400, SIZES[0])) < 0.7, rng.uniform(0, 1, (400, SIZES[0])), 0.0)
    return layers, x


def run(layers: list[Layer], x: np.ndarray) -> list[np.ndarray]:
    """Drives b + W x / B of every layer without any window, shape (image, neuron)."""
    drives = []
    for layer in layers:
        drives.append(x @ (layer.weights / layer.slope[:, None]).T + layer.bias)
        x = np.maximum(drives[-1], 0.0)
    return drives


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("read_out", ["sampled", "first-spike"])
def test_the_function_stays_as_it_is_to_rounding(seed, read_out):
    """Logits are multiplied by one factor and shifted by one number; 1e-12: sums of 10 terms below 1e3."""
    layers, x = network(seed)
    scaled = equalize(layers, x, WINDOW, ROOM, read_out)
    before, after = run(layers, x)[-1], run(scaled, x)[-1]
    assert all(np.all(layer.slope == 1.0) for layer in scaled)
    factor = np.ptp(after) / np.ptp(before)
    shift = (after - factor * before).mean() if read_out == "first-spike" else 0.0
    np.testing.assert_allclose(after, factor * before + shift, rtol=0, atol=1e-12 * np.ptp(after))
    assert np.array_equal(after.argmax(axis=1), before.argmax(axis=1))


@pytest.mark.parametrize("seed", range(4))
def test_every_hidden_neuron_fills_its_window_or_the_room_below_the_reset_level(seed):
    layers, x = network(seed)
    scaled = equalize(layers, x, WINDOW, ROOM)
    for layer in scaled[:-1]:
        assert layer.window == pytest.approx(WINDOW, rel=1e-12)
        drive = x @ layer.weights.T + layer.bias
        low, _ = trajectory_range(Layer(layer.weights, layer.bias, layer.t_min, layer.t_max), x)
        fires = (drive > 0).any(axis=0)
        assert fires.sum() > 4
        top = np.array([np.percentile(column[column > 0], PERCENTILE) for column in drive.T[fires]])
        full = np.maximum(top / WINDOW, -low.min(axis=0)[fires] / (ROOM * WINDOW))
        np.testing.assert_allclose(full, 1.0, rtol=1e-9)
        assert np.all(low >= -ROOM * WINDOW * (1 + 1e-9))
        x = np.clip(drive, 0.0, WINDOW)


def test_windows_follow_each_other():
    scaled = equalize(*network(0), WINDOW, ROOM)
    assert [layer.t_min for layer in scaled] == [1.0, WINDOW, WINDOW]
    assert [layer.t_max - layer.t_min for layer in scaled[:-1]] == [WINDOW, WINDOW]
    assert [layer.spiking for layer in scaled] == [True, True, False]


@pytest.mark.parametrize("seed", range(4))
def test_winners_of_a_first_spike_read_out_lie_inside_the_window(seed):
    layers, x = network(seed)
    scaled = equalize(layers, x, WINDOW, ROOM, "first-spike")
    assert scaled[-1].spiking
    for layer in scaled[:-1]:
        x = np.clip(x @ layer.weights.T + layer.bias, 0.0, WINDOW)
    winners = (x @ scaled[-1].weights.T + scaled[-1].bias).max(axis=1)
    low, high = np.percentile(winners, [100.0 - PERCENTILE, PERCENTILE])
    assert low == pytest.approx(EDGE * WINDOW, rel=1e-9)
    assert high == pytest.approx((1.0 - EDGE) * WINDOW, rel=1e-9)


def test_a_sampled_read_out_spans_window_and_room():
    layers, x = network(1)
    scaled = equalize(layers, x, WINDOW, ROOM)
    for layer in scaled[:-1]:
        x = np.clip(x @ layer.weights.T + layer.bias, 0.0, WINDOW)
    last = dataclasses.replace(scaled[-1], bias=np.zeros(SIZES[-1]))  # added to samples: no current
    low, high = trajectory_range(last, x)
    assert high.max() - low.min() == pytest.approx(WINDOW * (1.0 + ROOM), rel=1e-9)


def test_a_neuron_that_never_fires_breaks_nothing():
    layers, x = network(2)
    dead = layers[0].weights.copy()
    dead[0] = 0.0
    bias = layers[0].bias.copy()
    bias[0] = -1.0
    layers[0] = Layer(dead, bias, 1.0, 1e3, layers[0].slope)
    scaled = equalize(layers, x, WINDOW, ROOM)
    assert all(np.isfinite(layer.weights).all() and np.isfinite(layer.bias).all() for layer in scaled)
