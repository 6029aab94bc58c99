r"""What measured spike times say about the neurons of a layer, with intervals.

In `ttfs_analog.calibration.prior` the ramp with pattern p is r = (r^0 + a + \epsilon) / (1 + \beta), so that

.. math:: r_p - r_p^0 = a'_i - r_p^0 \beta'_i + \epsilon_i(x_p) + \eta, \qquad a' = \frac{a}{1 + \beta}, \quad
          \beta' = \frac{\beta}{1 + \beta}, \qquad \eta \sim N(0, \sigma_m^2)

to first order in \epsilon: a linear Gaussian model of a', \beta' and \epsilon of every pattern, whose
variances beforehand are those of a, \beta and synapses. (With r for r^0 on the right what is to be explained
would explain itself: all slopes come out too low.) What a whole layer or chip shares is found first, as the
mean over its neurons. Of a spike that came early or not at all the side of the window is known, an
inequality: the moments of what it leaves of the normal are taken, pattern by pattern (assumed-density
filtering).
\epsilon stays in it: synapses that hold back the spike of one pattern do so with similar ones, too, which
then say less of the neuron.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    before, ramp = (window - expected).T.double(), (window - measured.nan_to_num(0.0)).T.double()
    used, out = inside.T, (seen & ~inside).T  # (neuron, pattern)
    side = torch.where(out, torch.where(measured.T > 0, -1.0, 1.0).double(), 0.0)
    past = torch.where(side > 0, window, 0.0) - before  # where the window ends, as r - r^0
    synapses = prior.covariance.double()
    of_both = torch.stack([torch.ones_like(before), -before], -1)
    rows = torch.cat([of_both, torch.eye(len(measured)).to(synapses).expand_as(synapses)], -1)

    def posterior(center: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.nn.functional.pad(center.expand_as(widths), (0, len(measured)))
        covariance = torch.nn.functional.pad(synapses, (2, 0, 2, 0))
        covariance[:, :2, :2] = torch.diag_embed(widths)
        mean, covariance = _told(mean, covariance, rows, ramp - before, used, error**2)
        mean, covariance = _bounded(mean, covariance, rows, past, side, error**2)
        return mean[:, :2], covariance[:, :2, :2]

    center = torch.tensor([0.0, prior.slope]).to(synapses)
    own = torch.stack([prior.offset2, prior.slope2], -1).double()
    shared = torch.tensor([prior.shared2 * window**2, prior.shared2]).to(own)
    found, covariance = posterior(center, own + shared)
    if prior.shared2 > 0 and len(found) > 1:  # what all neurons share, then each around it
        told = seen.any(0).to(found)
        center = (found * told.unsqueeze(-1)).sum(0) / told.sum().clamp_min(1.0)
        found, covariance = posterior(center, own + (own + shared) / len(found))
    gain = (1.0 - found[:, 1]).clamp(1.0 / MOST, MOST)  # 1 / (1 + beta)
    a = found[:, 0] / gain
    wrt = torch.stack([torch.ones_like(a), a], -1)
    a_sd = torch.einsum("ni,nij,nj->n", wrt, covariance, wrt).clamp_min(0.0).sqrt() / gain
    slope_sd = covariance[:, 1, 1].clamp_min(0.0).sqrt() / gain.square()
    return Estimate(a, a_sd, 1.0 / gain - 1.0, slope_sd, inside.sum(0))


def _told(
    mean: Tensor, covariance: Tensor, rows: Tensor, y: Tensor, used: Tensor, noise: float
) -> tuple[Tensor, Tensor]:
    """Normals of (a', beta', epsilon of every pattern), given y = rows . state + noise of those used."""
    h = rows * used.unsqueeze(-1)
    cross = covariance @ h.transpose(-1, -2)
    total = h @ cross + torch.diag_embed(torch.where(used, noise + TINY, 1.0))
    gain = torch.linalg.solve(total, cross.transpose(-1, -2)).transpose(-1, -2)
    off = (y * used).unsqueeze(-1) - h @ mean.unsqueeze(-1)
    return mean + (gain @ off).squeeze(-1), covariance - gain @ cross.transpose(-1, -2)


def _bounded(
    mean: Tensor, covariance: Tensor, rows: Tensor, past: Tensor, side: Tensor, noise: float
) -> tuple[Tensor, Tensor]:
    """The same given side * (rows . state + noise - past) > 0, one after the other; side 0: nothing."""
    for h, end, sign in zip(rows.unbind(1), past.unbind(1), side.unbind(1), strict=True):
        pull = (covariance @ h.unsqueeze(-1)).squeeze(-1)
        spread = ((h * pull).sum(-1) + noise + TINY).sqrt()
        z = sign * ((h * mean).sum(-1) - end) / spread
        slant = torch.exp(-0.5 * z.square() - torch.special.log_ndtr(z)) * INVERSE_ROOT_2PI
        slant = torch.where(sign == 0, 0.0, slant)
        mean = mean + pull * (sign * slant / spread).unsqueeze(-1)
        shrink = slant * (slant + z) / spread.square()
        covariance = covariance - pull.unsqueeze(-1) * pull.unsqueeze(-2) * shrink[:, None, None]
    return mean, covariance
