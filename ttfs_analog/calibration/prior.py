r"""What is known of the neurons of a layer before a chip is measured, from the noise model.

The ramp of neuron i takes r = T - x with some input, r^0 with synapses that are all as their mean (the mean
of a lognormal gain is not 1) and without other mismatch. In the equation of
`circuits.model.closed_form` the slope's error beta divides all of it, whatever else is wrong adds up in a:

.. math:: r - r^0 = a_i - r \beta_i + \epsilon_i(x), \qquad
          a_i = \frac{k (\theta_i c_i + o_i) - \delta Q_i(\bar x_i)}{B_i g_B} + d_i

with \delta Q the error of the charge, from synapses, at the mean of the inputs that the neuron fires for.
What it is elsewhere is \epsilon,

.. math:: \mathrm{Cov}[\epsilon_i(x), \epsilon_i(y)] = \sum_j \frac{W_{ij}^2 v_j}{(B_i g_B)^2}
          (x_j - \bar x_{ij})(y_j - \bar x_{ij})

with v_j the variance of a synapse's gain. All are normal here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from circuits.model.closed_form import Constants
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.noise.per_image import synapse_gains

SOME = 100
"""Inputs that means over those that a neuron fires for are taken of."""
RELATIVE_ERROR = 0.005
"""Of measured times, as a share of the window, as far as the choice of patterns goes."""


@dataclass(frozen=True)
class Prior:
    """Variances of one layer's neurons, (neuron,), in tau_c^2 but for those of slopes."""

    layer: TTFSLayer
    variance: Tensor  #: of a synapse's charge per input squared, over the slope squared: shape of the weights
    gains: Tensor  #: means of 1 + e of synapses: shape of the weights
    gain: Tensor  #: B g_B, (neuron,)
    mean: Tensor  #: the mean input times `variance`, (1, neuron, tap)
    at_mean: Tensor  #: variance of what synapses make at the mean input
    offset2: Tensor  #: of a
    slope2: Tensor  #: of beta
    slope: float  #: mean of beta / (1 + beta), which is below 0 where that of log(1 + beta) is 0
    shared2: float  #: of relative errors that all neurons of the layer share
    error2: float
    covariance: Tensor | None = None  #: (neuron, pattern, pattern) of epsilon, of the patterns that it is for

    @classmethod
    def of(
        cls,
        layer: TTFSLayer,
        weight: Tensor,
        law: MismatchLaw,
        constants: Constants,
        inputs: Tensor,
        outputs: Tensor,
    ) -> Prior:
        """What a noise model says of a layer.

        Parameters
        ----------
        layer : TTFSLayer
            That spikes, in form b1.
        weight : Tensor
            As the hardware holds it.
        law, constants
            Of the noise model.
        inputs, outputs : Tensor, shape (image, ...), (image, neuron)
            Of a circuit without mismatch.
        """
        gain = layer.per_neuron(layer.slopes(weight)) * float(np.mean(constants.gain_slope))
        step = -(-len(inputs) // SOME)
        fires = (outputs[::step] > 0).to(inputs)
        fires = torch.where(fires.any(0), fires, 1.0)
        mean = layer.tap_means(inputs[::step], fires / fires.sum(0))
        gains, spread = synapse_gains(law, weight)
        v = (weight * spread).square()
        at_mean = (layer.taps(v) * mean.square()).sum(-1) / gain**2
        k, theta = float(np.mean(constants.theta_scale)), layer.thresholds()
        shared = sum(s**2 for part in (law.common, law.reference) for term, s in part if term != "delay")
        own = ((k * law.threshold) ** 2 + (k * theta * law.capacitance) ** 2) / gain**2 + law.delay**2
        slope2 = torch.full_like(theta, float(np.expm1(law.slope**2) * np.exp(law.slope**2)))
        error2 = (RELATIVE_ERROR * layer.window_length) ** 2
        mean = (layer.taps(v) * mean).unsqueeze(0)
        slope = -float(np.expm1(0.5 * law.slope**2))
        return cls(layer, v, gains, gain, mean, at_mean, own + at_mean, slope2, slope, float(shared), error2)

    def synapses(self, squares: Tensor) -> Tensor:
        """Covariance of what synapses make of two inputs, (pair, neuron), from their products (pair, ...)."""
        return self.layer.product(squares, self.variance).reshape(len(squares), -1) / self.gain**2

    def with_mean(self, x: Tensor) -> Tensor:
        """The same between each of inputs (pattern, ...) and the mean input, (pattern, neuron)."""
        return self.layer.product(x, self.mean)[0].reshape(len(x), -1) / self.gain**2

    def elsewhere(self, x: Tensor) -> Tensor:
        """Variance of epsilon for inputs (pattern, ...), (pattern, neuron)."""
        return (self.synapses(x.square()) - 2.0 * self.with_mean(x) + self.at_mean).clamp_min(0.0)

    def at(self, x: Tensor) -> Prior:
        """The same with the covariance of epsilon of some patterns (pattern, ...)."""
        pairs = torch.stack([self.synapses(x * one) for one in x])
        mean = self.with_mean(x)
        covariance = pairs - mean.unsqueeze(0) - mean.unsqueeze(1) + self.at_mean
        return replace(self, covariance=covariance.permute(2, 0, 1))
