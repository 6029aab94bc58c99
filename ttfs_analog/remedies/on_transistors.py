"""Chips with trimmed thresholds back in ngspice, transistor by transistor: is what a trim promises true?

Every chip is calibrated and trimmed as a laboratory would do it, by spike times of a few patterns with errors
of measurement; these come from the equation with the chip's own devices. Its thresholds are built into the
circuit, as far as the swing reaches. What accuracy to expect says the noise model: chips drawn from it,
treated in the same way, under the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from circuits.errors import InputError
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.statistics.intervals import LEVEL
from ttfs_analog.evaluation.transistor_verification import verify_transistors
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.swing import rooms
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.lot import Lot
from ttfs_analog.remedies.remedies import TRIM, Setting, State, follow, judge, parse, shared
from ttfs_analog.training.one_chip import shifted

POPULATION = 100
"""Chips of the noise model that the prediction is of."""
DRAWS = 4000
"""Of as many chips as are simulated, out of these."""
STREAM = 21


def verify_remedy(
    net: TTFSNetwork,
    setting: Setting,
    remedy: str,
    *,
    chips: int = 4,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Whole chips after a remedy that moves their thresholds, in ngspice beside the model.

    Parameters
    ----------
    net : TTFSNetwork
        Placed.
    setting : Setting
        The images are the test part of its data, chips are drawn from its seed.
    remedy : str
        Trims and threshold, joined with +; thresholds are set for the circuit's constants before.
    chips : int
        How many are simulated.
    workers : int
        ngspice processes at a time.
    progress : callable, optional
        (done, total) of chip and image pairs.

    Returns
    -------
    dataset, prediction
        Of `verify_transistors`; the mean accuracy of as many chips that the noise model predicts, with its
        95 % interval.

    Raises
    ------
    InputError
        If the remedy trains weights: other unit devices are another chip.
    """
    stages = parse(remedy)
    own = [stage for stage in stages if not shared(stage)]
    movable = all(stage == "threshold" or TRIM.fullmatch(stage) for stage in own)
    if stages != ["windows", *own] or not own or not movable:
        raise InputError(
            f"remedy {remedy!r}: chips in ngspice take trims and threshold, which leave the devices as they "
            "are; train the network first ('finetune') and give the trim alone"
        )

    def treated(net: TTFSNetwork, stages: Sequence[str], chips: Chips) -> State:
        return follow(stages, State((net,), chips), setting, lambda: None)

    base = treated(net, ["windows"], setting.noise.sample(net, 1)).net(0)

    def tune(drawn: Chips) -> list[TTFSNetwork]:
        state = treated(base, own, drawn)
        assert state.known is not None
        moved = _reachable(base, drawn, state.chips)
        return [
            shifted(state.net(k), known, [torch.as_tensor(m[k]) for m in moved])
            for k, known in enumerate(state.known)
        ]

    data = setting.data
    population = setting.noise.sample(base, POPULATION, setting.seed + 1)
    state = treated(base, own, population)
    moved = _reachable(base, population, state.chips)
    expected, _ = judge(replace(state, chips=population.moved(moved)), data, lambda: None)
    dataset = verify_transistors(
        base,
        data,
        setting.noise,
        chips=chips,
        images=None,
        workers=workers,
        seed=setting.seed,
        tune=tune,
        progress=progress,
    )
    return dataset, predicted(expected, chips, len(data.x_test), setting.seed)


def _reachable(net: TTFSNetwork, before: Chips, after: Chips | Lot) -> list[NDArray[np.float64]]:
    """What a trim moved, as far as thresholds stay in the range of the circuit: by layer, (chip, neuron)."""
    found = []
    assert isinstance(after, Chips)
    layers = zip(net.layers, rooms(net), before.layers, after.layers, strict=True)
    for layer, (low, high), was, now in layers:
        moved = now.threshold - was.threshold
        if layer.spiking:
            theta = layer.thresholds().detach().double().cpu().numpy()
            moved = np.clip(theta + moved, np.minimum(low, theta), np.maximum(high, theta)) - theta
        found.append(moved)
    return found


def predicted(accuracies: np.ndarray, chips: int, images: int, seed: int) -> dict[str, Any]:
    """Mean accuracy of so many chips, and its 95 % prediction interval.

    Parameters
    ----------
    accuracies : array (chip,)
        Of chips of the noise model under the same images.
    chips, images : int
        That are simulated; the ends are rounded outward to whole decisions.
    seed : int
    """
    rng = generator(seed, PLAN, STREAM)
    means = rng.choice(accuracies, (DRAWS, chips)).mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    step = 1.0 / (chips * images)
    ends = [float(np.floor(low / step + 1e-9) * step), float(np.ceil(high / step - 1e-9) * step)]
    return {"accuracy_predicted": float(accuracies.mean()), "accuracy_predicted_ci95": ends}


def inside(accuracy: float, prediction: dict[str, Any]) -> bool:
    """Whether an accuracy lies in the interval of `predicted`."""
    low, high = prediction["accuracy_predicted_ci95"]
    return bool(low - 1e-9 <= accuracy <= high + 1e-9)
