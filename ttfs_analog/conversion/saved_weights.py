"""A state_dict from a file into a model: what else people save is named, and told from it.

Files are read without running any code that they hold. Prefixes that wrappers put before every name are taken
off.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from circuits.input_file import regular

REMEDY = "save model.state_dict()"
PREFIXES = ("module.", "_orig_mod.")
"""What parallel and compiled models put before the names of their weights."""
SHOWN = 4
"""Names in a message."""


def load_weights(model: nn.Module, path: str | Path) -> str:
    """Put the weights of a file into a model.

    Parameters
    ----------
    model : nn.Module
        Changed.
    path : str or Path
        Written by torch.save(model.state_dict(), path).

    Returns
    -------
    str
        A note on prefixes that were taken off; empty: none.

    Raises
    ------
    InputError
        If the file is missing or holds anything else, or names, shapes, kinds or values are not those of the
        model's weights: naming them.
    """
    state = _state(read(path), path)
    state, note = _without_prefix(state, model.state_dict().keys())
    _check(state, model, path)
    model.load_state_dict(state)
    return note


def read(path: str | Path) -> Any:
    """What a file of torch.save holds, if that is tensors and plain values only.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        If it is missing, of another kind, damaged, or holds objects with code.
    """
    path = Path(path)
    regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file of torch.save") from None
    names = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    if head.startswith(b"\x93NUMPY") or (names and all(name.endswith(".npy") for name in names)):
        raise InputError(f"{path} holds numpy arrays; {REMEDY} with torch.save, of tensors")
    if any("/code/" in name for name in names):
        raise InputError(f"{path} holds a TorchScript model; {REMEDY} of the model that it was made of")
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch, zipfile and pickle raise many kinds
        kind = re.search(r"(?:GLOBAL|global|class)\W+([A-Za-z_]\w*(?:\.\w+)+)", str(error))
    if kind is None:
        raise InputError(f"{path} does not hold a state_dict, or is damaged: {REMEDY} with torch.save")
    if "numpy" in kind[1]:
        raise InputError(f"{path} holds numpy objects ({kind[1]}); {REMEDY} with torch.save, of tensors")
    if kind[1].partition(".")[0] in ("argparse", "pathlib", "datetime", "types"):
        raise InputError(f"{path} holds more than weights ({kind[1]}); {REMEDY}")
    raise InputError(f"{path} holds a whole model; {REMEDY} (the file names {kind[1]}, which is not run)")


def _state(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The file's content if it is a state_dict."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}, not a state_dict; {REMEDY}")
    inner = [k for k, v in content.items() if isinstance(v, Mapping) and _is_state(v)]
    if inner and not _is_state(content):
        raise InputError(
            f"{path} holds a checkpoint; its entry {inner[0]!r} is the state_dict: save that alone"
        )
    odd = [k for k, v in content.items() if not isinstance(v, Tensor) or not isinstance(k, str)]
    if odd:
        kind = type(content[odd[0]]).__name__
        raise InputError(f"{path}: entry {odd[0]!r} is a {kind}, no tensor with a name; {REMEDY}")
    return dict(content)


def _is_state(value: Mapping[Any, Any]) -> bool:
    return bool(value) and all(isinstance(v, Tensor) for v in value.values())


def _without_prefix(state: dict[str, Tensor], names: Iterable[str]) -> tuple[dict[str, Tensor], str]:
    """Names as the model has them, and a note on what was before them."""
    known, taken = set(names), ""
    while prefix := next((p for p in PREFIXES if state and all(k.startswith(p) for k in state)), ""):
        if known & state.keys():
            break
        state = {k.removeprefix(prefix): v for k, v in state.items()}
        taken += prefix
    return state, f"prefix {taken!r} taken off the names of the weights" if taken else ""


def _check(state: dict[str, Tensor], model: nn.Module, path: str | Path) -> None:
    """Refuse names, shapes, kinds and values that are not those of the model."""
    wanted = model.state_dict()
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in wanted]
    named = (("it lacks", missing), ("the model lacks", unexpected))
    faults = [f"{what} {_listed(keys)}" for what, keys in named if keys]
    if faults:
        raise InputError(f"{path} does not fit the model: {'; '.join(faults)}; {REMEDY} of this model")
    for name, value in state.items():
        own = wanted[name]
        if value.is_quantized or value.layout != torch.strided:
            raise InputError(f"{path}: {name} is quantized or sparse; save it dense, as real numbers")
        if value.shape != own.shape:
            raise InputError(
                f"{path} does not fit the model: {name} has shape {tuple(value.shape)}, the model's is "
                f"{tuple(own.shape)}"
            )
        if value.is_complex() or value.is_floating_point() != own.is_floating_point():
            raise InputError(
                f"{path}: {name} is {value.dtype}, the model's is {own.dtype}; save real weights"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{path}: {name} holds values that are not finite (NaN or inf)")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
