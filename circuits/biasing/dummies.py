r"""Relative coding of a chain of layers: every hidden layer gets dummies that close its window.

A dummy has no synapses and the threshold B T, so that it fires at t_max: at its own chip's t_max, whatever
the layer's references, capacitors, temperature and supply make of it. The window is longer by a guard G, in
which late chips find room, that of a last layer that spikes, too:

.. math:: T \to T + G, \qquad b_i \to b_i + G, \qquad \vartheta_i = B (T - b_i) \text{ as before}

Source: see `circuits.model.coding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from circuits.errors import InputError
from circuits.model.layer import Layer

GUARD = 0.25
"""Usual guard, in parts of the window: chips that are up to a fifth too slow find room."""


def with_dummies(layers: Sequence[Layer], dummies: int, guard: float = GUARD) -> list[Layer]:
    """The same function, counted from the spikes of dummies.

    Parameters
    ----------
    layers : sequence of Layer
        Of a network, in order; the last one gets no dummies: its first spike decides, or it is sampled.
    dummies : int
        Of every hidden layer: odd, their majority decides; 0: layers as they are.
    guard : float
        G in parts of the window, >= 0.

    Raises
    ------
    InputError
        If a layer has dummies already, or the guard is none.
    """
    if not 0 <= guard < np.inf:
        raise InputError(f"the guard of a window must be finite and >= 0, got {guard}")
    if dummies < 0 or (dummies and dummies % 2 == 0):
        raise InputError(f"a majority needs an odd number of dummies, or none, got {dummies}")
    if not dummies:
        return list(layers)
    made, longer = [], 0.0
    for n, layer in enumerate(layers):
        if layer.dummies:
            raise InputError(f"layer {n} has {layer.dummies} dummies already")
        start, more = layer.t_min + longer, guard * layer.window
        if n + 1 < len(layers):
            silent = np.zeros((dummies, layer.n_in))
            layer = replace(
                layer,
                weights=np.concatenate([layer.weights, silent]),
                bias=np.concatenate([layer.bias, np.zeros(dummies)]),
                slope=np.concatenate([layer.slope, np.full(dummies, np.median(layer.slope))]),
                dummies=dummies,
            )
        bias = layer.bias + more if layer.spiking else layer.bias
        made.append(replace(layer, bias=bias, t_min=start, t_max=start + layer.window + more))
        longer = more
    return made
