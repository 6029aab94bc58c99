"""What a training that was interrupted goes on from: one file, replaced whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from ttfs_analog.network.checkpoint import save_tensors
from ttfs_analog.network.digest import check_digest
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.training.recipe import Recipe


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
    try:
        state = torch.load(file, weights_only=True, map_location="cpu")
        digest = state.pop("digest", None)
        stored = state["recipe"]
        same = state["fingerprint"] == fingerprint
        _ = state["trials"], state["epoch"]
    except Exception:  # torch, zipfile and pickle raise many kinds
        raise InputError(f"{file} is not a checkpoint, or is damaged; remove it to start anew") from None
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
