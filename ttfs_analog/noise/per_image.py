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
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants
from montecarlo.mismatch.distributions import cholesky
from montecarlo.mismatch.law import NEURON, TERMS, MismatchLaw, per_layer
from ttfs_analog.neuron.functional import Deviations, long_enough, signed, switching
from ttfs_analog.neuron.layers import FORCED, TTFSLayer

LEAST = 1e-30
"""Variance that keeps the slope of a root finite."""
SYNAPSES = TERMS[:2]


class PerImage:
    """Devices of a network, as `TTFSNetwork.forward` takes them: others in every call and for every image.

    Parameters
    ----------
    law : MismatchLaw or sequence of MismatchLaw
        Of frozen terms, of their usual distributions: of all layers, or one a layer.
    generator : torch.Generator
        On the network's device.
    constants : Constants or sequence of Constants, optional
        Systematic terms; likewise.
    jitter : float or sequence of float
        Standard deviation of spike times from trial to trial [tau_c], of a read-out of its logits [1];
        likewise.

    Raises
    ------
    InputError
        If a law has distributions whose sums are not nearly normal, or numbers of entries differ.
    """

    def __init__(
        self,
        law: MismatchLaw | Sequence[MismatchLaw],
        generator: torch.Generator,
        constants: Constants | Sequence[Constants] = IDEAL,
        jitter: float | Sequence[float] = 0.0,
    ) -> None:
        several = [len(v) for v in (law, constants, jitter) if isinstance(v, list | tuple)]
        layers = max(several, default=1)
        laws = per_layer(law, layers, "laws")
        if any(own.distribution for own in laws):
            raise InputError("fine-tuning draws terms of their usual distributions; leave --distribution out")
        rest = (per_layer(constants, layers, "constants"), per_layer(jitter, layers, "jitters"))
        self.layers = tuple(_Layer(*own, generator) for own in zip(laws, *rest, strict=True))
        self._one = not several
        self._shares = any(own.common for own in laws)
        self._common: Tensor | None = None

    def __call__(self, n: int, layer: TTFSLayer, x: Tensor, weight: Tensor) -> Tensor:
        """Activations or logits of layer number n for inputs (image, in), each on a chip of its own."""
        if not self._one and n >= len(self.layers):
            raise InputError(f"layer {n} has no noise: each of {len(self.layers)} layers has its own")
        own = self.layers[0 if self._one else n]
        if self._shares and n == 0:  # all layers of a chip share it
            self._common = own.normal(x, len(TERMS), len(x), 1)
        return own(layer, x, weight, self._common)


