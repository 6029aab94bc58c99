"""Trimmed chips in ngspice: what is predicted of them, what comes back, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from placing import coarse_digits, on_transistors, placed

from circuits.errors import InputError
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.data.datasets import Data
from ttfs_analog.evaluation.transistor_summary import summarize
from ttfs_analog.evaluation.transistor_verification import verify_transistors
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.remedies.on_transistors import _reachable, inside, predicted, verify_remedy
from ttfs_analog.remedies.remedies import Setting
from ttfs_analog.training.finetuning import finetune


@pytest.fixture(scope="module")
def setting(transistor_noise):
    digits = coarse_digits(4, 4)
    few = Data("digits", digits.x_train, digits.y_train, digits.x_test[:2], digits.y_test[:2])
    return Setting(few, LayeredNoise((transistor_noise.extrapolated(),) * 2), 10, patterns=4, seed=3)


@pytest.mark.ngspice
def test_thresholds_of_every_chip_are_built_and_the_accuracy_is_predicted(setting):
    net = on_transistors(coarse_digits(4, 4), 6, epochs=20)
    net = finetune(net, setting.data, setting.noise, epochs=0)
    dataset, prediction = verify_remedy(net, setting, "trim-6", chips=1)
    untrimmed = verify_transistors(net, setting.data, setting.noise, chips=1, seed=setting.seed)
    first = {"neuron": slice(0, 6)}  # the hidden layer, whose inputs are the same
    wanted = untrimmed["spike_time_nominal"][first].values
    found = [v["spike_time_model"][first].values for v in (dataset, untrimmed)]
    fired = np.isfinite([wanted, *found]).all(axis=0)
    after, before = (float(np.std(times[fired] - wanted[fired])) for times in found)
    assert after < 0.5 * before
    figures = summarize(dataset)
    assert figures["coverage_95"] is None
    assert figures["spike_time_rms_tau_c"] < 0.1  # of a noise model that was not measured on it
    assert set(prediction) == {"accuracy_predicted", "accuracy_predicted_ci95"}
    low, high = prediction["accuracy_predicted_ci95"]
    assert 0 <= low <= prediction["accuracy_predicted"] <= high <= 1


@pytest.mark.parametrize("remedy", ["chip", "agnostic+trim-4", "nothing", "gain", "control", "windows"])
def test_what_changes_devices_is_refused(net, setting, remedy):
    with pytest.raises(InputError, match="leave the devices as they are"):
        verify_remedy(net, setting, remedy)


def test_means_of_so_many_chips_lie_in_the_interval_as_often_as_it_says(rng):
    population = rng.binomial(100, 0.9, 400) / 100
    prediction = predicted(population, 4, 25, seed=0)
    fresh = rng.binomial(100, 0.9, (4000, 4)).mean(axis=1) / 100
    share = np.mean([inside(value, prediction) for value in fresh])
    assert 0.93 < share < 0.995
    wider = predicted(population, 1, 25, seed=0)["accuracy_predicted_ci95"]
    ends = prediction["accuracy_predicted_ci95"]
    assert wider[0] < ends[0]
    assert ends[1] < wider[1]


def test_no_trim_leaves_the_swing(net):
    """What is asked for is cut at the range; inside it nothing is."""
    theta = net.layers[0].thresholds().detach().numpy()
    top = float(theta.max()) + 0.1
    made = placed(net, -100.0, top)
    before = Chips.draw(MismatchLaw(), made, range(2), 0)
    asked = [np.full((2, layer.n_out), 0.2) for layer in made.layers]
    hidden, last = _reachable(made, before, before.moved(asked))
    np.testing.assert_allclose(theta + hidden, np.broadcast_to(np.minimum(theta + 0.2, top), hidden.shape))
    np.testing.assert_allclose(last, 0.2)  # a read-out has no threshold
