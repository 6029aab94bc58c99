"""Fine-tuning: a new network that serves chips it never met."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from placing import first_spike, placed, widest

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import agreement, convert, to_relu
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.training import finetuning
from ttfs_analog.training.finetuning import LOGIT_PENALTY, finetune, tighten


@pytest.fixture(scope="module")
def loud(make_noise):
    return make_noise(0.12)


@pytest.fixture(scope="module")
def tuned(net, digits, loud):
    return finetune(net, digits, loud, epochs=5, percentile=None)


@torch.no_grad()
def test_tighten_keeps_the_weights_and_shortens_the_windows(net, digits):
    tight = tighten(net, digits.x_train, 95.0)
    assert torch.equal(tight.layers[0].weight, net.layers[0].weight)
    assert tight.windows[0] < net.windows[0]
    hidden = torch.relu(to_relu(net)[0](digits.x_train))
    clipped = float((hidden[hidden > 0] > tight.windows[0]).double().mean())
    assert clipped == pytest.approx(0.05, abs=1e-3)  # a quantile of some ten thousand values
    assert tight.points[0].v_unit > net.points[0].v_unit  # less swing: more volts a unit
    assert agreement(net, to_relu(net), digits.x_test)[0] == 1.0  # the old one is as it was


def test_fine_tuning_raises_the_accuracy_of_chips_it_never_met(net, tuned, digits, loud):
    before, after = (
        evaluate(n, digits, loud.sample(n, 40, seed=77))["accuracy"].values for n in (net, tuned)
    )
    # 40 chips each; the gain must exceed four standard errors of the difference
    error = (before.var(ddof=1) / 40 + after.var(ddof=1) / 40) ** 0.5
    assert after.mean() - before.mean() > 4 * error


def test_a_spread_is_that_of_the_scaled_model(net, digits, loud):
    options = {"epochs": 1, "percentile": None, "seed": 3}
    wide, scaled, plain = (
        finetune(net, digits, noise, spread=spread, **options).layers[0].weight
        for noise, spread in ((loud, 1.5), (loud.scaled(1.5), 1.0), (loud, 1.0))
    )
    assert torch.equal(wide, scaled)
    assert not torch.equal(wide, plain)
    with pytest.raises(InputError, match="spread"):
        finetune(net, digits, None, "chip", chip=loud.sample(net, 1), spread=1.5)


def test_the_old_network_is_untouched(net, trained, digits, tuned):
    assert agreement(net, trained[0], digits.x_test)[1] <= 1e-12  # still the theorem
    assert not torch.equal(tuned.layers[0].weight, net.layers[0].weight)


def test_without_a_percentile_windows_stay(net, tuned):
    assert tuned.windows == net.windows


def test_the_seed_decides_the_result(net, digits, loud):
    small = (digits.x_train[:128], digits.y_train[:128])
    a, b, c = (finetune(net, small, loud, epochs=1, seed=s).layers[0].weight for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_operating_points_follow_the_tuned_weights(net, tuned):
    assert len(tuned.points) == len(net.points)
    assert tuned.points != net.points


def test_an_unknown_mode_is_refused(net, digits, loud):
    with pytest.raises(InputError, match="unknown mode 'magic'; available: agnostic"):
        finetune(net, digits, loud, "magic")


def test_small_data_get_as_many_epochs_as_show_something(net, loud, digits, monkeypatch):
    seen = []
    monkeypatch.setattr(finetuning, "optimize", lambda *args, **_: seen.append(args[3].epochs))
    for images in (1347, 128, 60_000):
        x = digits.x_train[:1].expand(images, -1)
        finetuning.finetune(net, (x, digits.y_train[:1].expand(images)), loud, percentile=None)
    assert seen == [200, 2200, 20]


def test_a_network_outside_the_models_range_is_refused(net, digits, loud):
    narrow = dataclasses.replace(loud, validity={"weight": {"max": 1e-3}, "window": {"max": None}})
    with pytest.raises(InputError, match="layer 0: weight"):
        finetune(net, digits, narrow, epochs=1)


@pytest.mark.parametrize("percentile", [None, 99.0])
def test_a_network_in_single_precision_takes_data_in_double(make_relu, digits, loud, percentile):
    net = convert(make_relu((64, 8, 10), dtype=torch.float32), digits.x_train.float())
    small = (digits.x_train[:128], digits.y_train[:128])
    assert small[0].dtype == torch.float64
    tuned = finetune(net, small, loud, epochs=1, percentile=percentile)
    assert all(layer.weight.dtype == torch.float32 for layer in tuned.layers)
    tight = tighten(net, digits.x_train, 95.0)
    assert tight.like.dtype == torch.float32
    assert tight.windows[0] < net.windows[0]


@pytest.mark.parametrize("spiking", [False, True])
def test_a_placed_network_stays_in_its_circuit(net, digits, make_noise, spiking, monkeypatch):
    start = first_spike(net, digits.x_train) if spiking else net
    low, high = widest(start, digits.x_train)
    start = placed(start, 1.05 * low, 1.05 * high, units=16, most=64)
    options = {"epochs": 3, "lr": 0.1, "seed": 2}
    noise = make_noise(0.05)
    tuned = finetune(start, digits, noise, **options)
    few, many = (tuned_images(digits, n, seed=2) for n in (finetuning.SOME, finetuning.MANY))
    for x in (few, many):
        found = widest(tuned, x)
        assert 1.05 * low <= found[0] < found[1] <= 1.05 * high
    assert tuned.windows == start.windows
    assert not torch.equal(tuned.layers[0].weight, start.layers[0].weight)
    monkeypatch.setattr(finetuning, "project", lambda *_: False)
    free = widest(finetune(start, digits, noise, **options), many)
    assert free[0] < 1.05 * low or free[1] > 1.05 * high  # without it some trajectory leaves


def tuned_images(digits, count, seed):
    """The training images that a placed network is projected by."""
    order = torch.randperm(len(digits.x_train), generator=seeded(seed, finetuning.SELECTION))
    return digits.x_train[order[:count]]


def test_a_placed_network_is_projected_every_so_many_steps_and_in_the_end(
    net, digits, make_noise, monkeypatch
):
    start, seen = placed(net, -1e3, 1e3), []
    small = (digits.x_train[:320], digits.y_train[:320])  # ten steps an epoch
    monkeypatch.setattr(finetuning, "project", lambda _, x: seen.append(len(x)))
    finetune(start, small, make_noise(0.05), epochs=5, batch=32)
    assert seen == [128, 128, 320]


def test_a_first_spike_network_gains_by_fine_tuning(net, digits, loud):
    start = first_spike(net, digits.x_train)
    tuned = finetune(start, digits, loud, epochs=5, percentile=None)
    before, after = (evaluate(n, digits, loud.sample(n, 20, seed=77)) for n in (start, tuned))
    assert float(after["accuracy"].mean()) > float(before["accuracy"].mean())
    assert not tuned.training


def test_logits_of_a_placed_network_are_held(net, digits, make_noise):
    low, high = widest(net, digits.x_train)
    start, few = placed(net, 1.05 * low, 1.05 * high), digits.x_test
    options = {"epochs": 20, "batch": 128, "lr": 0.02}
    usual, same, free = (
        finetune(start, digits, make_noise(0.02), logit_penalty=penalty, **options)
        for penalty in (None, LOGIT_PENALTY, 0.0)
    )
    assert torch.equal(usual.layers[0].weight, same.layers[0].weight)
    before = finetune(net, digits, make_noise(0.02), epochs=2)
    assert torch.equal(
        before.layers[0].weight,
        finetune(net, digits, make_noise(0.02), epochs=2, logit_penalty=0.0).layers[0].weight,
    )
    strong = finetune(start, digits, make_noise(0.02), logit_penalty=0.1, **options)
    sizes = [float(tuned(few).detach().square().mean()) for tuned in (strong, usual, free)]
    assert sizes[0] < sizes[1]
    assert sizes[0] < sizes[2]
    assert usual.layers[0].weight.ne(free.layers[0].weight).any()
    with pytest.raises(InputError, match="penalty of logits"):
        finetune(start, digits, make_noise(0.02), logit_penalty=-1.0)


def test_a_resumed_training_is_projected_at_the_same_steps(net, digits, make_noise, tmp_path):
    low, high = widest(net, digits.x_train)
    start = placed(net, 0.95 * low, 1.05 * high)
    small = (digits.x_train[:480], digits.y_train[:480])  # 15 steps an epoch: projected in the second one
    options = {"epochs": 3, "batch": 32, "lr": 0.05, "checkpoint": tmp_path / "run.checkpoint"}
    whole = finetune(start, small, make_noise(0.05), **options)
    (tmp_path / "run.checkpoint").unlink()

    def stop(done, _):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(start, small, make_noise(0.05), progress=stop, **options)
    again = finetune(start, small, make_noise(0.05), resume=True, **options)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in whole.state_dict().items())
