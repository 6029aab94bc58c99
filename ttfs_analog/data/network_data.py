"""A network, and the data that it is judged on."""

from __future__ import annotations

from circuits.errors import InputError
from ttfs_analog.data.datasets import Data, load
from ttfs_analog.network.network import TTFSNetwork


def load_network(path: str, data: str | None) -> tuple[TTFSNetwork, Data]:
    """A network and the data it is judged on.

    Parameters
    ----------
    path : str
        Of the network's file.
    data : str or None
        Name of a dataset; None: the one that the file names.

    Raises
    ------
    InputError
        If no dataset is named, or its inputs do not fit the network.
    """
    net = TTFSNetwork.load(path)
    name = data or net.metadata.get("data")
    if not name:
        raise InputError(f"{path} does not know its dataset; name one with --data")
    sets = load(name, dtype=net.like.dtype)
    if sets.features != net.n_in:
        raise InputError(f"{path} takes {net.n_in} inputs, {name} has {sets.features}")
    return net, sets
