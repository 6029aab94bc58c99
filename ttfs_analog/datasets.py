"""Data to train and judge on: sets that ship with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from circuits.errors import InputError

TEST_SHARE = 0.25
SPLIT_SEED = 0  # one split for everyone, whatever the run's seed


@dataclass(frozen=True)
class Data:
    """Inputs in [0, 1] (image, feature) and class numbers, split for training and test."""

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor

    @property
    def classes(self) -> int:
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    @property
    def features(self) -> int:
        return self.x_train.shape[1]


def available() -> list[str]:
    """Names that `load` takes."""
    return ["digits", "iris"]


def load(name: str, dtype: torch.dtype = torch.float64) -> Data:
    """A dataset by name: 'digits' (8 x 8 pixels, 10 classes) or 'iris' (4 features, 3 classes).

    Each feature is scaled by the range it has in the training part (digits: 0..16) and clipped to
    [0, 1], because a spike cannot be earlier than its window.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    if name not in available():
        raise InputError(f"unknown dataset {name!r}; available: {', '.join(available())}")
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
    )


def pair_of(data: Any) -> tuple[Tensor, Tensor]:
    """(x, y) of a Data (its test part), a DataLoader, or a pair of tensors."""
    if isinstance(data, Data):
        return data.x_test, data.y_test
    if isinstance(data, DataLoader):
        parts = [(x, y) for x, y in data]
        if not parts:
            raise InputError("the loader holds no data")
        data = (torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts]))
    if not (isinstance(data, tuple | list) and len(data) == 2):
        raise InputError("data must be a DataLoader, a pair (x, y), or come from ttfs_analog.load_data")
    x, y = data
    return x.flatten(1), y


def training_pair(data: Any) -> tuple[Tensor, Tensor]:
    """(x, y) to train on: of a Data its training part, of a loader all of it."""
    if isinstance(data, Data):
        return data.x_train, data.y_train
    return pair_of(data)


def inputs_of(data: Any) -> Tensor:
    """Calibration inputs (image, feature): of a Data its training part; labels are ignored."""
    if isinstance(data, Data):
        return data.x_train
    if isinstance(data, Tensor):
        return data.flatten(1)
    return pair_of(data)[0]
