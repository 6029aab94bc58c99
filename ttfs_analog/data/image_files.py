"""Image files as arrays of bytes: IDX, CIFAR-10 in three forms, and checksums. Nothing here is converted."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import pickle
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from circuits.errors import InputError

Part = tuple[np.ndarray, np.ndarray]  # images (image, channel, row, column) and labels (image,), uint8

SUMS = "SHA256SUMS"
CLASSES = 10
SIDE = 32  # of a CIFAR-10 image
PIXELS = 3 * SIDE * SIDE
TRAIN_BATCHES = tuple(f"data_batch_{k}" for k in range(1, 6))
BATCHES = (*TRAIN_BATCHES, "test_batch")
AGAIN = "fetch the file again"
GZIP = b"\x1f\x8b"
_ARRAY = ("numpy", "ndarray")  # stands for the class in a pickle; never called


def require(files: Iterable[Path]) -> None:
    """Nothing if all `files` exist, else InputError with those that do not."""
    missing = [str(f) for f in files if not f.is_file()]
    if missing:
        raise InputError(f"missing: {', '.join(missing)}; put what is missing there")


def is_packed(path: Path) -> bool:
    """Whether the content of a file, not its name, is that of gzip."""
    with _opened(path) as file:
        return file.read(len(GZIP)) == GZIP


def check_digest(path: Path, expected: str, source: str) -> None:
    """InputError unless a file has the expected checksum.

    Parameters
    ----------
    path : Path
    expected : str
        SHA-256 (64 hex digits) or MD5 (32).
    source : str
        Where `expected` comes from, for the message.
    """
    kind = {64: "SHA-256", 32: "MD5"}[len(expected)]
    with _opened(path) as file:
        digest = hashlib.file_digest(file, kind.replace("-", "").lower()).hexdigest()
    _compare(path, kind, expected, digest, source)


def check_content(path: Path, array: np.ndarray, expected: str) -> None:
    """InputError unless the uncompressed content of an IDX file has the expected checksum.

    Parameters
    ----------
    path : Path
        Of the file, for the message.
    array : ndarray of uint8
        What it holds.
    expected : str
        SHA-256, hex digits.
    """
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    digest = hashlib.sha256(head)
    digest.update(np.ascontiguousarray(array).data)
    _compare(path, "SHA-256 of the uncompressed content", expected, digest.hexdigest(), "the official file")


def check_members(path: Path, expected: dict[str, str]) -> None:
    """InputError unless files of an archive have the expected MD5 sums.

    Parameters
    ----------
    path : Path
        A tar archive, packed or not.
    expected : dict of str
        MD5, hex digits, by file name.
    """
    for name, content in _members(path, tuple(expected)).items():
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        _compare(path / name, "MD5", expected[name], digest, "the official file")


def check_sums(files: Iterable[Path], root: Path) -> set[Path]:
    """Compare files with the SHA256SUMS beside them or above.

    Parameters
    ----------
    files : iterable of Path
    root : Path
        The highest folder whose SHA256SUMS counts.

    Returns
    -------
    set of Path
        Those of `files` that are listed.

    Raises
    ------
    InputError
        If a file differs, or a SHA256SUMS is not of its format.
    """
    files = set(files)
    known = set()
    for sums in {p / SUMS for f in files for p in f.parents if p.is_relative_to(root)}:
        lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
        for number, line in enumerate(lines, 1):
            if not re.fullmatch(r"[0-9a-fA-F]{64} [ *].+|", line):
                raise InputError(
                    f"{sums}, line {number}: {line!r} is not '<SHA-256>  <file>'; mend or remove it"
                )
            file = sums.parent / line[66:]
            if file in files:
                check_digest(file, line[:64].lower(), str(sums))
                known.add(file)
    return known


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Array of an IDX file, packed by gzip or not, whatever its name says.

    Parameters
    ----------
    path : Path
    ndim : int
        Axes that it must have.

    Returns
    -------
    ndarray of uint8

    Raises
    ------
    InputError
        If the file is damaged or of another kind.
    """
    raw = _content(path)
    head = 4 + 4 * ndim
    if len(raw) < 4:
        raise InputError(f"{path} is truncated: {len(raw)} bytes, an IDX file has at least 4; {AGAIN}")
    if raw[:2] != b"\0\0":
        raise InputError(f"{path} is no IDX file: it starts with 0x{raw[:4].hex()}, not 0x0000; {AGAIN}")
    if raw[2] != 8:
        raise InputError(f"{path} holds values of type 0x{raw[2]:02x}; only bytes (0x08) can be read")
    if raw[3] != ndim:
        raise InputError(f"{path} has {raw[3]} dimensions, expected {ndim}: are images and labels exchanged?")
    shape = tuple(int(n) for n in np.frombuffer(raw[4:head], dtype=">u4")) if len(raw) >= head else ()
    expected = head + math.prod(shape)
    if len(raw) != expected or not shape:
        fault = "is truncated" if len(raw) < expected or not shape else "has bytes after its end"
        raise InputError(f"{path} {fault}: shape {shape} takes {expected} bytes, found {len(raw)}; {AGAIN}")
    return np.frombuffer(raw, dtype=np.uint8, offset=head).reshape(shape).copy()


