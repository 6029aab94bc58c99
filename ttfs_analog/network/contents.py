"""What a network's file says besides its tensors, as shapes, and what must agree between its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

import torch
from torch import Tensor, nn
from torch.func import functional_call

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.model.shape import checked, subset
from ttfs_analog.constraints.constraints import Constraints
from ttfs_analog.neuron.convolutions import TTFSConv2d
from ttfs_analog.neuron.layers import FORMS, TTFSLayer

Sides = tuple[int, int]
DTYPES = ("float64", "float32", "float16", "bfloat16")
SAME = 1e-6
"""Relative difference of two windows that are one, in single precision."""


class Linear(TypedDict):
    """A fully connected layer."""

    kind: Literal["linear"]
    weight: Sides
    spiking: bool
    form: str
    border: list[int] | None


class Conv(TypedDict):
    """A convolution."""

    kind: Literal["conv"]
    weight: tuple[int, int, int, int]
    spiking: bool
    form: str
    border: list[int] | None
    inside: Sides
    groups: int
    stride: Sides
    padding: Sides
    dilation: Sides


class Pooling(TypedDict):
    """Max or min pooling."""

    kind: Literal["pool"]
    kernel: Sides
    ceil: bool
    signs: int | None
    stride: Sides
    padding: Sides
    dilation: Sides


class Flat(TypedDict):
    """Images become vectors."""

    kind: Literal["flatten"]


class Closing(TypedDict):
    """Dummies close the window of the layer before."""

    kind: Literal["relative"]
    dummies: int


BLOCKS: dict[str, Any] = {
    "linear": Linear,
    "conv": Conv,
    "pool": Pooling,
    "flatten": Flat,
    "relative": Closing,
}


class PlacedLayer(TypedDict):
    """What a layer on transistors is built from, and what that is worth."""

    units: int
    most: int
    low: float
    high: float
    lowest: float
    delay_tau_c: float
    tau_c_s: float
    c_mem_f: float
    i_unit_a: float
    v_unit_v: float
    window_tau_c: float
    expected_spread_tau_c: float
    offset_tau_c: float
    jitter_tau_c: float
    rounding: float
    leakage: float
    bounds: dict[str, float]
    energy_j: float
    reference_j: float
    area_m2: float
    area_parts_m2: dict[str, float]
    thresholds_beyond_swing: int


class Placement(TypedDict):
    """Where a network is placed on transistors."""

    technology: str
    objective: str
    read_out: str
    area: float
    dummies: NotRequired[int]
    guard: NotRequired[float]
    corner: str | None
    temperature: float | None
    supply: float | None
    layers: list[PlacedLayer]


class Contents(TypedDict):
    """The keys that are read; a user's own may stand beside them."""

    blocks: list[Any]
    input_shape: tuple[int, ...]
    dtype: str
    operating_points: list[OperatingPoint]
    constraints: Any
    data: NotRequired[str | None]
    technology: NotRequired[str]
    accuracy: NotRequired[float]
    reference_accuracy: NotRequired[float]
    compensated: NotRequired[bool]
    input_range: NotRequired[tuple[float | list[float], float | list[float]]]
    placement: NotRequired[Placement]


