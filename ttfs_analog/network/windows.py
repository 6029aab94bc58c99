r"""Firing windows of a network from what its neurons do on calibration inputs.

.. math:: T = (1 + \zeta) \max_{i, \mu} x_i(\mu) \quad\text{or}\quad T = \text{a percentile of } x_i(\mu)

The percentile is one of the non-zero activations, or of all: with many silent neurons the latter is the
shorter window, and the one of the sources.

A window is the strongest lever on mismatch: a slope error acts as an offset of T beta.

Source: thesis of A. Stanojevic, EPFL 2023, eq. 2.24 and section 3.6.2; percentiles: Stanojevic et al.,
Nat. Commun. 2024, Methods (ii) and (iv); adaptive windows: ibid., eq. 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from circuits.errors import InputError
from ttfs_analog.constraints.constraints import ALL, NONZERO, check_population
from ttfs_analog.network.inputs import check_unit, flat
from ttfs_analog.network.network import TTFSNetwork

Progress = Callable[[int, int], None]
BATCH = 250
SAMPLE = 2_000_000
"""Activations of a layer that a percentile is taken from."""
BUDGET = 500_000_000_000
"""Multiply-accumulates spent on calibration; larger data are sampled evenly."""
GAMMA = 10.0


def check_margin(zeta: float, percentile: float | None, percentile_of: str = NONZERO) -> None:
    """Refuse what `choose_windows` cannot use.

    Parameters
    ----------
    zeta, percentile, percentile_of
        As of `choose_windows`.
    """
    if not -1 < zeta < 1e6:
        raise InputError(f"zeta must be > -1 (and below a million), got {zeta}")
    if percentile is not None and not 0 < percentile <= 100:
        raise InputError(f"percentile must lie in (0, 100], got {percentile}")
    check_population(percentile_of)


@torch.no_grad()
def choose_windows(
    net: TTFSNetwork,
    x: Tensor,
    *,
    zeta: float = 0.5,
    percentile: float | None = None,
    percentile_of: str = NONZERO,
    progress: Progress | None = None,
) -> list[float]:
    """Firing windows of the spiking layers, from activations that no window clips.

    Parameters
    ----------
    x : Tensor, shape (image, in)
    zeta : float
        T = (1 + zeta) * largest activation: nothing seen so far is clipped.
    percentile : float, optional
        T = this percentile of the activations instead: shorter, clips the rest at t_min.
    percentile_of : {"nonzero", "all"}
        Of which activations.
    progress : callable, optional
        (done, total) of the batches.

    Returns
    -------
    list of float
        t_max - t_min of every spiking layer [tau_c].

    Raises
    ------
    InputError
        If inputs are not the network's, or so many activations are 0 that the percentile of all is 0.

    Source: thesis of A. Stanojevic, EPFL 2023, eq. 2.24.
    """
    check_margin(zeta, percentile, percentile_of)
    x = check_unit(flat(x, net.input_shape))
    free = net.constrained(None).eval()
    x = x[:: max(1, math.ceil(len(x) * net.products / BUDGET))]
    spiking = [layer for layer in free.layers if layer.spiking]
    for layer in spiking:
        layer.set_windows(window=math.inf)
    largest = [0.0] * len(spiking)
    samples: list[list[Tensor]] = [[] for _ in spiking]
    counts = torch.zeros(len(spiking), 2, dtype=torch.float64)  # of all activations, and of non-zero ones
    batches = x.split(BATCH)
    for k, part in enumerate(b.to(net.like) for b in batches):
        for n, h in enumerate(free.trace(part)[: len(spiking)]):
            largest[n] = max(largest[n], float(h.max()))
            if percentile is not None:
                fired = h[h > 0]
                counts[n] += torch.tensor([h.numel(), len(fired)], dtype=torch.float64)
                share = max(1, SAMPLE // len(batches))
                samples[n].append(fired[:: max(1, -(-len(fired) // share))])
        if progress:
            progress(k + 1, len(batches))
    windows = []
    for n, (top, parts) in enumerate(zip(largest, samples, strict=True)):
        fired = torch.cat(parts) if parts else x.new_empty(0)
        if percentile is None:
            window = (1.0 + zeta) * top
        else:
            level = percentile / 100
            if percentile_of == ALL and len(fired):  # the zeros come first
                total, above = counts[n].tolist()
                level = (level * (total - 1) - (total - above)) / max(above - 1, 1)
            fired = fired if fired.dtype == torch.float64 else fired.float()  # no quantile of half precision
            window = float(torch.quantile(fired, level)) if len(fired) and level >= 0 else 0.0
            if top > 0 and window <= 0:
                raise InputError(
                    f"layer {n}: {percentile:g} % of all activations are 0, and no window is; take a higher "
                    f"percentile, or one of the activations that are not 0 (percentile_of {NONZERO})"
                )
        windows.append(window if window > 0 else 1.0)  # a layer that never fires needs some window
    return windows


def widen(net: TTFSNetwork, activations: list[Tensor], gamma: float = GAMMA) -> bool:
    """Adaptive windows of training: T <- max(T, gamma * largest activation of the batch), eq. 8.

    The thresholds move along, so that the function of the network stays as it is.

    Parameters
    ----------
    activations : list of Tensor
        Of `TTFSNetwork.trace` [tau_c].
    gamma : float
        Margin over the largest activation.

    Returns
    -------
    bool
        Whether a window changed.

    Source: Stanojevic et al., Nat. Commun. 2024, eq. 8.
    """
    windows = net.windows
    if not windows:
        return False
    largest = [float(h.detach().amax()) for h in activations[: len(windows)]]
    if all(gamma * top <= window for top, window in zip(largest, windows, strict=True)):
        return False
    net.set_windows([max(window, gamma * top) for window, top in zip(windows, largest, strict=True)])
    return True


def tighten(
    net: TTFSNetwork,
    x: Tensor,
    percentile: float | None = None,
    *,
    zeta: float = 0.0,
    percentile_of: str = NONZERO,
) -> TTFSNetwork:
    """A copy with windows for inference: those of training are longer than needed; weights are the same.

    Parameters
    ----------
    x : Tensor, shape (image, in)
        Calibration inputs.
    percentile, zeta, percentile_of
        As of `choose_windows`.

    Source: thesis, section 3.6.2, remark (ii).
    """
    tight = net.clone()
    tight.set_windows(choose_windows(net, x, zeta=zeta, percentile=percentile, percentile_of=percentile_of))
    tight.rescale(x)
    return tight


def latency(net: TTFSNetwork) -> float:
    """t_max of the last spiking layer after the start of the input window [tau_c]."""
    return 1.0 + math.fsum(net.windows)
