"""Fine-tune a network for chips that are not perfect.

Chip-agnostic: every image meets a fresh chip (`ttfs_analog.noise.per_image`), one network serves them all.
For one chip: on its devices as they are known (`ttfs_analog.training.one_chip`), or by trimming its
thresholds (`ttfs_analog.training.trimming`). All may also shorten the windows first, which costs nothing: a
slope error acts as an offset of window x error. What all chips have in common is taken out of the thresholds
before (`ttfs_analog.training.compensation`). A placed network stays in the circuit that it was placed on: its
windows are fixed, and no trajectory leaves the range that there is room for (`ttfs_analog.network.swing`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from circuits.model.closed_form import Constants
from ttfs_analog.constraints.constraints import NONZERO
from ttfs_analog.data.inputs import pair_for
from ttfs_analog.network.digest import digest_of
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.swing import project
from ttfs_analog.network.windows import check_margin, tighten
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.noise.per_image import PerImage
from ttfs_analog.training.compensation import compensated
from ttfs_analog.training.one_chip import (
    Measure,
    gains,
    in_the_loop,
    require_one,
    shifted,
    thresholds_alone,
    with_gains,
)
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import Progress, optimize, require_slopes
from ttfs_analog.training.trimming import shifts

Loss = Callable[[Tensor, Tensor], Tensor]
RATES = {"agnostic": 4e-3, "chip": 1e-3, "threshold": 1e-2, "gain": 1e-3, "loop": 1e-3, "trim": 0.0}
"""Usual learning rate of every mode."""
MODES = tuple(RATES)
LEAST_EPOCHS, LEAST_STEPS = 20, 4400
"""Of the default length: 20 epochs of small data are too few to see what the training buys."""
LOGIT_PENALTY = 1e-3
CHIP_STEPS = 1000
"""Of the default length for one chip."""
EVERY, SOME, MANY = 20, 128, 1024
"""A placed network is brought back into its range after so many steps by so many images, and in the end by
more."""
SELECTION = 4
"""Stream of a seed: which images."""


def loss_under(
    net: TTFSNetwork, noise: Noise | None, generator: torch.Generator, logit_penalty: float = 0.0
) -> Loss:
    """What one step of `finetune` minimizes: `loss(x, y)` of a batch, every image on a chip of its own.

    Parameters
    ----------
    noise : NoiseModel or LayeredNoise, optional
        None: under the network's own constraints alone.
    generator : torch.Generator
        What chips are drawn from, on the network's device.
    logit_penalty : float
        See `finetune`.
    """
    devices = None
    if noise is not None:
        about = [noise.of(n).of_layer(layer.spiking) for n, layer in enumerate(net.layers)]
        laws, constants, jitter = zip(*about, strict=True)
        devices = PerImage(laws, generator, constants, jitter)
    return lambda x, y: _loss(net(x, devices), y, logit_penalty)


def _loss(logits: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Cross entropy, and what large logits cost."""
    loss = nn.functional.cross_entropy(logits, y)
    return loss + penalty * logits.square().mean() if penalty else loss


