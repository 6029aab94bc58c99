r"""A chip of its own for every image of a batch, drawn at the level of the sum.

With independent synapse errors the charge of a neuron, its sum over synapses, is normal to a good
approximation, with the moments

.. math:: E[Q] = \sum_j W_j (1 + m_j) x_j, \qquad \mathrm{Var}[Q] = \sum_j W_j^2 v_j x_j^2, \qquad
          m = e^{\mu + \sigma^2 / 2} - 1, \quad v = e^{2 \mu + \sigma^2} (e^{\sigma^2} - 1)

so that every image meets devices of its own for the price of one more matrix product (convolution), instead
of copies of all weights. Terms of neurons, layers and chips, and the jitter, are drawn for every image.
Training only: judging is done on whole frozen chips.

Source: local reparameterization, Kingma, Salimans and Welling, NeurIPS 2015; moments of a lognormal factor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants
from montecarlo.mismatch.distributions import cholesky
from montecarlo.mismatch.law import NEURON, TERMS, MismatchLaw
from ttfs_analog.neuron.functional import Deviations, charge, signed
from ttfs_analog.neuron.layers import FORCED, TTFSLayer

LEAST = 1e-30
"""Variance below which a sum does not vary: its root has no slope there."""
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
        self.root = cholesky(NEURON, law.correlation) if law.correlation else None
        self._common: Tensor | None = None

    def __call__(self, n: int, layer: TTFSLayer, x: Tensor, weight: Tensor) -> Tensor:
        """Activations or logits of layer number n for inputs (image, in), each on a chip of its own."""
        if self.law.common and n == 0:  # all layers of a chip share it
            self._common = self._normal(x, len(TERMS), len(x), 1)
        shared = self._shared(x)
        q, slow = self._charge(layer, x, weight, shared)
        return layer.response(q, self._neurons(q, shared), weight, slow)

    def _normal(self, like: Tensor, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=like.dtype, device=like.device)

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
        """Charge at t_min (image, neuron), and the error of the slope that goes with it in forced forms."""
        if any(term in shared for term in SYNAPSES):
            parts = {"synapse_source": weight.clamp(min=0), "synapse_sink": weight.clamp(max=0)}
        else:
            parts = {"": weight}
        moments = []
        for term, part in parts.items():
            q, v = self._moments(layer, x, part)
            factor = torch.exp(shared[term]) if term in shared else torch.ones_like(q)
            moments.append((factor * q, factor.square() * v))
        mean, variance = (torch.stack(m).sum(0) for m in zip(*moments, strict=True))
        root = torch.where(variance > LEAST, variance.clamp_min(LEAST).sqrt(), 0.0)
        noise = self._normal(mean, *mean.shape)
        if not (layer.spiking and layer.form in FORCED):
            return mean + root * noise, 0.0
        gain, spread = self._gains(weight)
        whole = layer.per_neuron((weight.square() * spread).flatten(1).sum(1)).clamp_min(LEAST).sqrt()
        slow = layer.per_neuron((weight * gain).flatten(1).sum(1))
        along = layer.product(x, weight.square() * spread) / whole
        other, rest = self._normal(mean, *mean.shape), (variance - along.square()).clamp_min(LEAST).sqrt()
        return mean + along * noise + rest * other, slow + whole * noise

    def _moments(self, layer: TTFSLayer, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the charge of every neuron and image."""
        gain, spread = self._gains(weight)
        mean = charge(x, weight * (1.0 + gain), layer.product, self.constants)
        v = weight.square() * spread
        if self.constants.ideal:
            return mean, layer.product(x.square(), v)
        g, delta = (signed(self.constants, name, weight) for name in ("gain", "turn_on"))
        terms = ((x.square(), g.square()), (x, 2.0 * g * delta), ((x > 0).to(x), delta.square()))
        return mean, sum(layer.product(inputs, v * factor) for inputs, factor in terms)  # type: ignore[return-value]

    def _gains(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of every synapse's relative error."""
        law, above = self.law, weight >= 0
        center, sigma = (
            torch.where(above, weight.new_tensor(source), weight.new_tensor(sink))
            for source, sink in (
                tuple(self.mean.get(term, 0.0) for term in SYNAPSES),
                (law.synapse_source, law.synapse_sink),
            )
        )
        if law.units is not None:
            sigma = sigma / weight.detach().abs().clamp_min(1.0 / law.units).sqrt()
        square = sigma.square()
        return torch.expm1(center + 0.5 * square), torch.exp(2.0 * center + square) * torch.expm1(square)

    def _neurons(self, q: Tensor, shared: dict[str, Tensor]) -> Deviations:
        """Deviations of every neuron and image, of the shape of `q`."""
        normals = list(self._normal(q, len(NEURON), *q.shape))
        if self.root is not None:
            normals = [sum(self.root[i, j] * normals[j] for j in range(i + 1)) for i in range(len(NEURON))]  # type: ignore[misc]
        drawn = {}
        for term, z in zip(NEURON, normals, strict=True):
            value = self.mean.get(term, 0.0) + getattr(self.law, term) * z + shared.get(term, 0.0)
            drawn[term] = value if term == "threshold" else torch.expm1(value)
        late = self.mean.get("delay", 0.0) + self.late * self._normal(q, *q.shape) if self.late else None
        return Deviations(None, **drawn, delay=late, constants=self.constants)