def synapse_gains(law: MismatchLaw, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of 1 + e of every synapse, each of the shape of `weight`.

    Parameters
    ----------
    law : MismatchLaw
    weight : Tensor
    """
    means_of = dict(law.mean)
    moments: list[Any] = []
    for term in SYNAPSES:
        center, square = means_of.get(term, 0.0), getattr(law, term) ** 2
        if law.units is None:
            mean = math.exp(center + 0.5 * square)
            moments.append((mean, mean * math.sqrt(math.expm1(square))))
        else:  # a synapse is |W| units in parallel
            v = square / weight.abs().clamp_min(1.0 / law.units)
            means = torch.exp(center + 0.5 * v)
            moments.append((means, means * torch.expm1(v).sqrt()))
    sign = weight.detach().sign()  # torch.where takes ten times as long
    pairs = zip(*moments, strict=True)
    mean, root = ((sign * (0.5 * (a - b))).add_(0.5 * (a + b)) for a, b in pairs)
    return mean, root


class _Layer:
    """The devices of one layer."""

    def __init__(
        self, law: MismatchLaw, constants: Constants, jitter: float, generator: torch.Generator
    ) -> None:
        self.law, self.constants, self.generator = law, constants, generator
        self.mean, self.late, self.jitter = dict(law.mean), math.hypot(law.delay, jitter), jitter
        self.root = cholesky(NEURON, law.correlation)  # of slope, threshold, capacitance

    def __call__(self, layer: TTFSLayer, x: Tensor, weight: Tensor, common: Tensor | None) -> Tensor:
        """Its activations or logits; `common` are the normals (term, image, 1) of every image's chip."""
        shared, x = self._shared(x, common), long_enough(x, self.constants)
        mean, variance, slow = self._charge(layer, x, weight, shared)
        deviations, more = self._neurons(layer, mean, shared)
        mean = mean + self._varied(mean, variance + more)
        if not self.constants.ideal:
            mean = mean + switching(x, weight, layer.product, self.constants)
        return layer.response(mean, deviations, weight, slow)

    def normal(self, like: Tensor, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=like.dtype, device=like.device)

    def _varied(self, like: Tensor, variance: Tensor | float) -> Tensor | float:
        """Normal numbers of a variance."""
        if isinstance(variance, float):
            return math.sqrt(variance) * self.normal(like, *like.shape) if variance else 0.0
        return (variance + LEAST).sqrt() * self.normal(like, *like.shape)

    def _shared(self, x: Tensor, common: Tensor | None) -> dict[str, Tensor]:
        """By term: what all devices of an image's layer or chip share, (image, 1)."""
        shared: dict[str, Tensor] = {}
        for sigmas, normals in ((self.law.common, common), (self.law.reference, None)):
            for term, sigma in sigmas:
                z = self.normal(x, len(x), 1) if normals is None else normals[TERMS.index(term)]
                shared[term] = shared.get(term, 0.0) + sigma * z
        return shared

    def _charge(
        self, layer: TTFSLayer, x: Tensor, weight: Tensor, shared: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """Mean and variance of the charge of every image and neuron; in forced forms the slope's error too.

        There synapses stay on in phase 2, so that sum_j W_j e_j, drawn first, is an error of the slope.
        """
        forced = layer.spiking and layer.form in FORCED
        if any(term in shared for term in SYNAPSES):  # a factor of all sources of an image, one of all sinks
            above, zero = (weight >= 0).to(weight), x.new_zeros(len(x), 1)
            columns = []
            for term, part in zip(SYNAPSES, (weight * above, weight * (1.0 - above)), strict=True):
                f = torch.exp(shared.get(term, zero))
                moments = zip(self._moments(layer, x, part, forced), (f, f * f, f, f * f, f * f), strict=True)
                columns.append([moment * power for moment, power in moments])
            mean, variance, total, square, along = (a + b for a, b in zip(*columns, strict=True))
        else:
            mean, variance, total, square, along = self._moments(layer, x, weight, forced)
        if not forced:
            return mean, variance, 0.0
        slow = total - layer.per_neuron(weight.flatten(1).sum(1))
        root, z = (torch.as_tensor(square) + LEAST).sqrt(), self.normal(mean, *mean.shape)
        along = along / root
        return mean + along * z, torch.as_tensor(variance - along**2).clamp_min(0.0), slow + root * z

    def _moments(self, layer: TTFSLayer, x: Tensor, weight: Tensor, forced: bool) -> tuple[Any, ...]:
        """Of the charge q and, where `forced`, of h = sum_j W_j (1 + e_j): E[q], Var[q],
        E[h], Var[h], Cov[q, h]."""
        gain, root = synapse_gains(self.law, weight)
        if not self.constants.ideal:
            g = signed(self.constants, "gain", weight)
            gain, root = gain * g, root * g
        mean = layer.product(x, weight * gain)
        total: Tensor | float = 0.0
        if forced:
            total = layer.per_neuron((weight * gain).flatten(1).sum(1))
        if not (self.law.synapse_source or self.law.synapse_sink):
            return mean, 0.0, total, 0.0, 0.0
        v = (weight * root).square()
        variance = layer.product(x.square(), v)
        if not forced:
            return mean, variance, total, 0.0, 0.0
        return mean, variance, total, layer.per_neuron(v.flatten(1).sum(1)), layer.product(x, v)

    def _neurons(
        self, layer: TTFSLayer, q: Tensor, shared: dict[str, Tensor]
    ) -> tuple[Deviations, Tensor | float]:
        """Deviations of every image and neuron, and the variance of what is added to the charge `q`."""
        law, mean = self.law, {term: self.mean.get(term, 0.0) + shared.get(term, 0.0) for term in NEURON}
        if not layer.spiking:  # a read-out: the capacitor scales the logit
            c = torch.expm1(mean["capacitance"] + law.capacitance * self.normal(q, *q.shape))
            noise = self.jitter * self.normal(q, *q.shape) if self.jitter else None
            return Deviations(None, c, c, c, noise, self.constants), 0.0
        root, z = self.root.tolist(), self.normal(q, *q.shape)
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
            rest = self.normal(q, 2, *q.shape)
            c = torch.expm1(c + law.capacitance * (root[2][1] * rest[0] + root[2][2] * rest[1]))
            offset = offset + law.threshold * root[1][1] * rest[0]
        late: Any = self.mean.get("delay", 0.0) + shared.get("delay", 0.0)  # a number serves as well
        if self.late:
            late = late + self.late * self.normal(q, *q.shape)
        return Deviations(None, slope, offset, c, late, self.constants), variance