def read_idx_pair(images: Path, labels: Path, size: tuple[int, int]) -> Part:
    """Images (image, 1, row, column) and labels (image,), uint8, from two IDX files.

    Parameters
    ----------
    images, labels : Path
    size : (int, int)
        Rows and columns that images must have.

    Raises
    ------
    InputError
        If a file is damaged, images are of another size, or there is not one label for each.
    """
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if x.shape[1:] != size:
        raise InputError(f"{images}: images are {x.shape[1:]} pixels, expected {size}; {AGAIN}")
    _check_labels(labels, y, len(x))
    return x[:, None], y


def _check_labels(path: Path, labels: np.ndarray, images: int) -> None:
    """InputError unless there is one label in 0..9 for each of at least one image."""
    if len(labels) != images or not images:
        raise InputError(f"{path}: {len(labels)} labels for {images} images; both must come from one source")
    if labels.max() >= CLASSES or labels.min() < 0:
        at = int(np.argmax((labels >= CLASSES) | (labels < 0)))
        raise InputError(f"{path}: label {labels[at]} of image {at} is not in 0..{CLASSES - 1}; {AGAIN}")


def read_cifar_python(path: Path) -> tuple[Part, Part]:
    """Training and test part from cifar-10-python.tar.gz or the folder cifar-10-batches-py.

    No class named in the pickles is ever imported: only a dict, lists, numbers and one array of bytes
    are taken, and anything else is an InputError.
    """
    return _cifar(path, BATCHES, _batch_of_pickle)


def read_cifar_binary(path: Path) -> tuple[Part, Part]:
    """Training and test part from cifar-10-binary.tar.gz or folder cifar-10-batches-bin; or InputError."""
    return _cifar(path, tuple(f"{name}.bin" for name in BATCHES), _batch_of_records)


def read_cifar_webp(folder: Path, train_labels: Path, test_labels: Path) -> tuple[Part, Part]:
    """Training and test part from <batch>.webp: tiles of 32 x 32, row by row.

    Images listed in an approx.json beside them are close to the original, not equal, and count like others.

    Parameters
    ----------
    folder : Path
        Of the six tile files.
    train_labels, test_labels : Path
        IDX files.

    Raises
    ------
    InputError
        If a file is missing or damaged, or there is not one label for each image.
    """
    require([*(folder / f"{name}.webp" for name in BATCHES), train_labels, test_labels])
    tiles = [_tiles(folder / f"{name}.webp") for name in BATCHES]
    x_train, y_train = np.concatenate(tiles[:-1]), read_idx(train_labels, 1)
    _check_labels(train_labels, y_train, len(x_train))
    y_test = read_idx(test_labels, 1)
    _check_labels(test_labels, y_test, len(tiles[-1]))
    return (x_train, y_train), (tiles[-1], y_test)


