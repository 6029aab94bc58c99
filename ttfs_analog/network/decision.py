r"""From logits to a class, for both ways of reading a network out.

.. math:: k = \arg\max_i x_i, \qquad \text{rejected where first spikes decide and all } x_i \le 0

A sampled read-out gives potentials: one of them is always the largest. In a first-spike read-out
x = t_max - t is what is left of the window when an output fires: the first to fire wins, and an image for
which nobody fires has no class.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

SAMPLED, FIRST_SPIKE = "sampled", "first-spike"
READ_OUTS = (FIRST_SPIKE, SAMPLED)
REJECTED = -1
"""Class of an image that nobody fired for."""


def classes(logits: Tensor, read_out: str = SAMPLED) -> Tensor:
    """The class of every image, REJECTED where there is none.

    Parameters
    ----------
    logits : Tensor, shape (..., class)
        Potentials, or activations of the last layer [tau_c].
    read_out : str
        One of READ_OUTS.

    Returns
    -------
    Tensor of int, shape (...)
    """
    if read_out == SAMPLED:
        return logits.argmax(-1)
    best, winner = logits.max(-1)
    return winner.masked_fill(best <= 0, REJECTED)


def read_out_of(model: Any) -> str:
    """How a model is read out: as it says itself, else sampled, as a ReLU network is."""
    return getattr(model, "read_out", SAMPLED)
