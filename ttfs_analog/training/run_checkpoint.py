"""What a training that was interrupted goes on from: one file, replaced whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from circuits.input_file import regular
from circuits.model.shape import checked
from ttfs_analog.network.checkpoint import save_tensors
from ttfs_analog.network.digest import check_digest
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.training.recipe import Recipe

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam keeps of every parameter, beside the number of steps; plain SGD keeps nothing."""
ANEW = "is not a checkpoint, or is damaged; remove it to start anew"


class OptimizerState(TypedDict):
    """Of torch.optim."""

    state: dict[int, dict[str, Tensor]]
    param_groups: list[dict[str, Any]]


class State(TypedDict):
    """What a checkpoint holds."""

    epoch: int
    step: int
    total: float
    history: list[dict[str, float]]
    generator: Tensor
    chances: NotRequired[Tensor]
    options: NotRequired[dict[str, Any]]
    recipe: dict[str, Any]
    fingerprint: str
    model: dict[str, Tensor]
    optimizer: OptimizerState
    rng: Tensor
    trials: Tensor | None


def fingerprint_of(model: nn.Module, x: Tensor, y: Tensor, noise: str = "") -> str:
    """What a checkpoint belongs to: layers, forms, constraints, noise, and a sample of the data.

    Parameters
    ----------
    x, y : Tensor, shape (image, ...), (image,)
        What is trained on.
    noise : str
        What chips are drawn from, if any.
    """
    about: list[Any] = [[name, list(p.shape), str(p.dtype)] for name, p in model.named_parameters()]
    if isinstance(model, TTFSNetwork):
        about += [layer.form for layer in model.layers]
        about.append(model.constraints.to_dict() if model.constraints else None)
    digest = hashlib.sha256(json.dumps([type(model).__name__, about, noise]).encode())
    for part in (x[:: max(1, len(x) // 200)], y):
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def write(
    file: Path,
    recipe: Recipe,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """One file, replaced whole: a death while writing leaves the one before.

    Parameters
    ----------
    recipe, fingerprint
        What the training is resumed with, or not.
    model, optimizer
        Their states, and the random numbers of a network's constraints, go into the file.
    state : dict
        Epoch, step, history and generators.
    """
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
    save_tensors(state, file)


def read(file: Path, recipe: Recipe, fingerprint: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What `write` wrote.

    Parameters
    ----------
    recipe, fingerprint, options
        Those of the training that wants to go on; `options` by name, as they are in `state`.

    Raises
    ------
    InputError
        If the file is damaged, or belongs to another training.
    """
    regular(file)
    try:
        state = torch.load(file, weights_only=True, map_location="cpu")
        digest = state.pop("digest", None)
    except Exception:  # torch, zipfile and pickle raise many kinds
        raise InputError(f"{file} {ANEW}") from None
    try:
        checked(state, State, str(file))
    except InputError as error:
        what = str(error).removeprefix(str(file)).lstrip(": ").split(";")[0]
        raise InputError(f"{file} {ANEW} ({what})") from None
    if state["epoch"] < 0 or state["step"] < 0 or len(state["history"]) != state["epoch"]:
        raise InputError(f"{file} {ANEW}")
    stored, same = state["recipe"], state["fingerprint"] == fingerprint
    check_digest(file, digest, state, "remove it to start anew")
    before = {**stored, **(state.get("options") or options)}  # earlier files have none
    now = {**asdict(recipe), **options}
    other = [f"{k}: {before.get(k)} then, {v} now" for k, v in now.items() if before.get(k) != v]
    if recipe.schedule != "cosine":  # its rates do not depend on the end
        other = [text for text in other if not text.startswith("epochs: ")]
    if not other and state["epoch"] > recipe.epochs:
        raise InputError(f"{file} holds {state['epoch']} epochs already, {recipe.epochs} were asked for")
    if other or not same:
        what = "; ".join(other or ["network, data or noise model differ"])
        raise InputError(
            f"{file} belongs to another training ({what}); give those options, or remove it to start anew"
        )
    return state


def restore(
    file: Path,
    state: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generators: Mapping[str, torch.Generator],
) -> None:
    """Put a training into the state of a checkpoint.

    Parameters
    ----------
    file : Path
        For messages.
    state : dict
        From `read`.
    model, optimizer, generators
        Are changed; generators by their names in `state`.

    Raises
    ------
    InputError
        If the state is not one of this model, or holds numbers that no training can go on from.
    """
    try:
        fresh = optimizer.state_dict()["param_groups"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        for name, generator in generators.items():
            generator.set_state(state[name])
        torch.set_rng_state(state["rng"])
        groups = optimizer.state_dict()["param_groups"]
        before, after = ([{**group, "lr": 0.0} for group in part] for part in (fresh, groups))
        whole = before == after
        if isinstance(optimizer, torch.optim.Adam):
            for parameter in optimizer.param_groups[0]["params"]:
                if not (kept := optimizer.state[parameter]):
                    continue  # it never had a gradient
                sizes = [kept[name].shape == parameter.shape for name in MOMENTS]
                counted = kept["step"].numel() == 1 and float(kept["step"]) >= 1
                whole &= counted and all(sizes) and bool((kept["exp_avg_sq"] >= 0).all())
                whole &= set(kept) == {"step", *MOMENTS}
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError):  # of torch, for all of these
        whole = False
    if not whole or not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise InputError(f"{file} {ANEW}")
