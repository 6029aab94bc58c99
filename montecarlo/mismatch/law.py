r"""How devices deviate from one copy to the next, and the draw of one frozen copy.

.. math:: \ln(1 + e) \sim N(\mu, \sigma^2)

for currents and capacitors (a current source in weak inversion is lognormal, and the law cannot
change a device's sign); a plain normal for the comparator offset, in units of potential. Where asked,
a term has another distribution, neuron terms are correlated, and all devices of a term on one chip
share a part (global variation, reference errors).

Not modeled here: gradients over a chip; correlation between neurons beyond the shared part.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.model.layer import Array, Layer, LayerMismatch
from montecarlo.mismatch.distributions import check_distribution, cholesky, multiplied, shaped
from montecarlo.mismatch.seeds import CHIP, COMMON, generator

NEURON = ("slope", "threshold", "capacitance")
TERMS = ("synapse_source", "synapse_sink", *NEURON)
OFFSETS = ("threshold",)
"""Terms that add; all others multiply and are lognormal."""
ASKED = ("distribution", "correlation", "common")
"""Fields that a law has only where asked: at their default they are not written."""


@dataclass(frozen=True)
class MismatchLaw:
    """Sigma of every term: of ln(1 + deviation), or of the offset itself for `threshold`."""

    synapse_source: float = 0.0  #: synapses with W > 0
    synapse_sink: float = 0.0  #: synapses with W < 0
    slope: float = 0.0  #: slope source B
    threshold: float = 0.0  #: comparator offset, in units of potential (= tau_c at B = 1)
    capacitance: float = 0.0  #: membrane capacitor
    mean: tuple[tuple[str, float], ...] = ()  #: systematic parts (term, mu), where not 0
    distribution: tuple[tuple[str, str], ...] = ()  #: (term, name), see `montecarlo.mismatch.distributions`
    correlation: tuple[tuple[str, str, float], ...] = ()  #: (neuron term, neuron term, rho)
    common: tuple[tuple[str, float], ...] = ()  #: (term, sigma) of the part that a whole chip shares

    def __post_init__(self) -> None:
        for term in TERMS:
            value = getattr(self, term)
            if not (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1):
                raise InputError(f"sigma of {term} must lie in [0, 1] (0.05 = 5 %), got {value!r}")
        for term, value in self.mean:
            if term not in TERMS or not math.isfinite(value):
                raise InputError(f"mean of {term!r} is not usable: {value!r}")
        for term, value in self.common:
            if term not in TERMS or not 0 <= value <= 1:
                raise InputError(f"common sigma of {term!r} must lie in [0, 1], got {value!r}")
        for pairs in (self.distribution, self.common):
            if len(dict(pairs)) < len(pairs):  # type: ignore[arg-type]
                raise InputError(f"a term is given twice in {pairs}")
        mean, common = dict(self.mean), dict(self.common)
        for term, name in self.distribution:
            if term not in TERMS:
                raise InputError(f"distribution of unknown term {term!r}; known: {', '.join(TERMS)}")
            total = math.hypot(getattr(self, term), common.get(term, 0.0))
            check_distribution(term, name, total, mean.get(term, 0.0), offset=term in OFFSETS)
        cholesky(NEURON, self.correlation)

    @classmethod
    def of(cls, sigma: dict[str, float]) -> MismatchLaw:
        return cls().replace(**sigma)

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> MismatchLaw:
        """The law that `to_dict` wrote, also by way of JSON."""
        try:
            return cls(**{k: _tuples(v) for k, v in fields.items()})  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise InputError(f"not a mismatch law: {error}") from None

    def to_dict(self) -> dict[str, object]:
        """Its fields. Those only there where asked are left out by default, so that hashes of plans
        do not depend on what later versions can do."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v or k not in ASKED}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    @property
    def asked(self) -> tuple[str, ...]:
        """What this law has beyond independent terms of their usual distributions."""
        return tuple(k for k in ASKED if getattr(self, k))

    @property
    def sigma(self) -> dict[str, float]:
        return {term: getattr(self, term) for term in TERMS}

    def replace(self, **sigma: float) -> MismatchLaw:
        """The same law with other sigmas of some terms."""
        if unknown := set(sigma) - set(TERMS):
            raise InputError(f"unknown mismatch term {sorted(unknown)}; known: {', '.join(TERMS)}")
        return dataclasses.replace(self, **sigma)  # type: ignore[arg-type]

    def draw(self, weights: Array, rng: np.random.Generator, common: Array | None = None) -> dict[str, Array]:
        """Deviations of one copy of a layer with `weights` (n_out, n_in).

        Always the same normals are taken, whatever the sigmas: a chip drawn at half the sigma is the
        same chip with half the deviations. Neurons come before synapses, so that a neuron keeps its
        slope, threshold and capacitance when its fan-in changes.

        Parameters
        ----------
        common : array, shape (term,), optional
            The chip's own standard normals, in the order of TERMS; else they are taken from `rng`,
            last, if the law asks for them.
        """
        neuron = rng.standard_normal((len(NEURON), weights.shape[0]))
        synapse = rng.standard_normal(weights.shape)
        if common is None and self.common:
            common = rng.standard_normal(len(TERMS))
        return self.deviations(weights, neuron, synapse, common)

    def deviations(
        self, weights: Array, neuron: Array, synapse: Array, common: Array | None = None
    ) -> dict[str, Array]:
        """The deviations that standard normals stand for.

        Parameters
        ----------
        weights : array, shape (n_out, n_in)
            Their signs tell sources from sinks.
        neuron : array, shape (3, n_out)
            Normals of slope, threshold and capacitance.
        synapse : array, shape (n_out, n_in)
        common : array, shape (term,), optional
            Normals that the whole chip shares; needed if the law has `common`. Or (term, n_out), where
            every neuron is on a chip of its own.
        """
        mean, names, shared = dict(self.mean), dict(self.distribution), dict(self.common)
        if shared and common is None:
            raise InputError("this law has a common part: the chip's own normals are needed")

        def deviation(term: str, z: Array) -> Array:
            value = mean.get(term, 0.0) + getattr(self, term) * shaped(z, names.get(term))
            if common is not None and term in shared:
                part = np.asarray(common[TERMS.index(term)])
                value = value + shared[term] * (part[..., None] if z.ndim == 2 else part)
            return value if term in OFFSETS else multiplied(value, names.get(term))

        if self.correlation:
            root = cholesky(NEURON, self.correlation)
            # written out: a matrix product may round by the number of neurons
            neuron = np.stack([sum(root[i, j] * neuron[j] for j in range(i + 1)) for i in range(len(root))])
        source, sink = (deviation(term, synapse) for term in TERMS[:2])
        drawn = {"synapse": np.where(weights >= 0, source, sink)}
        return drawn | {term: deviation(term, z) for term, z in zip(NEURON, neuron, strict=True)}


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def draw_chips(
    law: MismatchLaw, layers: Sequence[Layer], chips: Sequence[int], entropy: int
) -> list[LayerMismatch]:
    """Frozen deviations of whole networks: one LayerMismatch per layer, `sample` = chip.

    Parameters
    ----------
    chips : sequence of int
        Chip numbers; chip k of an entropy is always the same chip. Its common part has a stream of
        its own, so that its devices stay the same with and without one.
    """
    drawn: list[list[dict[str, Array]]] = []
    for chip in chips:
        rng = generator(entropy, CHIP, chip)
        common = generator(entropy, COMMON, CHIP, chip).standard_normal(len(TERMS)) if law.common else None
        drawn.append([law.draw(layer.weights, rng, common) for layer in layers])
    fields = [f.name for f in dataclasses.fields(LayerMismatch)]
    return [
        LayerMismatch(**{f: np.stack([chip[n][f] for chip in drawn]) for f in fields})
        for n in range(len(layers))
    ]