def contents_of(metadata: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a file says, in its types.

    Parameters
    ----------
    metadata : mapping
        The file's JSON.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        Naming key, value and what is expected.
    """
    about = subset(metadata, Contents, where)
    if about["dtype"] not in DTYPES:
        raise InputError(f"{where}: dtype must be one of {', '.join(DTYPES)}, got {about['dtype']!r}")
    if not all(0 < n < 2**31 for n in about["input_shape"]):
        raise InputError(f"{where}: input_shape must be numbers > 0, got {about['input_shape']}")
    blocks = []
    for k, block in enumerate(about["blocks"]):
        kind = block.get("kind") if isinstance(block, dict) else None
        if not isinstance(kind, str) or kind not in BLOCKS:
            raise InputError(f"{where}: blocks[{k}].kind must be one of {', '.join(BLOCKS)}, got {kind!r}")
        blocks.append(checked(block, BLOCKS[kind], where, f"blocks[{k}]"))
        if blocks[-1].get("form", FORMS[0]) not in FORMS:
            raise InputError(
                f"{where}: blocks[{k}].form must be one of {', '.join(FORMS)}, got {block['form']!r}"
            )
        _check_sides(blocks[-1], where, f"blocks[{k}]")
    about["blocks"] = blocks
    if about["constraints"] is not None:
        about["constraints"] = Constraints.from_dict(about["constraints"], where)
    return about


def _check_sides(block: Mapping[str, Any], where: str, key: str) -> None:
    """Refuse sizes that no layer has."""
    for name, least in (("weight", 1), ("inside", 1), ("kernel", 1), ("stride", 1), ("dilation", 1)):
        if not all(least <= n < 2**31 for n in block.get(name, ())):
            raise InputError(f"{where}: {key}.{name} must be numbers >= {least}, got {block[name]}")
    if not all(0 <= n < 2**16 for n in block.get("padding", ())) or block.get("groups", 1) < 1:
        raise InputError(f"{where}: {key} has padding {block.get('padding')}, groups {block.get('groups')}")


def check_tensors(blocks: list[dict[str, Any]], state: Any, dtype: torch.dtype, where: str) -> None:
    """Refuse tensors that are not those of the blocks: before any memory is taken for these.

    Parameters
    ----------
    blocks : list of dict
        Of `contents_of`.
    state : dict of str to Tensor
        Of the file.
    dtype : torch.dtype
        Of the network.
    """
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{where}: state_dict must be tensors by name")
    for key, value in state.items():
        if value.dtype not in (dtype, torch.int8) or value.layout != torch.strided:
            raise InputError(f"{where}: {key} is of {value.dtype}, {value.layout}; the network is of {dtype}")
        if not torch.isfinite(value).all():
            raise InputError(f"{where}: {key} holds values that are not finite")
    for k, block in enumerate(blocks):
        sizes = {"weight": block.get("weight"), "border": block.get("border")}
        if block.get("signs") is not None:
            sizes["sign"] = (block["signs"], 1, 1)
        for name, size in sizes.items():
            stored = state.get(f"blocks.{k}.{name}")
            if size is not None and (stored is None or tuple(stored.shape) != tuple(size)):
                shape = None if stored is None else tuple(stored.shape)
                raise InputError(f"{where}: blocks.{k}.{name} has shape {shape}, blocks[{k}] says {size}")


@torch.no_grad()
def check_chain(net: Any, where: str) -> None:
    """Refuse blocks that do not follow each other: sizes, and the windows that two layers share.

    Parameters
    ----------
    net : TTFSNetwork
        Without constraints.
    where : str
        The file, for messages.
    """
    before = None
    for n, layer in enumerate(net.layers):
        start, window = float(layer.input_window), float(layer.window)
        if not start > 0 or (layer.spiking and not window > 0):
            raise InputError(f"{where}: layer {n}: windows must be > 0, got {start!r} and {window!r}")
        if before is not None and abs(start - before) > SAME * before:
            raise InputError(
                f"{where}: the input window of layer {n} is {start:.9g} tau_c, the output window of layer "
                f"{n - 1} is {before:.9g}: they are one and must agree; make the network anew"
            )
        layer.check_slopes(f"{where}: layer {n}")
        before = window
    try:
        x = torch.empty(1, *net.input_shape, dtype=net.like.dtype, device="meta")
        for k, block in enumerate(net.blocks):  # sizes alone: no memory, no work
            if isinstance(block, TTFSLayer) and x.dim() != (4 if isinstance(block, TTFSConv2d) else 2):
                raise InputError(f"blocks[{k}] meets inputs of shape {tuple(x.shape[1:])}")
            sizes = {name: value.to("meta") for name, value in block.state_dict().items()}
            x = x.flatten(-3) if isinstance(block, nn.Flatten) else functional_call(block, sizes, (x,))
            if isinstance(block, TTFSConv2d) and tuple(x.shape[2:]) != block.inside:
                raise InputError(f"blocks[{k}].inside is {block.inside}, its output {tuple(x.shape[2:])}")
    except (RuntimeError, ValueError, IndexError, TypeError) as error:  # an InputError is a ValueError
        words = " ".join(str(error).split())[:200]
        raise InputError(f"{where}: the blocks do not follow each other: {words}") from None
