"""Training of ReLU and TTFS networks: equal steps, windows, slopes, checkpoints, failure."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re

import numpy as np
import pytest
import torch
from torch import nn

from circuits.errors import InputError
from ttfs_analog.constraints.constraints import Jitter, Latency, TimeSteps, WeightBits
from ttfs_analog.conversion.mapping import agreement, convert, to_relu
from ttfs_analog.data import datasets
from ttfs_analog.network.constrain import constrain
from ttfs_analog.neuron.layers import TRACKED
from ttfs_analog.training import run_checkpoint, training
from ttfs_analog.training.architectures import build
from ttfs_analog.training.finetuning import finetune
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import Diverged, accuracy, least_epochs, optimize, train

F64 = torch.float64


@pytest.fixture(scope="module")
def iris():
    return datasets.load("iris")


@pytest.fixture(scope="module")
def few(digits):
    """100 images: 13 steps an epoch in batches of 8."""
    return dataclasses.replace(digits, x_train=digits.x_train[:100], y_train=digits.y_train[:100])


def relu_net(data, arch="fc-12", seed=0, dtype=F64):
    return build(arch, data.shape, data.classes, seed, dtype)


def ttfs_net(data, arch="fc-12", **options):
    return convert(relu_net(data, arch), data, **options)


def same_values(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_training_learns_and_repeats(iris):
    histories, weights = [], []
    for _ in range(2):
        model = relu_net(iris)
        untrained = accuracy(model, iris.x_test, iris.y_test)
        histories.append(train(model, iris, Recipe(epochs=30, lr=0.02), judge=True))
        weights.append(model[0].weight.detach().clone())
    score = histories[0][-1]["accuracy"]
    assert score > max(untrained, 0.85)  # chance is 1/3; iris is easy
    assert score == accuracy(model, iris.x_test, iris.y_test)
    assert histories[0] == histories[1]
    assert torch.equal(*weights)


def test_the_history_has_the_mean_loss_of_every_epoch(iris):
    seen = []
    weight = nn.Parameter(torch.zeros(1, dtype=F64))

    def loss(x, y):
        seen.append(float(x.sum()))
        return weight * 0.0 + x.sum()

    recipe = Recipe(epochs=2, batch=30)
    found = optimize(nn.ParameterList([weight]), (iris.x_train, iris.y_train), loss, recipe)
    per_epoch = math.ceil(len(iris.x_train) / 30)
    wanted = [math.fsum(seen[:per_epoch]) / per_epoch, math.fsum(seen[per_epoch:]) / per_epoch]
    assert [h["loss"] for h in found] == pytest.approx(wanted, rel=1e-14)
    assert [set(h) for h in found] == [{"loss"}] * 2


def test_progress_counts_every_twentieth_step_and_the_last(iris):
    seen = []
    train(relu_net(iris), iris, Recipe(epochs=11), progress=lambda *a: seen.append(a))
    assert seen == [(20, 44), (40, 44), (44, 44)]


@pytest.mark.parametrize(
    ("message", "bad"),
    [
        *(("need epochs >= 1.*lr > 0", {name: 0}) for name in ("epochs", "batch", "lr")),
        *(("lr > 0", {"lr": lr}) for lr in (-1.0, math.nan, math.inf)),
        ("optimizer is 'adam' or 'sgd'.*'lion'", {"optimizer": "lion"}),
        ("cosine, paper, constant.*'linear'", {"schedule": "linear"}),
        *(("l1 and weight decay must be >= 0", {"l1": l1}) for l1 in (-1.0, math.nan)),
        ("l1 and weight decay must be >= 0", {"weight_decay": -1.0}),
    ],
)
def test_settings_out_of_range_are_refused(message, bad):
    with pytest.raises(InputError, match=message):
        Recipe(**bad)


def test_the_paper_recipe_is_that_of_the_paper():
    recipe = Recipe.paper(seed=3)
    # Nat. Commun. 2024, Methods: Adam, 5e-4 x 0.9^(step / 5000), batches of 8; epsilon of Keras
    assert (recipe.optimizer, recipe.lr, recipe.batch, recipe.epochs) == ("adam", 5e-4, 8, 50)
    assert (recipe.eps, recipe.weight_decay, recipe.l1, recipe.seed) == (1e-7, 0.0, 0.0, 3)
    for step in (0, 1, 5000, 12345):
        assert recipe.rate(step, 99999) == pytest.approx(5e-4 * 0.9 ** (step / 5000), rel=1e-14)
    assert Recipe.paper(epochs=2, lr=1e-6).rate(5000, 1) == pytest.approx(0.9e-6, rel=1e-14)
    built = recipe.build([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (built["eps"], built["lr"]) == (1e-7, 5e-4)


@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        ("paper", lambda k: 0.5 * 0.9 ** (k / 5000)),
        ("cosine", lambda k: 0.25 * (1 + math.cos(math.pi * k / 12))),
        ("constant", lambda k: 0.5),
    ],
)
def test_the_rate_of_a_schedule_is_that_of_every_step(schedule, rate):
    """A gradient of one: the weight shows the rate that was used."""
    weight = nn.Parameter(torch.zeros(1, dtype=F64))
    seen = []

    def loss(x, y):
        seen.append(float(weight.detach()))
        return weight.sum()

    recipe = Recipe(epochs=3, batch=5, lr=0.5, optimizer="sgd", schedule=schedule)
    optimize(nn.ParameterList([weight]), (torch.ones(20, 1), torch.arange(20)), loss, recipe)
    seen.append(float(weight.detach()))
    steps = [a - b for a, b in itertools.pairwise(seen)]
    assert steps == pytest.approx([rate(k) for k in range(12)], abs=1e-14)


def test_without_a_recipe_small_data_get_enough_steps(iris):
    assert least_epochs(Recipe(), 112) == 1500 * 32 // 112
    assert least_epochs(Recipe(), 60000) == 40
    assert len(train(relu_net(iris, "fc-3"), iris)) == 1500 * 32 // 112


def test_a_loss_that_is_not_finite_stops_the_training(iris):
    # windows clip what hidden TTFS neurons say: it takes more to overflow
    for model, lr in ((relu_net(iris, "fc-3"), 1e300), (ttfs_net(iris, "fc-3"), 1e308)):
        message = re.escape(f"diverged in epoch 1: lower the learning rate ({lr:g})")
        with pytest.raises(Diverged, match=message) as caught:
            train(model, iris, Recipe(epochs=2, lr=lr))
        assert not isinstance(caught.value, InputError)  # nothing is wrong with the input
        assert not model.training  # whatever happens, a model is left as for inference


def test_every_image_is_seen_once_an_epoch():
    seen = []
    weight = nn.Parameter(torch.zeros(1))
    model = nn.ParameterList([weight])

    def loss(x, y):
        seen.extend(y.tolist())
        return (weight * x.sum()).sum()

    optimize(model, (torch.ones(10, 1), torch.arange(10)), loss, Recipe(2, 3, 0.1))
    assert sorted(seen) == sorted(2 * list(range(10)))
    assert seen[:10] != list(range(10))  # shuffled
    assert seen[:10] != seen[10:]  # anew in every epoch


def test_accuracy_is_the_share_of_right_classes():
    model = nn.Identity()
    logits = torch.eye(4)
    assert accuracy(model, logits, torch.tensor([0, 1, 2, 0])) == 0.75
    assert accuracy(model, logits, torch.tensor([0, 1, 2, 0]), batch=3) == 0.75


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=8, lr=1e-3, schedule="constant"),
        Recipe(epochs=8, lr=1e-3, weight_decay=1e-3),
        Recipe(epochs=8, lr=0.1, optimizer="sgd", schedule="constant"),
        Recipe.paper(epochs=2),
    ],
    ids=["adam", "adam-decay", "sgd", "paper"],
)
def test_form_b1_trains_as_its_relu_twin_step_by_step(digits, recipe):
    """The identity mapping makes training equivalent: 337 to 344 steps, one order of images."""
    relu = relu_net(digits, "fc3-16")
    net = convert(relu, digits)
    start = relu[0].weight.detach().clone()
    ours, theirs = (train(m, digits, recipe, judge=True) for m in (net, relu))
    for twin, layer in zip((relu[0], relu[2], relu[4]), net.layers, strict=True):
        # float64 rounding, amplified by some hundred steps
        assert float((layer.weight - twin.weight).detach().abs().max()) < 1e-10
        assert float((layer.bias - twin.bias).detach().abs().max()) < 1e-10
    assert [h["accuracy"] for h in ours] == [h["accuracy"] for h in theirs]
    assert [h["loss"] for h in ours] == pytest.approx([h["loss"] for h in theirs], rel=1e-10)
    assert float((relu[0].weight - start).detach().abs().max()) > 0.01  # it did train
    assert ours[-1]["accuracy"] > 0.5  # chance is 0.1


def test_a_convolutional_network_trains_as_its_relu_twin():
    x = torch.rand(48, 784, generator=torch.Generator().manual_seed(0), dtype=F64)
    data = datasets.Data("noise", x, torch.arange(48) % 3, x[:9], torch.arange(9) % 3, (1, 28, 28))
    relu = relu_net(data, "lenet5")
    net = convert(relu, data)
    recipe = Recipe(epochs=4, batch=8, lr=1e-3)
    ours, theirs = (train(m, data, recipe) for m in (net, relu))
    assert [h["loss"] for h in ours] == pytest.approx([h["loss"] for h in theirs], rel=1e-9)
    for a, b in zip(net.parameters(), relu.parameters(), strict=True):
        assert float((a - b).detach().abs().max()) < 1e-9  # float64 rounding through 24 steps of Adam


@pytest.mark.parametrize("form", ["alpha", "positive", "dynamic", "single"])
def test_slopes_move_with_the_weights_in_training(digits, form):
    """B = alpha + sum_j W_ij throughout, and the trained network is still that of its reverse map."""
    assert form in TRACKED
    net = ttfs_net(digits, "fc-16", mapping=form, b_low=0.5)
    before = [(layer.slopes().detach().clone(), layer.alpha.clone()) for layer in net.layers[:-1]]
    untrained = accuracy(net, digits.x_test, digits.y_test)
    history = train(net, digits, Recipe(epochs=10, lr=3e-4), judge=True)  # small: slopes may not reach 0
    for layer, (slope, alpha) in zip(net.layers, before, strict=False):
        assert torch.equal(layer.alpha, alpha)
        torch.testing.assert_close(layer.slopes(), alpha + layer.weight.sum(1), rtol=1e-14, atol=1e-14)
        assert bool((layer.slopes() > 0).all())
        assert not torch.equal(layer.slopes(), slope)
        torch.testing.assert_close(
            layer.thresholds(),
            layer.alpha * float(layer.input_window) + layer.slopes() * layer.window_length - layer.bias,
        )
    assert history[-1]["loss"] < history[0]["loss"] - 0.2
    assert history[-1]["accuracy"] > untrained + 0.2
    same, error = agreement(net, to_relu(net), digits.x_test)
    assert same == 1.0
    assert error < 1e-11  # float64 rounding


def test_form_equal_trains_too(digits):
    net = ttfs_net(digits, mapping="equal")
    assert train(net, digits, Recipe(epochs=20), judge=True)[-1]["accuracy"] > 0.8
    alphas = net.layers[0].alphas() + net.layers[0].weight.sum(1)
    torch.testing.assert_close(alphas, torch.ones_like(alphas))


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_slope_that_is_no_longer_positive_stops_the_training(digits, adaptive):
    net = ttfs_net(digits, "fc3-12", mapping="alpha")
    recipe = Recipe(epochs=5, lr=50.0, optimizer="sgd", schedule="constant")
    with pytest.raises(Diverged, match=r"layer \d, neuron \d+: slope B = .* lower learning rate") as caught:
        train(net, digits, recipe, adaptive=adaptive)
    # it names a neuron whose slope is what it says
    where = str(caught.value).removeprefix("training diverged: ")
    layer, neuron = int(where[6]), int(where.split("neuron ")[1].split(":")[0])
    slope = float(net.layers[layer].slopes().detach()[neuron])
    assert not slope > 0
    assert f"slope B = {slope:.3g}" in where


def test_windows_grow_with_the_activations_and_never_shrink(digits, monkeypatch):
    """Eq. 8 after every step: T = max(T, 10 x largest activation of the batch), and nothing else changes."""
    net = ttfs_net(digits, "fc3-12", zeta=0.0)
    log, kept = [], []
    x = digits.x_test[:50]

    @torch.no_grad()
    def spy(network, seen):
        old, before, trace = network.windows, network(x), network.trace(x)
        changed = grow(network, seen)
        log.append((old, [10.0 * float(h.max()) for h in seen[:-1]], network.windows))
        clipped = any(bool((h == t).any()) for h, t in zip(trace[:-1], old, strict=True))
        kept.append(None if clipped else torch.equal(network(x), before))
        return changed

    grow = training.widen
    monkeypatch.setattr(training, "widen", spy)
    train(net, digits, Recipe(epochs=2, lr=5e-3))
    assert len(log) == 2 * 43
    assert False not in kept
    assert kept.count(True) > 43
    for old, wanted, new in log:
        assert new == [max(*pair) for pair in zip(old, wanted, strict=True)]
    for (*_, new), (old, *_) in itertools.pairwise(log):
        assert new == old  # only this changes windows
    assert all(last > first for last, first in zip(log[-1][2], log[0][0], strict=True))
    starts = [float(layer.input_window) for layer in net.layers]
    assert starts == [1.0, *net.windows]  # t_min of a layer is t_max of the one before


def test_a_window_that_grows_does_not_change_what_is_learned(digits):
    """In form b1 as long as nothing is clipped, and in the alpha forms because the base threshold follows."""
    for form, bound in (("b1", 1e-12), ("alpha", 1e-8)):  # rounding of 86 steps; alpha divides by B
        nets = [ttfs_net(digits, mapping=form, zeta=zeta) for zeta in (100.0, 1000.0)]
        for net in nets:
            train(net, digits, Recipe(epochs=2, lr=1e-3))
        (a, b) = nets
        assert a.windows != b.windows
        assert float((a.layers[0].weight - b.layers[0].weight).detach().abs().max()) < bound


@pytest.mark.parametrize("part", [None, Latency(95.0), TimeSteps(16), Jitter(0.01), WeightBits(6)])
def test_windows_stay_under_constraints_and_where_they_are_not_to_adapt(digits, few, part):
    net = ttfs_net(digits, zeta=0.0) if part is None else constrain(ttfs_net(digits), digits.x_train, [part])
    old = net.windows
    first = net.layers[0].weight.detach().clone()
    train(net, few, Recipe(epochs=2, lr=5e-3), adaptive=part is not None)
    assert net.windows == old
    assert not torch.equal(net.layers[0].weight, first)


def test_the_loss_of_l1_is_the_sum_of_hidden_activations_mean_over_the_batch(few):
    """One step of plain gradient descent shows the gradient."""
    relu = relu_net(few, "fc3-6")
    net = convert(relu, few)
    train(net, few, Recipe(1, 100, 0.1, optimizer="sgd", schedule="constant", l1=0.02))
    first = relu[1](relu[0](few.x_train))
    second = relu[3](relu[2](first))
    loss = nn.functional.cross_entropy(relu[4](second), few.y_train)
    loss = loss + 0.02 * (first.sum() + second.sum()) / 100
    loss.backward()
    for twin, layer in zip((relu[0], relu[2], relu[4]), net.layers, strict=True):
        torch.testing.assert_close(layer.weight, twin.weight - 0.1 * twin.weight.grad, rtol=0, atol=1e-14)


def test_l1_makes_spikes_rare_and_keeps_the_accuracy(digits):
    spikes, scores = [], []
    for l1 in (0.0, 3e-3, 3e-2):
        net = ttfs_net(digits, "fc-24")
        scores.append(train(net, digits, Recipe(epochs=12, l1=l1), judge=True)[-1]["accuracy"])
        spikes.append(net.spikes_per_neuron(digits.x_test))
    assert spikes[0] > spikes[1] > spikes[2]
    assert spikes[2] < 0.8 * spikes[0]
    assert min(scores) > 0.85


def test_l1_without_spikes_is_refused(iris):
    with pytest.raises(InputError, match="l1 counts spikes: train a TTFS network"):
        train(relu_net(iris), iris, Recipe(epochs=1, l1=0.1))


def test_data_in_double_train_a_network_in_single(iris):
    net = convert(relu_net(iris, dtype=torch.float32), iris)
    assert train(net, iris, Recipe(epochs=20, lr=0.02), judge=True)[-1]["accuracy"] > 0.6
    assert net.like.dtype == torch.float32


def test_the_number_of_threads_is_as_before(iris):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(relu_net(iris), iris, Recipe(epochs=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Stopped(Exception):
    """Raised where a run is interrupted."""


def stop_at(step):
    def progress(done, steps):
        if done == step:
            raise Stopped

    return progress


@pytest.fixture
def always(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(training, "SAVE_EVERY", -1.0)


def dropout_net(data):
    torch.manual_seed(4)
    model = nn.Sequential(
        nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 10)
    )
    return model.double()


def hardware_net(*parts):
    return lambda data: constrain(ttfs_net(data), data.x_train, parts, seed=5)


MODELS = {
    "relu": relu_net,
    "dropout-and-normalization": dropout_net,
    "b1": ttfs_net,
    "alpha": lambda data: ttfs_net(data, mapping="alpha", zeta=0.0),
    "jitter": hardware_net(Jitter(0.05)),
    "frozen-jitter": hardware_net(Jitter(0.05, "layer", "frozen")),
    "everything": hardware_net(Jitter(0.02, "layer"), TimeSteps(16), WeightBits(4), Latency(95.0)),
}


@pytest.mark.parametrize(
    "recipe",
    [Recipe(4, 8, 2e-3, seed=3), Recipe(4, 8, 1e-2, optimizer="sgd", schedule="paper")],
    ids=["adam", "sgd"],
)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_a_resumed_run_is_that_of_an_uninterrupted_one_bit_by_bit(few, tmp_path, always, make, recipe):
    """13 steps an epoch; interrupted in the second and again in the fourth."""
    file = tmp_path / "run.checkpoint"
    wanted = make(few)
    torch.manual_seed(11)
    history = train(wanted, few, recipe, judge=True)
    for k, step in enumerate((20, 40, None)):
        model = make(few)
        torch.manual_seed(99 if k else 11)  # whatever a new process finds
        options = {"checkpoint": file, "resume": k > 0, "judge": True}
        if step is None:
            found = train(model, few, recipe, **options)
        else:
            with pytest.raises(Stopped):
                train(model, few, recipe, progress=stop_at(step), **options)
    assert same_values(model, wanted)
    assert found == history


@pytest.mark.parametrize(
    ("before", "resume"),
    [(Recipe(2), True), (Recipe(1, lr=0.5), False), (None, True)],
    ids=["finished", "not resumed", "no checkpoint"],
)
def test_a_run_ends_alike_whatever_lies_in_its_checkpoint(few, tmp_path, before, resume):
    """A finished run resumes to itself; without `resume` a checkpoint is written over."""
    file = tmp_path / "run.checkpoint"
    if before is not None:
        train(ttfs_net(few), few, before, checkpoint=file)
    a, b = ttfs_net(few), ttfs_net(few)
    history = train(a, few, Recipe(2), checkpoint=file, resume=resume)
    assert train(b, few, Recipe(2)) == history
    assert same_values(a, b)
    assert not a.training


def test_more_epochs_may_be_asked_for_unless_the_schedule_depends_on_them(few, tmp_path):
    file = tmp_path / "run.checkpoint"
    train(ttfs_net(few), few, Recipe.paper(epochs=1), checkpoint=file)
    a, b = ttfs_net(few), ttfs_net(few)
    train(a, few, Recipe.paper(epochs=3), checkpoint=file, resume=True)
    train(b, few, Recipe.paper(epochs=3))
    assert same_values(a, b)
    train(ttfs_net(few), few, Recipe(1), checkpoint=file)
    with pytest.raises(InputError, match=r"belongs to another training \(epochs: 1 then, 2 now"):
        train(ttfs_net(few), few, Recipe(2), checkpoint=file, resume=True)


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 1e-3},
        {"batch": 7},
        {"seed": 1},
        {"optimizer": "sgd"},
        {"l1": 1e-4},
        {"schedule": "constant"},
        {"weight_decay": 0.1},
        {"eps": 1e-7},
        {},
    ],
    ids=str,
)
def test_the_checkpoint_of_another_recipe_or_of_other_images_is_refused(few, digits, tmp_path, change):
    file = tmp_path / "run.checkpoint"
    train(ttfs_net(few), few, Recipe(1), checkpoint=file)
    content = file.read_bytes()
    (name, value), *_ = *change.items(), ("", "")
    name = rf" \({name}: {dataclasses.asdict(Recipe(1))[name]} then, {value} now\); give" if change else ""
    with pytest.raises(InputError, match=rf"run.checkpoint belongs to another training{name}"):
        train(ttfs_net(few), few if change else digits, Recipe(1, **change), checkpoint=file, resume=True)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "make",
    [
        lambda data: ttfs_net(data, "fc-13"),
        lambda data: ttfs_net(data, "fc3-12"),
        relu_net,
        lambda data: ttfs_net(data, mapping="alpha"),
        lambda data: constrain(ttfs_net(data), data.x_train, [Jitter(0.1)]),
    ],
    ids=["size", "depth", "kind", "form", "constraints"],
)
def test_the_checkpoint_of_another_network_is_refused(few, tmp_path, make):
    file = tmp_path / "run.checkpoint"
    train(ttfs_net(few), few, Recipe(1), checkpoint=file)
    model = make(few)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InputError):
        train(model, few, Recipe(1), checkpoint=file, resume=True)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "list", "network"])
def test_a_damaged_checkpoint_is_refused(few, net, tmp_path, kind):
    file = tmp_path / "run.checkpoint"
    train(ttfs_net(few), few, Recipe(1), checkpoint=file)
    whole = file.read_bytes()
    if kind == "list":
        torch.save([1, 2], file)
    elif kind == "network":
        net.save(file)
    else:
        file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"plain text"}[kind])
    with pytest.raises(InputError, match=r"run.checkpoint is not a checkpoint, or is damaged; remove it"):
        train(ttfs_net(few), few, Recipe(1), checkpoint=file, resume=True)


def test_a_death_while_writing_leaves_the_checkpoint_before(few, tmp_path, monkeypatch):
    file = tmp_path / "run.checkpoint"
    replace, calls = os.replace, []

    def die(part, target):
        calls.append(part.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(part, target)

    recipe = Recipe(3, 8)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            train(ttfs_net(few), few, recipe, checkpoint=file)
    assert calls == ["run.checkpoint.partial"] * 2
    assert torch.load(file, weights_only=True)["epoch"] == 1
    a, b = ttfs_net(few), ttfs_net(few)
    train(a, few, recipe, checkpoint=file, resume=True)
    train(b, few, recipe)
    assert same_values(a, b)


def test_a_full_disk_leaves_the_checkpoint_before(few, tmp_path, monkeypatch):
    file = tmp_path / "run.checkpoint"
    recipe = Recipe(2, 8)
    train(ttfs_net(few), few, recipe, checkpoint=file)
    whole = file.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"run.checkpoint: No space left on device; free some space"):
        train(ttfs_net(few), few, recipe, checkpoint=file)
    assert file.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["run.checkpoint"]


def test_a_flipped_bit_of_a_checkpoint_is_refused(few, tmp_path):
    file = tmp_path / "run.checkpoint"
    train(ttfs_net(few), few, Recipe(1), checkpoint=file)
    state = torch.load(file, weights_only=True)
    raw = next(iter(state["model"].values())).numpy().view(np.uint64)
    raw.flat[0] ^= np.uint64(1 << 40)
    torch.save(state, file)
    with pytest.raises(InputError, match=r"run.checkpoint is damaged, .*: remove it to start anew"):
        train(ttfs_net(few), few, Recipe(1), checkpoint=file, resume=True)
    del state["digest"]  # as files were before there were any
    torch.save(state, file)
    train(ttfs_net(few), few, Recipe(1), checkpoint=file, resume=True)


def test_a_run_with_other_options_is_not_resumed(few, tmp_path):
    file = tmp_path / "run.checkpoint"
    train(ttfs_net(few), few, Recipe(1), checkpoint=file, options={"--alpha": 1.0, "--data": "digits"})
    again = {"checkpoint": file, "resume": True}
    with pytest.raises(InputError, match=r"another training \(--alpha: 1.0 then, 2.0 now\)"):
        train(ttfs_net(few), few, Recipe(1), options={"--alpha": 2.0, "--data": "digits"}, **again)
    train(ttfs_net(few), few, Recipe(1), options={"--alpha": 1.0, "--data": "digits"}, **again)


def test_checkpoints_come_with_time_not_with_every_step(few, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        run_checkpoint, "write", lambda *args: seen.append((args[-1]["epoch"], args[-1]["step"]))
    )
    train(ttfs_net(few), few, Recipe(3, 8), checkpoint=tmp_path / "x")
    assert seen == [(1, 0), (2, 0), (3, 0)]  # (epoch, step): after every epoch


@pytest.mark.parametrize("hard", [False, True], ids=["chips", "constraints"])
def test_fine_tuning_resumes_bit_by_bit(net, few, noise, tmp_path, always, hard):
    file = tmp_path / "tune.checkpoint"
    start = constrain(net, few.x_train, [Jitter(0.05), TimeSteps(16)]) if hard else net
    options = {"epochs": 3, "batch": 8, "seed": 2}
    law = None if hard else noise
    wanted = finetune(start, few, law, **options)
    with pytest.raises(Stopped):
        finetune(start, few, law, checkpoint=file, progress=stop_at(20), **options)
    if law:
        with pytest.raises(InputError, match="belongs to another training"):
            finetune(start, few, law.silent(), checkpoint=file, resume=True, **options)
    found = finetune(start, few, law, checkpoint=file, resume=True, **options)
    assert same_values(found, wanted)


def test_fine_tuning_under_constraints_alone_restores_accuracy(net, digits):
    """Three weight bits and five time steps cost more than fine-tuning leaves."""
    hard = constrain(net, digits.x_train, [WeightBits(3), TimeSteps(5)])
    tuned = finetune(hard, digits, epochs=8)
    before, after = (accuracy(n, digits.x_test, digits.y_test) for n in (hard, tuned))
    assert after > before + 0.02
    assert tuned.windows == hard.windows  # they belong to the constraint
    assert tuned.constraints.to_dict() == hard.constraints.to_dict()


def test_judging_does_not_teach(digits):
    """Normalizations see the training part only, however often the test part is judged."""
    found = []
    for x_test in (digits.x_test, 1.0 - digits.x_test):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10)).double()
        data = dataclasses.replace(digits, x_test=x_test)
        train(model, data, Recipe(epochs=2), judge=True)
        found.append(model.state_dict())
    assert all(torch.equal(found[0][k], found[1][k]) for k in found[0])
