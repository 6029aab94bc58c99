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
from circuits.input_file import regular
from circuits.model.text_file import parse_json
from ttfs_analog.network.blocks import from_dict, to_dict
from ttfs_analog.network.contents import check_chain, check_tensors, contents_of
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
    where = str(path)
    regular(path)
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        text, state = content["metadata"], content["state_dict"]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; 'train' or 'convert' makes a network") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a network file") from None
    except Exception:  # torch, zipfile and pickle raise many kinds
        raise InputError(f"{path} is not a ttfs-analog network file, or is damaged") from None
    metadata = parse_json(text, where)
    if metadata.get("schema") != SCHEMA:
        raise InputError(f"{path} does not have schema {SCHEMA!r}")
    about = contents_of(metadata, where)
    check_tensors(about["blocks"], state, getattr(torch, about["dtype"]), where)
    try:
        net = _rebuild(kind, metadata, about, state)
    except RuntimeError as error:  # tensors that are missing, or of no block
        raise InputError(f"{path} is not complete: {' '.join(str(error).split())[:200]}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    check_chain(net, where)
    digest = content.pop("digest", None)  # after what is plainly wrong has a message of its own
    check_digest(path, digest, content, "take a copy, or make the network again")
    return net


def _rebuild(kind: Any, metadata: dict[str, Any], about: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """A network from its description, checked, and its tensors."""
    reserved = ("schema", "dtype", "blocks", "input_shape", "constraints", "operating_points")
    blocks = [from_dict(spec, getattr(torch, about["dtype"])) for spec in about["blocks"]]
    net = kind(blocks, {k: v for k, v in metadata.items() if k not in reserved}, about["input_shape"])
    net.load_state_dict(state)
    net.points, net.constraints = about["operating_points"], about["constraints"]
    if net.points and len(net.points) != len(net.layers):
        raise InputError(f"{len(net.points)} operating points for {len(net.layers)} layers")
    if net.constraints is not None:
        net.constraints.check_layers(len(net.layers))
    return net
