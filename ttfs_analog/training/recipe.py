"""How to train: length, batches, learning rate, optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from circuits.errors import InputError

SCHEDULES = ("cosine", "paper", "constant")


@dataclass(frozen=True)
class Recipe:
    """How to train; the default suits small data."""

    epochs: int = 40
    batch: int = 32
    lr: float = 2e-3
    optimizer: str = "adam"  #: or "sgd"
    schedule: str = "cosine"  #: to zero; "paper": 0.9^(step / 5000); "constant"
    eps: float = 1e-8  #: of Adam
    weight_decay: float = 0.0
    l1: float = 0.0  #: strength of the sum of hidden activations, mean over the batch
    seed: int = 0  #: of the order of the images

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not 0 < self.lr < math.inf:
            raise InputError(
                f"need epochs >= 1, batch >= 1 and lr > 0, got {self.epochs}, {self.batch}, {self.lr}"
            )
        if self.optimizer not in ("adam", "sgd") or self.schedule not in SCHEDULES:
            raise InputError(
                f"optimizer is 'adam' or 'sgd' and schedule one of {', '.join(SCHEDULES)}, got "
                f"{self.optimizer!r}, {self.schedule!r}"
            )
        if not 0 <= self.l1 < math.inf or not 0 <= self.weight_decay < math.inf:
            raise InputError(f"l1 and weight decay must be >= 0, got {self.l1}, {self.weight_decay}")

    @classmethod
    def paper(cls, **changes: Any) -> Recipe:
        """Adam at 5e-4 x 0.9^(step / 5000), batches of 8, 50 epochs, epsilon 1e-7 (that of Keras)."""
        return replace(cls(50, 8, 5e-4, schedule="paper", eps=1e-7), **changes)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of one step.

        Parameters
        ----------
        step, steps : int
            Number of the step from 0, and of all steps.
        """
        if self.schedule == "paper":
            return self.lr * 0.9 ** (step / 5000)
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        return self.lr

    def build(self, parameters: Any) -> torch.optim.Optimizer:
        """The optimizer."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.Adam(
            parameters, lr=self.lr, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )
