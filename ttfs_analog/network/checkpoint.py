"""The one file of a network: a state_dict and JSON that say all of it, never a pickle of code.

Networks and their class are handed in, since `ttfs_analog.network.network` imports this module.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from circuits import whole_file
from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from ttfs_analog.constraints.constraints import Constraints
from ttfs_analog.network.blocks import from_dict, to_dict
from ttfs_analog.network.digest import check_digest, digest_of

SCHEMA = "ttfs-analog/network/2"


def write(net: Any, path: Path) -> Path:
    """Write a file that `torch.load(weights_only=True)` reads.

    Parameters
    ----------
    net : TTFSNetwork
    path : Path
        Its folder is made where it is missing.
    """
    metadata = {
        **net.metadata,
        "schema": SCHEMA,
        "blocks": [to_dict(block) for block in net.blocks],
        "input_shape": list(net.input_shape),
        "constraints": None if net.constraints is None else net.constraints.to_dict(),
        "dtype": str(net.like.dtype).removeprefix("torch."),
        "operating_points": [json.loads(p.to_json()) for p in net.points],
    }
    return save_tensors({"state_dict": net.state_dict(), "metadata": json.dumps(metadata)}, path)


def save_tensors(content: dict[str, Any], path: Path) -> Path:
    """Write what `torch.load(weights_only=True)` reads and the digest of it, whole or not at all.

    Parameters
    ----------
    content : nested dict of tensors, strings and numbers
    path : Path
    """
    buffer = io.BytesIO()  # torch aborts the process on a full disk
    torch.save({**content, "digest": digest_of(content)}, buffer)
    return whole_file.write(path, buffer.getbuffer())


def read(kind: Any, path: str | Path) -> Any:
    """The inverse of `write`.

    Parameters
    ----------
    kind : type
        TTFSNetwork.
    path : str or Path

    Raises
    ------
    InputError
        If the file is missing, is not a network, is not as it was written, or holds values that are not
        finite.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        metadata = json.loads(content["metadata"])
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; 'train' or 'convert' makes a network") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a network file") from None
    except Exception:  # torch, zipfile and pickle raise many kinds
        raise InputError(f"{path} is not a ttfs-analog network file, or is damaged") from None
    if not isinstance(metadata, dict) or metadata.get("schema") != SCHEMA:
        raise InputError(f"{path} does not have schema {SCHEMA!r}")
    try:
        net = _rebuild(kind, metadata, content["state_dict"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not complete: {' '.join(str(error).split())[:200]}") from None
    digest = content.pop("digest", None)  # after what is plainly wrong has a message of its own
    check_digest(path, digest, content, "take a copy, or make the network again")
    return net


def _rebuild(kind: Any, metadata: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """A network from its description and its tensors."""
    dtype = getattr(torch, metadata["dtype"])
    reserved = ("schema", "dtype", "blocks", "input_shape", "constraints", "operating_points")
    blocks = [from_dict(spec, dtype) for spec in metadata["blocks"]]
    net = kind(
        blocks, {k: v for k, v in metadata.items() if k not in reserved}, tuple(metadata["input_shape"])
    )
    net.load_state_dict(state)
    for key, value in net.state_dict().items():
        if not torch.isfinite(value).all():
            raise InputError(f"{key} holds values that are not finite")
    net.points = [OperatingPoint(**p) for p in metadata["operating_points"]]
    if net.points and len(net.points) != len(net.layers):
        raise InputError(f"{len(net.points)} operating points for {len(net.layers)} layers")
    if metadata["constraints"] is not None:
        net.constraints = Constraints.from_dict(metadata["constraints"])
    for n, layer in enumerate(net.layers):
        if not float(layer.input_window) > 0 or (layer.spiking and not float(layer.window) > 0):
            raise InputError(f"layer {n}: windows must be > 0")
        layer.check_slopes(f"layer {n}")
    return net
