"""Training the ReLU network: names, seeds, progress, failure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from circuits.errors import InputError
from ttfs_analog import datasets
from ttfs_analog.training import accuracy, build, optimize, train


@pytest.fixture(scope="module")
def iris():
    return datasets.load("iris")


@pytest.mark.parametrize(
    ("arch", "sizes"),
    [("fc-340", [4, 340, 3]), ("fc2-7", [4, 7, 3]), ("fc4-5", [4, 5, 5, 5, 3])],
)
def test_the_name_gives_the_sizes(arch, sizes):
    model = build(arch, 4, 3, 0, torch.float64)
    linear = [m for m in model if isinstance(m, nn.Linear)]
    assert [linear[0].in_features, *(m.out_features for m in linear)] == sizes
    assert isinstance(model[-1], nn.Linear)
    assert sum(isinstance(m, nn.ReLU) for m in model) == len(linear) - 1


def test_sixteen_layers_have_fifteen_hidden_ones():
    assert sum(isinstance(m, nn.ReLU) for m in build("fc16-8", 4, 3, 0, torch.float64)) == 15


@pytest.mark.parametrize(
    "arch", ["", "fc", "fc-", "fc-0", "fc1-5", "fc0-5", "fc65-5", "cnn-3", "fc-5x", "fc-9999"]
)
def test_other_names_are_refused(arch):
    with pytest.raises(InputError, match="unknown architecture"):
        build(arch, 4, 3, 0, torch.float64)


def test_the_seed_decides_the_weights():
    a, b, c = (build("fc-5", 4, 3, seed, torch.float64)[0].weight for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_training_learns_and_repeats(iris):
    scores, weights = [], []
    for _ in range(2):
        model = build("fc-12", 4, 3, 0, torch.float64)
        untrained = accuracy(model, iris.x_test, iris.y_test)
        scores.append(train(model, iris, epochs=30, lr=0.02))
        weights.append(model[0].weight.detach().clone())
    assert scores[0] > max(untrained, 0.85)  # chance is 1/3; iris is easy
    assert scores[0] == accuracy(model, iris.x_test, iris.y_test)
    assert torch.equal(*weights)


def test_progress_counts_every_epoch(iris):
    seen = []
    train(build("fc-3", 4, 3, 0, torch.float64), iris, epochs=3, progress=lambda *a: seen.append(a))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": -1.0}, {"lr": float("nan")}]
)
def test_settings_out_of_range_are_refused(iris, bad):
    with pytest.raises(InputError, match="need epochs >= 1"):
        train(build("fc-3", 4, 3, 0, torch.float64), iris, **bad)


def test_a_loss_that_is_not_finite_stops_the_training(iris):
    with pytest.raises(InputError, match=r"diverged in epoch 1: lower the learning rate \(1e\+300\)"):
        train(build("fc-3", 4, 3, 0, torch.float64), iris, lr=1e300, epochs=2)


def test_every_image_is_seen_once_an_epoch():
    seen = []
    weight = nn.Parameter(torch.zeros(1))
    model = nn.ParameterList([weight])

    def loss(x, y):
        seen.extend(y.tolist())
        return (weight * x.sum()).sum()

    optimize(model, (torch.ones(10, 1), torch.arange(10)), loss, 2, 3, 0.1, 0.0, 0, None)
    assert sorted(seen) == sorted(2 * list(range(10)))
    assert seen[:10] != list(range(10))  # shuffled


def test_accuracy_is_the_share_of_right_classes():
    model = nn.Identity()
    logits = torch.eye(4)
    assert accuracy(model, logits, torch.tensor([0, 1, 2, 0])) == 0.75
