"""Accuracy over chips, and yield: the share of chips that reach a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.errors import InputError
from montecarlo.campaign.schema import package_version, with_units
from montecarlo.statistics.intervals import mean_interval, proportion_interval
from ttfs_analog.data.inputs import pair_for
from ttfs_analog.network.decision import REJECTED, classes
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips, perfect
from ttfs_analog.noise.lot import Lot
from ttfs_analog.training.training import Progress

SCHEMA = "ttfs-analog/evaluation/1"
ELEMENTS = 4_000_000
"""Elements of the largest activation tensor."""
BY_CHIP = ("accuracy", "rejected", "spikes_per_neuron", "early", "silent")
"""Columns of the table of an evaluation."""
ROUNDING = 1e-9
"""Of a target that is a difference: a chip that just reaches it counts."""


@torch.no_grad()
def evaluate(
    net: TTFSNetwork, data: Any, chips: Chips | Lot, *, progress: Progress | None = None
) -> xr.Dataset:
    """Run a network on many chips.

    Parameters
    ----------
    net : TTFSNetwork
    data : Data, loader, or (x, y)
        Of a Data the test part, in [0, 1]; others as `ttfs_analog.conversion.mapping.convert` takes them.
    chips : Chips or Lot
        Drawn for this network. Of a Lot a few are held at a time, and of every chip only what it decided.
    progress : callable, optional
        (done, total) of the chips.

    Returns
    -------
    xarray.Dataset
        `accuracy` (chip), `predicted` (chip, image), `label` (image), `nominal` (image): the class
        without deviations, `spikes_per_neuron`, `early` and `silent` (chip): shares of hidden
        neurons that fired at t_min or not at all. A class of -1 is that of an image that no output
        fired for; `rejected` (chip): their share.

    Raises
    ------
    InputError
        If the data are not the network's (`ttfs_analog.data.inputs`), or the chips are another's.
    """
    x, y = pair_for(net, data)
    chips.require_fit(net)
    widest = max(layer.n_out for layer in net.layers)
    some = max(1, min(len(x), ELEMENTS // widest))  # images at a time
    synapses = max(layer.n_out * layer.weight[0].numel() for layer in net.layers)
    step = max(1, ELEMENTS // max(widest * some, synapses))
    predicted = np.empty((len(chips), len(x)), np.int16)
    count = len(x) * sum(layer.n_out for layer in net.layers[:-1]) or 1
    early, silent = np.zeros(len(chips), np.int64), np.zeros(len(chips), np.int64)
    for k, some_chips in zip(range(0, len(chips), step), chips.blocks(step), strict=True):
        part = slice(k, k + step)
        devices = some_chips.model(x)
        for first in range(0, len(x), some):
            images = slice(first, first + some)
            *hidden, logits = net.trace(x[images], devices)
            predicted[part, images] = classes(logits, net.read_out).cpu().numpy()
            for h, window in zip(hidden, net.windows[: len(hidden)], strict=True):
                early[part] += (h >= window).sum((1, 2)).cpu().numpy()
                silent[part] += (h <= 0).sum((1, 2)).cpu().numpy()
        if progress:
            progress(min(k + step, len(chips)), len(chips))
    label = y.cpu().numpy()
    circuit = None if all(c.ideal for c in chips.constants) else perfect(net, chips.constants)
    nominal = torch.cat([classes(net(part, circuit), net.read_out) for part in x.split(some)]).cpu().numpy()
    mean, low, high = accuracy_interval((predicted == label).mean(1), len(label))
    data_vars = {
        "accuracy": ("chip", (predicted == label).mean(1), "share of right classes"),
        "accuracy_mean": ((), mean, "mean accuracy over chips"),
        "accuracy_ci95": ("bound", [low, high], "95 % interval of the mean over chips"),
        "predicted": (("chip", "image"), predicted, "class; -1: no output fired"),
        "rejected": ("chip", (predicted == REJECTED).mean(1), "share of images that no output fired for"),
        "label": ("image", label, "true class"),
        "nominal": ("image", nominal, "class without deviations"),
        "spikes_per_neuron": (
            "chip",
            (1.0 - silent / count) * (len(net.layers) > 1),
            "spikes per hidden neuron and image",
        ),
        "early": ("chip", early / count, "share of hidden neurons that fired at t_min"),
        "silent": ("chip", silent / count, "share of hidden neurons that did not fire"),
    }
    attrs = {"schema": SCHEMA, "entropy": chips.entropy, "law": chips.law, **net.provenance()}
    return with_units(
        xr.Dataset(
            {k: (d, v, {"units": "1", "long_name": n}) for k, (d, v, n) in data_vars.items()},
            {"chip": list(chips.numbers)},
            {**attrs, "package_version": package_version()},
        )
    )


def accuracy_interval(per_chip: np.ndarray, images: int) -> tuple[float, float, float]:
    """Mean accuracy with its 95 % interval over chips, in [0, 1]; of one chip all of it.

    Parameters
    ----------
    per_chip : array, shape (chip,)
    images : int
        That each accuracy is counted over.

    Returns
    -------
    mean, low, high
    """
    mean, low, high = mean_interval(per_chip, step=1 / images)
    return mean, max(low, 0.0), min(high, 1.0)


def check_target(target: float) -> float:
    """Pass a yield target through; InputError if it is no accuracy in [0, 1]."""
    if not 0 <= target <= 1:
        raise InputError(f"the yield target is an accuracy in [0, 1], got {target}")
    return target


def yield_of(per_chip: np.ndarray, target: float) -> tuple[float, tuple[float, float]]:
    """Share of chips that reach a target, with its 95 % interval (Clopper-Pearson).

    Parameters
    ----------
    per_chip : array, shape (chip,)
    target : float
        Least accuracy of a good chip.
    """
    good = int(np.sum(per_chip >= target - ROUNDING))
    return good / len(per_chip), proportion_interval(good, len(per_chip))


def table(dataset: xr.Dataset, columns: Sequence[str] = BY_CHIP) -> str:
    """One row a chip and condition, as CSV.

    Parameters
    ----------
    dataset : Dataset
        Of `evaluate`, a sweep or a comparison.
    columns : sequence of str
        Variables of one shape; their dims come before them.
    """
    return str(dataset[list(columns)].to_dataframe().to_csv(lineterminator="\n"))


def summarize(result: xr.Dataset, target: float) -> dict[str, Any]:
    """Mean accuracy with its interval over chips, yield with its Clopper-Pearson interval, and rejections.

    Parameters
    ----------
    result : Dataset
        Of `evaluate`.
    target : float
        Yield is the share of chips of at least this accuracy, in [0, 1].

    Raises
    ------
    InputError
        If the target is not in [0, 1].
    """
    check_target(target)
    per_chip = result["accuracy"].values
    mean, low, high = accuracy_interval(per_chip, result.sizes["image"])
    share, between = yield_of(per_chip, target)
    return {
        "accuracy": {
            "mean": mean,
            "std": float(per_chip.std(ddof=1)) if len(per_chip) > 1 else 0.0,
            "ci95": [low, high],
            "min": float(per_chip.min()),
            "per_chip": per_chip.tolist(),
        },
        "yield": {
            "target": target,
            "value": share,
            "ci95": list(between),
        },
        "rejected": float(result["rejected"].mean()) if "rejected" in result else 0.0,
    }
