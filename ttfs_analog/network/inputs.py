"""What a network may be fed with: shape, range and labels, each checked in one pass over the tensor.

A network takes inputs in [0, 1]. NaN, infinity and values outside are refused: a spike cannot be earlier than
its window. What is outside by rounding alone is clipped. `ttfs_analog.data.inputs` brings data to this form.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from circuits.errors import InputError

ROUNDING = 1e-6
"""Share of the range by which rounding may leave it."""
FEW_CHANNELS = 4
"""A last axis as short as this is one of colors, not of columns."""


def flat(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images (image, ...) as (image, in).

    Parameters
    ----------
    x : Tensor, shape (image, in) or (image, channel, height, width)
    shape : tuple of int
        Of one input of the network.

    Raises
    ------
    InputError
        If there is no image, or images have another shape; channels-last ones are named.
    """
    if not isinstance(x, Tensor):
        raise InputError(f"inputs are a tensor (image, ...) here, got {type(x).__name__}")
    size, seen = math.prod(shape), tuple(x.shape[1:])
    if x.dim() < 2:
        raise InputError(f"inputs are (image, ...), got shape {tuple(x.shape)}; for one image give x[None]")
    if not len(x):
        raise InputError("the data hold no inputs; give at least one image")
    if math.prod(seen) != size:
        raise InputError(f"the network takes {size} inputs, of shape {shape}, the data have {seen} an image")
    same = seen in (shape, (size,)) or [n for n in seen if n > 1] == [n for n in shape if n > 1]
    last = len(seen) == 3 and 1 < seen[-1] <= FEW_CHANNELS < seen[0]  # flat networks do not say
    last |= len(shape) == 3 and seen == (*shape[1:], shape[0])
    if not same and (last or len(shape) > 1):
        turn = "they are channels-last: permute(0, 3, 1, 2) first" if last else "reshape them"
        raise InputError(f"the network takes images of shape {shape}, the data have {seen}; {turn}")
    return x.flatten(1)


def check_finite(x: Tensor) -> tuple[float, float]:
    """The range of real images (image, ...).

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    (float, float)
        Smallest and largest value.

    Raises
    ------
    InputError
        If values are complex, NaN or infinite, naming the first such image.
    """
    if x.is_complex():
        raise InputError("the inputs are complex; a spike time is a real number")
    if not x.numel():
        raise InputError("the data hold no inputs; give at least one image")
    whole = {torch.bool: torch.uint8, torch.uint16: torch.int64, torch.uint32: torch.int64}
    low, high = (float(v) for v in torch.aminmax(x.detach().to(whole.get(x.dtype, x.dtype))))
    if not (math.isfinite(low) and math.isfinite(high)):  # NaN shows in both
        bad = ~torch.isfinite(x.flatten(1)).all(1)
        raise InputError(
            f"{int(bad.sum())} of {len(x)} images hold NaN or infinity, the first is number "
            f"{int(bad.int().argmax())}; mend or drop them"
        )
    return low, high


def check_unit(x: Tensor, rounding: float = ROUNDING, seen: tuple[float, float] | None = None) -> Tensor:
    """Images (image, in) that lie in [0, 1], clipped where rounding alone leaves it.

    Parameters
    ----------
    x : Tensor
    rounding : float
        How far it may leave it.
    seen : (float, float), optional
        Of `check_finite`, where it was called already.

    Raises
    ------
    InputError
        If they do not, or are not finite.
    """
    low, high = seen or check_finite(x)
    if low < -rounding or high > 1 + rounding:
        raise InputError(
            f"inputs must lie in [0, 1], found {low:.4g}..{high:.4g}; scale them, as for the data that the "
            "network was made with"
        )
    return x.clamp(0, 1) if low < 0 or high > 1 else x


def check_labels(y: Tensor, images: int, classes: int | None = None) -> Tensor:
    """Class numbers (image,) as int64.

    Parameters
    ----------
    y : Tensor
    images : int
        One label each.
    classes : int, optional
        Outputs of the network: labels are 0 to classes - 1. None: not known.

    Raises
    ------
    InputError
        If shape, dtype or range are wrong.
    """
    if y.dim() == 2 and y.shape[1] == classes and y.shape[1] > 1:
        raise InputError(f"labels of shape {tuple(y.shape)} look one-hot; give class numbers, y.argmax(1)")
    if y.dim() != 1:
        advice = "; y.flatten() makes them so" if y.numel() == images else ""
        raise InputError(f"labels are (image,), got shape {tuple(y.shape)}{advice}")
    if len(y) != images:
        raise InputError(f"{len(y)} labels for {images} images; give one each")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(f"labels are class numbers, got {y.dtype}; y.long() makes whole numbers of them")
    y = y.to(torch.int64)
    low, high = (int(v) for v in torch.aminmax(y))
    if low < 0 or (classes is not None and high >= classes):
        wrong = low if low < 0 else high
        at = int((y == wrong).int().argmax())
        limit = "they start at 0" if classes is None else f"the network has classes 0..{classes - 1}"
        raise InputError(
            f"label {wrong} of image {at}: {limit}; number the classes from 0, and drop images without one"
        )
    return y
