r"""A noise model with one set a layer: layers that have operating points and cells of their own.

Every layer was characterized by itself; figures of the whole network are pooled over the layers with their
numbers of good samples n as weights,

.. math:: \mathrm{rms}^2 = \frac{\sum_l n_l\, \mathrm{rms}_l^2}{\sum_l n_l}, \qquad
          p = \frac{\sum_l n_l\, p_l}{\sum_l n_l}

and layers are independent of each other: half-widths of intervals add in squares. Names of terms, constants
and supplies are by layer, as "layer0.slope".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from circuits.errors import InputError
from ttfs_analog.noise import noise_file
from ttfs_analog.noise.noise_set import NoiseSet, chip_numbers
from ttfs_analog.noise.terms import Constant, Term

if TYPE_CHECKING:
    from ttfs_analog.network.network import TTFSNetwork
    from ttfs_analog.noise.chips import Chips

COUNTS = ("wrongly_silent_or_firing", "silent", "early", "n_neurons")
"""Held-out figures that add."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class LayeredNoise:
    """One `ttfs_analog.noise.noise_model.NoiseModel` a layer of one network."""

    layers: tuple[NoiseSet, ...]
    network: str = ""  #: fingerprint of the network that they were characterized for, if known

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("a noise model needs the set of at least one layer")

    @property
    def sets(self) -> tuple[NoiseSet, ...]:
        """The sets there are, one a layer."""
        return self.layers

    def of(self, n: int) -> NoiseSet:
        """The set of layer number n.

        Raises
        ------
        InputError
            If there is none.
        """
        if not 0 <= n < len(self.layers):
            raise InputError(f"layer {n}: the noise model holds {len(self.layers)} layers")
        return self.layers[n]

    def sample(self, net: TTFSNetwork, chips: int, seed: int = 0, first: int = 0) -> Chips:
        """Frozen deviations of `chips` copies of a network, those of each layer by its own law.

        Parameters
        ----------
        seed, first : int
            Entropy, and number of the first chip.

        Raises
        ------
        InputError
            If the network has other layers, or one lies outside the range in which its set was measured.
        """
        from ttfs_analog.noise.chips import Chips  # torch loads only here

        self.check_range(net)
        about = (m.of_layer(v.spiking) for m, v in zip(self.layers, net.layers, strict=True))
        law, constants, jitter = zip(*about, strict=True)
        return Chips.draw(law, net, chip_numbers(first, chips), seed, constants, jitter)

    def check_range(self, net: TTFSNetwork) -> None:
        """Refuse a network with another number of layers, and a layer outside its own validity range."""
        layers = net.neurons()
        if len(layers) != len(self.layers):
            raise InputError(
                f"the noise model holds {len(self.layers)} layers, the network has {len(layers)}; "
                "characterize and fit the layers of this network"
            )
        for n, (model, layer) in enumerate(zip(self.layers, layers, strict=True)):
            model.check_layer(n, layer)

    def silent(self) -> LayeredNoise:
        """The same model without any spread: the control of a training with it."""
        return replace(self, layers=tuple(m.silent() for m in self.layers))

    def scaled(self, factor: float) -> LayeredNoise:
        """The same model with this factor on the sigmas of transistors; see `NoiseSet.scaled`."""
        return replace(self, layers=tuple(m.scaled(factor) for m in self.layers))

    def with_references(self, sigmas: Mapping[str, float]) -> LayeredNoise:
        """The same model with other spreads of what a layer shares; see `NoiseSet.with_references`."""
        return replace(self, layers=tuple(m.with_references(sigmas) for m in self.layers))

    def extrapolated(self) -> LayeredNoise:
        """The same model without range limits."""
        return replace(self, layers=tuple(m.extrapolated() for m in self.layers))

    @property
    def technology(self) -> str:
        """Of all layers; where they differ, each that there is."""
        return ", ".join(dict.fromkeys(m.technology for m in self.layers))

    @property
    def n_samples(self) -> int:
        """Good samples of all layers."""
        return sum(m.n_samples for m in self.layers)

    @property
    def n_failed(self) -> int:
        """Failed samples of all layers."""
        return sum(m.n_failed for m in self.layers)

    @property
    def n_incomplete(self) -> int:
        """Neurons of all layers left out because a stimulus they needed was early or silent."""
        return sum(m.n_incomplete for m in self.layers)

    @property
    def terms(self) -> dict[str, Term]:
        """By layer and term, as "layer0.slope"."""
        return _named([m.terms for m in self.layers])

    @property
    def reference(self) -> dict[str, Term]:
        """By layer and bias line."""
        return _named([m.reference for m in self.layers])

    @property
    def systematic(self) -> dict[str, Constant]:
        """By layer and constant."""
        return _named([m.systematic for m in self.layers])

    @property
    def energy(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Coefficients by layer and supply, and part."""
        return _named([m.energy for m in self.layers])

    @property
    def holdout(self) -> dict[str, Any]:
        """Held-out figures, pooled over the layers that have them: read-outs have no spike times."""
        weights = [m.n_samples for m in self.layers]
        return _pooled([m.holdout for m in self.layers], weights)

    def summary(self) -> str:
        """One block a layer: constants, terms, held-out figures and energies as text."""
        return "\n\n".join(f"layer {n}\n{m.summary()}" for n, m in enumerate(self.layers))

    def plot(self):
        """Terms of all layers with their intervals; a matplotlib Figure."""
        from montecarlo.plots.plotting import intervals

        return intervals({k: (t.std, *t.std_ci) for k, t in self.terms.items()}, "sigma")

    def save(self, path: str | Path) -> Path:
        """Write the JSON file; `NoiseModel.load` reads it."""
        layers = [noise_file.content_of(m) for m in self.layers]
        return noise_file.write(path, {"network": self.network, "layers": layers})


def _named(tables: list[dict[str, Value]]) -> dict[str, Value]:
    return {f"layer{n}.{name}": value for n, table in enumerate(tables) for name, value in table.items()}


def _pooled(tables: list[Mapping[str, Any]], weights: list[int]) -> dict[str, Any]:
    """Figures of all layers, each pooled by what it is over those that have it."""
    pooled: dict[str, Any] = {}
    shares: dict[str, list[float]] = {}
    names = list(dict.fromkeys(name for t in tables for name in t))
    for name in names:
        own = [w for w, t in zip(weights, tables, strict=True) if name in t]
        shares[name] = share = [w / (sum(own) or 1) for w in own]
        values = [t[name] for t in tables if name in t]
        if isinstance(values[0], dict):
            pooled[name] = {k: _rms([v[k] for v in values], share) for k in values[0] if _in_all(k, values)}
        elif name in COUNTS:
            pooled[name] = sum(values)
        elif name == "n_stimuli":
            pooled[name] = max(values)
        elif "rms" in name:
            pooled[name] = _rms(values, share)
        elif not name.endswith("_ci"):
            pooled[name] = sum(s * v for s, v in zip(share, values, strict=True))
    for name in [k for k in names if k.endswith("_ci") and k.removesuffix("_ci") in pooled]:
        have = [t for t in tables if name in t]
        centers, ends = [t[name.removesuffix("_ci")] for t in have], [t[name] for t in have]
        rows = list(zip(shares[name], ends, centers, strict=True))
        low, high = (math.hypot(*(s * (e[k] - c) for s, e, c in rows)) for k in (0, 1))
        middle = pooled[name.removesuffix("_ci")]
        pooled[name] = [middle - low, middle + high]
    return pooled


def _in_all(name: str, tables: list[dict[str, Any]]) -> bool:
    return all(name in table for table in tables)


def _rms(values: list[float], share: list[float]) -> float:
    return math.sqrt(sum(s * v**2 for s, v in zip(share, values, strict=True)))
