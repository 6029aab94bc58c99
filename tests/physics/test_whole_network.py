"""The whole network in one transient, with comparators, against layer by layer: 1e-7 of the window."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.ideal import whole_network as flat
from circuits.ideal.stimulus import block_early
from circuits.model.closed_form import response
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import feed_forward


def network(rng, sizes, windows, gain=1.2):
    layers = [
        Layer(
            gain * rng.normal(size=(sizes[n + 1], sizes[n])) / np.sqrt(sizes[n]),
            0.3 * rng.normal(size=sizes[n + 1]),
            t_min=windows[n],
            t_max=windows[n] + (windows[n + 1] if n < len(sizes) - 2 else 0.0),
            spiking=n < len(sizes) - 2,
        )
        for n in range(len(sizes) - 1)
    ]
    mismatch = [
        LayerMismatch(
            0.03 * rng.normal(size=(1, *layer.weights.shape)),
            *(0.03 * rng.normal(size=(1, layer.n_out)) for _ in range(3)),
        )
        for layer in layers
    ]
    return layers, [OperatingPoint().fit_swing(-6, 9)] * len(layers), mismatch


def compare(layers, points, mismatch, x, level):
    """1e-7 of the window: comparators of finite gain, see circuits.ideal.whole_network."""
    ((_, wanted),) = feed_forward(layers, points, x[None], mismatch, level=level)
    times, logits = flat.simulate(layers, points, x, mismatch)
    window = max(layer.window for layer in layers)
    for found, result in zip(times, wanted, strict=False):
        delay = result.delay[0]
        fired = np.isfinite(delay)
        assert np.array_equal(np.isfinite(found), fired)
        assert np.max(np.abs(found[fired] - delay[fired]), initial=0.0) <= 1e-7 * window
    assert np.max(np.abs(logits - wanted[-1].v_t_min[0])) <= 1e-7 * window
    return times


@pytest.mark.parametrize("trial", range(3))
def test_three_layers(trial):
    rng = np.random.default_rng(trial)
    layers, points, mismatch = network(rng, (16, 8, 6, 4), (1.0, 4.0, 5.0))
    x = rng.random(16) * (rng.random(16) > 0.3)
    compare(layers, points, mismatch, x, "closed-form")


def test_64_32_10_against_layer_by_layer_in_ngspice():
    rng = np.random.default_rng(7)
    layers, points, mismatch = network(rng, (64, 32, 10), (1.0, 4.0))
    x = rng.random(64) * (rng.random(64) > 0.3)
    compare(layers, points, mismatch, x, "ngspice")


def test_short_window_clips_early_neurons_and_blocks_their_spikes_until_it_opens():
    """Neurons above threshold at t_min fire as it comes: the next layer sees the longest input."""
    rng = np.random.default_rng(3)
    layers, points, mismatch = network(rng, (16, 12, 4), (1.0, 0.4), gain=3.0)
    x = rng.random(16)
    times = compare(layers, points, mismatch, x, "closed-form")
    assert np.sum(times[0] < 1e-6) >= 2


def test_blocking_early_spikes_is_clipping_in_the_relu_network(rng):
    """x above the window counts as the window: 1e-13, two products of the same numbers."""
    layer = Layer(rng.normal(size=(4, 6)), rng.normal(size=4), t_min=2.0, t_max=5.0)
    x = rng.uniform(0, 4, 6)  # some activations are longer than the window of 2
    result = response(layer, block_early(layer.t_min - x), OperatingPoint())
    clipped = layer.weights @ np.minimum(x, 2.0)
    np.testing.assert_allclose(result.v_t_min[0], clipped, rtol=0, atol=1e-13)
    with pytest.raises(InputError, match="input spikes lie in"):
        response(layer, layer.t_min - x, OperatingPoint())


def test_no_input_at_all():
    rng = np.random.default_rng(5)
    layers, points, mismatch = network(rng, (6, 5, 3), (1.0, 4.0))
    compare(layers, points, mismatch, np.zeros(6), "closed-form")


def test_windows_that_do_not_follow_each_other_are_refused():
    rng = np.random.default_rng(5)
    layers, points, mismatch = network(rng, (6, 5, 3), (1.0, 4.0))
    other = Layer(layers[1].weights, layers[1].bias, t_min=3.0, t_max=3.0, spiking=False)
    with pytest.raises(InputError, match="input window"):
        flat.simulate([layers[0], other], points, np.ones(6), mismatch)
