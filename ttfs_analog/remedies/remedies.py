r"""Remedies against mismatch, one after the other: what each does to a network and to its chips.

========== ==================================================================================================
nothing    the network as it is
windows    windows at a percentile of the activations, and what all chips share taken out of the thresholds
control    training without any spread, from there
agnostic   training on a fresh chip for every image, from there; agnostic-f: of f times the sigmas
trim-b     thresholds of every chip trimmed through DACs of b bits; trim: without limits
trim-b@n   the same, of the n neurons where it does most
threshold  thresholds of every chip trained
chip       all weights of every chip trained
gain       the same, of the chip one gain a neuron being known
loop       the same, with forward passes measured on the chip
========== ==================================================================================================

Joined with + they follow each other: agnostic+trim-4. Every training takes the same number of steps, for all
chips or for each. What is known of a chip is what a calibration has measured, or the truth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from circuits.errors import InputError
from ttfs_analog.calibration.calibrate import calibrate
from ttfs_analog.calibration.measurement import answers, measure
from ttfs_analog.calibration.patterns import choose
from ttfs_analog.data.datasets import Data
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips, join
from ttfs_analog.noise.lot import Lot
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.training.finetuning import finetune
from ttfs_analog.training.trimming import shifts

SHARED = ("windows", "control", "agnostic")
"""The same for all chips; all but `nothing` begin with windows."""
AGNOSTIC = re.compile(r"agnostic(?:-([0-9]{1,2}(?:\.[0-9]{1,3})?))?")
TRIM = re.compile(r"trim(?:-([0-9]{1,2}))?(?:@([0-9]{1,7}))?")
EACH = ("threshold", "chip", "gain", "loop")
"""Of every chip by itself."""
Tick = Callable[[], None]


def shared(stage: str) -> bool:
    """Whether a stage is the same for all chips."""
    return stage in SHARED or AGNOSTIC.fullmatch(stage) is not None


@dataclass(frozen=True)
class Setting:
    """What all remedies have in common."""

    data: Data
    noise: Noise
    steps: int  #: of every training
    batch: int = 64
    percentile: float = 99.5
    patterns: int = 16  #: that a calibration shows; 0: the truth is known
    error: float = 0.01  #: of a measured time, as a share of the window
    seed: int = 0

    @property
    def epochs(self) -> int:
        """That make the steps, or a few more."""
        return math.ceil(self.steps * self.batch / len(self.data.x_train))


@dataclass(frozen=True)
class State:
    """A network, or one a chip; the chips as they are, and as they are known."""

    nets: tuple[TTFSNetwork, ...]
    chips: Chips | Lot
    known: Chips | Lot | None = None

    def net(self, k: int) -> TTFSNetwork:
        """That of chip k."""
        return self.nets[k] if len(self.nets) > 1 else self.nets[0]


def parse(remedy: str) -> list[str]:
    """Stages of a remedy; all but `nothing` begin with windows, or a training that does.

    Parameters
    ----------
    remedy : str
        Names joined with +.

    Raises
    ------
    InputError
        If there is no such stage, or one for all chips follows one of each.
    """
    stages = remedy.split("+")
    for stage in stages:
        known = stage == "nothing" or shared(stage) or stage in EACH or TRIM.fullmatch(stage)
        if not known or (stage == "nothing" and len(stages) > 1):
            names = ("nothing", *SHARED, "agnostic-FACTOR", "trim-BITS@NEURONS", *EACH)
            raise InputError(f"unknown remedy {remedy!r}; name some of {', '.join(names)}, joined with +")
    common = [shared(stage) for stage in stages]
    if common != sorted(common, reverse=True):
        raise InputError(f"remedy {remedy!r}: what is the same for all chips comes first")
    return stages if stages[0] == "nothing" or common[0] else ["windows", *stages]


def split(stages: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Stages that are the same for all chips, and those of each."""
    common = tuple(stage for stage in stages if stage == "nothing" or shared(stage))
    return common, tuple(stages[len(common) :])


