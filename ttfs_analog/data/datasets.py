"""Data to train and judge on: sets that ship with scikit-learn, and image sets from files."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from circuits.errors import InputError
from ttfs_analog.data import image_files
from ttfs_analog.data.image_files import Part

TEST_SHARE = 0.25
SPLIT_SEED = 0  # one split for everyone, whatever the run's seed
VARIABLE = "TTFS_ANALOG_DATA"
IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
RECORDS = tuple(f"{name}.bin" for name in image_files.BATCHES)
EXPECTED = dict.fromkeys(
    ["mnist", "fashion-mnist"], ", ".join(f"{name}.gz" for name in IDX) + " (or unpacked)"
)
EXPECTED["cifar10"] = (
    "cifar-10-batches-py/, cifar-10-python.tar.gz, cifar-10-batches-bin/, cifar-10-binary.tar.gz, or "
    f"data_batch_1.webp to data_batch_5.webp, test_batch.webp, {IDX[1]}.gz and {IDX[3]}.gz"
)
COUNTS = {"mnist": (60000, 10000), "fashion-mnist": (60000, 10000), "cifar10": (50000, 10000)}
MNIST_SHA256 = (  # in the order of IDX, of the uncompressed content: packing again changes a .gz, not this
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
FASHION_SHA256 = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
OFFICIAL = {
    "mnist": dict(zip(IDX, MNIST_SHA256, strict=True)),
    "fashion-mnist": dict(zip(IDX, FASHION_SHA256, strict=True)),
    "cifar10": {  # SHA-256 of the archives; of the batches the MD5 that is in general use
        "cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
}


@dataclass(frozen=True)
class Data:
    """Inputs in [0, 1] (image, feature) and class numbers, split for training and test.

    `shape` is that of one image, such as (3, 32, 32): x.unflatten(1, shape); without one, (features,).
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.shape:
            object.__setattr__(self, "shape", (self.features,))
        if math.prod(self.shape) != self.features:
            raise InputError(f"shape {self.shape} does not hold {self.features} features; give one that does")

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    @property
    def features(self) -> int:
        """Inputs of one image."""
        return self.x_train.shape[1]


def available() -> list[str]:
    """Names that `load` takes; all but the first two need files in the folder TTFS_ANALOG_DATA."""
    return ["digits", "iris", *EXPECTED]


def load(name: str, dtype: torch.dtype = torch.float64) -> Data:
    """A dataset by name.

    'digits' (1 x 8 x 8, 10 classes) and 'iris' (4 features, 3 classes) come with scikit-learn: each
    feature is scaled by the range it has in the training part (digits: 0..16) and clipped to [0, 1],
    because a spike cannot be earlier than its window. 'mnist', 'fashion-mnist' (1 x 28 x 28) and
    'cifar10' (3 x 32 x 32) are read from the folder TTFS_ANALOG_DATA, bytes divided by 255, in the
    official order and split.

    Parameters
    ----------
    name : str
        One of `available`.
    dtype : torch.dtype
        Of the inputs.

    Raises
    ------
    InputError
        If the name is unknown, or files are missing, damaged or not the official ones.
    """
    if name not in available():
        raise InputError(f"unknown dataset {name!r}; available: {', '.join(available())}")
    if name not in EXPECTED:
        return _shipped(name, dtype)
    root, folder = _data_folder(name)
    train, test = _cifar(root, folder) if name == "cifar10" else _idx(root, folder, OFFICIAL.get(name, {}))
    for part, (x, _), count in (("training", train, COUNTS[name][0]), ("test", test, COUNTS[name][1])):
        if len(x) != count:
            raise InputError(f"{folder}: {len(x)} {part} images, expected {count}; fetch the files again")
    shape = tuple(train[0].shape[1:])
    return Data(name, *_tensors(train, dtype), *_tensors(test, dtype), shape)


def _data_folder(name: str) -> tuple[Path, Path]:
    """The folder TTFS_ANALOG_DATA and that of dataset `name` in it; InputError says what is expected."""
    expected = f"{name}/ with {EXPECTED[name]}"
    value = os.environ.get(VARIABLE)
    if not value:
        raise InputError(f"{VARIABLE} is not set: set it to the folder that holds {expected}")
    root = Path(value).absolute()
    if not (root / name).is_dir():
        raise InputError(
            f"no folder {root / name}: {VARIABLE}={value} must name a folder that holds {expected}"
        )
    return root, root / name


