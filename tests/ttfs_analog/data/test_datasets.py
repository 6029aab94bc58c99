"""The data: ranges, splits, and what is accepted in their place."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from circuits.errors import InputError
from ttfs_analog.data import datasets


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


def test_the_shape_of_an_image_is_known():
    data = datasets.load("digits")
    assert data.shape == (1, 8, 8)
    assert data.x_train.unflatten(1, data.shape).shape[1:] == data.shape
    assert datasets.load("iris").shape == (4,)
    with pytest.raises(InputError, match=r"shape \(3, 2\) does not hold 4 features"):
        datasets.Data("x", torch.zeros(1, 4), torch.zeros(1), torch.zeros(1, 4), torch.zeros(1), (3, 2))


def test_the_split_is_always_the_same_and_holds_every_class_alike():
    a, b = datasets.load("digits"), datasets.load("digits", torch.float32)
    assert b.x_test.dtype == torch.float32
    assert torch.equal(a.x_test.float(), b.x_test)
    train = {tuple(row.tolist()) for row in a.x_train}
    assert not any(tuple(row.tolist()) in train for row in a.x_test)  # no image is in both parts
    shares = [torch.bincount(y).double() / len(y) for y in (a.y_train, a.y_test)]
    # stratified: classes differ by rounding to whole images, at most 1 in 450
    torch.testing.assert_close(shares[0], shares[1], rtol=0, atol=1 / 450)
    available = "digits, iris, mnist, fashion-mnist, cifar10"
    with pytest.raises(InputError, match=f"unknown dataset 'moons'; available: {available}"):
        datasets.load("moons")


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data folder; sets of 10 training and 2 test images count as complete."""
    monkeypatch.setenv(datasets.VARIABLE, str(tmp_path))
    monkeypatch.setattr(datasets, "COUNTS", dict.fromkeys(datasets.COUNTS, (10, 2)))
    monkeypatch.setattr(datasets, "OFFICIAL", {"cifar10": {}})
    return tmp_path