def finetune(
    net: TTFSNetwork,
    data: Any,
    noise: Noise | None = None,
    mode: str = "agnostic",
    *,
    chip: Chips | None = None,
    measure: Measure | None = None,
    bits: int | None = None,
    most: int | None = None,
    spread: float = 1.0,
    logit_penalty: float | None = None,
    epochs: int | None = None,
    batch: int = 64,
    lr: float | None = None,
    percentile: float | None = 99.5,
    percentile_of: str = NONZERO,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> TTFSNetwork:
    """A new network, tuned for all chips of a noise model, or for one chip; the old one is untouched.

    Parameters
    ----------
    data : Data, loader, or (x, y)
        What to train on: of a Data its training part, in [0, 1]; others as
        `ttfs_analog.conversion.mapping.convert` takes them.
    noise : NoiseModel or LayeredNoise, optional
        Of mode agnostic: its terms are drawn anew for every image of every batch. Without one the network is
        trained under its own constraints alone (`ttfs_analog.network.constrain.constrain`).
    mode : {"agnostic", "chip", "threshold", "gain", "loop", "trim"}
        Those for one chip: see `ttfs_analog.training.one_chip` and `ttfs_analog.training.trimming`.
    chip : Chips, optional
        Of the other modes: one, as it is known.
    measure : callable, optional
        Of mode loop: what the chip answers.
    bits, most : int, optional
        Of mode trim: of its DACs; None: any value. How many neurons have one; None: all that spike.
    spread : float
        Of mode agnostic: factor on the sigmas of transistors while training. More than there is can leave a
        margin (1.5 at moderate sigmas), and is too much where accuracy is lost already.
    logit_penalty : float, optional
        Factor of the mean square of the logits in the loss. A long training makes them grow; the last layer
        of a placed network is then scaled as one into the range of its circuit, and the whole units of its
        small weights are lost. Default: LOGIT_PENALTY of a placed network in mode agnostic, else 0.
    epochs : int, optional
        Default: LEAST_EPOCHS, or as many as make LEAST_STEPS steps: 200 of the digits; for one chip as many
        as make CHIP_STEPS steps. 0: windows and thresholds are set, and nothing is trained.
    batch, lr : int, float
        Images a step, and the learning rate (default: of RATES), which falls to zero as half a cosine.
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
    if (mode == "loop") != (measure is not None):
        raise InputError("mode loop, and no other, needs what the chip answers: give measure=")
    check_margin(0.0, percentile, percentile_of)
    if spread != 1.0 and (mode != "agnostic" or noise is None):
        raise InputError("a spread is that of a noise model in mode agnostic: leave it at 1")
    if logit_penalty is None:
        logit_penalty = LOGIT_PENALTY if "placement" in net.metadata and mode == "agnostic" else 0.0
    if not 0 <= logit_penalty < math.inf:
        raise InputError(f"a penalty of logits must be finite and >= 0, got {logit_penalty}")
    met = None if noise is None else noise.scaled(spread)
    constants: Sequence[Constants] | None = None
    if mode != "agnostic":
        constants = require_one(net, chip).constants
    elif noise is not None:
        noise.check_range(net)
        constants = [noise.of(n).of_layer(v.spiking)[1] for n, v in enumerate(net.layers)]
    elif net.constraints is None:
        raise InputError("nothing to tune for: give a noise model, or put the network under constraints")
    x_train, y_train = pair_for(net, data, training=True)
    tuned = _prepared(net, x_train, constants, percentile, percentile_of)
    if tuned.constraints is not None:
        tuned.constraints.restart(seed)
    generator = seeded(seed, device=tuned.like.device)
    per_epoch = -(-len(x_train) // batch)
    if epochs is None:
        some = max(LEAST_EPOCHS, LEAST_STEPS // per_epoch)
        epochs = some if mode == "agnostic" else -(-CHIP_STEPS // per_epoch)
    order = torch.randperm(len(x_train), generator=seeded(seed, SELECTION)).to(x_train.device)
    if mode == "trim":
        moved = shifts(tuned, require_one(net, chip), x_train, bits=bits, most=most, progress=progress)
        tuned = shifted(tuned, require_one(net, chip), [torch.as_tensor(s[0]) for s in moved])
    elif epochs > 0:
        start = {
            "network": digest_of(net.state_dict())[:16],
            "noise model": digest_of(repr(met))[:16],
            "chip": "" if chip is None else digest_of([asdict(layer) for layer in chip.layers])[:16],
            "mode": mode,
            "logit_penalty": logit_penalty,
        }
        loss_of = (
            loss_under(tuned, met, generator, logit_penalty)
            if mode == "agnostic"
            else _loss_on(tuned, require_one(net, chip), mode, x_train, measure, logit_penalty)
        )
        with thresholds_alone(tuned) if mode == "threshold" else contextlib.nullcontext():
            optimize(
                tuned,
                (x_train, y_train),
                loss_of,
                Recipe(epochs, batch, RATES[mode] if lr is None else lr, seed=seed),
                checkpoint=checkpoint,
                resume=resume,
                options={
                    **start,
                    "percentile": percentile,
                    "percentile_of": percentile_of,
                    **(options or {}),
                },
                after=_upkeep(tuned, x_train[order[:SOME]]),
                chances=generator,
                noise="" if met is None else _described(met),
                progress=progress,
            )
    if "placement" in net.metadata:
        project(tuned, x_train[order[:MANY]])
    else:
        tuned.rescale(x_train)
    return tuned


def _prepared(
    net: TTFSNetwork,
    x: Tensor,
    constants: Sequence[Constants] | None,
    percentile: float | None,
    percentile_of: str,
) -> TTFSNetwork:
    """A copy with the windows and thresholds that a training begins with."""
    limits = net.constraints
    fixed = "placement" in net.metadata or (limits is not None and limits.percentile is not None)
    made = (
        net.clone()
        if percentile is None or fixed
        else tighten(net, x, percentile, percentile_of=percentile_of)
    )
    if constants is None or made.metadata.get("compensated"):
        return made
    made = compensated(made, x, constants)
    # from here on thresholds are the circuit's: a second time would take the constants out twice
    made.metadata["compensated"] = not all(c.ideal for c in constants)
    return made


def _loss_on(
    net: TTFSNetwork, chip: Chips, mode: str, x: Tensor, measure: Measure | None, penalty: float
) -> Loss:
    """What one step for one chip minimizes."""
    if mode == "gain":
        devices = with_gains(gains(net, chip, x))
        return lambda x, y: _loss(net(x, devices), y, penalty)
    known = chip.model(x)
    if measure is not None:
        answer = in_the_loop(net, known, measure)
        return lambda x, y: _loss(answer(x).flatten(0, -2), y, penalty)
    return lambda x, y: _loss(net(x, known).flatten(0, 1), y, penalty)


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
