r"""A chip of its own for every image of a batch, drawn at the level of the sum.

With independent synapse errors the charge of a neuron, its sum over synapses, is normal to a good
approximation, with the moments

.. math:: E[Q] = \sum_j W_j (1 + m_j) x_j, \qquad \mathrm{Var}[Q] = \sum_j W_j^2 v_j x_j^2, \qquad
          m = e^{\mu + \sigma^2 / 2} - 1, \quad v = e^{2 \mu + \sigma^2} (e^{\sigma^2} - 1)

so that every image meets devices of its own for the price of one more matrix product (convolution), instead
of copies of all weights. What else is added to the charge before the ramp divides it, the offset o and
\theta c, joins the same normal number. Slopes, delays and jitter are drawn for every image and neuron, parts
that a layer or a chip shares for every image. Training only: judging is done on whole frozen chips.

Source: local reparameterization, Kingma, Salimans and Welling, NeurIPS 2015; moments of a lognormal factor.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants
from montecarlo.mismatch.distributions import cholesky
from montecarlo.mismatch.law import NEURON, TERMS, MismatchLaw
from ttfs_analog.neuron.functional import Deviations, charge, signed
from ttfs_analog.neuron.layers import FORCED, TTFSLayer

LEAST = 1e-30
"""Variance that keeps the slope of a root finite."""
SYNAPSES = TERMS[:2]


class PerImage:
    """Devices of a network, as `TTFSNetwork.forward` takes them: others in every call and for every image.

    Parameters
    ----------
    law : MismatchLaw
        Of frozen terms; of their usual distributions.
    generator : torch.Generator
        On the network's device.
    constants : Constants, optional
        Systematic terms.
    jitter : float
        Standard deviation of spike times from trial to trial [tau_c].

    Raises
    ------
    InputError
        If the law has distributions whose sums are not nearly normal.
    """

    def __init__(
        self,
        law: MismatchLaw,
        generator: torch.Generator,
        constants: Constants = IDEAL,
        jitter: float = 0.0,
    ) -> None:
        if law.distribution:
            raise InputError("fine-tuning draws terms of their usual distributions; leave --distribution out")
        self.law, self.constants, self.generator = law, constants, generator
        self.mean, self.late = dict(law.mean), math.hypot(law.delay, jitter)
        self.root = cholesky(NEURON, law.correlation)  # of slope, threshold, capacitance
        self._common: Tensor | None = None

    def __call__(self, n: int, layer: TTFSLayer, x: Tensor, weight: Tensor) -> Tensor:
        """Activations or logits of layer number n for inputs (image, in), each on a chip of its own."""
        if self.law.common and n == 0:  # all layers of a chip share it
            self._common = self._normal(x, len(TERMS), len(x), 1)
        shared = self._shared(x)
        mean, variance = self._charge(layer, x, weight, shared)
        slow: Tensor | float = 0.0
        if layer.spiking and layer.form in FORCED:  # synapses stay on in phase 2
            mean, variance, slow = self._stay_on(layer, x, weight, mean, variance)
        deviations, more = self._neurons(layer, mean, shared)
        variance = variance + more
        return layer.response(mean + self._varied(mean, variance), deviations, weight, slow)

    def _normal(self, like: Tensor, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=like.dtype, device=like.device)

    def _varied(self, like: Tensor, variance: Tensor | float) -> Tensor | float:
        """Normal numbers of a variance."""
        if isinstance(variance, float):
            return math.sqrt(variance) * self._normal(like, *like.shape) if variance else 0.0
        return (variance + LEAST).sqrt() * self._normal(like, *like.shape)

    def _shared(self, x: Tensor) -> dict[str, Tensor]:
        """By term: what all devices of an image's layer or chip share, (image, 1)."""
        shared: dict[str, Tensor] = {}
        for sigmas, normals in ((self.law.common, self._common), (self.law.reference, None)):
            for term, sigma in sigmas:
                z = self._normal(x, len(x), 1) if normals is None else normals[TERMS.index(term)]
                shared[term] = shared.get(term, 0.0) + sigma * z
        return shared

    def _charge(
        self, layer: TTFSLayer, x: Tensor, weight: Tensor, shared: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | float]:
        """Mean and variance of the charge at t_min of every image and neuron."""
        if not any(term in shared for term in SYNAPSES):
            return self._moments(layer, x, weight)
        sums = []
        for term, part in zip(SYNAPSES, (weight.clamp(min=0), weight.clamp(max=0)), strict=True):
            factor = torch.exp(shared.get(term, x.new_zeros(len(x), 1)))
            mean, v = self._moments(layer, x, part)
            sums.append((factor * mean, factor.square() * v))
        (sources, spread), (sinks, other) = sums
        return sources + sinks, spread + other

    def _moments(self, layer: TTFSLayer, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor | float]:
        gain, root = self._gains(weight)
        mean = charge(x, weight * gain, layer.product, self.constants, weight)
        if not (self.law.synapse_source or self.law.synapse_sink):
            return mean, 0.0
        if not self.constants.ideal:
            root = root * signed(self.constants, "gain", weight)
        return mean, layer.product(x.square(), (weight * root).square())

    def _gains(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of 1 + e of every synapse."""
        law, weight = self.law, weight.detach()
        moments: list[Any] = []
        for term in SYNAPSES:
            center, square = self.mean.get(term, 0.0), getattr(law, term) ** 2
            if law.units is None:
                mean = math.exp(center + 0.5 * square)
                moments.append((mean, mean * math.sqrt(math.expm1(square))))
            else:  # a synapse is |W| units in parallel
                v = square / weight.abs().clamp_min(1.0 / law.units)
                means = torch.exp(center + 0.5 * v)
                moments.append((means, means * torch.expm1(v).sqrt()))
        sign = weight.sign()  # torch.where takes ten times as long
        pairs = zip(*moments, strict=True)
        mean, root = ((sign * (0.5 * (a - b))).add_(0.5 * (a + b)) for a, b in pairs)
        return mean, root

    def _stay_on(
        self, layer: TTFSLayer, x: Tensor, weight: Tensor, mean: Tensor, variance: Tensor | float
    ) -> tuple[Tensor, Tensor | float, Tensor]:
        """Charge given the error of the slope, sum_j W_j e_j, and that error."""
        gain, root = self._gains(weight)
        slow = layer.per_neuron((weight * (gain - 1.0)).flatten(1).sum(1))
        if isinstance(variance, float):
            return mean, variance, slow
        v = (weight * root).square()
        whole = (layer.per_neuron(v.flatten(1).sum(1)) + LEAST).sqrt()
        along, z = layer.product(x, v) / whole, self._normal(mean, *mean.shape)
        return mean + along * z, (variance - along.square()).clamp_min(0.0), slow + whole * z

    def _neurons(
        self, layer: TTFSLayer, q: Tensor, shared: dict[str, Tensor]
    ) -> tuple[Deviations, Tensor | float]:
        """Deviations of every image and neuron, and the variance of what is added to the charge `q`."""
        law, mean = self.law, {term: self.mean.get(term, 0.0) + shared.get(term, 0.0) for term in NEURON}
        if not layer.spiking:  # a read-out: the capacitor scales the logit
            c = torch.expm1(mean["capacitance"] + law.capacitance * self._normal(q, *q.shape))
            return Deviations(None, c, c, c, None, self.constants), 0.0
        root, z = self.root.tolist(), self._normal(q, *q.shape)
        slope = torch.expm1(mean["slope"] + law.slope * z)
        offset = mean["threshold"] + law.threshold * root[1][0] * z
        c = mean["capacitance"] + law.capacitance * root[2][0] * z
        scale = float(self.constants.theta_scale)
        variance: Tensor | float = 0.0
        if layer.form == "b1":  # theta c joins the charge
            c = torch.expm1(c + 0.5 * (law.capacitance * math.hypot(*root[2][1:])) ** 2)
            theta = scale * law.capacitance * layer.thresholds() if law.capacitance else 0.0
            variance = (theta * root[2][1] + scale * law.threshold * root[1][1]) ** 2
            variance = variance + (theta * root[2][2]) ** 2
        else:
            rest = self._normal(q, 2, *q.shape)
            c = torch.expm1(c + law.capacitance * (root[2][1] * rest[0] + root[2][2] * rest[1]))
            offset = offset + law.threshold * root[1][1] * rest[0]
        late = self.mean.get("delay", 0.0) + self.late * self._normal(q, *q.shape) if self.late else None
        return Deviations(None, slope, offset, c, late, self.constants), variance
