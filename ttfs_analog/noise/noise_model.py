"""The behavioral noise model: what was measured on the circuit, with its intervals, as one file.

The same file for every technology: systematic constants of the one equation (`circuits.model.closed_form`),
terms with a scope, a kind (frozen: one draw a chip; trial: one draw an inference), a law and a 95 % interval,
energy coefficients by supply and part, the range in which all that holds, and how well it predicted what it
had not seen (`montecarlo.extraction.holdout`). One set of these holds for every layer of a network; layers
with cells of their own have a set each (`ttfs_analog.noise.layered`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from circuits.errors import InputError
from ttfs_analog.noise import fitting, noise_file
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_file import SCHEMA
from ttfs_analog.noise.noise_set import NoiseSet, chip_numbers

if TYPE_CHECKING:
    from ttfs_analog.network.network import TTFSNetwork
    from ttfs_analog.noise.chips import Chips

__all__ = ["SCHEMA", "Noise", "NoiseModel"]


@dataclass(frozen=True)
class NoiseModel(NoiseSet):
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
        model = cls(**fitting.fit(dataset, seed))
        noise_file.check_fitted(model)
        return model

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
        law, constants, jitter = zip(*(self.of_layer(v.spiking) for v in net.layers), strict=True)
        return Chips.draw(law, net, chip_numbers(first, chips), seed, constants, jitter)

    def check_range(self, net: TTFSNetwork) -> None:
        """Refuse a network outside the validity range (weights, window)."""
        for n, layer in enumerate(net.neurons()):
            self.check_layer(n, layer)

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
            If the file is missing, is not JSON, has another schema, is not complete, or was changed.
        """
        content = noise_file.read(path)
        model: NoiseModel | LayeredNoise
        if "layers" not in content:
            model = cls.from_content(content, str(path))
        else:
            entries = noise_file.layers_of(content, str(path))
            sets = (cls.from_content(entry, f"{path}, layer {n}") for n, entry in enumerate(entries))
            model = LayeredNoise(tuple(sets), content.get("network", ""))
        noise_file.check_unchanged(path, content)
        return model

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
            model = cls(**noise_file.fields_of(content, where))
            noise_file.check(model)
            model.law  # noqa: B018 - refuses sigmas that cannot be drawn
        except ValueError as error:
            what = str(error).removeprefix(where).lstrip(": ")
            raise InputError(f"{where} is not a complete noise model: {what}") from None
        return model


Noise = NoiseModel | LayeredNoise
"""Of either kind; `of(n)` is the set of layer n, `sets` are those there are."""
