"""Blocks of a network as JSON and back: what a checkpoint needs besides its tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ttfs_analog.neuron.convolutions import TTFSConv2d
from ttfs_analog.neuron.layers import TTFSLayer, TTFSLinear
from ttfs_analog.neuron.pooling import Pool
from ttfs_analog.neuron.relative import Relative


def to_dict(block: nn.Module) -> dict[str, Any]:
    """One block without the values of its tensors, JSON-serializable."""
    if isinstance(block, TTFSLayer):
        about: dict[str, Any] = {
            "kind": "linear",
            "weight": list(block.weight.shape),
            "spiking": block.spiking,
            "form": block.form,
            "border": None if block.border is None else list(block.border.shape),
        }
        if isinstance(block, TTFSConv2d):
            geometry = {k: list(v) for k, v in block.geometry.items()}
            about |= {"kind": "conv", "inside": list(block.inside), "groups": block.groups, **geometry}
        return about
    if isinstance(block, Pool):
        geometry = {k: list(v) for k, v in block.geometry.items()}
        signs = None if block.sign is None else len(block.sign)
        return {"kind": "pool", "kernel": list(block.kernel), "ceil": block.ceil, "signs": signs, **geometry}
    if isinstance(block, Relative):
        return {"kind": "relative", "dummies": block.dummies}
    return {"kind": "flatten"}


def from_dict(about: dict[str, Any], dtype: torch.dtype) -> nn.Module:
    """The inverse of `to_dict`, its tensors still to be loaded.

    Parameters
    ----------
    about : dict
        Of `to_dict`.
    dtype : torch.dtype
        Of the weights.
    """
    kind = about["kind"]
    geometry: dict[str, Any] = {k: tuple(about[k]) for k in ("stride", "padding", "dilation") if k in about}
    if kind == "flatten":
        return nn.Flatten()
    if kind == "relative":
        return Relative(about["dummies"])
    if kind == "pool":
        last = None if about["signs"] is None else torch.zeros(about["signs"], dtype=torch.bool)
        return Pool(tuple(about["kernel"]), ceil=about["ceil"], last=last, **geometry)
    shape, border = about["weight"], about["border"]
    options: dict[str, Any] = {
        "spiking": about["spiking"],
        "form": about["form"],
        "border": None if border is None else torch.zeros(border, dtype=dtype),
    }
    weight, bias = torch.zeros(shape, dtype=dtype), torch.zeros(shape[0], dtype=dtype)
    if kind == "conv":
        place: dict[str, Any] = {"inside": tuple(about["inside"]), "groups": about["groups"], **geometry}
        return TTFSConv2d(weight, bias, **place, **options)
    return TTFSLinear(weight, bias, **options)
