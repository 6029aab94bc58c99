"""The behavioral noise model: what was measured on the circuit, with its intervals, as one file.

The same file for every technology: systematic constants of the one equation (`circuits.model.closed_form`),
terms with a scope, a kind (frozen: one draw a chip; trial: one draw an inference), a law and a 95 % interval,
energy coefficients by supply and part, the range in which all that holds, and how well it predicted what it
had not seen (`montecarlo.extraction.holdout`). One set of these holds for every layer of a network; layers
with cells of their own have a set each (`ttfs_analog.noise.layered`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.closed_form import Constants
from circuits.model.layer import Layer
from montecarlo.extraction.terms import FROZEN, Spread, law_of
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.noise import fitting, noise_file, summary
from ttfs_analog.noise.noise_file import RANGES, SCHEMA
from ttfs_analog.noise.terms import JITTER, Contents

if TYPE_CHECKING:
    from ttfs_analog.network.network import TTFSNetwork
    from ttfs_analog.noise.chips import Chips
    from ttfs_analog.noise.layered import LayeredNoise

__all__ = ["SCHEMA", "NoiseModel"]


@dataclass(frozen=True)
class NoiseModel(Contents):
    """Fitted terms, energy coefficients, where they hold, and how well they predicted."""

    @classmethod
    def fit(cls, dataset: xr.Dataset, seed: int = 0) -> NoiseModel:
        """Fit a characterization of any technology.

        Parameters
        ----------
        dataset : xarray.Dataset
            From `montecarlo.Campaign.run`, complete.
        seed : int
            Of the bootstrap and of the prediction intervals.

        Raises
        ------
        InputError
            If the campaign is not complete or too small.
        """
        return cls(**fitting.fit(dataset, seed))

    @property
    def sets(self) -> tuple[NoiseModel, ...]:
        """The sets there are: this one."""
        return (self,)

    def of(self, n: int) -> NoiseModel:
        """The set of layer number n: the same for all."""
        return self

    @property
    def law(self) -> MismatchLaw:
        """The frozen terms, ready to draw from."""
        frozen = {k: t for k, t in self.terms.items() if k in FROZEN}
        terms, reference = (
            {k: Spread(t.std, t.mean, *t.mean_ci) for k, t in part.items()}
            for part in (frozen, self.reference)
        )
        return law_of(terms, self.units, reference)

    @property
    def constants(self) -> Constants:
        """Systematic terms of the circuit."""
        return Constants(**{name: c.value for name, c in self.systematic.items()})

    @property
    def jitter(self) -> float:
        """Standard deviation of a spike time from one inference to the next [tau_c]."""
        return self.terms[JITTER].std if JITTER in self.terms else 0.0

    def sample(self, net: TTFSNetwork, chips: int, seed: int = 0, first: int = 0) -> Chips:
        """Frozen deviations of `chips` copies of a network.

        Parameters
        ----------
        seed, first : int
            Entropy, and number of the first chip.

        Raises
        ------
        InputError
            If the network lies outside the range in which the model was measured.
        """
        from ttfs_analog.noise.chips import Chips  # torch loads only here

        self.check_range(net)
        numbers = range(first, first + chips)
        return Chips.draw(self.law, net, numbers, seed, self.constants, self.jitter)

    def check_range(self, net: TTFSNetwork) -> None:
        """Refuse a network outside the validity range (weights, window)."""
        for n, layer in enumerate(net.neurons()):
            self.check_layer(n, layer)

    def check_layer(self, n: int, layer: Layer) -> None:
        """Refuse layer number n where it lies outside the validity range."""
        needed = {"slope", "threshold", "capacitance"}
        needed |= {"synapse_source"} if (layer.weights > 0).any() else set()
        needed |= {"synapse_sink"} if (layer.weights < 0).any() else set()
        if missing := sorted(needed - set(self.terms)):
            raise InputError(
                f"layer {n}: the noise model has no term {', '.join(missing)}; characterize neurons that "
                "have these devices (--synapses 2 or more)"
            )
        for what, value in (
            ("weight", float(np.abs(layer.weights).max())),
            ("window", layer.window if layer.spiking else layer.t_min),
        ):
            limit = self.validity[what]["max"]
            if limit is not None and value > limit:
                raise InputError(
                    f"layer {n}: {what} {value:.4g} lies outside the range in which this noise "
                    f"model was measured (up to {limit:g}); allow it with --extrapolate (in SWEEP.toml: "
                    "extrapolate = true)"
                )

    def silent(self) -> NoiseModel:
        """The same model without any spread: the control of a training with it."""
        quiet: dict[str, Any] = {"std": 0.0, "std_ci": (0.0, 0.0), "mean": 0.0, "mean_ci": (0.0, 0.0)}
        terms, reference = (
            {k: replace(t, **quiet) for k, t in part.items()} for part in (self.terms, self.reference)
        )
        return replace(self, terms=terms, reference=reference)

    def extrapolated(self) -> NoiseModel:
        """The same model without range limits."""
        return replace(self, validity={**self.validity, **{what: {"max": None} for what in RANGES}})

    def summary(self) -> str:
        """Constants, terms, held-out figures and energies as text."""
        return summary.text(self)

    def plot(self):
        """Terms with their intervals; a matplotlib Figure."""
        from montecarlo.plots.plotting import intervals

        return intervals({k: (t.std, *t.std_ci) for k, t in self.terms.items()}, "sigma")

    def save(self, path: str | Path) -> Path:
        """Write the JSON file."""
        return noise_file.write(path, noise_file.content_of(self))

    @classmethod
    def load(cls, path: str | Path) -> NoiseModel | LayeredNoise:
        """Read a noise model: one set for all layers, or one a layer.

        Raises
        ------
        InputError
            If the file is missing, is not JSON, has another schema, or is not complete.
        """
        content = noise_file.read(path)
        if "layers" in content:
            from ttfs_analog.noise.layered import LayeredNoise

            return LayeredNoise.from_content(content, str(path))
        return cls.from_content(content, str(path))

    @classmethod
    def from_content(cls, content: dict[str, Any], where: str) -> NoiseModel:
        """The model of one set of a file.

        Parameters
        ----------
        content : dict
            See `ttfs_analog.noise.noise_file`.
        where : str
            File, for messages.

        Raises
        ------
        InputError
            If it is not complete, or holds what cannot be drawn or counted.
        """
        try:
            model = cls(**noise_file.fields_of(content))
            noise_file.check(model)
            model.law  # noqa: B018 - refuses sigmas that cannot be drawn
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            what = noise_file.complaint(error)
            raise InputError(f"{where} is not a complete noise model: {what}") from None
        return model
