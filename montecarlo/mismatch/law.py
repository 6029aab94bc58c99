r"""How devices deviate from one copy to the next, and the draw of one frozen copy.

.. math:: \ln(1 + e) \sim N(\mu, \sigma^2)

for currents and capacitors (a current source in weak inversion is lognormal, and the law cannot
change a device's sign); a plain normal for the comparator's offset, in units of potential, and for its
delay. Synapses made of unit devices in parallel differ less the more there are,

.. math:: \sigma_{ij} = \sigma / \sqrt{\max(|W_{ij}|, 1/n)}

with sigma that of W = 1 and n its unit devices. Optionally a term has another distribution, neuron terms are
correlated, all devices of a term in one layer share a part (reference errors), or on one chip (global
variation).

Not modeled here: gradients over a chip; correlation between neurons beyond the shared parts.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from circuits.errors import InputError
from circuits.model.layer import Array, Layer, LayerMismatch
from circuits.model.shape import checked
from montecarlo.mismatch.distributions import check_distribution, cholesky, multiplied, shaped
from montecarlo.mismatch.seeds import CHIP, COMMON, DELAY, REFERENCE, generator

NEURON = ("slope", "threshold", "capacitance")
TERMS = ("synapse_source", "synapse_sink", *NEURON)
REFERENCED = (*TERMS, "delay")
"""Terms of which a layer of a chip can share a part, in the order of its normals."""
UNIT = {
    "threshold": "1",
    "delay": "tau_c",
    "jitter": "tau_c",
    "turn_on_source": "tau_c",
    "turn_on_sink": "tau_c",
    "shortest": "tau_c",
    "early_1": "tau_c",
    "early_2": "tau_c",
    "early_3": "tau_c",
}
"""Units of terms and constants where they are not plainly "1"; the threshold offset is a potential."""
OFFSETS = ("threshold", "delay")
"""Terms that add; all others multiply and are lognormal."""
SHARED = ("common", "reference")
SPECIAL = ("distribution", "correlation", "common", "reference")
"""What a law can have beyond independent terms of their usual distributions."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class MismatchLaw:
    """Sigma of every term: of ln(1 + deviation), or of the offset itself for `threshold`."""

    synapse_source: float = 0.0  #: synapses with W > 0
    synapse_sink: float = 0.0  #: synapses with W < 0
    slope: float = 0.0  #: slope source B
    threshold: float = 0.0  #: comparator offset, in units of potential
    capacitance: float = 0.0  #: membrane capacitor
    delay: float = 0.0  #: comparator delay [tau_c]
    units: int | None = None  #: unit devices of W = 1; None: sigma of a synapse does not depend on its weight
    mean: tuple[tuple[str, float], ...] = ()  #: systematic parts (term, mu), where not 0
    distribution: tuple[tuple[str, str], ...] = ()  #: (term, name), see `montecarlo.mismatch.distributions`
    correlation: tuple[tuple[str, str, float], ...] = ()  #: (neuron term, neuron term, rho)
    common: tuple[tuple[str, float], ...] = ()  #: (term, sigma) of the part that a whole chip shares
    reference: tuple[tuple[str, float], ...] = ()  #: (term, sigma) of what a layer of a chip shares

    def __post_init__(self) -> None:
        for term in (*TERMS, "delay"):
            value, most = getattr(self, term), math.inf if term in OFFSETS else 1.0
            if not (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= most):
                limit = "be finite and >= 0" if term in OFFSETS else "lie in [0, 1] (0.05 = 5 %)"
                raise InputError(f"sigma of {term} must {limit}, got {value!r}")
        if self.units is not None and not (isinstance(self.units, int) and self.units >= 1):
            raise InputError(f"unit devices of W = 1 must be a whole number >= 1, got {self.units!r}")
        for term, value in self.mean:
            if term not in (*TERMS, "delay") or not math.isfinite(value):
                raise InputError(f"mean of {term!r} is not usable: {value!r}")
        for kind, terms in zip(SHARED, (TERMS, REFERENCED), strict=True):
            for term, value in getattr(self, kind):
                most, limit = (math.inf, "be finite and >= 0") if term == "delay" else (1.0, "lie in [0, 1]")
                if term not in terms or not (math.isfinite(value) and 0 <= value <= most):
                    raise InputError(f"{kind} sigma of {term!r} must {limit}, got {value!r}")
        for pairs in (self.distribution, self.common, self.reference):
            if len(dict(pairs)) < len(pairs):  # type: ignore[arg-type]
                raise InputError(f"a term is given twice in {pairs}")
        mean, shared = dict(self.mean), [dict(self.common), dict(self.reference)]
        for term, name in self.distribution:
            if term not in TERMS:
                raise InputError(f"distribution of unknown term {term!r}; known: {', '.join(TERMS)}")
            total = math.hypot(getattr(self, term), *(s.get(term, 0.0) for s in shared))
            check_distribution(term, name, total, mean.get(term, 0.0), offset=term in OFFSETS)
        cholesky(NEURON, self.correlation)

    @classmethod
    def of(cls, sigma: dict[str, float]) -> MismatchLaw:
        return cls().replace(**sigma)

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> MismatchLaw:
        """The law that `to_dict` wrote, also by way of JSON."""
        return checked({**cls().to_dict(), **fields}, cls, "mismatch law")

    def to_dict(self) -> dict[str, object]:
        """Its fields, JSON-serializable."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The same as text, for attributes of datasets."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @property
    def special(self) -> tuple[str, ...]:
        """What this law has beyond independent terms of their usual distributions."""
        return tuple(k for k in SPECIAL if getattr(self, k))

    @property
    def sigma(self) -> dict[str, float]:
        """Sigma by term."""
        return {term: getattr(self, term) for term in TERMS}

    def synapse_sigma(self, weights: Array) -> Array:
        """Sigma of ln(1 + e) of every synapse, the shape of `weights`."""
        sigma = np.where(weights >= 0, self.synapse_source, self.synapse_sink)
        if self.units is None:
            return sigma
        return sigma / np.sqrt(np.maximum(np.abs(weights), 1.0 / self.units))

    def replace(self, **sigma: float) -> MismatchLaw:
        """The same law with other sigmas of some terms."""
        if unknown := set(sigma) - {*TERMS, "delay"}:
            raise InputError(f"unknown mismatch term {sorted(unknown)}; known: {', '.join(TERMS)}, delay")
        return dataclasses.replace(self, **sigma)  # type: ignore[arg-type]

    def draw(
        self,
        weights: Array,
        rng: np.random.Generator,
        common: Array | None = None,
        reference: Array | None = None,
        delay: Array | None = None,
    ) -> dict[str, Array]:
        """Deviations of one copy of a layer.

        Always the same normals are taken, whatever the sigmas: a chip drawn at half the sigma is the
        same chip with half the deviations. Neurons come before synapses, so that a neuron keeps its
        slope, threshold and capacitance when its fan-in changes.

        Parameters
        ----------
        weights : array, shape (n_out, n_in)
        rng : numpy.random.Generator
        common, reference : array, shape (term,), optional
            Standard normals of the chip and of the layer, in the order of TERMS and REFERENCED; else they are
            taken from `rng`, last, if the law has such parts.
        delay : array, shape (n_out,), optional
            Standard normals of the delays; else likewise.
        """
        neuron = rng.standard_normal((len(NEURON), weights.shape[0]))
        synapse = rng.standard_normal(weights.shape)
        if common is None and self.common:
            common = rng.standard_normal(len(TERMS))
        if alone := reference is None and bool(self.reference):
            reference = rng.standard_normal(len(TERMS))
        if delay is None and self.delay:
            delay = rng.standard_normal((weights.shape[0],))
        if alone and reference is not None:  # that of delays comes last: all before it stay as they are
            reference = np.append(reference, rng.standard_normal())
        return self.deviations(weights, neuron, synapse, common, reference, delay)

    def deviations(
        self,
        weights: Array,
        neuron: Array,
        synapse: Array,
        common: Array | None = None,
        reference: Array | None = None,
        delay: Array | None = None,
    ) -> dict[str, Array]:
        """The deviations that standard normals stand for.

        Parameters
        ----------
        weights : array, shape (n_out, n_in)
            Their signs tell sources from sinks.
        neuron : array, shape (3, n_out)
            Normals of slope, threshold and capacitance.
        synapse : array, shape (n_out, n_in)
        common, reference : array, shape (term,), optional
            Normals that the whole chip, or the layer, shares; needed if the law has such a part. Or
            (term, n_out), where each neuron is on a chip of its own.
        delay : array, shape (n_out,), optional
            Normals of the delays; None: no delay deviates.

        Returns
        -------
        dict
            `synapse` (n_out, n_in), `slope`, `threshold`, `capacitance`, `delay` (n_out,).

        Raises
        ------
        InputError
            If the law has a shared part whose normals are missing.
        """
        mean, names = dict(self.mean), dict(self.distribution)
        parts = []
        for kind, normals in (("common", common), ("reference", reference)):
            if getattr(self, kind) and normals is None:
                raise InputError(f"this law has a {kind} part: its normals are needed")
            if normals is not None:
                parts.append((dict(getattr(self, kind)), np.asarray(normals)))

        def deviation(term: str, z: Array, sigma: float | Array) -> Array:
            value = mean.get(term, 0.0) + sigma * shaped(z, names.get(term))
            for sigmas, normals in parts:
                if term in sigmas:
                    part = normals[REFERENCED.index(term)]
                    value = value + sigmas[term] * (part[..., None] if z.ndim == 2 else part)
            return value if term in OFFSETS else multiplied(value, names.get(term))

        if self.correlation:
            root = cholesky(NEURON, self.correlation)
            # written out: a matrix product may round by the number of neurons
            neuron = np.stack([sum(root[i, j] * neuron[j] for j in range(i + 1)) for i in range(len(root))])
        sigma = self.synapse_sigma(weights)
        source, sink = (deviation(term, synapse, sigma) for term in TERMS[:2])
        late = np.zeros(weights.shape[0]) if delay is None else np.asarray(delay)
        drawn = {"synapse": np.where(weights >= 0, source, sink)}
        drawn |= {
            term: deviation(term, z, getattr(self, term)) for term, z in zip(NEURON, neuron, strict=True)
        }
        return drawn | {"delay": deviation("delay", late, self.delay)}


def per_layer(value: Item | Sequence[Item], layers: int, what: str) -> tuple[Item, ...]:
    """One value for all layers, or one a layer, as one a layer.

    Parameters
    ----------
    value
        A list or tuple has one entry a layer; anything else holds for all of them.
    layers : int
        Of the network.
    what : str
        Plural, for the message.

    Raises
    ------
    InputError
        If there are more or fewer entries than layers.
    """
    if not isinstance(value, list | tuple):
        return (value,) * layers  # type: ignore[return-value]
    if len(value) != layers:
        raise InputError(f"{len(value)} {what} for a network of {layers} layers; give one, or one a layer")
    return tuple(value)


def draw_chips(
    law: MismatchLaw | Sequence[MismatchLaw], layers: Sequence[Layer], chips: Sequence[int], entropy: int
) -> list[LayerMismatch]:
    """Frozen deviations of whole networks: one LayerMismatch per layer, `sample` = chip.

    Parameters
    ----------
    law : MismatchLaw or sequence of MismatchLaw
        Of all layers, or one a layer. A layer takes the same normals whatever the laws of the others; what a
        whole chip shares is one draw for all laws that have such a part.
    layers : sequence of Layer
    chips : sequence of int
        Chip numbers; chip k of an entropy is always the same chip. Shared parts and delays have streams of
        their own, so that its devices stay the same with and without them.
    entropy : int
        Seed.

    Raises
    ------
    InputError
        If there are more or fewer laws than layers.
    """
    laws = per_layer(law, len(layers), "laws")
    drawn: list[list[dict[str, Array]]] = []
    for chip in chips:
        rng = generator(entropy, CHIP, chip)
        common = None
        if any(own.common for own in laws):
            common = generator(entropy, COMMON, CHIP, chip).standard_normal(len(TERMS))
        rows = []
        for n, (own, layer) in enumerate(zip(laws, layers, strict=True)):
            reference = delay = None
            if own.reference:
                reference = generator(entropy, REFERENCE, CHIP, chip, n).standard_normal(len(REFERENCED))
            if own.delay:
                delay = generator(entropy, DELAY, CHIP, chip, n).standard_normal(layer.n_out)
            rows.append(own.draw(layer.weights, rng, common, reference, delay))
        drawn.append(rows)
    fields = [f.name for f in dataclasses.fields(LayerMismatch)]
    return [
        LayerMismatch(**{f: np.stack([chip[n][f] for chip in drawn]) for f in fields})
        for n in range(len(layers))
    ]
