"""Trim: what thresholds can make up for, through DACs of few bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from circuits.errors import InputError
from ttfs_analog.training.sensitivity import most_sensitive, sensitivities
from ttfs_analog.training.trimming import shifts, trimmed


@pytest.fixture(scope="module")
def chips(net, make_noise):
    return make_noise(0.1).sample(net, 3, seed=5)


def only(chips, *terms):
    """The same chips, all terms but these perfect, and read-outs that do not deviate."""
    layers = [
        replace(m, **{k: 0.0 * getattr(m, k) for k in vars(m) if k not in terms}) for m in chips.layers[:-1]
    ]
    last = chips.layers[-1]
    return replace(chips, layers=(*layers, replace(last, **{k: 0.0 * v for k, v in vars(last).items()})))


@torch.no_grad()
def test_capacitor_errors_are_trimmed_to_nothing(net, chips, digits):
    """A capacitor error acts as the offset theta c and nothing else."""
    deviating = only(chips, "capacitance")
    x = digits.x_test
    before = float((net(x, deviating.deviations(x)) - net(x)).square().mean().sqrt())
    moved = shifts(net, deviating, digits.x_train)
    seen = np.asarray((net.trace(digits.x_train)[0] > 0).double().mean(0) > 0.3)  # others need more rounds
    theta = net.layers[0].thresholds().numpy()
    expected = -theta * deviating.layers[0].capacitance
    assert np.abs(moved[0] - expected)[:, seen].max() < 1e-4
    restored = trimmed(net, deviating, digits.x_train)
    after = float((net(x, restored.deviations(x)) - net(x)).square().mean().sqrt())
    assert after < 0.02 * before


@torch.no_grad()
def test_slope_errors_leave_a_gain_around_the_mean(net, chips, digits):
    """b' = b (1 + beta) - T beta at the mean image."""
    deviating = trimmed(net, only(chips, "slope"), digits.x_train)
    x = digits.x_train[:: -(-len(digits.x_train) // 400)]
    out, wanted = net.trace(x, deviating.deviations(x))[0], net.trace(x)[0]
    counts = (out > 0) | (wanted > 0)
    assert float((((out - wanted) * counts).sum(1) / counts.sum(1).clamp_min(1)).abs().max()) < 1e-3
    assert float((out - wanted).abs().max()) > 1e-2


def test_a_dac_of_few_bits_has_few_codes_and_16_are_as_good_as_any_value(net, chips, digits):
    free = shifts(net, chips, digits.x_train)[0]
    coarse, fine = (shifts(net, chips, digits.x_train, bits=b)[0] for b in (3, 16))
    limit = 3.0 * np.sqrt(np.mean(free**2))
    codes = (coarse / limit + 1.0) * 3.5
    assert np.abs(codes - codes.round()).max() < 1e-9
    assert 3 < len(np.unique(codes.round())) <= 8
    inside = np.abs(free) < limit
    assert np.abs(coarse - free)[inside].max() <= limit / 7 * 1.001
    assert np.abs(fine - free)[inside].max() < 1e-4 * limit


def test_neurons_without_a_trim_stay_as_they_are(net, chips, digits):
    free = shifts(net, chips, digits.x_train)
    only = most_sensitive(net, digits.x_train, free, 4)
    moved = shifts(net, chips, digits.x_train, most=4)
    assert only[0].sum() == 4
    assert np.all(moved[0][:, ~only[0]] == 0)
    assert np.allclose(moved[0][:, only[0]], free[0][:, only[0]])
    assert all(np.all(s == 0) for s in shifts(net, chips, digits.x_train, most=0))


def test_sensitivity_is_what_a_neuron_adds_to_the_variance_of_the_logits(net, chips, digits):
    """Small shifts of one neuron, all images: the logits move by S to first order."""
    x = digits.x_train[:: -(-len(digits.x_train) // 200)]
    scores = sensitivities(net, digits.x_train, [np.full((1, 16), 1e-6), np.zeros((1, 10))])[0]
    moved = net.clone()
    with torch.no_grad():
        moved.layers[0].bias[3] += 1e-6
        change = (moved(x) - net(x)).square().sum(1).mean()
    assert float(scores[3]) == pytest.approx(float(change), rel=1e-4)


def test_more_neurons_than_there_are_are_refused(net, chips, digits):
    with pytest.raises(InputError, match="17 neurons to trim: the network has 16 that spike"):
        shifts(net, chips, digits.x_train, most=17)


@pytest.mark.parametrize(("options", "message"), [({"bits": 0}, "1 to 16 bits"), ({"reach": 0.0}, "reach")])
def test_what_no_dac_has_is_refused(net, chips, digits, options, message):
    with pytest.raises(InputError, match=message):
        shifts(net, chips, digits.x_train, **options)
