r"""The one gate of data: whatever holds images and labels, as checked tensors of a network.

.. math:: u = (x - p) / (q - p), \qquad 0 \le u \le 1

A `Data` is in [0, 1] by definition. Everything else is raw, x in [p, q], as the model took it that the
network was converted from: that range is taken out here. So what `convert` was calibrated with,
`evaluate`, `finetune`, `energy`, `verify` and `place` take unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from circuits.errors import InputError
from ttfs_analog.data.datasets import Data
from ttfs_analog.network.inputs import ROUNDING, check_finite, check_labels, check_unit, flat
from ttfs_analog.network.network import TTFSNetwork

STEPS = 16
"""Rounding steps of a coarse dtype by which raw data may leave their range."""
KINDS = "data must be a DataLoader, a pair (x, y), or come from ttfs_analog.load"


def as_tensor(values: Any, what: str) -> Tensor:
    """A tensor of a tensor, an array or nested lists of numbers; InputError for anything else.

    Parameters
    ----------
    values : Any
    what : str
        Their name in the message.
    """
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_quantized:
            raise InputError(f"{what} are sparse or quantized; make them dense, of real numbers")
        return values.detach()
    if np.ma.is_masked(values):
        raise InputError(f"{what} have masked values; drop those images, or fill them in (filled)")
    try:
        array = np.asarray(values)
        if array.dtype.kind in "iuf":  # torch knows neither the other order of bytes nor steps backwards
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} are no array of numbers ({' '.join(str(error).split())[:100]})") from None


def raw(data: Any, *, training: bool = False, labels: bool = True) -> tuple[Tensor, Tensor | None]:
    """(x, y) as they are, whatever they come in.

    Parameters
    ----------
    data : Data, loader, (x, y), or x
    training : bool
        Which part of a Data.
    labels : bool
        Whether they are needed: without, images alone will do, and y may be None.

    Raises
    ------
    InputError
        If it is nothing of that kind, or a loader gives anything but batches of images and labels.
    """
    if isinstance(data, Data):
        data = (data.x_train, data.y_train) if training else (data.x_test, data.y_test)
    if isinstance(data, DataLoader):
        return _loaded(data, labels)
    if isinstance(data, Tensor | np.ndarray) and not labels:
        return as_tensor(data, "inputs"), None
    if not (isinstance(data, tuple | list) and len(data) == 2):
        alone = "" if labels else ", or images alone"
        raise InputError(f"{KINDS}{alone}; got {type(data).__name__}")
    x = as_tensor(data[0], "inputs")
    return x, as_tensor(data[1], "labels") if labels else None


def _loaded(loader: DataLoader[Any], labels: bool) -> tuple[Tensor, Tensor | None]:
    """All batches of a loader, one behind the other."""
    images, numbers = [], []
    for batch in loader:
        alone = isinstance(batch, Tensor) and not labels
        pair = (batch, None) if alone else batch
        if isinstance(pair, Tensor | Mapping) or not hasattr(pair, "__len__") or len(pair) != 2:
            parts = "one tensor" if isinstance(pair, Tensor) else f"a {type(pair).__name__}"
            raise InputError(f"the loader gives {parts} a batch, a pair (x, y) was expected")
        images.append(as_tensor(pair[0], "inputs"))
        if labels:
            numbers.append(as_tensor(pair[1], "labels"))
    if not images:
        raise InputError("the loader holds no data")
    for name, values in (("inputs", images), ("labels", numbers)):
        seen = sorted({tuple(v.shape[1:]) for v in values})
        if len(seen) > 1 or any(v.dim() == 0 for v in values):
            raise InputError(f"the loader's batches of {name} differ in shape: {seen}; make them alike")
    return torch.cat(images), torch.cat(numbers) if labels else None


def ends(net: TTFSNetwork, like: Tensor) -> tuple[Tensor, Tensor]:
    """p and q of a network, in the dtype and on the device of `like`; to broadcast against its inputs.

    Parameters
    ----------
    net : TTFSNetwork
    like : Tensor
    """
    places = [1] * (len(net.input_shape) - 1)
    values = [like.new_tensor(v) for v in net.metadata.get("input_range", (0.0, 1.0))]
    low, high = (v.reshape(-1, *places) if v.dim() else v for v in values)
    return low, high


def unit(net: TTFSNetwork, x: Tensor) -> Tensor:
    """Raw images in a network's own range as u, shape (image, in), of its dtype and on its device.

    Parameters
    ----------
    net : TTFSNetwork
    x : Tensor
        As the model took them that the network was converted from.

    Raises
    ------
    InputError
        If shape or range are not those of the network.
    """
    x = flat(x, net.input_shape)
    seen = check_finite(x)
    eps = max(torch.finfo(v.dtype).eps for v in (x, net.like) if v.is_floating_point())
    x = x.to(net.like)
    low, high = ends(net, x)
    width, largest = float((high - low).min()), max(float(low.abs().max()), float(high.abs().max()))
    plain = not low.dim() and not high.dim() and (float(low), float(high)) == (0.0, 1.0)
    u = x if plain else net.shaped(x).sub(low).div_(high - low).flatten(1)
    try:
        return check_unit(u, max(ROUNDING, STEPS * eps * largest / width), seen if plain else None)
    except InputError:
        raise InputError(_outside(net, x, low, high)) from None


def _outside(net: TTFSNetwork, x: Tensor, low: Tensor, high: Tensor) -> str:
    """That inputs leave their range: of ranges by channel the one that they leave furthest."""
    where, seen = "", net.shaped(x)
    if low.dim() or high.dim():
        by_channel = seen.transpose(0, 1).flatten(1)
        p, q = (v.flatten().expand(len(by_channel)) for v in (low, high))
        k = int((torch.maximum(p - by_channel.amin(1), by_channel.amax(1) - q) / (q - p)).argmax())
        where, seen, low, high = f" of channel {k}", by_channel[k], p[k], q[k]
    return (
        f"inputs{where} must lie in [{float(low):.4g}, {float(high):.4g}], the network's range, found "
        f"{float(seen.min()):.4g}..{float(seen.max()):.4g}; scale them as for the model, or convert with "
        "their range (input_range)"
    )


def inputs_for(net: TTFSNetwork, data: Any, *, training: bool = False, images: int | None = None) -> Tensor:
    """Images of a network (image, in), in [0, 1], of its dtype and on its device; labels are not looked at.

    Parameters
    ----------
    net : TTFSNetwork
    data : Data, loader, (x, y), or x
    training : bool
        Which part of a Data.
    images : int, optional
        The first so many only.

    Raises
    ------
    InputError
        If there is none, or shape, range or dtype are not the network's, or values are not finite.
    """
    return _unit(net, data, raw(data, training=training, labels=False)[0], images)


def pair_for(
    net: TTFSNetwork, data: Any, *, training: bool = False, images: int | None = None
) -> tuple[Tensor, Tensor]:
    """Images as of `inputs_for`, and their class numbers (image,), int64.

    Parameters
    ----------
    net, data, training, images
        As of `inputs_for`; labels are needed.

    Raises
    ------
    InputError
        As of `inputs_for`, or if labels are not one class of the network each.
    """
    x, y = raw(data, training=training)
    assert y is not None, "labels were asked for"
    u = _unit(net, data, x, images)
    return u, check_labels(y, len(x), net.layers[-1].n_out)[:images].to(net.like.device)


def _unit(net: TTFSNetwork, data: Any, x: Tensor, images: int | None) -> Tensor:
    if images is not None and images < 1:
        raise InputError(f"at least one image is needed, got {images}")
    x = x[:images]
    return check_unit(flat(x, net.input_shape)).to(net.like) if isinstance(data, Data) else unit(net, x)


def pair_to_train(model: torch.nn.Module, data: Any) -> tuple[Tensor, Tensor]:
    """What a model is trained on: of a network `pair_for`, of others finite images and class numbers.

    Parameters
    ----------
    model : nn.Module or TTFSNetwork
    data : Data, loader, or (x, y)

    Raises
    ------
    InputError
        As of `pair_for`.
    """
    if isinstance(model, TTFSNetwork):
        return pair_for(model, data, training=True)
    x, y = raw(data, training=True)
    assert y is not None, "labels were asked for"
    check_finite(x)
    place, training = next(model.parameters()), model.training
    with torch.no_grad():  # how many classes it has
        outputs = model.eval()(x[:1].to(place)).shape[-1]
    model.train(training)
    return x.to(place), check_labels(y, len(x), outputs).to(place.device)