@pytest.fixture
def mnist(root, rng):
    """Arrays by file name, written as mnist, some packed and some not."""
    arrays = [rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (10, 2)]
    arrays = [arrays[0], np.arange(10, dtype=np.uint8), arrays[1], np.array([3, 4], np.uint8)]
    (root / "mnist").mkdir()
    for k, (name, array) in enumerate(zip(datasets.IDX, arrays, strict=True)):
        path = root / "mnist" / (name if k == 2 else f"{name}.gz")
        path.write_bytes(idx(array) if k == 2 else gzip.compress(idx(array)))
    return dict(zip(datasets.IDX, arrays, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_idx_sets_become_inputs(mnist, dtype):
    data = datasets.load("mnist", dtype)
    x_train, y_train, x_test, y_test = mnist.values()
    assert (data.name, data.shape, data.features, data.classes) == ("mnist", (1, 28, 28), 784, 10)
    assert data.x_train.dtype == dtype
    assert torch.equal(data.x_train, torch.tensor(x_train, dtype=dtype).flatten(1) / 255)
    assert torch.equal(data.x_test, torch.tensor(x_test, dtype=dtype).flatten(1) / 255)
    assert torch.equal(data.y_train, torch.tensor(y_train, dtype=torch.int64))
    assert torch.equal(data.y_test, torch.tensor(y_test, dtype=torch.int64))


@pytest.mark.parametrize("name", ["{}.gz", "{}", "dotted"])
def test_a_file_that_was_unpacked_is_taken_whatever_its_name(mnist, root, monkeypatch, name):
    """Also if SHA256SUMS lists what it was packed as: its content is the official one."""
    digest = {k: hashlib.sha256(idx(array)).hexdigest() for k, array in mnist.items()}
    monkeypatch.setitem(datasets.OFFICIAL, "mnist", digest)
    folder, official = root / "mnist", datasets.IDX[1]
    packed = (folder / f"{official}.gz").read_bytes()
    (root / "SHA256SUMS").write_text(f"{hashlib.sha256(packed).hexdigest()}  mnist/{official}.gz\n")
    before = datasets.load("mnist")
    (folder / f"{official}.gz").unlink()
    target = folder / (official.replace("-idx", ".idx") if name == "dotted" else name.format(official))
    target.write_bytes(gzip.decompress(packed))
    assert torch.equal(datasets.load("mnist").y_train, before.y_train)
    target.write_bytes(idx(mnist[official][::-1]))
    with pytest.raises(InputError, match=r"idx1-ubyte.*: SHA-256 of the uncompressed content is"):
        datasets.load("mnist")


def test_a_set_that_is_not_complete_is_refused(mnist, root, monkeypatch):
    monkeypatch.setitem(datasets.COUNTS, "mnist", (10, 3))
    with pytest.raises(InputError, match=r"mnist: 2 test images, expected 3; fetch"):
        datasets.load("mnist")
    (root / "mnist" / datasets.IDX[2]).unlink()
    with pytest.raises(InputError, match=r"missing: .*mnist/t10k-images-idx3-ubyte.gz; put"):
        datasets.load("mnist")


def test_a_set_that_is_not_the_official_one_is_refused(mnist, root, monkeypatch):
    digest = {name: hashlib.sha256(idx(array)).hexdigest() for name, array in mnist.items()}
    monkeypatch.setitem(datasets.OFFICIAL, "mnist", digest)
    datasets.load("mnist")
    digest[datasets.IDX[3]] = "0" * 64
    with pytest.raises(
        InputError, match=r"t10k-labels-idx1-ubyte.gz: SHA-256 of the uncompressed content is"
    ):
        datasets.load("mnist")
    digest.clear()
    (root / "SHA256SUMS").write_text(f"{'1' * 64}  mnist/{datasets.IDX[1]}.gz\n")
    with pytest.raises(
        InputError, match=r"train-labels-idx1-ubyte.gz: SHA-256 is .*, expected 1{64} \(.*SUMS"
    ):
        datasets.load("mnist")


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_the_message_says_what_to_set(monkeypatch, value):
    monkeypatch.delenv(datasets.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(datasets.VARIABLE, value)
    with pytest.raises(
        InputError, match=r"TTFS_ANALOG_DATA is not set: .* mnist/ with train-images-idx3-ubyte.gz"
    ):
        datasets.load("mnist")
    with pytest.raises(
        InputError, match=r"not set: .* cifar10/ with cifar-10-batches-py/, .*data_batch_1.webp"
    ):
        datasets.load("cifar10")


def test_a_missing_folder_and_an_empty_one_are_named(root):
    with pytest.raises(InputError, match=r"no folder .*fashion-mnist: TTFS_ANALOG_DATA=.* must name"):
        datasets.load("fashion-mnist")
    (root / "cifar10").mkdir()
    with pytest.raises(
        InputError, match=r"cifar10 holds no CIFAR-10: put one form there: cifar-10-batches-py/"
    ):
        datasets.load("cifar10")


def test_every_form_of_cifar_gives_the_same(root, rng, monkeypatch):
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    x = {name: rng.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8) for name in names}
    y = {name: [k, 9 - k] for k, name in enumerate(names)}
    folder = root / "cifar10"
    for place in ("cifar-10-batches-py", "cifar-10-batches-bin"):
        (folder / place).mkdir(parents=True)
    for name in names:
        batch = {"data": x[name].reshape(2, 3072), "labels": y[name]}
        (folder / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(batch, protocol=4))
        rows = b"".join(
            bytes([label]) + image.tobytes() for image, label in zip(x[name], y[name], strict=True)
        )
        (folder / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(rows)
        page = np.concatenate(list(x[name].transpose(0, 2, 3, 1)), axis=1)
        Image.fromarray(page).save(folder / f"{name}.webp", lossless=True)
    train = np.array([label for name in names[:-1] for label in y[name]], np.uint8)
    (folder / f"{datasets.IDX[1]}.gz").write_bytes(gzip.compress(idx(train)))
    (folder / f"{datasets.IDX[3]}.gz").write_bytes(gzip.compress(idx(np.array(y["test_batch"], np.uint8))))

    monkeypatch.setitem(datasets.OFFICIAL["cifar10"], "data_batch_4", "0" * 32)
    with pytest.raises(InputError, match=r"data_batch_4: MD5 is .*, expected 0{32} \(the official file\)"):
        datasets.load("cifar10")
    datasets.OFFICIAL["cifar10"].clear()
    forms = [datasets.load("cifar10")]
    for place in ("cifar-10-batches-py", "cifar-10-batches-bin"):
        (folder / place).rename(folder / f"{place}.not")
        forms.append(datasets.load("cifar10"))
    expected = torch.tensor(np.concatenate([x[n] for n in names[:-1]]), dtype=torch.float64).flatten(1) / 255
    for data in forms:
        assert data.shape == (3, 32, 32)
        assert torch.equal(data.x_train, expected)
        assert data.y_train.tolist() == train.tolist()
        assert torch.equal(data.x_test, forms[0].x_test)
        assert data.y_test.tolist() == y["test_batch"]
    (folder / "data_batch_3.webp").unlink()
    with pytest.raises(InputError, match=r"missing: .*data_batch_3.webp"):
        datasets.load("cifar10")


@pytest.mark.skipif(not os.environ.get(datasets.VARIABLE), reason=f"{datasets.VARIABLE} is not set")
@pytest.mark.parametrize(
    ("name", "shape", "train", "mean"),
    [
        ("mnist", (1, 28, 28), 60000, [0.1307]),
        ("fashion-mnist", (1, 28, 28), 60000, [0.2860]),
        ("cifar10", (3, 32, 32), 50000, [0.4914, 0.4822, 0.4465]),
    ],
)
def test_the_real_files_have_the_published_figures(name, shape, train, mean):
    if not (Path(os.environ[datasets.VARIABLE]) / name).is_dir():
        pytest.skip(f"no {name} in {datasets.VARIABLE}")
    data = datasets.load(name, torch.float32)
    assert (len(data.x_train), len(data.x_test), data.shape, data.classes) == (train, 10000, shape, 10)
    for x in (data.x_train, data.x_test):
        assert (float(x.min()), float(x.max())) == (0, 1)
    means = data.x_train.view(train, *shape).mean((0, 2, 3), dtype=torch.float64)
    # published to 4 digits, so half of the last one
    torch.testing.assert_close(means, torch.tensor(mean, dtype=torch.float64), rtol=0, atol=5.1e-5)
    if name == "mnist":  # counts of the ten digits, as published
        assert torch.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    else:
        assert set(torch.bincount(data.y_train).tolist()) == {train // 10}
        assert set(torch.bincount(data.y_test).tolist()) == {1000}
