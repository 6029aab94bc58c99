"""What the command `chip` does: draw one chip of a network into a file, or say what a file holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from circuits.errors import InputError
from montecarlo.mismatch.law import OFFSETS
from ttfs_analog.cli.console import Result
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import NoiseModel


def draw_chip(net: str, noise: str | None, number: int, extrapolate: bool, out: str, seed: int) -> Result:
    """Chip `number` of entropy `seed`: every device's deviation, for this network."""
    if noise is None:
        raise InputError("--noise names the law that a chip is drawn from; a file .nc is only looked at")
    model = NoiseModel.load(noise)
    model = model.extrapolated() if extrapolate else model
    chips = model.sample(TTFSNetwork.load(net), 1, seed, first=number)
    chips.save(out)
    result, text = describe(chips)
    return {"path": out, **result}, f"{text}\n{out}"


def inspect_chip(file: str) -> Result:
    """Where the chips of a file come from, and the spread of what was really drawn."""
    result, text = describe(Chips.load(file))
    return {"path": file, **result}, text


def describe(chips: Chips) -> Result:
    """Entropy, numbers, law, layers, and sigma of every term as drawn (over all layers and chips)."""
    drawn: dict[str, float] = {}
    for term in asdict(chips.layers[0]):
        values = np.concatenate([getattr(layer, term).ravel() for layer in chips.layers])
        values = values if term in OFFSETS else np.log1p(values)
        drawn[term] = float(values.std())
    law: dict[str, Any] = json.loads(chips.law or "{}")
    shapes = [list(layer.synapse.shape[1:]) for layer in chips.layers]
    result = {
        "entropy": chips.entropy,
        "numbers": list(chips.numbers),
        "law": law,
        "layers": shapes,
        "n_devices": sum(n * (m + 3) for n, m in shapes),
        "drawn_std": drawn,
    }
    rows = [
        f"chip {', '.join(map(str, chips.numbers))} of entropy {chips.entropy}: "
        f"{result['n_devices']} devices, layers {' '.join(f'{n}x{m}' for n, m in shapes)}",
        "law  " + ", ".join(f"{k} {v:.4g}" for k, v in law.items() if isinstance(v, float)),
        "drawn  " + ", ".join(f"{k} {v:.4g}" for k, v in drawn.items()),
    ]
    return result, "\n".join(rows)


def chips_of(net: TTFSNetwork, file: str | Path) -> Chips:
    """Chips from a file, if they are chips of a network of this shape."""
    chips = Chips.load(file)
    neurons = net.neurons()
    if len(chips.layers) != len(neurons):
        raise InputError(f"{file} holds chips of {len(chips.layers)} layers, the network has {len(neurons)}")
    for n, (layer, mismatch) in enumerate(zip(neurons, chips.layers, strict=True)):
        try:
            mismatch.fits(layer)
        except InputError as error:
            raise InputError(f"{file}, layer {n}: {error}") from None
    return chips
