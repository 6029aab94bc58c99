"""Image files: what is read, byte for byte, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from circuits.errors import InputError
from ttfs_analog.data import image_files as files


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def images(rng: np.random.Generator, count: int, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8)


def batch_of_python_2(x: np.ndarray, y: list[int]) -> bytes:
    """The opcodes that Python 2 wrote: byte strings, numpy.core, protocol 2."""
    raw = x.tobytes()
    minus_1 = b"J" + b"\xff" * 4
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * minus_1 + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"J" + struct.pack("<i", len(x)) + b"J" + struct.pack("<i", 3072) + b"\x86"
    state = b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in y) + b"e"
    return b"\x80\x02}(U\x04data" + array + state + b"U\x06labels" + labels + b"u."


def archive(path, contents: dict[str, bytes]):
    with tarfile.open(path, "w:gz") as tar:
        for name, raw in reversed(contents.items()):  # order in the archive must not matter
            member = tarfile.TarInfo(f"cifar/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return path


def folder(path, contents: dict[str, bytes]):
    path.mkdir()
    for name, raw in contents.items():
        (path / name).write_bytes(raw)
    return path


STORED = {"folder": folder, "archive": archive}


@pytest.fixture
def cifar(rng):
    return {name: (images(rng, 2, 3, 32, 32), [k % 10, 9]) for k, name in enumerate(files.BATCHES)}


def assert_same(parts, cifar):
    (x_train, y_train), (x_test, y_test) = parts
    train = [cifar[name] for name in files.TRAIN_BATCHES]
    assert np.array_equal(x_train, np.concatenate([x for x, _ in train]))
    assert y_train.tolist() == [label for _, y in train for label in y]
    assert np.array_equal(x_test, cifar["test_batch"][0])
    assert y_test.tolist() == cifar["test_batch"][1]
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    assert x_train.flags.writeable
    assert x_test.flags.writeable


@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_idx_comes_back_as_written(tmp_path, rng, name):
    x = images(rng, 3, 4, 5)
    (tmp_path / name).write_bytes(gzip.compress(idx(x)) if name.endswith("gz") else idx(x))
    assert np.array_equal(files.read_idx(tmp_path / name, 3), x)
    files.check_content(tmp_path / name, x, hashlib.sha256(idx(x)).hexdigest())
    with pytest.raises(InputError, match=r"SHA-256 of the uncompressed content is .*, expected 00"):
        files.check_content(tmp_path / name, x, "0" * 64)


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(1, 2, 3))


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a", GOOD[:-1], r"a is truncated: shape \(1, 2, 3\) takes 22 bytes, found 21; fetch"),
        ("a", GOOD + b"x", r"a has bytes after its end: shape \(1, 2, 3\) takes 22 bytes, found 23"),
        ("a", GOOD[:9], r"a is truncated: .* found 9"),
        ("a", b"\0\0", r"a is truncated: 2 bytes"),
        ("a", b"\x89PNG" + GOOD, r"a is no IDX file: it starts with 0x89504e47"),
        ("a", idx(np.zeros((1, 2, 3), np.uint8), kind=13), r"a holds values of type 0x0d; only bytes"),
        ("a", idx(np.zeros(4, np.uint8)), r"a has 1 dimensions, expected 3: are images and labels exchanged"),
        ("a.gz", gzip.compress(GOOD)[:-9], r"a.gz is truncated: the compressed data ends too early"),
        ("a.gz", gzip.compress(GOOD)[:-8] + b"\0" * 8, r"a.gz is no whole gzip file \(CRC check failed"),
        ("a.gz", gzip.compress(GOOD)[:10] + b"\xff" * 9, r"a.gz is no whole gzip file \(Error -3"),
    ],
)
def test_a_bad_idx_is_refused_with_name_value_and_remedy(tmp_path, name, raw, message):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(InputError, match=message):
        files.read_idx(tmp_path / name, 3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none \(No such file"):
        files.read_idx(tmp_path / "none", 3)
    with pytest.raises(InputError, match=r"missing: .*one, .*two; put"):
        files.require([tmp_path / "one", tmp_path / "two"])


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((2, 28, 28), [1, 2, 3], r"y: 3 labels for 2 images"),
        ((2, 28, 28), [1, 12], r"y: label 12 of image 1 is not in 0\.\.9"),
        ((2, 28, 27), [1, 2], r"x: images are \(28, 27\) pixels, expected \(28, 28\)"),
        ((0, 28, 28), [], r"y: 0 labels for 0 images"),
    ],
)
def test_images_and_labels_must_fit(tmp_path, shape, labels, message):
    (tmp_path / "x").write_bytes(idx(np.zeros(shape, np.uint8)))
    (tmp_path / "y").write_bytes(idx(np.array(labels, np.uint8)))
    with pytest.raises(InputError, match=message):
        files.read_idx_pair(tmp_path / "x", tmp_path / "y", (28, 28))


@pytest.mark.parametrize("form", ["python 2", 3, 4, "fortran"])
@pytest.mark.parametrize("where", STORED)
def test_cifar_python_is_read_from_every_pickle_it_comes_as(tmp_path, cifar, form, where):
    def dump(x, y):
        x = x.reshape(-1, 3072)
        if form == "python 2":
            return batch_of_python_2(x, y)
        data = np.asfortranarray(x) if form == "fortran" else x
        return pickle.dumps({b"data": data, b"labels": y}, protocol=3 if form == "fortran" else form)

    contents = {name: dump(*batch) for name, batch in cifar.items()}
    assert_same(files.read_cifar_python(STORED[where](tmp_path / "cifar", contents)), cifar)


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


class Sneaky:
    def __reduce__(self):
        return (np.ndarray, ((2, 3072),))


X = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pickle.dumps(Harmful()), r"data_batch_1 is no CIFAR-10 batch .*builtins.print is not allowed"),
        (pickle.dumps({"data": Sneaky(), "labels": [1, 2]}), "no CIFAR-10 batch .*not callable"),
        (pickle.dumps({"data": np.array([print]), "labels": [1]}, 3), "print is not allowed"),
        (pickle.dumps({"data": X, "labels": [1, 2]}, 3)[:-2000], "no CIFAR-10 batch"),
        (
            pickle.dumps({"data": X, "labels": [1, 2, 3]}, 3),
            r"data of shape \(2, 3072\) for labels of shape \(3,\)",
        ),
        (pickle.dumps({"data": X.astype("f4"), "labels": [1, 2]}, 3), "no CIFAR-10 batch"),
        (pickle.dumps({"data": X}, 3), "no CIFAR-10 batch .*labels"),
        (pickle.dumps([1, 2]), "no CIFAR-10 batch"),
        (pickle.dumps({"data": X, "labels": [1, -2]}, 3), r"label -2 of image 1 is not in 0\.\.9"),
        (b"", "no CIFAR-10 batch"),
    ],
)
def test_a_bad_pickle_is_refused_and_runs_nothing(tmp_path, capsys, raw, message):
    with pytest.raises(InputError, match=message):
        files.read_cifar_python(folder(tmp_path / "py", dict.fromkeys(files.BATCHES, raw)))
    assert capsys.readouterr().out == ""


def records(x, y) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(x, y, strict=True))


@pytest.mark.parametrize("where", STORED)
def test_cifar_binary_is_read(tmp_path, cifar, where):
    contents = {f"{name}.bin": records(*batch) for name, batch in cifar.items()}
    assert_same(files.read_cifar_binary(STORED[where](tmp_path / "cifar", contents)), cifar)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\1" * 3072, r"data_batch_1.bin is truncated: 3072 bytes are not records of 3073"),
        (b"", r"data_batch_1.bin is truncated: 0 bytes"),
        (b"\x0b" * 3073, r"data_batch_1.bin: label 11 of image 0"),
    ],
)
def test_bad_records_are_refused(tmp_path, raw, message):
    with pytest.raises(InputError, match=message):
        files.read_cifar_binary(folder(tmp_path / "b", {f"{name}.bin": raw for name in files.BATCHES}))


def test_an_incomplete_folder_or_archive_is_refused(tmp_path, cifar):
    contents = {f"{name}.bin": records(*batch) for name, batch in cifar.items() if name != "data_batch_3"}
    with pytest.raises(InputError, match=r"missing: .*data_batch_3.bin"):
        files.read_cifar_binary(folder(tmp_path / "b", contents))
    path = archive(tmp_path / "a.tar.gz", contents)
    with pytest.raises(InputError, match=r"a.tar.gz does not hold data_batch_3.bin"):
        files.read_cifar_binary(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a.tar.gz is no whole tar archive"):
        files.read_cifar_binary(path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"a.tar.gz is no whole tar archive"):
        files.read_cifar_binary(path)


@pytest.fixture
def webp(tmp_path, rng):
    """A folder of sheets with 2 rows of 3 images; the images in order of their labels."""
    sheets = {name: images(rng, 6, 3, 32, 32) for name in files.BATCHES}
    for name, x in sheets.items():
        page = np.concatenate(
            [np.concatenate([x[3 * r + c].transpose(1, 2, 0) for c in range(3)], axis=1) for r in range(2)]
        )
        Image.fromarray(page).save(tmp_path / f"{name}.webp", lossless=True)
    y = {"train": np.arange(30, dtype=np.uint8) % 10, "test": np.arange(6, dtype=np.uint8)}
    for part, labels in y.items():
        (tmp_path / part).write_bytes(idx(labels))
    return tmp_path, sheets, y


def test_cifar_tiles_are_read_row_by_row(webp):
    path, sheets, y = webp
    cifar = {n: (x, y["train"][6 * k : 6 * k + 6].tolist()) for k, (n, x) in enumerate(sheets.items())}
    cifar["test_batch"] = (sheets["test_batch"], y["test"].tolist())
    assert_same(files.read_cifar_webp(path, path / "train", path / "test"), cifar)


def test_bad_tiles_are_refused(webp):
    path, *_ = webp

    def read():
        files.read_cifar_webp(path, path / "train", path / "test")

    sheet = path / "data_batch_2.webp"
    whole = sheet.read_bytes()
    sheet.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"data_batch_2.webp is no whole WebP image"):
        read()
    for size, mode in (((33, 64), "RGB"), ((64, 64), "RGBA")):
        Image.new(mode, size, 7).save(sheet, lossless=True)
        with pytest.raises(
            InputError, match=rf"data_batch_2.webp: .*\({mode}\) are not RGB tiles of 32 x 32"
        ):
            read()
    Image.new("RGB", (64, 32)).save(sheet, lossless=True)
    with pytest.raises(InputError, match=r"train: 30 labels for 26 images"):
        read()
    sheet.unlink()
    with pytest.raises(InputError, match=r"missing: .*data_batch_2.webp"):
        read()


def test_sums_are_checked_beside_the_file_and_above_it(tmp_path):
    inner = tmp_path / "set"
    inner.mkdir()
    file, other = inner / "a", inner / "b"
    file.write_bytes(b"abc")
    other.write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert files.check_sums([file], tmp_path) == set()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  set/a\n\n{digest} *./set/unused\n")
    assert files.check_sums([file, other], tmp_path) == {file}
    (inner / "SHA256SUMS").write_text(f"{digest.upper()}  b\n")
    assert files.check_sums([file, other], tmp_path) == {file, other}
    file.write_bytes(b"abd")
    with pytest.raises(
        InputError, match=rf"set/a: SHA-256 is [0-9a-f]{{64}}, expected {digest} \(.*SHA256SUMS\)"
    ):
        files.check_sums([file], tmp_path)
    (inner / "SHA256SUMS").write_text("garbage\n")
    with pytest.raises(InputError, match=r"SHA256SUMS, line 1: 'garbage' is not"):
        files.check_sums([other], tmp_path)


def test_md5_and_sha256_are_told_apart_by_length(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    files.check_digest(tmp_path / "a", "900150983cd24fb0d6963f7d28e17f72", "RFC 1321")
    with pytest.raises(InputError, match=r"a: MD5 is 9001.*, expected 0{32} \(here\); fetch"):
        files.check_digest(tmp_path / "a", "0" * 32, "here")
