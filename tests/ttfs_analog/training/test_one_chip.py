"""Tuning for one chip: what may change, what is known, and that it helps that chip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from circuits.errors import InputError
from ttfs_analog.calibration.measurement import answers
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.noise.chips import Chips
from ttfs_analog.training.finetuning import finetune
from ttfs_analog.training.one_chip import gains, in_the_loop
from ttfs_analog.training.trimming import trimmed


@pytest.fixture(scope="module")
def chips(net, make_noise):
    return make_noise(0.15).sample(net, 6, seed=5)


@pytest.fixture(scope="module")
def conv(digits, make_noise):
    """A network with a convolution, and a chip of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10)).double()
    made = convert(model, digits.x_train[:200].unflatten(1, (1, 8, 8)))
    return made, make_noise(0.1).sample(made, 1, seed=1)


@pytest.mark.parametrize("mode", ["trim", "threshold", "chip", "gain", "loop"])
def test_every_mode_helps_the_chip_that_it_is_for(net, digits, chips, mode):
    before = evaluate(net, digits, chips)["accuracy"].values
    after = []
    for chip in chips:
        measure = answers(chip) if mode == "loop" else None
        tuned = finetune(net, digits, mode=mode, chip=chip, measure=measure, epochs=6)
        after.append(float(evaluate(tuned, digits, chip)["accuracy"][0]))
    gained = np.array(after) - before
    assert gained.mean() > 2.5 * gained.std(ddof=1) / len(gained) ** 0.5  # 3 % one-sided, at 5 degrees


def test_weights_stay_where_thresholds_alone_are_trained(net, digits, chips):
    tuned = finetune(net, digits, mode="threshold", chip=chips[0], epochs=1, percentile=None)
    for old, new in zip(net.layers, tuned.layers, strict=True):
        assert torch.equal(old.weight, new.weight)
        assert not torch.equal(old.bias, new.bias)
        assert new.weight.requires_grad


@pytest.mark.parametrize("mode", ["threshold", "trim"])
def test_neurons_of_a_channel_get_a_threshold_each(conv, digits, tmp_path, mode):
    net, chip = conv
    tuned = finetune(net, digits, mode=mode, chip=chip, epochs=1, percentile=None)
    border = tuned.layers[0].border
    assert border.shape == (3, 6, 6)
    assert len(border[0].unique()) > 1
    assert torch.equal(tuned.layers[0].weight, net.layers[0].weight)
    assert net.layers[0].border is None
    read = type(tuned).load(tuned.save(tmp_path / "net.pt"))
    assert torch.equal(read(digits.x_test), tuned(digits.x_test))


@torch.no_grad()
def test_a_network_that_is_trimmed_is_the_network_on_the_chip_that_is(net, digits, chips):
    moved = finetune(net, digits, mode="trim", chip=chips[1], percentile=None)
    x = digits.x_test
    one = trimmed(net, chips[1], digits.x_train)
    assert float((moved(x, chips[1].deviations(x)) - net(x, one.deviations(x))).abs().max()) < 1e-9


@torch.no_grad()
def test_one_gain_a_neuron_is_found(make_relu, make_noise):
    """Where all synapses of a neuron err alike, and D is 0, its answer is 1 + e of what it should be."""
    relu = make_relu((6, 5, 3))
    for linear in (relu[0], relu[2]):
        linear.bias.zero_()
    x = torch.rand(200, 6, dtype=torch.float64)
    net = convert(relu, x, zeta=2.0)
    chip = make_noise(0.1).sample(net, 1)
    factor = [np.linspace(0.8, 1.3, layer.n_out) for layer in net.layers]
    layers = [
        replace(
            m,
            **{k: 0.0 * v for k, v in vars(m).items()}
            | {"synapse": 0.0 * m.synapse + f[None, :, None] - 1.0},
        )
        for m, f in zip(chip.layers, factor, strict=True)
    ]
    found = gains(net, replace(chip, layers=tuple(layers)), x)
    fires = (net.trace(x)[0] > 0).any(0)
    assert torch.allclose(found[0][fires], torch.as_tensor(factor[0])[fires])
    assert torch.allclose(found[1], torch.as_tensor(factor[1]))


def test_a_loop_around_what_is_known_is_training_on_it(net, digits, chips):
    x, y = digits.x_train[:50], digits.y_train[:50]
    known = chips[0].model(x)
    grads = []
    for logits in (lambda v: net(v, known), in_the_loop(net, known, answers(chips[0]))):
        net.zero_grad()
        nn.functional.cross_entropy(logits(x).flatten(0, 1), y).backward()
        grads.append(net.layers[0].weight.grad.clone())
    net.zero_grad()
    assert torch.equal(*grads)


@pytest.mark.parametrize("count", [0, 2])
def test_one_chip_is_asked_for(net, digits, chips, count):
    some: Chips | None = chips[:count] if count else None
    with pytest.raises(InputError, match=r"this mode tunes for one chip, got (none|2)"):
        finetune(net, digits, mode="chip", chip=some)


def test_a_loop_needs_what_is_measured(net, digits, chips):
    with pytest.raises(InputError, match="mode loop, and no other, needs what the chip answers"):
        finetune(net, digits, mode="loop", chip=chips[0])
