"""Fine-tune a network for chips that are not perfect.

Chip-agnostic: every image meets a fresh chip (`ttfs_analog.noise.per_image`), one network serves them all. It
may also shorten the windows first, which costs nothing: a slope error acts as an offset of window x error.
What all chips have in common is taken out of the thresholds before (`ttfs_analog.training.compensation`). A
placed network stays in the circuit that it was placed on: its windows are fixed, and no trajectory leaves the
range that there is room for (`ttfs_analog.network.swing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from ttfs_analog.constraints.constraints import NONZERO
from ttfs_analog.data.inputs import pair_for
from ttfs_analog.network.digest import digest_of
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.swing import project
from ttfs_analog.network.windows import check_margin, tighten
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.noise.per_image import PerImage
from ttfs_analog.training.compensation import compensated
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import Progress, optimize, require_slopes

MODES = ("agnostic",)
LEAST_EPOCHS, LEAST_STEPS = 20, 4400
"""Of the default length: 20 epochs of small data are too few to see what the training buys."""
EVERY, SOME, MANY = 20, 128, 1024
"""A placed network is brought back into its range after so many steps by so many images, and in the end by
more."""
SELECTION = 4
"""Stream of a seed: which images."""


def loss_under(
    net: TTFSNetwork, noise: Noise | None, generator: torch.Generator
) -> Callable[[Tensor, Tensor], Tensor]:
    """What one step of `finetune` minimizes: `loss(x, y)` of a batch, every image on a chip of its own.

    Parameters
    ----------
    noise : NoiseModel or LayeredNoise, optional
        None: under the network's own constraints alone.
    generator : torch.Generator
        What chips are drawn from, on the network's device.
    """
    devices = None
    if noise is not None:
        about = [noise.of(n).of_layer(layer.spiking) for n, layer in enumerate(net.layers)]
        laws, constants, jitter = zip(*about, strict=True)
        devices = PerImage(laws, generator, constants, jitter)
    return lambda x, y: nn.functional.cross_entropy(net(x, devices), y)


def finetune(
    net: TTFSNetwork,
    data: Any,
    noise: Noise | None = None,
    mode: str = "agnostic",
    *,
    epochs: int | None = None,
    batch: int = 64,
    lr: float = 4e-3,
    percentile: float | None = 99.5,
    percentile_of: str = NONZERO,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> TTFSNetwork:
    """A new network, trained on a fresh chip for every image; the old one is untouched.

    Parameters
    ----------
    data : Data, loader, or (x, y)
        What to train on: of a Data its training part, in [0, 1]; others as
        `ttfs_analog.conversion.mapping.convert` takes them.
    noise : NoiseModel or LayeredNoise, optional
        Its terms are drawn anew for every image of every batch. Without one the network is trained under its
        own constraints alone (`ttfs_analog.network.constrain.constrain`).
    mode : {"agnostic"}
    epochs : int, optional
        Default: LEAST_EPOCHS, or as many as make LEAST_STEPS steps: 200 of the digits. 0: windows and
        thresholds are set, and nothing is trained.
    batch, lr : int, float
        Images a step, and the learning rate, which falls to zero as half a cosine.
    percentile : float or None
        Shorten the windows to this percentile of the activations first; None keeps them, and so do
        constraints that fix them, and a placement: its windows are built.
    percentile_of : {"nonzero", "all"}
        See `ttfs_analog.network.windows.choose_windows`.
    checkpoint, resume, options : optional
        As of `ttfs_analog.training.training.train`; the network that is tuned, the noise model and the
        percentile are among the options already.
    """
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}; available: {', '.join(MODES)}")
    if noise is None and net.constraints is None:
        raise InputError("nothing to tune for: give a noise model, or put the network under constraints")
    check_margin(0.0, percentile, percentile_of)
    if noise is not None:
        noise.check_range(net)
    x_train, y_train = pair_for(net, data, training=True)
    placed = "placement" in net.metadata
    fixed = placed or (net.constraints is not None and net.constraints.percentile is not None)
    tuned = (
        net.clone()
        if percentile is None or fixed
        else tighten(net, x_train, percentile, percentile_of=percentile_of)
    )
    if noise is not None and not tuned.metadata.get("compensated"):
        constants = [noise.of(n).of_layer(v.spiking)[1] for n, v in enumerate(tuned.layers)]
        tuned = compensated(tuned, x_train, constants)
        # from here on thresholds are the circuit's: a second time would take the constants out twice
        tuned.metadata["compensated"] = not all(c.ideal for c in constants)
    if tuned.constraints is not None:
        tuned.constraints.restart(seed)
    start = {"network": digest_of(net.state_dict())[:16], "noise model": digest_of(repr(noise))[:16]}
    generator = seeded(seed, device=tuned.like.device)
    loss_of = loss_under(tuned, noise, generator)
    if epochs is None:
        epochs = max(LEAST_EPOCHS, LEAST_STEPS // -(-len(x_train) // batch))
    order = torch.randperm(len(x_train), generator=seeded(seed, SELECTION)).to(x_train.device)
    if epochs > 0:
        optimize(
            tuned,
            (x_train, y_train),
            loss_of,
            Recipe(epochs, batch, lr, seed=seed),
            checkpoint=checkpoint,
            resume=resume,
            options={**start, "percentile": percentile, "percentile_of": percentile_of, **(options or {})},
            after=_upkeep(tuned, x_train[order[:SOME]]),
            chances=generator,
            noise="" if noise is None else _described(noise),
            progress=progress,
        )
    if placed:
        project(tuned, x_train[order[:MANY]])
    else:
        tuned.rescale(x_train)
    return tuned


def _upkeep(net: TTFSNetwork, x: Tensor) -> Callable[[int], None] | None:
    """What follows a step; None: nothing to do."""
    if "placement" in net.metadata:

        def bring_back(step: int) -> None:
            if step % EVERY == 0:
                project(net, x)

        return bring_back
    if any(layer.form != "b1" for layer in net.layers):
        return lambda step: require_slopes(net)
    return None


def _described(noise: Noise) -> str:
    """What chips are drawn from, of every set: a checkpoint belongs to it."""
    return "\n".join(f"{m.law.to_json()} {m.constants} {m.jitter}" for m in noise.sets)
