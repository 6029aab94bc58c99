r"""Gradient descent on ReLU and on TTFS networks: one loop, with checkpoints.

A TTFS network is trained on its spike times: exact gradients, windows that grow with the activations (eq. 8),
and in the alpha forms slopes B = alpha + \sum_j W_ij that move with the weights, the base threshold with
them. In form b1 this is the training of the ReLU twin, step by step.

Source: Stanojevic et al., Nat. Commun. 2024, "The identity mapping makes training equivalent" and Methods;
activity regularization: thesis of A. Stanojevic, EPFL 2023, Table 2.1.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import Diverged, InputError
from ttfs_analog.data.datasets import Data
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import Progress, widen
from ttfs_analog.neuron.seeding import seeded

LEAST_STEPS = 1500
SMALL = 200_000
"""Parameters below which more than one thread only costs time."""
SAVE_EVERY = 60.0
"""Seconds between two checkpoints."""
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
        """Learning rate of one step."""
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


def require_slopes(net: TTFSNetwork) -> None:
    """Raise Diverged if a neuron could never fire any more."""
    for n, layer in enumerate(net.layers):
        try:
            layer.check_slopes(f"layer {n}")
        except InputError as error:
            raise Diverged(f"training diverged: {error}") from None


def least_epochs(recipe: Recipe, images: int) -> int:
    """The recipe's epochs, or as many as make LEAST_STEPS steps."""
    return max(recipe.epochs, LEAST_STEPS * recipe.batch // images)


def train(
    model: nn.Module,
    data: Data,
    recipe: Recipe | None = None,
    *,
    adaptive: bool = True,
    judge: bool = False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Minimize cross entropy; changes `model`.

    Parameters
    ----------
    model : nn.Module or TTFSNetwork
    recipe : Recipe, optional
        Default: Adam, 40 epochs or as many as make LEAST_STEPS steps.
    adaptive : bool
        TTFS networks: let windows grow with the activations. Constraints fix theirs.
    judge : bool
        Note the accuracy on the test part after every epoch.
    checkpoint : path, optional
        Written every minute and after every epoch.
    resume : bool
        Go on from the checkpoint, if it exists: the result is that of an uninterrupted run.

    Returns
    -------
    list of dict
        For every epoch: `loss`, mean over its steps, and `accuracy`.

    Raises
    ------
    Diverged
        If the loss or a slope cannot be used any more.
    """
    if recipe is None:
        recipe = Recipe(weight_decay=1e-4)
        recipe = replace(recipe, epochs=least_epochs(recipe, len(data.x_train)))
    net = model if isinstance(model, TTFSNetwork) else None
    if net is None and recipe.l1:
        raise InputError("l1 counts spikes: train a TTFS network, or set l1 to 0")
    adaptive = adaptive and net is not None and net.constraints is None
    tracked = net is not None and any(layer.form != "b1" for layer in net.layers)
    seen: list[Tensor] = []

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        if net is None:
            return nn.functional.cross_entropy(model(x), y)
        seen[:] = net.trace(x)
        loss = nn.functional.cross_entropy(seen[-1], y)
        if recipe.l1:
            loss = loss + recipe.l1 * sum(h.sum() for h in seen[:-1]) / len(x)
        return loss

    def after() -> None:
        if net is not None and adaptive:
            widen(net, seen)
        if net is not None and tracked:
            require_slopes(net)

    place = next(model.parameters())
    x, y = data.x_train.to(place), data.y_train.to(place.device)
    score = (lambda: accuracy(model, data.x_test, data.y_test)) if judge else None
    return optimize(
        model,
        (x, y),
        loss_of,
        recipe,
        after=after if net is not None else None,
        score=score,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )


def optimize(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    recipe: Recipe,
    *,
    after: Callable[[], None] | None = None,
    score: Callable[[], float] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    chances: torch.Generator | None = None,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """The training loop over shuffled batches; see `train`.

    Parameters
    ----------
    after : callable, optional
        Called after every step.
    chances : torch.Generator, optional
        What `loss_of` draws from; kept in the checkpoint.
    """
    x, y = data
    file = None if checkpoint is None else Path(checkpoint)
    generator = seeded(recipe.seed)
    per_epoch = -(-len(x) // recipe.batch)
    steps = recipe.epochs * per_epoch
    fingerprint = "" if file is None else _fingerprint(model, x, y)
    optimizer = recipe.build(model.parameters())
    history: list[dict[str, float]] = []
    first, skip, total = 0, 0, 0.0
    if resume and file is not None and file.exists():
        state = _read(file, recipe, fingerprint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["rng"])
        if chances is not None:
            chances.set_state(state["chances"])
        if isinstance(model, TTFSNetwork) and model.constraints:
            model.constraints.set_trial_state(state["trials"])
        first, skip, total, history = state["epoch"], state["step"], state["total"], state["history"]
    saved = time.monotonic()
    threads = torch.get_num_threads()
    if sum(p.numel() for p in model.parameters()) < SMALL:
        torch.set_num_threads(1)

    def keep(epoch: int, step: int, start: Tensor, total: float) -> None:
        if file is not None:
            state = {"epoch": epoch, "step": step, "total": total, "history": history, "generator": start}
            if chances is not None:
                state["chances"] = chances.get_state()
            _write(file, recipe, fingerprint, model, optimizer, state)

    try:
        for epoch in range(first, recipe.epochs):
            model.train()
            start = generator.get_state()
            order = torch.randperm(len(x), generator=generator).to(x.device)
            for step, pick in enumerate(order.split(recipe.batch)):
                if step < skip:
                    continue
                for group in optimizer.param_groups:
                    group["lr"] = recipe.rate(epoch * per_epoch + step, steps)
                loss = loss_of(x[pick], y[pick])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if after is not None:
                    after()
                total += float(loss.detach())
                if not math.isfinite(total):
                    raise Diverged(
                        f"training diverged in epoch {epoch + 1}: lower the learning rate ({recipe.lr:g})"
                    )
                done = epoch * per_epoch + step + 1
                if progress and (done % 20 == 0 or done == steps):
                    progress(done, steps)
                if file is not None and time.monotonic() - saved > SAVE_EVERY:
                    keep(epoch, step + 1, start, total)
                    saved = time.monotonic()
            history.append({"loss": total / per_epoch})
            total, skip = 0.0, 0
            if score is not None:
                history[-1]["accuracy"] = score()
            keep(epoch + 1, 0, generator.get_state(), total)
    finally:
        model.eval()
        torch.set_num_threads(threads)
    return history


def _fingerprint(model: nn.Module, x: Tensor, y: Tensor) -> str:
    """What a checkpoint belongs to: layers, forms, constraints, and a sample of the data."""
    about: list[Any] = [[name, list(p.shape), str(p.dtype)] for name, p in model.named_parameters()]
    if isinstance(model, TTFSNetwork):
        about += [layer.form for layer in model.layers]
        about.append(model.constraints.to_dict() if model.constraints else None)
    digest = hashlib.sha256(json.dumps([type(model).__name__, about]).encode())
    for part in (x[:: max(1, len(x) // 200)], y):
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _write(
    file: Path,
    recipe: Recipe,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """One file, replaced whole: a death while writing leaves the one before."""
    limits = model.constraints if isinstance(model, TTFSNetwork) else None
    state = {
        **state,
        "recipe": asdict(recipe),
        "fingerprint": fingerprint,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "trials": limits.trial_state() if limits else None,
    }
    part = file.with_name(file.name + ".part")
    with open(part, "wb") as out:
        torch.save(state, out)
    part.replace(file)


def _read(file: Path, recipe: Recipe, fingerprint: str) -> dict[str, Any]:
    try:
        state = torch.load(file, weights_only=True)
        given = state["recipe"]
        same = state["fingerprint"] == fingerprint
        state["trials"]
    except Exception:  # torch, zipfile and pickle raise many kinds
        raise InputError(f"{file} is not a checkpoint, or is damaged; remove it to start anew") from None
    other = [k for k, v in asdict(recipe).items() if given.get(k) != v]
    if recipe.schedule != "cosine":  # its rates do not depend on the end
        other = [k for k in other if k != "epochs"]
    if not other and state["epoch"] > recipe.epochs:
        raise InputError(f"{file} holds {state['epoch']} epochs already, {recipe.epochs} were asked for")
    if other or not same:
        what = ", ".join(other + ["network or data"] * (not same))
        raise InputError(f"{file} belongs to another training ({what} differ); remove it to start anew")
    return state


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, batch: int = 1000) -> float:
    """Share of right classes."""
    place = next(model.parameters(), x) if isinstance(model, nn.Module) else x
    learning = isinstance(model, nn.Module) and model.training
    if isinstance(model, nn.Module):
        model.eval()  # statistics of normalizations must not see what is judged
    right = 0
    for part, label in zip(x.split(batch), y.split(batch), strict=True):
        right += int((model(part.to(place)).argmax(-1) == label.to(place.device)).sum())
    if isinstance(model, nn.Module):
        model.train(learning)
    return right / len(x)
