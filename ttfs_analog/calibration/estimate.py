r"""What measured spike times say about the neurons of a layer, with intervals.

In `ttfs_analog.calibration.prior` the ramp with pattern p is r = (r^0 + a + \epsilon) / (1 + \beta), so that

.. math:: r_p - r_p^0 = a'_i - r_p^0 \beta'_i + \epsilon_i(x_p) + \eta, \qquad a' = \frac{a}{1 + \beta}, \quad
          \beta' = \frac{\beta}{1 + \beta}, \qquad \eta \sim N(0, \sigma_m^2)

to first order in \epsilon: a linear Gaussian model of a' and \beta', whose variances beforehand are those of
a and \beta. (With r for r^0 on the right what is to be explained would explain itself: all slopes come out
too low.) What a whole layer or chip shares is found first, as the mean over its neurons. Of a spike that came
early or not at all the side of the window is known, an inequality: the moments of what it leaves of the
normal are taken, pattern by pattern (assumed-density filtering).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from circuits.model.closed_form import Constants
from circuits.model.layer import LayerMismatch
from ttfs_analog.calibration.prior import Prior

NORMAL95 = 1.959964
MOST = 10.0
"""Factor of an estimated slope, at most: no current changes its sign."""
TINY = 1e-12
INVERSE_ROOT_2PI = (2.0 * math.pi) ** -0.5


@dataclass(frozen=True)
class Estimate:
    """Of the neurons of one layer; tensors (neuron,)."""

    offset: Tensor  #: a [tau_c]
    offset_sd: Tensor
    slope: Tensor  #: beta
    slope_sd: Tensor
    measured: Tensor  #: spikes inside the window that the estimate rests on

    def interval(self, name: str) -> tuple[Tensor, Tensor]:
        """Lower and upper end, 95 %, of "offset" or "slope"."""
        value, sd = getattr(self, name), getattr(self, f"{name}_sd")
        return value - NORMAL95 * sd, value + NORMAL95 * sd

    def mismatch(self, prior: Prior, constants: Constants) -> LayerMismatch:
        """As the devices of a chip: the offset as one of comparators, all synapses as their mean."""
        layer = prior.layer
        scale = layer.per_neuron(layer.slopes()).detach() * float(np.mean(constants.gain_slope))
        offset = self.offset * scale / float(np.mean(constants.theta_scale))
        return LayerMismatch(
            (layer.taps(prior.gains) - 1.0).detach().double().cpu().numpy()[None],
            self.slope.double().cpu().numpy()[None],
            offset.double().cpu().numpy()[None],
            np.zeros((1, layer.n_out)),
        )


@torch.no_grad()
def estimate(prior: Prior, expected: Tensor, measured: Tensor, error: float) -> Estimate:
    """Neurons of one layer.

    Parameters
    ----------
    prior : Prior
        At the patterns that were shown.
    expected, measured : Tensor, shape (pattern, neuron)
        Activations x = t_max - t [tau_c]: of r^0, without bounds, and of the chip; 0 = silent, window = at
        t_min or before; NaN: not measured.
    error : float
        Standard deviation of a measured time [tau_c].
    """
    window = prior.layer.window_length
    assert prior.covariance is not None
    seen = torch.isfinite(measured)
    inside = seen & (measured > 0) & (measured < window)
    before, ramp = window - expected, window - measured.nan_to_num(0.0)
    used = inside.T.to(prior.covariance)  # (neuron, pattern)
    noise = torch.full_like(used, error**2)
    total = prior.covariance + torch.diag_embed(noise)
    total = total * used.unsqueeze(1) * used.unsqueeze(2) + torch.diag_embed(1.0 - used)
    total = total + TINY * torch.eye(total.shape[-1]).to(total)
    y = ((ramp - before).T * used).unsqueeze(-1)
    columns = torch.stack([torch.ones_like(before), -before], -1).permute(1, 0, 2) * used.unsqueeze(-1)
    # of spikes beyond the window an inequality is known: where they would be is on that side of its end
    side = torch.where(seen & ~inside, torch.where(measured > 0, -1.0, 1.0), 0.0).T.to(total)
    end = torch.where(side > 0, window, 0.0)
    bounds = _Bounds(side, end, before.T, prior.covariance.diagonal(dim1=-2, dim2=-1) + noise)

    center = torch.zeros(2).to(total)
    own = torch.stack([prior.offset2, prior.slope2], -1)
    shared = torch.tensor([prior.shared2 * window**2, prior.shared2]).to(own)
    found, covariance = bounds.applied(*_posterior(columns, y, total, center, own + shared))
    if prior.shared2 > 0 and len(found) > 1:  # what all neurons share, then each around it
        told = seen.any(0).to(found)
        center = (found * told.unsqueeze(-1)).sum(0) / told.sum().clamp_min(1.0)
        widths = own + (own + shared) / len(found)
        found, covariance = bounds.applied(*_posterior(columns, y, total, center, widths))
    gain = (1.0 - found[:, 1]).clamp(1.0 / MOST, MOST)  # 1 / (1 + beta)
    a = found[:, 0] / gain
    wrt = torch.stack([torch.ones_like(a), a], -1)
    a_sd = torch.einsum("ni,nij,nj->n", wrt, covariance, wrt).clamp_min(0.0).sqrt() / gain
    slope_sd = covariance[:, 1, 1].clamp_min(0.0).sqrt() / gain.square()
    return Estimate(a, a_sd, 1.0 / gain - 1.0, slope_sd, inside.sum(0))


class _Bounds(NamedTuple):
    """What silent and early spikes say: side * (r - end) > 0 of the ramp r; tensors (neuron, pattern)."""

    side: Tensor  #: 1: silent, -1: before t_min, 0: nothing
    end: Tensor
    before: Tensor
    variance: Tensor

    def applied(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (neuron, 2) and covariance (neuron, 2, 2) given these, too, one after the other.

        The normal with the moments of what is left, as in assumed-density filtering.
        """
        for side, end, before, variance in zip(*(v.unbind(1) for v in self), strict=True):
            h = torch.stack([side, -side * before], -1)
            pull = (covariance @ h.unsqueeze(-1)).squeeze(-1)
            spread = ((h * pull).sum(-1) + variance + TINY).sqrt()
            z = ((h * mean).sum(-1) + side * (before - end)) / spread
            slant = torch.exp(-0.5 * z.square() - torch.special.log_ndtr(z)) * INVERSE_ROOT_2PI
            slant = torch.where(side == 0, 0.0, slant)
            mean = mean + pull * (slant / spread).unsqueeze(-1)
            shrink = slant * (slant + z) / spread.square()
            covariance = covariance - pull.unsqueeze(-1) * pull.unsqueeze(-2) * shrink[:, None, None]
        return mean, covariance


def _posterior(
    columns: Tensor, y: Tensor, total: Tensor, center: Tensor, widths: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean (neuron, 2) and covariance (neuron, 2, 2) of a' and beta'."""
    inverse = torch.linalg.solve(total, torch.cat([columns, y], -1))
    precision = columns.transpose(-1, -2) @ inverse[..., :2] + torch.diag_embed(1.0 / (widths + TINY))
    pull = columns.transpose(-1, -2) @ inverse[..., 2:] + (center / (widths + TINY)).unsqueeze(-1)
    return torch.linalg.solve(precision, pull).squeeze(-1), torch.linalg.inv(precision)