def _cifar(path: Path, names: Sequence[str], parse: Callable[[Path, bytes], Part]) -> tuple[Part, Part]:
    contents = _members(path, names)
    parts = [parse(path / name, contents.pop(name)) for name in names]
    train = parts[:-1]
    return (np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])), parts[-1]


def _members(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Contents by file name, from a folder or a tar archive, packed or not (nothing is unpacked to disk)."""
    if path.is_dir():
        require(path / name for name in names)
        return {name: _content(path / name) for name in names}
    contents: dict[str, bytes] = {}
    try:
        with _opened(path) as file, tarfile.open(fileobj=file, mode="r:*") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                content = archive.extractfile(member) if member.isfile() and name in names else None
                if content:
                    contents[name] = content.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is no whole tar archive ({error}); {AGAIN}") from None
    missing = [name for name in names if name not in contents]
    if missing:
        raise InputError(f"{path} does not hold {', '.join(missing)}; {AGAIN}")
    return contents


def _batch_of_records(path: Path, raw: bytes) -> Part:
    if len(raw) % (1 + PIXELS) or not raw:
        raise InputError(f"{path} is truncated: {len(raw)} bytes are not records of {1 + PIXELS}; {AGAIN}")
    table = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 1 + PIXELS)
    _check_labels(path, table[:, 0], len(table))
    return table[:, 1:].reshape(-1, 3, SIDE, SIDE).copy(), table[:, 0].copy()


class _State:
    """An object of a pickle, as the arguments and the state that it would be made of."""

    def __init__(self, *args: Any) -> None:
        self.args, self.state = args, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class of the pickle; UnpicklingError but for those of one array.

        Parameters
        ----------
        module, name : str
        """
        if (module, name) == _ARRAY:
            return _ARRAY
        if (module, name) == ("numpy", "dtype") or (
            module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct"
        ):
            return _State
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _batch_of_pickle(path: Path, raw: bytes) -> Part:
    try:
        loaded = _Restricted(io.BytesIO(raw), encoding="bytes").load()
        batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in loaded.items()}
        _, shape, kind, fortran, content = batch["data"].state
        labels = np.array(batch["labels"], dtype=np.int64)
        if kind.args[0] not in (b"u1", "u1") or labels.ndim != 1 or shape != (len(labels), PIXELS):
            raise ValueError(f"data of shape {shape} for labels of shape {labels.shape}")
        pixels = np.frombuffer(content, dtype=np.uint8).reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # a damaged pickle can fail in any way
        why = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is no CIFAR-10 batch ({why}); {AGAIN}") from None
    _check_labels(path, labels, len(pixels))
    return pixels.reshape(-1, 3, SIDE, SIDE).copy(), labels.astype(np.uint8)


def _tiles(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path, formats=["WEBP"]) as image:
            mode, page = image.mode, np.array(image)
    except (OSError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no whole WebP image ({error}); {AGAIN}") from None
    if mode != "RGB" or page.shape[0] % SIDE or page.shape[1] % SIDE:
        raise InputError(f"{path}: {page.shape} ({mode}) are not RGB tiles of {SIDE} x {SIDE}; {AGAIN}")
    grid = page.reshape(page.shape[0] // SIDE, SIDE, page.shape[1] // SIDE, SIDE, 3)
    return grid.transpose(0, 2, 4, 1, 3).reshape(-1, 3, SIDE, SIDE)


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); check the name and the access") from None


def _content(path: Path) -> bytes:
    """All bytes of a file, uncompressed; some programs unpack a .gz and leave it its name."""
    try:
        with _opened(path) as file:
            return gzip.GzipFile(fileobj=file).read() if is_packed(path) else file.read()
    except EOFError:
        raise InputError(f"{path} is truncated: the compressed data ends too early; {AGAIN}") from None
    except (OSError, zlib.error) as error:
        raise InputError(f"{path} is no whole gzip file ({error}); {AGAIN}") from None


def _compare(path: Path, kind: str, expected: str, actual: str, source: str) -> None:
    if actual != expected:
        raise InputError(f"{path}: {kind} is {actual}, expected {expected} ({source}); {AGAIN}")