def apply(remedy: str, net: TTFSNetwork, chips: Chips | Lot, setting: Setting, tick: Tick) -> State:
    """Carry out one remedy.

    Parameters
    ----------
    remedy : str
        See the module.
    net : TTFSNetwork
        As it was mapped, or placed.
    chips : Chips or Lot
        Drawn for it.
    setting : Setting
    tick : callable
        Called after every training and chip.
    """
    return follow(parse(remedy), State((net,), chips), setting, tick)


def follow(stages: Sequence[str], state: State, setting: Setting, tick: Tick) -> State:
    """Carry out stages, one after the other.

    Parameters
    ----------
    stages : sequence of str
        Of `parse`, or some of them.
    state : State
        What they start from.
    setting, tick
        As of `apply`.
    """
    for stage in stages:
        if shared(stage):
            state = replace(state, nets=(_shared(stage, state.net(0), setting),))
            tick()
        elif stage != "nothing":
            state = calibrated(state, setting, tick) if state.known is None else state
            state = (_trimmed if stage.startswith("trim") else _each)(stage, state, setting, tick)
    return state


def judge(state: State, data: Data, tick: Tick) -> tuple[np.ndarray, float]:
    """Accuracy of every chip, and without mismatch (NaN where every chip has a network of its own).

    Parameters
    ----------
    state : State
    data : Data
        Its test part counts.
    tick : callable
        Called after every chip.
    """
    if len(state.nets) == 1:
        result = evaluate(state.nets[0], data, state.chips, progress=lambda done, total: tick())
        return result["accuracy"].values, float((result["nominal"] == result["label"]).mean())
    values = []
    for k, chip in enumerate(state.chips):
        values.append(float(evaluate(state.nets[k], data, chip)["accuracy"][0]))
        tick()
    return np.array(values), math.nan


def _shared(stage: str, net: TTFSNetwork, setting: Setting) -> TTFSNetwork:
    match = AGNOSTIC.fullmatch(stage)
    return finetune(
        net,
        setting.data,
        setting.noise if match else setting.noise.silent(),
        spread=float(match.group(1) or 1.0) if match else 1.0,
        epochs=0 if stage == "windows" else setting.epochs,
        batch=setting.batch,
        percentile=setting.percentile,
        seed=setting.seed,
    )


def calibrated(state: State, setting: Setting, tick: Tick) -> State:
    """What a laboratory learns of every chip of one network.

    Parameters
    ----------
    state : State
    setting : Setting
        Its patterns and their error.
    tick : callable
        Called after every chip.
    """
    if not setting.patterns:
        return replace(state, known=state.chips)
    net, known = state.net(0), []
    plans = choose(net, setting.data.x_train, setting.patterns, setting.noise, setting.seed)
    for number, chip in zip(state.chips.numbers, state.chips, strict=True):
        times = measure(net, chip, plans, error=setting.error, seed=setting.seed + number)
        known.append(calibrate(net, setting.noise, plans, times, error=setting.error, number=number).chip)
        tick()
    return replace(state, known=join(known))


def _trimmed(stage: str, state: State, setting: Setting, tick: Tick) -> State:
    match = TRIM.fullmatch(stage)
    assert state.known is not None
    assert match is not None
    bits, most = (None if word is None else int(word) for word in match.groups())
    x = setting.data.x_train
    if len(state.nets) == 1:
        moved = shifts(
            state.nets[0], state.known, x, bits=bits, most=most, progress=lambda done, total: tick()
        )
    else:
        parts = [shifts(state.net(k), chip, x, bits=bits, most=most) for k, chip in enumerate(state.known)]
        moved = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
    return replace(state, chips=state.chips.moved(moved), known=state.known.moved(moved))


def _each(stage: str, state: State, setting: Setting, tick: Tick) -> State:
    assert state.known is not None
    made = []
    for k, (chip, known) in enumerate(zip(state.chips, state.known, strict=True)):
        tuned = finetune(
            state.net(k),
            setting.data,
            None,
            stage,
            chip=known,
            measure=answers(chip) if stage == "loop" else None,
            epochs=setting.epochs,
            batch=setting.batch,
            percentile=None,
            seed=setting.seed,
        )
        made.append(tuned)
        tick()
    return replace(state, nets=tuple(made))
