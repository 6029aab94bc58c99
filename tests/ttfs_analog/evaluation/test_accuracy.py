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
    dataset = evaluate(net, digits, identity(net))
    assert np.array_equal(dataset["predicted"].values[0], net(digits.x_test).argmax(-1).numpy())
    assert float(dataset["accuracy"][0]) == accuracy(net, digits.x_test, digits.y_test)
    # a share of whole numbers, summed in another order
    assert float(dataset["spikes_per_neuron"][0]) == pytest.approx(
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


def test_the_result_does_not_depend_on_the_batch(net, digits, make_noise, monkeypatch):
    seen, images = [], (digits.x_test[:60], digits.y_test[:60])
    chips = make_noise(0.1).sample(net, 12, seed=4)
    whole = evaluate(net, images, chips)
    monkeypatch.setattr(evaluation, "ELEMENTS", 1)
    single = evaluate(net, images, chips, progress=lambda *a: seen.append(a))
    assert single.identical(whole)
    assert seen == [(k, 12) for k in range(1, 13)]


def test_early_silent_and_firing_neurons_are_shares(net, digits, make_noise):
    short = net.clone()
    short.set_windows([0.2])
    dataset = evaluate(short, digits, make_noise(0.05).sample(short, 3))
    assert (dataset["early"].values > 0.1).all()  # a window far too short
    # silent and spiking are all there is
    np.testing.assert_allclose(dataset["silent"] + dataset["spikes_per_neuron"], 1.0, rtol=1e-14)


def test_variables_have_units_and_chips_have_numbers(net, digits, make_noise):
    dataset = evaluate(net, digits, make_noise(0.05).sample(net, 2, seed=9, first=30))
    assert dataset["chip"].values.tolist() == [30, 31]
    assert dataset.attrs["entropy"] == 9
    assert all("units" in dataset[v].attrs for v in dataset.data_vars)


def test_data_of_another_width_is_refused(net, make_relu):
    with pytest.raises(InputError, match=r"takes 64 inputs, of shape \(64,\), the data have \(3,\)"):
        evaluate(net, (torch.rand(5, 3), torch.zeros(5)), identity(net))


def test_a_float32_network_takes_float64_data(digits, make_relu):
    net = convert(make_relu((64, 8, 10), dtype=torch.float32), digits)
    dataset = evaluate(net, (digits.x_test, digits.y_test), identity(net))
    assert np.array_equal(dataset["predicted"].values[0], dataset["nominal"].values)


def scores(*values, images=10_000):
    return xr.Dataset({"accuracy": ("chip", np.array(values)), "label": ("image", np.zeros(images))})


def test_yield_is_the_share_of_chips_at_or_above_the_target():
    figures = summarize(scores(0.9, 0.8, 0.95, 0.7), target=0.9)
    assert figures["yield"]["value"] == 0.5
    low, high = figures["yield"]["ci95"]
    # Clopper-Pearson for 2 of 4, from tables to three places
    assert (low, high) == pytest.approx((0.068, 0.932), abs=1e-3)


def test_a_chip_that_just_reaches_a_target_below_the_reference_counts():
    # in floating point 0.5016 - 0.02 is above 4816 / 10000
    assert 0.5016 - 0.02 > 0.4816
    assert summarize(scores(0.4816, 0.4815), target=0.5016 - 0.02)["yield"]["value"] == 0.5


def test_chips_of_equal_accuracy_are_not_known_better_than_their_images_tell():
    # two chips, t(1) at 97.5 % is 12.7062; steps of 1 / 450 have a std of 1 / (450 sqrt(12))
    low, high = summarize(scores(0.9, 0.9, images=450), target=0.5)["accuracy"]["ci95"]
    half = 12.7062 / (450 * np.sqrt(12) * np.sqrt(2))
    assert (low, high) == pytest.approx((0.9 - half, 0.9 + half), abs=1e-7)


def test_accuracy_figures_and_their_interval():
    figures = summarize(scores(0.8, 0.9), target=0.0)["accuracy"]
    assert figures["mean"] == pytest.approx(0.85, rel=1e-14)
    assert figures["std"] == pytest.approx(0.1 / np.sqrt(2), rel=1e-12)
    assert figures["min"] == 0.8
    assert figures["per_chip"] == [0.8, 0.9]
    # t(1) at 97.5 % is 12.7: wider than what an accuracy can be, so it is cut
    assert figures["ci95"][1] == 1.0
    assert figures["ci95"][0] == pytest.approx(0.85 - 12.7062 * 0.05, abs=1e-4)


def test_one_chip_has_no_spread_and_an_interval_of_everything():
    figures = summarize(scores(0.8), target=0.8)
    assert figures["accuracy"]["std"] == 0.0
    assert figures["accuracy"]["ci95"] == [0.0, 1.0]
    assert figures["yield"]["value"] == 1.0


@pytest.mark.parametrize("target", [-0.1, 1.1, float("nan")])
def test_a_target_that_is_no_accuracy_is_refused(target):
    with pytest.raises(InputError, match="accuracy in"):
        summarize(scores(0.8), target)
