r"""Weights scaled so that every neuron of an alpha form has a slope B > 0; the function stays as it is.

ReLU passes a positive factor through: [C a]_+ = C [a]_+. With c_i = \sum_j w_ij,

.. math:: c_i > 1 - \delta: \; w_i, b_i \leftarrow \frac{1-\delta}{c_i} (w_i, b_i), \qquad
          c_i \le -B_{low}: \; w_i, b_i \leftarrow \frac{B_{low}}{|c_i|} (w_i, b_i)

and the next layer's weights of neuron i take the inverse. For slopes that are never negative, also while
inputs are still arriving, the positive weights alone have to sum to at most 1 - delta: alpha cannot do it,
because the mapped weights are proportional to alpha (eq. 2.4 read with eq. 2.28).

Source: thesis of A. Stanojevic, EPFL 2023, eqs. 2.15-2.19.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from circuits.errors import InputError
from ttfs_analog.conversion.affine_stage import Stage

DELTA = 0.1
B_LOW = 10.0


@torch.no_grad()
def rescale(
    stages: list[Stage], *, delta: float = DELTA, b_low: float = B_LOW, positive: bool = False
) -> None:
    """Scale all layers but the read-out, from the first to the last; changes `stages`.

    Parameters
    ----------
    stages : list of Stage
        In order; the last one is the read-out.
    delta : float
        Weights of a neuron sum to at most 1 - delta; slopes then are at most alpha / delta.
    b_low : float
        ... and to at least -b_low; slopes are at least alpha / (1 + b_low).
    positive : bool
        The positive weights alone sum to at most 1 - delta.

    Raises
    ------
    InputError
        If a limit is out of its range.

    Source: thesis of A. Stanojevic, EPFL 2023, eqs. 2.15-2.19.
    """
    if not 0 < delta < 1 or not 0 < b_low < float("inf"):
        raise InputError(f"need 0 < delta < 1 and b_low > 0, got {delta} and {b_low}")
    for stage, following in pairwise(stages):
        flat = stage.weight.flatten(1)
        total = flat.sum(1)
        upper = flat.clamp(min=0).sum(1) if positive else total
        factor = torch.where(upper > 1 - delta, (1 - delta) / upper, torch.ones_like(total))
        low = (total * factor).abs()
        factor = torch.where(total * factor <= -b_low, factor * b_low / low, factor)
        stage.scale_outputs(factor)
        inverse = 1.0 / factor
        if following.geometry is None:
            inverse = inverse.repeat_interleave(following.weight.shape[1] // len(inverse))
        following.scale_inputs(inverse)
