"""A network of transistors in one transient, against its layers simulated one after the other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from placing import coarse_digits, on_transistors

from circuits.benches.two_layers import chain_bench, measure_chain, stages
from circuits.errors import InputError
from circuits.model.closed_form import fire
from circuits.model.coding import encode
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.mismatch.transistors import draw_chip
from ttfs_analog.evaluation.transistor_runs import activation
from ttfs_analog.placement.neurons import neurons_of
from ttfs_analog.training.training import accuracy

WEIGHTS = (np.array([[0.5, -0.25], [0.25, 0.5]]), np.array([[0.75, -0.25]]))


def layer_by_layer(kinds, chip, x, simulator):
    """Spike times of every layer from its t_min, each driven by ideal edges at the spikes before."""
    times, active = [], x
    for kind, devices in zip(kinds, chip, strict=True):
        inputs = encode(active[None], kind.layer.t_min)[0]
        measured = kind.measured(inputs, devices, simulator=simulator)
        times.append(np.array([m.spike_time for m in measured]))
        active = activation(fire(times[-1] - kind.bias.delays, kind.layer.window), kind.layer)
    return times


def flat(kinds, chip, x, simulator):
    layers = tuple(kind.stage(devices) for kind, devices in zip(kinds, chip, strict=True))
    bench = chain_bench(layers, encode(x[None], kinds[0].layer.t_min)[0])
    return measure_chain(bench, simulator.run(bench.deck))


def apart(one, other):
    """Largest distance of spikes [tau_c]; spikes on one side only are none."""
    assert np.array_equal(np.isfinite(one), np.isfinite(other))
    both = np.isfinite(one)
    return np.abs(one[both] - other[both]).max()


@pytest.mark.slow
def test_a_network_in_one_transient_is_its_layers_one_after_the_other():
    """16-8-4, without mismatch and a chip; four images of each: 0.0004 tau_c rms in the hidden layer, 0.0024
    in the output layer, 0.006 at most.

    Layer by layer, a spike within the comparators' delay of t_min counts from t_min. In one circuit its
    synapses are on until the end of the window all the same: with that in mind 0.004 at most.
    """
    data, simulator = coarse_digits(4, 4), Ngspice()
    net = on_transistors(data, hidden=8, epochs=60)
    assert accuracy(net, data.x_test, data.y_test) > 0.9
    kinds = neurons_of(net)
    assert kinds[0].point.i_unit != kinds[1].point.i_unit
    drawn = [
        draw_chip(kind.devices(), kind.bias.capacitors, kind.bias.technology.transistors(), 0, 0, n)
        for n, kind in enumerate(kinds)
    ]
    moved = []
    for image, chip in ((0, [None, None]), (1, drawn)):
        x = data.x_test[image].numpy()
        hidden, output = layer_by_layer(kinds, chip, x, simulator)
        whole = flat(kinds, chip, x, simulator)
        assert np.isfinite(output).any()
        assert apart(whole.hidden, hidden) < 3e-3
        assert apart(whole.output, output) < 0.02
        earlier = np.where(np.isfinite(hidden), np.maximum(kinds[0].bias.delay - hidden, 0.0), 0.0)
        assert apart(whole.output + kinds[1].layer.weights @ earlier, output) < 0.01
        moved.append(whole)
    perfect = layer_by_layer(kinds, [None, None], data.x_test[1].numpy(), simulator)
    alike = np.where(np.isfinite(perfect[0]), moved[1].hidden, np.inf)
    both = np.isfinite(alike)
    assert np.abs(perfect[0][both] - alike[both]).max() > 0.01  # the chip's devices did something


def test_layers_of_different_clocks_or_supplies_do_not_chain():
    first, second = stages(Technology.load("generic130"), WEIGHTS)
    for what, field in (("tau_c", {"tau_c": 2e-7}), ("supply", {"vdd": 1.1})):
        other = dataclasses.replace(second, point=dataclasses.replace(second.point, **field))
        with pytest.raises(InputError, match=f"layers of {what} .* do not chain"):
            chain_bench((first, other), np.array([0.2, 0.6]))
