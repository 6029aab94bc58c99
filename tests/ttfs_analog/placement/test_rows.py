"""What campaigns ask of a placed network: its own neurons, under inputs that make them fire."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from placing import coarse_digits, on_transistors

from circuits.errors import InputError
from circuits.model.coding import decode
from ttfs_analog.placement.rows import PATTERNS, STIMULI, campaigns

pytestmark = pytest.mark.ngspice


@pytest.fixture(scope="module")
def data():
    return coarse_digits(4, 4)


@pytest.fixture(scope="module")
def placed_net(data):
    """16-6-4 on generic130."""
    return on_transistors(data, 6, epochs=20)


@pytest.fixture(scope="module")
def plans(placed_net, data):
    return campaigns(placed_net, data.x_train, 24, 5)


def test_rows_are_those_of_the_networks_neurons(plans, placed_net):
    layers, about = placed_net.to_circuit(), placed_net.metadata["placement"]["layers"]
    assert len(plans) == len(layers) == 2
    for n, (plan, layer, entry) in enumerate(zip(plans, layers, about, strict=True)):
        rows, neurons = plan.rows, list(plan.rows.neurons)
        assert rows.layer == n
        assert len(set(neurons)) == len(neurons) == plan.patterns <= min(PATTERNS, layer.n_out)
        assert np.array_equal(rows.weights, layer.weights[neurons])
        assert np.array_equal(rows.theta, layer.theta[neurons])
        assert (rows.t_min, rows.window) == (layer.t_min, layer.window)
        assert (rows.units, rows.delay) == (entry["units"], entry["delay_tau_c"])
        assert rows.network == placed_net.provenance()["network"]
        assert plan.point == placed_net.points[n]
        assert (plan.technology, plan.samples, plan.synapses) == ("generic130", 24, layer.n_in)
        assert np.array_equal(plan.neuron.stimuli.weights, layer.weights[neurons])


def test_stimuli_make_neurons_fire_over_their_windows(plans):
    """The middle of the window first: ramps of the stimuli are in its quarters, as near as inputs come."""
    targets = (np.arange(STIMULI) + 0.5) / STIMULI
    for plan in plans:
        rows = plan.rows
        times = np.array(rows.input_time)
        assert times.shape == (plan.patterns, STIMULI, plan.synapses)
        x = decode(times, rows.t_min)
        assert np.all((x >= 0) & (x <= rows.t_min + 1e-9))
        ramp = np.array(rows.theta)[:, None] - np.einsum("pj,psj->ps", np.array(rows.weights), x)
        share = ramp / rows.window
        assert np.all((share > 0) & (share < 1))
        assert np.median(np.abs(share[:, :2] - 0.5)) < 0.2  # some neurons only fire late, whatever comes
        assert np.median(np.abs(np.sort(share, axis=1) - targets)) < 0.05


def test_stimuli_are_images_or_made_of_their_pixels(plans, data):
    """A pixel of a stimulus is that pixel of some image."""
    x = decode(np.array(plans[0].rows.input_time), plans[0].rows.t_min).reshape(-1, data.features)
    for j in range(data.features):
        seen = data.x_train[:, j].numpy()
        assert np.abs(x[:, j, None] - seen[None]).min(axis=1).max() < 1e-9


def test_a_condition_moves_where_neurons_are_operated_and_nothing_else(plans, placed_net, data):
    moved = campaigns(placed_net, data.x_train, 24, 5, corner="ss", temperature=85.0, supply=1.1)
    for plan, other in zip(plans, moved, strict=True):
        assert (plan.corner, plan.temperature, plan.point.vdd) == ("tt", 27.0, 1.2)
        assert (other.corner, other.temperature, other.point.vdd) == ("ss", 85.0, 1.1)
        assert other.rows == plan.rows
        assert other.point.i_unit == plan.point.i_unit
        assert other.hash != plan.hash


def test_the_seed_decides(plans, placed_net, data):
    again, other = (campaigns(placed_net, data.x_train, 24, seed) for seed in (5, 6))
    assert [p.hash for p in again] == [p.hash for p in plans]
    assert [p.hash for p in other] != [p.hash for p in plans]


def test_what_tells_nothing_is_refused(placed_net, data, net):
    with pytest.raises(InputError, match="move no neuron"):
        campaigns(placed_net, torch.zeros(20, data.features), 24, 0)
    with pytest.raises(InputError, match="place NET --technology T"):
        campaigns(net, data.x_train, 24, 0)
