r"""How devices deviate from one copy to the next, and the draw of one frozen copy.

.. math:: \ln(1 + e) \sim N(\mu, \sigma^2)

for currents and capacitors (a current source in weak inversion is lognormal, and the law cannot
change a device's sign); a plain normal for the comparator offset, in units of potential.

Not modeled here: correlation between devices, area laws.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.layer import Layer, LayerMismatch
from montecarlo.seeds import CHIP, generator

TERMS = ("synapse_source", "synapse_sink", "slope", "threshold", "capacitance")
OFFSETS = ("threshold",)
"""Terms that add; all others multiply and are lognormal."""


@dataclass(frozen=True)
class MismatchLaw:
    """Sigma of every term: of ln(1 + deviation), or of the offset itself for `threshold`."""

    synapse_source: float = 0.0  #: synapses with W > 0
    synapse_sink: float = 0.0  #: synapses with W < 0
    slope: float = 0.0  #: slope source B
    threshold: float = 0.0  #: comparator offset, in units of potential (= tau_c at B = 1)
    capacitance: float = 0.0  #: membrane capacitor
    mean: tuple[tuple[str, float], ...] = ()  #: systematic parts (term, mu), where not 0

    def __post_init__(self) -> None:
        for term in TERMS:
            value = getattr(self, term)
            if not (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1):
                raise InputError(f"sigma of {term} must lie in [0, 1] (0.05 = 5 %), got {value!r}")
        for term, value in self.mean:
            if term not in TERMS or not math.isfinite(value):
                raise InputError(f"mean of {term!r} is not usable: {value!r}")

    @classmethod
    def of(cls, sigma: dict[str, float]) -> MismatchLaw:
        unknown = set(sigma) - set(TERMS)
        if unknown:
            raise InputError(f"unknown mismatch term {sorted(unknown)}; known: {', '.join(TERMS)}")
        return cls().replace(**sigma)

    @property
    def sigma(self) -> dict[str, float]:
        return {term: getattr(self, term) for term in TERMS}

    def replace(self, **sigma: float) -> MismatchLaw:
        return dataclasses.replace(self, **sigma)  # type: ignore[arg-type]

    def draw(self, weights: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Deviations of one copy of a layer with `weights` (n_out, n_in).

        Always the same normals are taken, whatever the sigmas: a chip drawn at half the sigma is the
        same chip with half the deviations. Neurons come before synapses, so that a neuron keeps its
        slope, threshold and capacitance when its fan-in changes.
        """
        mean = dict(self.mean)
        n_out = weights.shape[0]
        neuron = rng.standard_normal((3, n_out))
        synapse = rng.standard_normal(weights.shape)
        positive = weights >= 0
        sigma = np.where(positive, self.synapse_source, self.synapse_sink)
        center = np.where(positive, mean.get("synapse_source", 0), mean.get("synapse_sink", 0))
        drawn = {"synapse": np.expm1(center + sigma * synapse)}
        for term, z in zip(("slope", "threshold", "capacitance"), neuron, strict=True):
            value = mean.get(term, 0.0) + getattr(self, term) * z
            drawn[term] = value if term in OFFSETS else np.expm1(value)
        return drawn


def draw_chips(
    law: MismatchLaw, layers: Sequence[Layer], chips: Sequence[int], entropy: int
) -> list[LayerMismatch]:
    """Frozen deviations of whole networks: one LayerMismatch per layer, `sample` = chip.

    Parameters
    ----------
    chips : sequence of int
        Chip numbers; chip k of an entropy is always the same chip.
    """
    drawn: list[list[dict[str, np.ndarray]]] = []
    for chip in chips:
        rng = generator(entropy, CHIP, chip)
        drawn.append([law.draw(layer.weights, rng) for layer in layers])
    fields = [f.name for f in dataclasses.fields(LayerMismatch)]
    return [
        LayerMismatch(**{f: np.stack([chip[n][f] for chip in drawn]) for f in fields})
        for n in range(len(layers))
    ]
