"""What tests of chips share: a chip without deviations, and equality to the last bit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from circuits.model.layer import LayerMismatch
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips


def identity(net: TTFSNetwork) -> Chips:
    """One chip without any deviation."""
    return Chips(0, (0,), tuple(LayerMismatch.none(layer) for layer in net.to_circuit()))


def same_chip(a: Chips, b: Chips) -> bool:
    """Whether two sets of chips hold the same deviations, bit for bit."""
    return len(a.layers) == len(b.layers) and all(
        np.array_equal(getattr(x, f.name), getattr(y, f.name))
        for x, y in zip(a.layers, b.layers, strict=True)
        for f in fields(x)
    )
