r"""Gradient descent on ReLU and on TTFS networks: one loop, with checkpoints.

A TTFS network is trained on its spike times: exact gradients, windows that grow with the activations (eq. 8),
and in the alpha forms slopes B = alpha + \sum_j W_ij that move with the weights, the base threshold with
them. In form b1 this is the training of the ReLU twin, step by step.

Source: Stanojevic et al., Nat. Commun. 2024, "The identity mapping makes training equivalent" and Methods;
activity regularization: thesis of A. Stanojevic, EPFL 2023, Table 2.1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import Diverged, InputError
from ttfs_analog.data.datasets import Data
from ttfs_analog.data.inputs import pair_to_train
from ttfs_analog.network.decision import classes, read_out_of
from ttfs_analog.network.inputs import check_finite, check_labels, check_unit, flat
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import Progress, widen
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.training import run_checkpoint
from ttfs_analog.training.recipe import Recipe

LEAST_STEPS = 1500
SMALL = 200_000
"""Parameters below which more than one thread only costs time."""
SAVE_EVERY = 60.0
"""Seconds between two checkpoints."""


def require_slopes(net: TTFSNetwork) -> None:
    """Raise Diverged if a neuron could never fire any more."""
    for n, layer in enumerate(net.layers):
        try:
            layer.check_slopes(f"layer {n}")
        except InputError as error:
            raise Diverged(f"training diverged: {error}") from None


def least_epochs(recipe: Recipe, images: int) -> int:
    """The recipe's epochs, or as many as make LEAST_STEPS steps.

    Parameters
    ----------
    images : int
        Of an epoch.
    """
    return max(recipe.epochs, LEAST_STEPS * recipe.batch // images)


def steps_of(
    model: nn.Module, recipe: Recipe, *, adaptive: bool = True
) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[int], None] | None]:
    """What one step of `train` minimizes, and what follows the step.

    Parameters
    ----------
    model : nn.Module or TTFSNetwork
    recipe : Recipe
        Its l1 counts here.
    adaptive : bool
        As in `train`.

    Returns
    -------
    loss_of, after
        `loss_of(x, y)` of a batch; `after(step)` widens windows and checks slopes (None: nothing to do).

    Raises
    ------
    InputError
        If spikes of a ReLU network are to be sparse.
    """
    net = model if isinstance(model, TTFSNetwork) else None
    if net is None:
        if recipe.l1:
            raise InputError("l1 counts spikes: train a TTFS network, or set l1 to 0")
        return lambda x, y: nn.functional.cross_entropy(model(x), y), None
    adaptive = adaptive and net.constraints is None
    tracked = any(layer.form != "b1" for layer in net.layers)
    trace: list[Tensor] = []

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        trace[:] = net.trace(x)
        loss = nn.functional.cross_entropy(trace[-1], y)
        if recipe.l1:
            loss = loss + recipe.l1 * sum(h.sum() for h in trace[:-1]) / len(x)
        return loss

    def after(step: int) -> None:
        if adaptive:
            widen(net, trace)
        if tracked:
            require_slopes(net)

    return loss_of, after


def train(
    model: nn.Module,
    data: Any,
    recipe: Recipe | None = None,
    *,
    adaptive: bool = True,
    judge: bool = False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Minimize cross entropy; changes `model`.

    Parameters
    ----------
    model : nn.Module or TTFSNetwork
    data : Data, loader, or (x, y)
        Of a Data the training part.
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
    options : mapping, optional
        By name, plain values: what else the run was started with. A checkpoint of others is refused.

    Returns
    -------
    list of dict
        For every epoch: `loss`, mean over its steps, and `accuracy`.

    Raises
    ------
    InputError
        If the data are not the model's, see `ttfs_analog.data.inputs`.
    Diverged
        If the loss or a slope cannot be used any more.
    """
    if judge and not isinstance(data, Data):
        raise InputError("judge needs a test part: give a Data, or judge=False")
    x, y = pair_to_train(model, data)
    if recipe is None:
        recipe = Recipe(weight_decay=1e-4)
        recipe = replace(recipe, epochs=least_epochs(recipe, len(x)))
    loss_of, after = steps_of(model, recipe, adaptive=adaptive)
    score = (lambda: accuracy(model, data.x_test, data.y_test)) if judge else None
    return optimize(
        model,
        (x, y),
        loss_of,
        recipe,
        after=after,
        score=score,
        checkpoint=checkpoint,
        resume=resume,
        options=options,
        progress=progress,
    )


def optimize(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    recipe: Recipe,
    *,
    after: Callable[[int], None] | None = None,
    score: Callable[[], float] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    chances: torch.Generator | None = None,
    noise: str = "",
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """The training loop over shuffled batches; see `train`.

    Parameters
    ----------
    after : callable, optional
        Called after every step with the number of steps done.
    chances : torch.Generator, optional
        What `loss_of` draws from; kept in the checkpoint.
    noise : str
        By which laws; a checkpoint of others is refused.
    """
    x, y = data
    file = None if checkpoint is None else Path(checkpoint)
    generator = seeded(recipe.seed)
    per_epoch = -(-len(x) // recipe.batch)
    steps = recipe.epochs * per_epoch
    fingerprint = "" if file is None else run_checkpoint.fingerprint_of(model, x, y, noise)
    optimizer = recipe.build([p for p in model.parameters() if p.requires_grad])
    history: list[dict[str, float]] = []
    first, skip, total = 0, 0, 0.0
    if resume and file is not None and file.exists():
        state = run_checkpoint.read(file, recipe, fingerprint, options or {})
        generators = {"generator": generator} | ({} if chances is None else {"chances": chances})
        run_checkpoint.restore(file, state, model, optimizer, generators)
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
            state["options"] = dict(options or {})
            if chances is not None:
                state["chances"] = chances.get_state()
            run_checkpoint.write(file, recipe, fingerprint, model, optimizer, state)

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
                if isinstance(model, TTFSNetwork):
                    model.hold_dummies()
                optimizer.step()
                total += float(loss.detach())
                if not math.isfinite(total):
                    raise Diverged(
                        f"training diverged in epoch {epoch + 1}: lower the learning rate ({recipe.lr:g})"
                    )
                done = epoch * per_epoch + step + 1
                if after is not None:
                    after(done)
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


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, batch: int = 1000) -> float:
    """Share of right classes; an image that no output fires for is not right.

    Parameters
    ----------
    model : callable
        Images -> logits; a module is judged in evaluation mode.
    x, y : Tensor, shape (image, ...), (image,)
    batch : int
        Images at a time.

    Raises
    ------
    InputError
        If there is no image, values are not finite (of a network: not in [0, 1]), or labels are no classes
        of the model.
    """
    network = model if isinstance(model, TTFSNetwork) else None
    if network is None:
        check_finite(x)
    else:
        x = check_unit(flat(x, network.input_shape))
    y = check_labels(y, len(x), network.layers[-1].n_out if network else None)
    place = next(model.parameters(), x) if isinstance(model, nn.Module) else x
    learning = isinstance(model, nn.Module) and model.training
    if isinstance(model, nn.Module):
        model.eval()  # statistics of normalizations must not see what is judged
    right = 0
    for part, label in zip(x.split(batch), y.split(batch), strict=True):
        logits = model(part.to(place))
        check_labels(label, len(part), logits.shape[-1])
        decided = classes(logits, read_out_of(model))
        right += int((decided == label.to(place.device)).sum())
    if isinstance(model, nn.Module):
        model.train(learning)
    return right / len(x)
