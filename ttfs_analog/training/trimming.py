r"""Trim every chip: its thresholds make up for what its own devices do, on average over images.

.. math:: o_i \leftarrow o_i + B_i \left\langle x_i^{chip} - x_i \right\rangle, \qquad
          \text{images for which } x_i^{chip} > 0 \text{ or } x_i > 0

layer by layer, with inputs from layers that are trimmed already; x is the activation of the circuit without
mismatch. For an error of the slope alone this is b' = b (1 + beta) - T beta at the mean image. A trim DAC of
b bits reaches R to both sides in steps of

.. math:: \Delta = 2 R / (2^b - 1)

with R a multiple of the root mean square of what the neurons of a layer need. What is trimmed is a chip as
one knows it (`seen`): the chip itself, or what a calibration has measured of it.

Source: threshold trim of TTFS neurons, Stanojevic et al., Nat. Commun. 2024, Discussion.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits.errors import InputError
from ttfs_analog.network.inputs import check_unit, flat
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.noise.chips import Chips, perfect
from ttfs_analog.noise.lot import Lot
from ttfs_analog.training.sensitivity import most_sensitive
from ttfs_analog.training.training import Progress

ROUNDS, ENOUGH = 20, 1e-9
"""Most rounds of a layer; fewer where no threshold moves any more, in windows."""
SAMPLE = 400
"""Images that the means are taken over."""
REACH = 3.0
"""Of a trim DAC, in root mean squares of what is needed."""
MOST_BITS = 16
Shifts = list[NDArray[np.float64]]
"""By layer, (chip, neuron): what is added to the offsets of comparators, in units of potential."""
Dac = Callable[[int, Tensor], Tensor]
"""(layer, shifts) -> shifts that there are."""


def trimmed(
    net: TTFSNetwork,
    chips: Chips,
    x: Tensor,
    *,
    seen: Chips | None = None,
    bits: int | None = None,
    reach: float = REACH,
    most: int | None = None,
    progress: Progress | None = None,
) -> Chips:
    """The same chips with the offsets of their comparators trimmed.

    Parameters
    ----------
    net : TTFSNetwork
        In form b1.
    chips : Chips
        Drawn for this network.
    x : Tensor, shape (image, in)
        Calibration images; SAMPLE of them, evenly spread, are used.
    seen, bits, reach, most, progress : optional
        As of `shifts`; `seen` None: the chips themselves.
    """
    moved = shifts(net, seen or chips, x, bits=bits, reach=reach, most=most, progress=progress)
    chips.require_fit(net)
    return chips.moved(moved)


@torch.no_grad()
def shifts(
    net: TTFSNetwork,
    chips: Chips | Lot,
    x: Tensor,
    *,
    bits: int | None = None,
    reach: float = REACH,
    most: int | None = None,
    progress: Progress | None = None,
) -> Shifts:
    """What a trim adds to the offset of every comparator.

    Parameters
    ----------
    net, x
        As of `trimmed`.
    chips : Chips or Lot
        As they are known.
    bits : int, optional
        Of the DACs; None: any value.
    reach : float
        R in root mean squares over the neurons of a layer, of all of these chips.
    most : int, optional
        Neurons that have a trim, on all chips the same: those where it does most
        (`ttfs_analog.training.sensitivity`); None: all that spike.
    progress : callable, optional
        (done, total) of the chips.

    Raises
    ------
    InputError
        If bits are none of 1 to MOST_BITS, or the reach is not > 0.
    """
    if bits is not None and not 1 <= bits <= MOST_BITS:
        raise InputError(f"a trim DAC has 1 to {MOST_BITS} bits, got {bits}")
    if not 0 < reach < np.inf:
        raise InputError(f"the reach of a trim DAC must be finite and > 0, got {reach}")
    chips.require_fit(net)
    x = check_unit(flat(x, net.input_shape))
    x = x[:: -(-len(x) // SAMPLE)].to(net.like)
    wanted = net.trace(x, perfect(net, chips.constants))
    everywhere = [torch.ones(layer.n_out, dtype=torch.bool, device=x.device) for layer in net.layers]
    passes = 1 if bits is None and most is None else 2

    def all_chips(dac: Dac, only: list[Tensor], first: int) -> Shifts:
        rows = []
        for done, chip in enumerate(chips, first + 1):
            rows.append(_one(net, chip, x, wanted, dac, only))
            if progress:
                progress(done, passes * len(chips))
        return [np.stack([row[n] for row in rows]) for n in range(len(net.layers))]

    free = all_chips(lambda n, value: value, everywhere, 0)
    if passes == 1:
        return free
    only = everywhere
    if most is not None:
        with torch.enable_grad():
            only = [torch.as_tensor(m).to(x.device) for m in most_sensitive(net, x, free, most)]
    if bits is None:
        return all_chips(lambda n, value: value, only, len(chips))
    limits = [reach * float(np.sqrt(np.mean(np.square(v)))) for v in free]
    top = 2**bits - 1

    def dac(n: int, value: Tensor) -> Tensor:
        if not limits[n]:
            return torch.zeros_like(value)
        code = ((value / limits[n] + 1.0) * (0.5 * top)).round().clamp(0, top)
        return (code * (2.0 / top) - 1.0) * limits[n]

    return all_chips(dac, only, len(chips))


def _one(
    net: TTFSNetwork, chip: Chips, x: Tensor, wanted: list[Tensor], dac: Dac, only: list[Tensor]
) -> Shifts:
    """Of one chip, (neuron,) by layer."""
    devices = chip.deviations(x)
    found = [np.zeros(layer.n_out) for layer in net.layers]

    def settle(n: int, layer: TTFSLayer, inputs: Tensor, weight: Tensor) -> Tensor:
        own, moved = devices[n], torch.zeros_like(devices[n].threshold)
        if not layer.spiking:
            return layer(inputs, own, weight)
        slope, base = layer.per_neuron(layer.slopes(weight)), own.threshold
        scale = slope / float(own.constants.theta_scale)
        q = layer.charge(inputs, weight, own)  # what a trim does not change
        for _ in range(ROUNDS):
            out = layer.after(q, own, weight)[0].reshape(wanted[n].shape)
            error = torch.where(only[n], _mean_error(out, wanted[n]), 0.0)
            moved = moved + error * scale
            own = own._replace(threshold=base + moved)
            if float(error.abs().max()) <= ENOUGH * layer.window_length:
                break
        moved = torch.where(only[n], dac(n, moved), 0.0)
        found[n] = moved[0].double().cpu().numpy()
        return layer.after(q, Deviations(*own._replace(threshold=base + moved)), weight)

    net.trace(x, settle)
    return found


def _mean_error(x: Tensor, wanted: Tensor) -> Tensor:
    """Mean of x - wanted of every neuron, shape (neuron,), over images where either is > 0."""
    counts = (x > 0) | (wanted > 0)
    return ((x - wanted) * counts).sum(0) / counts.sum(0).clamp_min(1)
