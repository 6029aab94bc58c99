r"""Put a network under what hardware does to it: constraints, and noise of the slopes.

Source: Stanojevic et al., Nat. Commun. 2024, Fig. 5; thesis of A. Stanojevic, EPFL 2023, Fig. 2.5c.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from circuits.errors import InputError
from ttfs_analog.constraints.constraints import Constraint, Constraints
from ttfs_analog.network.inputs import check_unit, flat
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import Progress, choose_windows
from ttfs_analog.neuron.functional import Deviations


def constrain(
    net: TTFSNetwork,
    x: Tensor,
    parts: Iterable[Constraint],
    seed: int = 0,
    progress: Progress | None = None,
) -> TTFSNetwork:
    """A copy of a network under constraints, its windows and weight units fixed from calibration inputs.

    Parameters
    ----------
    x : Tensor, shape (image, in)
        In [0, 1].
    parts : iterable of Jitter, TimeSteps, WeightBits or WeightUnits, Latency
    seed : int
        Of frozen and of repeated jitter.
    progress : callable, optional
        (done, total) of the batches that set the windows.

    Raises
    ------
    InputError
        If weights are to be quantized in a form whose slopes depend on them, or in units of another
        number of layers.
    """
    limits, x = Constraints(parts, seed), check_unit(flat(x, net.input_shape))
    if (limits.bits or limits.units) and any(layer.form != "b1" for layer in net.layers):
        raise InputError(
            f"weight {'bits' if limits.bits else 'units'} need form b1, because in the other forms slopes or "
            "currents depend on the weights: convert with mapping b1"
        )
    if limits.units and len(limits.units.units) != len(net.layers):
        raise InputError(
            f"weight units are those of {len(limits.units.units)} layers, the network has {len(net.layers)}"
        )
    if limits.bits:
        fitted = limits.bits.fitted(layer.weight for layer in net.layers)
        limits = Constraints([fitted if p is limits.bits else p for p in limits.parts], seed)
    made = net.constrained(None)
    if limits.percentile is not None:
        made.set_windows(
            choose_windows(
                made, x, percentile=limits.percentile, percentile_of=limits.percentile_of, progress=progress
            )
        )
        made.rescale(x)
    made.constraints = limits
    return made


def slope_noise(net: TTFSNetwork, std: float, generator: torch.Generator) -> list[Deviations]:
    """One chip whose slopes B differ from neuron to neuron by N(0, std^2), and nothing else does.

    In the alpha forms the error is that of the current alpha, which is on in both phases (single: that
    of B). Read-out neurons have no slope.

    Parameters
    ----------
    net : TTFSNetwork
    std : float
        Absolute, in the units of B (B1: B = 1).
    generator : torch.Generator

    Source: Stanojevic et al., Nat. Commun. 2024, Fig. 5.
    """
    if not 0 <= std < float("inf"):
        raise InputError(f"slope noise must be >= 0, got {std}")
    result = []
    for layer in net.layers:
        zero = torch.zeros(1, layer.n_out, dtype=layer.weight.dtype, device=layer.weight.device)
        error = std * torch.randn(zero.shape, generator=generator, dtype=zero.dtype, device=generator.device)
        slope = error.to(zero) / layer.per_neuron(layer.slopes().detach())
        result.append(Deviations(None, slope if layer.spiking else zero, zero, zero))
    return result
