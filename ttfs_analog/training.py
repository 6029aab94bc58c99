"""Train the ReLU network that becomes a chip."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from ttfs_analog.datasets import Data

Progress = Callable[[int, int], None]
LEAST_STEPS = 1500
SMALL = 200_000
"""Parameters below which more than one thread only costs time."""


def build(arch: str, features: int, classes: int, seed: int, dtype: torch.dtype) -> nn.Sequential:
    """A fully connected ReLU network by name.

    Parameters
    ----------
    arch : str
        'fc-340': one hidden layer of 340; 'fc16-340': 16 layers, 15 of them hidden.

    Raises
    ------
    InputError
        On any other name.
    """
    found = re.fullmatch(r"fc(\d*)-(\d+)", arch)
    depth = int(found[1] or 2) if found else 0
    if not found or not 1 < depth <= 64 or not 0 < int(found[2]) <= 8192:
        raise InputError(f"unknown architecture {arch!r}; use fc-WIDTH or fcDEPTH-WIDTH, such as fc-340")
    sizes = [features, *[int(found[2])] * (depth - 1), classes]
    generator = torch.Generator().manual_seed(seed)
    modules: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        linear = nn.Linear(n_in, n_out, dtype=dtype)
        nn.init.xavier_uniform_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def train(
    model: nn.Module,
    data: Data,
    *,
    epochs: int | None = None,
    batch: int = 32,
    lr: float = 2e-3,
    weight_decay: float = 1e-4,
    seed: int = 0,
    progress: Progress | None = None,
) -> float:
    """Minimize cross entropy with Adam and a cosine schedule; changes `model`.

    Parameters
    ----------
    epochs : int, optional
        Default: 40, or as many as make LEAST_STEPS steps.

    Returns
    -------
    float
        Accuracy on the test part.
    """

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(x), y)

    pair = (data.x_train, data.y_train)
    if epochs is None:
        epochs = max(40, LEAST_STEPS * batch // len(data.x_train))
    optimize(model, pair, loss_of, epochs, batch, lr, weight_decay, seed, progress)
    return accuracy(model, data.x_test, data.y_test)


def optimize(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    batch: int,
    lr: float,
    weight_decay: float,
    seed: int,
    progress: Progress | None,
) -> None:
    """The training loop: shuffled batches, Adam, cosine decay to zero.

    Raises
    ------
    InputError
        If the loss stops being finite.
    """
    if epochs < 1 or batch < 1 or not lr > 0:
        raise InputError(f"need epochs >= 1, batch >= 1 and lr > 0, got {epochs}, {batch}, {lr}")
    x, y = data
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(x) // batch)
    adam = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    threads = torch.get_num_threads()
    if sum(p.numel() for p in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    try:
        for epoch in range(epochs):
            order = torch.randperm(len(x), generator=generator)
            for pick in order.split(batch):
                loss = loss_of(x[pick], y[pick])
                adam.zero_grad()
                loss.backward()
                adam.step()
                schedule.step()
            if not torch.isfinite(loss):
                raise InputError(f"training diverged in epoch {epoch + 1}: lower the learning rate ({lr:g})")
            if progress:
                progress(epoch + 1, epochs)
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of right classes."""
    return float((model(x).argmax(-1) == y).double().mean())
