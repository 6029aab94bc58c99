"""Chips: frozen deviations of every device of copies of a network, the same on every level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from circuits.errors import InputError
from circuits.model.layer import LayerMismatch
from montecarlo.campaign.schema import open_dataset, package_version
from montecarlo.mismatch.law import OFFSETS, TERMS, MismatchLaw, draw_chips
from ttfs_analog.neuron.functional import Deviations

if TYPE_CHECKING:
    from ttfs_analog.network.network import TTFSNetwork

SCHEMA = "ttfs-analog/chips/1"


@dataclass(frozen=True)
class Chips:
    """`numbers[k]` of `entropy` is one fixed chip; layers[n] holds layer n of all of them."""

    entropy: int
    numbers: tuple[int, ...]
    layers: tuple[LayerMismatch, ...]
    law: str = ""  #: JSON of the law they were drawn from: with entropy and number it gives the chip again

    @classmethod
    def draw(cls, law: MismatchLaw, net: TTFSNetwork, numbers: Sequence[int], entropy: int) -> Chips:
        """Draw chips of a network from a law."""
        if len(numbers) < 1:
            raise InputError("at least one chip is needed")
        drawn = draw_chips(law, net.neurons(), numbers, entropy)
        return cls(entropy, tuple(numbers), tuple(drawn), law.to_json())

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: int | slice) -> Chips:
        if isinstance(key, int) and not -len(self) <= key < len(self):
            raise IndexError(f"chip {key} of {len(self)}")
        cut = slice(key, key + 1 or None) if isinstance(key, int) else key
        return Chips(self.entropy, self.numbers[cut], tuple(m[cut] for m in self.layers), self.law)

    def __iter__(self) -> Iterator[Chips]:
        return (self[k] for k in range(len(self)))

    def deviations(self, like: torch.Tensor) -> list[Deviations]:
        """As tensors of the dtype and device of `like`, one per layer."""
        return [
            Deviations(*(torch.as_tensor(getattr(m, f)).to(like) for f in Deviations._fields))
            for m in self.layers
        ]

    def save(self, path: str | Path) -> Path:
        """Write every deviation to a netCDF file."""
        data = {}
        for n, layer in enumerate(self.layers):
            for f in fields(layer):
                dims = ("chip", f"neuron_{n}", f"synapse_{n}")[: getattr(layer, f.name).ndim]
                unit = "tau_c" if f.name in OFFSETS else "1"
                attrs = {"units": unit, "long_name": f"{f.name} deviation, layer {n}"}
                data[f"{f.name}_{n}"] = (dims, getattr(layer, f.name), attrs)
        about: dict[str, str | int] = {
            "schema": SCHEMA,
            "entropy": self.entropy,
            "law": self.law,
            "layers": len(self.layers),
            "package_version": package_version(),
        }
        path = Path(path)
        xr.Dataset(data, {"chip": list(self.numbers)}, about).to_netcdf(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Chips:
        """Read chips that `save` wrote."""
        with open_dataset(path, SCHEMA) as ds:
            names = [f.name for f in fields(LayerMismatch)]
            layers = tuple(
                LayerMismatch(**{f: ds[f"{f}_{n}"].values for f in names})
                for n in range(int(ds.attrs["layers"]))
            )
            return cls(
                int(ds.attrs["entropy"]), tuple(ds["chip"].values.tolist()), layers, ds.attrs.get("law", "")
            )


def draw_like(law: MismatchLaw, net: TTFSNetwork, chips: int, generator: torch.Generator) -> list[Deviations]:
    """Fresh chips for training, drawn on the network's own device; not meant to be kept."""
    if law.special:
        return _draw_any(law, net, chips, generator)
    mean = dict(law.mean)
    result = []
    for layer in net.layers:
        weight = layer.synapses()
        n_out = layer.n_out

        def normal(*shape: int, like: torch.Tensor = weight) -> torch.Tensor:
            return torch.randn(chips, *shape, generator=generator, dtype=like.dtype, device=like.device)

        positive = weight >= 0
        sigma = torch.where(positive, law.synapse_source, law.synapse_sink)
        center = torch.where(positive, mean.get("synapse_source", 0.0), mean.get("synapse_sink", 0.0))
        drawn = {"synapse": torch.expm1(center + sigma * normal(*weight.shape)).to(weight)}
        for term in ("slope", "threshold", "capacitance"):
            value = mean.get(term, 0.0) + getattr(law, term) * normal(n_out)
            drawn[term] = value if term in OFFSETS else torch.expm1(value)
        result.append(Deviations(**drawn))
    return result


def _draw_any(law: MismatchLaw, net: TTFSNetwork, chips: int, generator: torch.Generator) -> list[Deviations]:
    """The same for a law with tails, correlations or a common part: normals here, their meaning there."""

    def normal(*shape: int) -> np.ndarray:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64, device=generator.device)
        return drawn.cpu().numpy()

    common = normal(chips, len(TERMS))
    result = []
    for layer in net.layers:
        weight = layer.synapses().detach()
        neuron, synapse = normal(chips, 3, layer.n_out), normal(chips, *weight.shape)
        signs = weight.cpu().numpy()
        drawn = [law.deviations(signs, *z) for z in zip(neuron, synapse, common, strict=True)]
        arrays = ([d[f] for d in drawn] for f in Deviations._fields)
        result.append(Deviations(*(torch.as_tensor(np.stack(a)).to(weight) for a in arrays)))
    return result
