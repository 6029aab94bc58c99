"""Accuracy and yield over chips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from comparing_chips import identity

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.evaluation.accuracy import evaluate, summarize
from ttfs_analog.training.training import accuracy


@pytest.fixture(scope="module")
def result(net, digits, make_noise):
    return evaluate(net, digits, make_noise(0.1).sample(net, 12, seed=4))


def test_a_perfect_chip_is_the_network_image_by_image(net, digits):
    found = evaluate(net, digits, identity(net))
    assert np.array_equal(found["predicted"].values[0], net(digits.x_test).argmax(-1).numpy())
    assert float(found["accuracy"][0]) == accuracy(net, digits.x_test, digits.y_test)
    # a share of whole numbers, summed in another order
    assert float(found["spikes_per_neuron"][0]) == pytest.approx(
        net.spikes_per_neuron(digits.x_test), abs=1e-12
    )


def test_each_chip_decides_with_its_own_deviations(net, digits, make_noise, result):
    chips = make_noise(0.1).sample(net, 12, seed=4)
    one = net(digits.x_test, chips[5].deviations(digits.x_test))[0].argmax(-1)
    assert np.array_equal(result["predicted"].values[5], one.numpy())
    assert len(set(result["accuracy"].values.tolist())) > 1


def test_accuracy_is_worked_out_from_the_predictions(result):
    right = (result["predicted"] == result["label"]).mean("image")
    assert np.array_equal(result["accuracy"].values, right.values)
    assert float(result["accuracy_mean"]) == pytest.approx(float(right.mean()), rel=1e-14)


def test_the_result_does_not_depend_on_the_batch(net, digits, make_noise, result, monkeypatch):
    monkeypatch.setattr(evaluation, "ELEMENTS", 1)
    seen = []
    chips = make_noise(0.1).sample(net, 12, seed=4)
    found = evaluate(net, digits, chips, progress=lambda *a: seen.append(a))
    assert np.array_equal(found["predicted"].values, result["predicted"].values)
    assert np.array_equal(found["silent"].values, result["silent"].values)
    assert seen == [(k, 12) for k in range(1, 13)]


def test_early_silent_and_firing_neurons_are_shares(net, digits, make_noise):
    short = net.clone()
    short.set_windows([0.2])
    found = evaluate(short, digits, make_noise(0.05).sample(short, 3))
    assert (found["early"].values > 0.1).all()  # a window far too short
    # silent and spiking are all there is
    np.testing.assert_allclose(found["silent"] + found["spikes_per_neuron"], 1.0, rtol=1e-14)


def test_variables_have_units_and_chips_have_numbers(net, digits, make_noise):
    found = evaluate(net, digits, make_noise(0.05).sample(net, 2, seed=9, first=30))
    assert found["chip"].values.tolist() == [30, 31]
    assert found.attrs["entropy"] == 9
    assert all("units" in found[v].attrs for v in found.data_vars)


def test_data_of_another_width_is_refused(net, make_relu):
    with pytest.raises(InputError, match="takes 64 inputs, the data have 3"):
        evaluate(net, (torch.rand(5, 3), torch.zeros(5)), identity(net))


def test_a_float32_network_takes_float64_data(digits, make_relu):
    net = convert(make_relu((64, 8, 10), dtype=torch.float32), digits)
    found = evaluate(net, (digits.x_test, digits.y_test), identity(net))
    assert np.array_equal(found["predicted"].values[0], found["nominal"].values)


def scores(*values):
    return xr.Dataset({"accuracy": ("chip", np.array(values))})


def test_yield_is_the_share_of_chips_at_or_above_the_target():
    found = summarize(scores(0.9, 0.8, 0.95, 0.7), target=0.9)
    assert found["yield"]["value"] == 0.5
    low, high = found["yield"]["ci95"]
    # Clopper-Pearson for 2 of 4, from tables to three places
    assert (low, high) == pytest.approx((0.068, 0.932), abs=1e-3)


def test_accuracy_figures_and_their_interval():
    found = summarize(scores(0.8, 0.9), target=0.0)["accuracy"]
    assert found["mean"] == pytest.approx(0.85, rel=1e-14)
    assert found["std"] == pytest.approx(0.1 / np.sqrt(2), rel=1e-12)
    assert found["min"] == 0.8
    assert found["per_chip"] == [0.8, 0.9]
    # t(1) at 97.5 % is 12.7: wider than what an accuracy can be, so it is cut
    assert found["ci95"][1] == 1.0
    assert found["ci95"][0] == pytest.approx(0.85 - 12.7062 * 0.05, abs=1e-4)


def test_one_chip_has_no_spread_and_an_interval_of_everything():
    found = summarize(scores(0.8), target=0.8)
    assert found["accuracy"]["std"] == 0.0
    assert found["accuracy"]["ci95"] == [0.0, 1.0]
    assert found["yield"]["value"] == 1.0


@pytest.mark.parametrize("target", [-0.1, 1.1, float("nan")])
def test_a_target_that_is_no_accuracy_is_refused(target):
    with pytest.raises(InputError, match="accuracy in"):
        summarize(scores(0.8), target)
