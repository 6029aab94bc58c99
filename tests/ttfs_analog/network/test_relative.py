"""Relative coding: the same function, what cancels, what training leaves alone, and what ngspice says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from circuits.biasing.dummies import with_dummies
from circuits.errors import InputError
from circuits.model.closed_form import trajectory_range
from circuits.model.coding import relative as counted
from circuits.model.layer import Layer
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.conversion.mapping import convert, to_relu
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.evaluation.verification import summarize, verify
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.relative import relative
from ttfs_analog.network.swing import project
from ttfs_analog.neuron.relative import Relative
from ttfs_analog.noise.chips import Chips
from ttfs_analog.training.finetuning import finetune

DUMMIES, GUARD = 3, 0.25


@pytest.fixture(scope="module")
def x(digits):
    return digits.x_test


@pytest.fixture(scope="module")
def made(net, digits):
    return relative(net, digits.x_train, DUMMIES, GUARD)


@pytest.fixture(scope="module")
def deep(make_relu):
    """Two hidden layers, and inputs."""
    inputs = torch.rand(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return convert(make_relu((6, 9, 7, 4)), inputs), inputs


def test_the_function_stays_and_windows_grow_by_the_guard(net, made, x):
    torch.testing.assert_close(made(x), net(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(to_relu(made)(x), net(x), rtol=1e-12, atol=1e-12)
    assert made.windows == pytest.approx([(1 + GUARD) * w for w in net.windows])
    assert made.dummies == [DUMMIES, 0]


def test_thresholds_stay_and_those_of_dummies_are_met_at_t_max(net, made):
    before, after = net.layers[0].thresholds(), made.layers[0].thresholds()
    torch.testing.assert_close(after[:-DUMMIES], before)
    torch.testing.assert_close(after[-DUMMIES:], torch.full((DUMMIES,), net.windows[0], dtype=before.dtype))


@pytest.mark.parametrize(
    ("term", "factor"), [("slope", lambda e: 1 / (1 + e)), ("capacitance", None), ("threshold", None)]
)
def test_what_all_neurons_of_a_layer_share_cancels(deep, term, factor):
    """Of a slope a gain is left, 1 / (1 + e); of offsets nothing; of a capacitor a factor of the biases."""
    base, inputs = deep
    made = relative(base, inputs, DUMMIES, 0.5)
    chips = Chips.draw(MismatchLaw(reference=((term, 0.1),)), made, range(20), 3)
    devices = chips.deviations(inputs)
    first = made.inputs(inputs, devices)[1]
    errors = torch.as_tensor(getattr(chips.layers[0], term))[:, :1, None]
    layer = base.layers[0]
    wanted = inputs @ layer.weight.T + layer.bias * (1 + errors * (term == "capacitance"))
    wanted = (wanted * (1.0 if factor is None else factor(errors))).relu()
    inside = wanted < 0.9 * made.windows[0]
    torch.testing.assert_close(first[inside], wanted.expand_as(first)[inside], rtol=1e-9, atol=1e-9)


def test_common_errors_cost_a_tenth_of_what_they_did(net, made, digits):
    law = MismatchLaw(reference=(("slope", 0.1), ("capacitance", 0.1)))
    lost = []
    for network in (net, made):
        accuracy = evaluate(network, digits, Chips.draw(law, network, range(60), 5))["accuracy"]
        nominal = evaluate(network, digits, Chips.draw(MismatchLaw(), network, range(1), 5))["accuracy"]
        lost.append(float(nominal[0] - accuracy.mean()))
    assert lost[0] > 0.003
    assert lost[1] < 0.3 * lost[0]


def test_a_majority_of_dummies_decides():
    x = np.array([[1.0, 0.2, 0.5, 0.0, 0.3]])
    np.testing.assert_allclose(counted(x, 3), [[0.7, 0.0]], atol=1e-15)
    np.testing.assert_array_equal(counted(x, 0), x)
    torch.testing.assert_close(Relative(3)(torch.as_tensor(x)), torch.as_tensor(counted(x, 3)))


def test_training_moves_no_dummy(made, digits, noise):
    tuned = finetune(made, digits, noise, epochs=1, percentile=None)
    for before, after in (
        (made.layers[0].weight, tuned.layers[0].weight),
        (made.layers[0].bias, tuned.layers[0].bias),
    ):
        assert torch.equal(before[-DUMMIES:], after[-DUMMIES:])
        assert not torch.equal(before[:-DUMMIES], after[:-DUMMIES])


def test_a_file_keeps_it(made, x, tmp_path):
    loaded = TTFSNetwork.load(made.save(tmp_path / "relative.pt"))
    assert loaded.dummies == made.dummies
    assert torch.equal(loaded(x), made(x))
    assert [layer.dummies for layer in loaded.to_circuit()] == [DUMMIES, 0]


def test_rescaling_counts_from_the_dummies(made, x):
    """What leaves the range comes in, and the order of the logits stays."""
    layer, theta = made.to_circuit()[0], float(made.layers[0].thresholds().detach().max())
    lowest = float(trajectory_range(layer, x.numpy())[0].min())
    room = {"units": 1, "most": 64, "low": 0.7 * lowest, "high": 1.001 * theta}
    placed = made.clone()
    placed.metadata["placement"] = {"layers": [dict(room), {**room, "low": -1e3, "high": 1e3}]}
    assert project(placed, x)
    torch.testing.assert_close(placed(x), made(x), rtol=1e-9, atol=1e-9)


@pytest.mark.ngspice
def test_ngspice_counts_from_the_same_spikes(made, digits):
    law = MismatchLaw(slope=0.05, threshold=0.05, synapse_source=0.1, reference=(("slope", 0.1),))
    figures = summarize(
        verify(made, (digits.x_test, digits.y_test), Chips.draw(law, made, range(2), 7), images=3)
    )
    assert figures["spike_time_rms_tau_c"] < 1e-9
    assert figures["class_agreement"] == 1.0
    assert figures["energy_account_ratio"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("dummies", [-1, 2, 4])
def test_a_majority_needs_an_odd_number(net, digits, dummies):
    with pytest.raises(InputError, match="odd"):
        relative(net, digits.x_train, dummies)


def test_what_has_dummies_gets_no_more(made, digits):
    with pytest.raises(InputError, match="fully connected"):
        relative(made, digits.x_train, DUMMIES)
    layer = Layer(np.eye(4), np.zeros(4), 1.0, 2.0, dummies=1)
    with pytest.raises(InputError, match="already"):
        with_dummies([layer, replace(layer, dummies=0)], 3)
    with pytest.raises(InputError, match="guard"):
        with_dummies([layer], 3, -0.1)


def test_a_layer_of_dummies_alone_is_refused():
    with pytest.raises(InputError, match="more neurons"):
        Relative(3)(torch.zeros(1, 3))
