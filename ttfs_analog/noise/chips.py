"""Chips: frozen deviations of every device of copies of a network, the same on every level.

Every layer has its own systematic terms and jitter; where the cells are the same in all layers, so are these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants
from circuits.model.layer import LayerMismatch
from circuits.model.shape import checked
from circuits.model.text_file import parse_value
from montecarlo.campaign.schema import package_version, save_dataset
from montecarlo.extraction.reading import attributes, load_dataset
from montecarlo.mismatch.law import UNIT, MismatchLaw, draw_chips, per_layer
from ttfs_analog.network.digest import check_digest, digest_of
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.neuron.seeding import seeded

if TYPE_CHECKING:
    from ttfs_analog.network.network import ChipModel, TTFSNetwork

SCHEMA = "ttfs-analog/chips/2"
AGAIN = "take a copy, or draw the chips again: 'chip' with the same --seed and --number gives the same"
TRIALS = 3
"""Stream of a seed: jitter."""


@dataclass(frozen=True)
class Chips:
    """`numbers[k]` of `entropy` is one fixed chip; layers[n] holds layer n of all of them."""

    entropy: int
    numbers: tuple[int, ...]
    layers: tuple[LayerMismatch, ...]
    law: str = ""  #: JSON of their law, or of one a layer: with entropy and number it gives the chip again
    constants: tuple[Constants, ...] = ()  #: systematic terms of each layer of all chips; (): ideal ones
    jitter: tuple[float, ...] = ()
    """Standard deviation of spike times from trial to trial [tau_c], of a read-out of its logits [1], by
    layer; (): none."""

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("chips need at least one layer")
        for name, value in (("constants", self.constants or IDEAL), ("jitter", self.jitter or 0.0)):
            object.__setattr__(self, name, per_layer(value, len(self.layers), name))

    @classmethod
    def draw(
        cls,
        law: MismatchLaw | Sequence[MismatchLaw],
        net: TTFSNetwork,
        numbers: Sequence[int],
        entropy: int,
        constants: Constants | Sequence[Constants] = IDEAL,
        jitter: float | Sequence[float] = 0.0,
    ) -> Chips:
        """Draw chips of a network.

        Parameters
        ----------
        law : MismatchLaw or sequence of MismatchLaw
            Of all layers, or one a layer.
        numbers : sequence of int
            Of the chips.
        entropy : int
            Seed of all of them.
        constants, jitter : optional
            What all chips have in common; of all layers, or one a layer.

        Raises
        ------
        InputError
            If there is no number, or more or fewer entries than layers.
        """
        if len(numbers) < 1:
            raise InputError("at least one chip is needed")
        layers = net.neurons()
        drawn, laws = draw_chips(law, layers, numbers, entropy), per_layer(law, len(layers), "laws")
        texts = [own.to_json() for own in laws]
        text = f"[{', '.join(texts)}]" if len(set(texts)) > 1 else texts[0]
        constants = per_layer(constants, len(layers), "constants")
        jitter = per_layer(jitter, len(layers), "jitters")
        return cls(entropy, tuple(numbers), tuple(drawn), text, constants, jitter)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: int | slice) -> Chips:
        if isinstance(key, int) and not -len(self) <= key < len(self):
            raise IndexError(f"chip {key} of {len(self)}")
        cut = slice(key, key + 1 or None) if isinstance(key, int) else key
        return replace(self, numbers=self.numbers[cut], layers=tuple(m[cut] for m in self.layers))

    def __iter__(self) -> Iterator[Chips]:
        return (self[k] for k in range(len(self)))

    def blocks(self, size: int) -> Iterator[Chips]:
        """So many chips at a time.

        Parameters
        ----------
        size : int
        """
        return (self[k : k + size] for k in range(0, len(self), size))

    def moved(self, shifts: Sequence[NDArray[np.float64]]) -> Chips:
        """The same chips with other offsets of their comparators.

        Parameters
        ----------
        shifts : sequence of array, shape (chip, neuron)
            By layer: what is added, in units of potential.
        """
        layers = (replace(m, threshold=m.threshold + s) for m, s in zip(self.layers, shifts, strict=True))
        return replace(self, layers=tuple(layers))

    def nominal(self) -> Chips:
        """The same chips, as they would be if no device deviated."""
        layers = (replace(m, **{f.name: 0.0 * getattr(m, f.name) for f in fields(m)}) for m in self.layers)
        return replace(self, layers=tuple(layers))

    def require_fit(self, net: TTFSNetwork) -> None:
        """Refuse a network that these chips were not drawn for, naming the layer."""
        if len(self.layers) != len(net.layers):
            raise InputError(
                f"these are chips of {len(self.layers)} layers, the network has {len(net.layers)}"
            )
        for n, (layer, mismatch) in enumerate(zip(net.layers, self.layers, strict=True)):
            seen, needed = mismatch.synapse.shape[1:], (layer.n_out, layer.weight[0].numel())
            if seen != needed:
                raise InputError(
                    f"layer {n} has {needed[0]} neurons of {needed[1]} synapses, of these chips {seen[0]} of "
                    f"{seen[1]}: they were drawn for another network; draw chips of this one"
                )

    def deviations(self, like: torch.Tensor) -> list[Deviations]:
        """As tensors of the dtype and device of `like`, one per layer."""
        return [
            Deviations(
                **{f.name: torch.as_tensor(getattr(m, f.name)).to(like) for f in fields(LayerMismatch)},
                constants=constants,
            )
            for m, constants in zip(self.layers, self.constants, strict=True)
        ]

    def model(self, like: torch.Tensor) -> ChipModel:
        """What a network runs on: these deviations, and jitter that is new in every call.

        Every chip has random numbers of its own, so that its trials do not depend on the chips beside it.
        """
        deviations = self.deviations(like)
        if not any(self.jitter):
            return deviations
        trials = [seeded(self.entropy, TRIALS, number, device=like.device) for number in self.numbers]

        def respond(n: int, layer: TTFSLayer, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            if not (layer.spiking or self.jitter[n]):
                return layer(x, deviations[n], weight)
            shape = (x.shape[-4 if layer.inside else -2], layer.n_out)
            like: dict[str, Any] = {"dtype": x.dtype, "device": x.device}
            late = torch.stack([torch.randn(shape, generator=trial, **like) for trial in trials])
            return layer(x, deviations[n], weight, self.jitter[n] * late)

        return respond

    def save(self, path: str | Path) -> Path:
        """Write every deviation to a netCDF file."""
        data = {}
        for n, layer in enumerate(self.layers):
            for f in fields(layer):
                dims = ("chip", f"neuron_{n}", f"synapse_{n}")[: getattr(layer, f.name).ndim]
                attrs = {"units": UNIT.get(f.name, "1"), "long_name": f"{f.name} deviation, layer {n}"}
                data[f"{f.name}_{n}"] = (dims, getattr(layer, f.name), attrs)
        about: dict[str, str | int | float] = {
            "schema": SCHEMA,
            "entropy": self.entropy,
            "law": self.law,
            "layers": len(self.layers),
            "constants": json.dumps([asdict(c) for c in self.constants]),
            "jitter": json.dumps(self.jitter),
            "package_version": package_version(),
        }
        dataset = xr.Dataset(data, {"chip": list(self.numbers)}, about)
        return save_dataset(dataset.assign_attrs(digest=digest_of(_content(dataset))), path)

    @classmethod
    def load(cls, path: str | Path) -> Chips:
        """Read chips that `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, has another schema, or is not as it was written.
        """
        ds, where = load_dataset(path, SCHEMA), str(path)
        check_digest(path, ds.attrs.get("digest"), _content(ds), AGAIN)
        about = attributes(ds, Attributes, where)
        laws = parse_value(about.get("law") or "{}", f"{where}: law")
        for law in laws if isinstance(laws, list) else [laws]:
            MismatchLaw.from_dict(checked(law, dict[str, Any], where, "law"))
        layers = tuple(_layer(ds, n, where) for n in range(about["layers"]))
        constants, jitter = (_listed(about[name], len(layers), f"{where}: {name}") for name in PER_LAYER)
        constants = tuple({**asdict(IDEAL), **c} if isinstance(c, dict) else c for c in constants)
        return cls(
            about["entropy"],
            tuple(ds["chip"].values.tolist()),
            layers,
            about.get("law", ""),
            checked(constants, tuple[Constants, ...], where, "constants"),
            checked(jitter, tuple[float, ...], where, "jitter"),
        )


class Attributes(TypedDict):
    """Of a file of chips, those that are read."""

    entropy: int
    layers: int
    constants: str
    jitter: str | float
    law: NotRequired[str]


PER_LAYER = ("constants", "jitter")
"""Attributes that are JSON."""


def _layer(ds: xr.Dataset, n: int, where: str) -> LayerMismatch:
    """Layer n of a file of chips."""
    names = [f.name for f in fields(LayerMismatch)]
    if missing := [f"{f}_{n}" for f in names if f"{f}_{n}" not in ds] + [c for c in ("chip",) if c not in ds]:
        raise InputError(f"{where} lacks {', '.join(missing)}: {AGAIN}")
    try:
        layer = LayerMismatch(**{f: ds[f"{f}_{n}"].values for f in names})
    except InputError as error:
        raise InputError(f"{where}, layer {n}: {error}") from None
    numbers = ds["chip"]
    if numbers.dtype.kind not in "iu" or numbers.shape != (layer.samples,) or (numbers < 0).any():
        raise InputError(f"{where}: chip must be {layer.samples} whole numbers >= 0")
    return layer


def _content(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """What a digest is of: all variables, and all attributes but itself."""
    values = {str(name): v.values for name, v in dataset.variables.items()}
    return [values, {k: str(v) for k, v in dataset.attrs.items() if k != "digest"}]


def _listed(attribute: str | float, layers: int, where: str) -> tuple[Any, ...]:
    """JSON of one value a layer; earlier files have one value for all."""
    return per_layer(parse_value(str(attribute), where), layers, f"{where}: entries")


def join(chips: Sequence[Chips]) -> Chips:
    """Sets of chips of one network as one set, in order.

    Parameters
    ----------
    chips : sequence of Chips
        At least one; what they have in common is that of the first.
    """
    names = [f.name for f in fields(LayerMismatch)]
    layers = (
        LayerMismatch(**{name: np.concatenate([getattr(m, name) for m in parts]) for name in names})
        for parts in zip(*(c.layers for c in chips), strict=True)
    )
    numbers = tuple(number for c in chips for number in c.numbers)
    return replace(chips[0], numbers=numbers, layers=tuple(layers))


def perfect(net: TTFSNetwork, constants: Sequence[Constants]) -> list[Deviations]:
    """A chip whose devices do not deviate: only what is systematic in its circuit.

    Parameters
    ----------
    net : TTFSNetwork
    constants : sequence of Constants
        Of every layer.

    Returns
    -------
    list of Deviations
        Without a chip dimension.
    """
    zeros = [layer.weight.new_zeros(layer.n_out) for layer in net.layers]
    return [Deviations(None, z, z, z, None, c) for z, c in zip(zeros, constants, strict=True)]
