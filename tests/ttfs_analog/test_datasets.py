"""The data: ranges, splits, and what is accepted in their place."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from circuits.errors import InputError
from ttfs_analog import datasets


@pytest.mark.parametrize(
    ("name", "images", "features", "classes"), [("digits", 1797, 64, 10), ("iris", 150, 4, 3)]
)
def test_every_dataset_is_complete_and_in_range(name, images, features, classes):
    data = datasets.load(name)
    assert len(data.x_train) + len(data.x_test) == images
    assert (data.features, data.classes) == (features, classes)
    for x in (data.x_train, data.x_test):
        assert float(x.min()) >= 0
        assert float(x.max()) <= 1
    assert float(data.x_train.max()) == 1.0
    assert data.y_train.dtype == torch.int64


def test_all_names_can_be_loaded():
    assert [datasets.load(name).name for name in datasets.available()] == datasets.available()


def test_the_split_is_always_the_same_and_holds_every_class_alike():
    a, b = datasets.load("digits"), datasets.load("digits")
    assert torch.equal(a.x_test, b.x_test)
    shares = [torch.bincount(y).double() / len(y) for y in (a.y_train, a.y_test)]
    # stratified: classes differ by rounding to whole images, at most 1 in 450
    torch.testing.assert_close(shares[0], shares[1], rtol=0, atol=1 / 450)


def test_no_image_is_in_both_parts():
    data = datasets.load("digits")
    train = {tuple(row.tolist()) for row in data.x_train}
    assert not any(tuple(row.tolist()) in train for row in data.x_test)


def test_dtype_is_as_asked():
    assert datasets.load("iris", torch.float32).x_train.dtype == torch.float32


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"unknown dataset 'mnist'; available: digits, iris"):
        datasets.load("mnist")


def test_pairs_of_a_data_are_its_two_parts():
    data = datasets.load("iris")
    assert datasets.pair_of(data)[0] is data.x_test
    assert datasets.training_pair(data)[0] is data.x_train
    assert datasets.inputs_of(data) is data.x_train


def test_a_loader_gives_all_its_images_flat():
    x, y = torch.rand(7, 2, 3), torch.arange(7)
    loader = DataLoader(TensorDataset(x, y), batch_size=3)
    for found in (datasets.pair_of(loader), datasets.training_pair(loader)):
        assert torch.equal(found[0], x.reshape(7, 6))
        assert torch.equal(found[1], y)
    assert torch.equal(datasets.inputs_of(loader), x.reshape(7, 6))
    assert torch.equal(datasets.inputs_of(x), x.reshape(7, 6))


@pytest.mark.parametrize("bad", [None, 3, "digits", (1, 2, 3)])
def test_other_things_are_refused(bad):
    with pytest.raises(InputError, match="DataLoader, a pair"):
        datasets.pair_of(bad)