def _shipped(name: str, dtype: torch.dtype) -> Data:
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    parts = train_test_split(x, y, test_size=TEST_SHARE, random_state=SPLIT_SEED, stratify=y)
    low, high = (0.0, 16.0) if name == "digits" else (parts[0].min(0), parts[0].max(0))
    x_train, x_test = (((p - low) / (high - low)).clip(0, 1) for p in parts[:2])
    return Data(
        name,
        torch.tensor(x_train, dtype=dtype),
        torch.tensor(parts[2], dtype=torch.int64),
        torch.tensor(x_test, dtype=dtype),
        torch.tensor(parts[3], dtype=torch.int64),
        (1, 8, 8) if name == "digits" else (),
    )


def _tensors(part: Part, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Inputs (image, feature) and labels; no copy is made but the result."""
    x, y = (torch.from_numpy(a) for a in part)
    return x.flatten(1).to(dtype).div_(255), y.to(torch.int64)


def _raw_or_packed(folder: Path, name: str) -> Path:
    """An IDX file by its official name, or with a dot before idx as on some mirrors; or the packed one."""
    names = (name, name.replace("-idx", ".idx"))
    return next((folder / n for n in names if (folder / n).is_file()), folder / f"{name}.gz")


def _idx(root: Path, folder: Path, official: dict[str, str]) -> tuple[Part, Part]:
    paths = {name: _raw_or_packed(folder, name) for name in IDX}
    image_files.require(paths.values())
    # the sum of a .gz does not fit what was unpacked and left its name; its content is checked below
    whole = [
        p for n, p in paths.items() if n not in official or p.suffix != ".gz" or image_files.is_packed(p)
    ]
    image_files.check_sums(whole, root)
    parts = []
    for images, labels in (IDX[:2], IDX[2:]):
        parts.append(image_files.read_idx_pair(paths[images], paths[labels], (28, 28)))
        for file, array in zip((images, labels), (parts[-1][0][:, 0], parts[-1][1]), strict=True):
            if file in official:
                image_files.check_content(paths[file], array, official[file])
    return parts[0], parts[1]


def _cifar(root: Path, folder: Path) -> tuple[Part, Part]:
    """The first form there is; the tiles come last because some of them only approximate the original."""
    for place, read, members in (
        (folder / "cifar-10-batches-py", image_files.read_cifar_python, image_files.BATCHES),
        (folder / "cifar-10-python.tar.gz", image_files.read_cifar_python, ()),
        (folder / "cifar-10-python.tar", image_files.read_cifar_python, ()),
        (folder / "cifar-10-batches-bin", image_files.read_cifar_binary, RECORDS),
        (folder / "cifar-10-binary.tar.gz", image_files.read_cifar_binary, ()),
        (folder / "cifar-10-binary.tar", image_files.read_cifar_binary, ()),
    ):
        if place.exists():
            files = [place / m for m in members] or [place]
            if members or image_files.is_packed(place):
                _check(files, root)
            elif (
                read is image_files.read_cifar_python
            ):  # unpacked: the sum of the archive does not fit any more
                official = OFFICIAL["cifar10"]
                image_files.check_members(
                    place, {k: official[k] for k in image_files.BATCHES if k in official}
                )
            return read(place)
    labels = [_raw_or_packed(folder, IDX[k]) for k in (1, 3)]
    tiles = [folder / f"{name}.webp" for name in image_files.BATCHES]
    if not any(t.exists() for t in tiles):
        raise InputError(f"{folder} holds no CIFAR-10: put one form there: {EXPECTED['cifar10']}")
    _check([*tiles, *labels], root)
    return image_files.read_cifar_webp(folder, *labels)


def _check(files: list[Path], root: Path) -> None:
    image_files.require(files)
    image_files.check_sums(files, root)
    for file in files:
        if file.name in OFFICIAL["cifar10"]:
            image_files.check_digest(file, OFFICIAL["cifar10"][file.name], "the official file")
