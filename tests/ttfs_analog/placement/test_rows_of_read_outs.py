"""What a campaign asks of a placed network: inputs over the window of spikes, or the range of samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from placing import placed

from circuits.model.closed_form import trajectory_range
from circuits.model.layer import Layer
from circuits.pdk.technology import Technology
from ttfs_analog.placement.rows import SAMPLED, STIMULI, campaigns

LOW, HIGH = -4.0, 6.0


@pytest.fixture(scope="module")
def asked(net, digits):
    made = placed(net, LOW, HIGH, units=8)
    about = made.metadata["placement"]
    about |= {"technology": "generic130", "area": 1.0}
    for entry in about["layers"]:
        entry |= {"lowest": 0.0, "delay_tau_c": 0.1}
    about["layers"][-1]["delay_tau_c"] = 0.0
    point = Technology.load("generic130").operating_point
    made.points = [point for _ in made.layers]
    return campaigns(made, torch.as_tensor(digits.x_train[:200]), 16, 3)


def test_the_last_layer_is_asked_as_a_read_out(asked):
    *hidden, last = asked
    assert all(c.rows.spiking and c.comparator == "ota" and c.random == STIMULI for c in hidden)
    assert (last.rows.spiking, last.comparator, last.random) == (False, None, SAMPLED)
    assert (last.rows.window, set(last.rows.theta)) == (0.0, {0.0})
    assert last.nominal == SAMPLED * last.patterns


def test_samples_cover_the_range_of_a_read_out_and_stay_in_the_swing(asked):
    rows = asked[-1].rows
    for weights, times in zip(np.array(rows.weights), np.array(rows.input_time), strict=True):
        x = np.where(np.isfinite(times), rows.t_min - times, 0.0)
        one = Layer(weights[None], [0.0], rows.t_min, rows.t_min, spiking=False)
        low, high = trajectory_range(one, x)
        assert low.min() >= LOW
        assert high.max() <= HIGH
        v = np.sort(x @ weights)
        # evenly spaced: no gap is twice what it would be
        assert np.diff(v).max() < 2 * np.ptp(v) / (SAMPLED - 1)
        assert len(np.unique(v)) == SAMPLED
