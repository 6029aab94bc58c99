r"""Sweeps of networks: the same chips at every point of a grid, here or on the workers of a scheduler.

Of a noise model of transistors `size` is a factor on the area of the gates; constants and energies stay those
of the cells that were measured, and

.. math:: \sigma \propto 1 / \sqrt{size}

but for capacitors (Pelgrom et al., IEEE JSSC 24, 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL
from circuits.pdk.technology import Technology
from montecarlo.campaign.conditions import Settings, law_at
from montecarlo.campaign.dask_cluster import remote
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.sweeps import sweep
from ttfs_analog.constraints.constraints import WeightBits
from ttfs_analog.data import datasets
from ttfs_analog.data.network_data import load_network
from ttfs_analog.evaluation import placed_sweep
from ttfs_analog.evaluation.accuracy import accuracy_interval, check_target, evaluate, yield_of
from ttfs_analog.network.constrain import constrain
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import Progress
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.lot import Lot
from ttfs_analog.noise.noise_model import Noise, NoiseModel

VARIABLES: sweep.Variables = {
    "accuracy": (("chip",), "1", "share of right classes"),
    "accuracy_mean": ((), "1", "mean accuracy over chips"),
    "accuracy_mean_ci95": (("bound",), "1", "95 % interval of the mean"),
    "nominal_accuracy": ((), "1", "accuracy without mismatch"),
}


def run(
    plan: sweep.Sweep,
    folder: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Accuracy over chips at every point; chip k is the same at all of them.

    Parameters
    ----------
    plan : Sweep
    folder : Path
        Of its results; what is there already is not run again.
    workers : int
        ngspice processes at a time, for networks on transistors (`ttfs_analog.evaluation.placed_sweep`).
    scheduler : str, optional
        Address of a dask.distributed scheduler: its workers take a point each. They get the network from
        here and the images from their own dataset of that name.
    progress : callable, optional
        (done, total) of the chips at all points.
    """
    net, data = load_network(plan.network, plan.data or None)
    if plan.placed:
        return placed_sweep.run(
            plan, folder, net, data, VARIABLES, workers=workers, scheduler=scheduler, progress=progress
        )
    noise = NoiseModel.load(plan.noise) if plan.noise else None
    if noise:
        noise = noise.extrapolated() if plan.extrapolate else noise
        _check(plan, net, noise, data)
    task = partial(_measure, plan, net, noise, data.name)
    total = plan.samples * int(np.prod(plan.shape))

    def here(number: int, settings: Settings) -> dict[str, Any]:
        def tick(done: int, _: int) -> None:
            if progress:
                progress(number * plan.samples + done, total)

        return task(number, tick)

    def there(todo: list[int]) -> Generator[tuple[int, dict[str, Any]], None, None]:
        done = total - plan.samples * len(todo)
        for point in remote(str(scheduler), task, todo):
            yield point
            done += plan.samples
            if progress:
                progress(done, total)

    coords = {"chip": np.arange(plan.samples), "bound": ["low", "high"]}
    return sweep.run(plan, folder, VARIABLES, coords, here, there if scheduler else None)


def _check(plan: sweep.Sweep, net: TTFSNetwork, noise: Noise, data: datasets.Data) -> None:
    """Refuse before any point what a noise model does not describe."""
    if _of_transistors(noise) and (axes := [k for k, _ in plan.axes if k not in ("size", "window", "bits")]):
        raise InputError(
            f"sweep: {axes[0]}: the spread of transistors follows from their area; sweep size, window or bits"
        )
    for _, settings in plan.points():
        noise.check_range(network_at(net, data, settings, plan.entropy))


def _of_transistors(noise: Noise) -> bool:
    return any(model.units is not None for model in noise.sets)


def _measure(
    plan: sweep.Sweep,
    net: TTFSNetwork,
    noise: Noise | None,
    data: str,
    number: int,
    tick: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Point `number` of a sweep: the accuracy of every chip, by variable."""
    _, settings = list(plan.points())[number]
    images = _images(data, net.like.dtype)
    made = network_at(net, images, settings, plan.entropy)
    shrunk = dict(settings)
    if noise:
        if _of_transistors(noise):  # capacitors keep their size, see NoiseSet.scaled
            noise = noise.scaled(shrunk.pop("size", 1.0) ** -0.5)
        about = [noise.of(n).of_layer(layer.spiking) for n, layer in enumerate(made.layers)]
    else:
        base = MismatchLaw.of(Technology.load(plan.technology).mismatch)
        about = [(base, IDEAL, 0.0)] * len(made.layers)
    laws, constants, jitter = zip(*about, strict=True)
    laws = tuple(law_at(shrunk, plan.law(base)) for base in laws)
    chips = Lot(
        lambda numbers: Chips.draw(laws, made, numbers, plan.entropy, constants, jitter),
        tuple(range(plan.samples)),
    )
    result = evaluate(made, images, chips, progress=tick)
    accuracy = result["accuracy"].values
    mean, low, high = accuracy_interval(accuracy, result.sizes["image"])
    return {
        "accuracy": accuracy,
        "accuracy_mean": mean,
        "accuracy_mean_ci95": (low, high),
        "nominal_accuracy": float((result["nominal"] == result["label"]).mean()),
    }


@lru_cache(maxsize=1)
def _images(data: str, dtype: torch.dtype) -> datasets.Data:
    """One dataset a process."""
    return datasets.load(data, dtype=dtype)


def network_at(net: TTFSNetwork, data: datasets.Data, settings: Settings, seed: int) -> TTFSNetwork:
    """The network of one point.

    Parameters
    ----------
    net : TTFSNetwork
    data : Data
        Calibration inputs.
    settings : dict
        `bits` of the weights (0: as they are), factor `window` of its windows; both optional.
    seed : int
        Of the constraints, if it has none yet.

    Raises
    ------
    InputError
        If `bits` is no whole number that `WeightBits` takes.
    """
    made, bits = net.clone(), settings.get("bits", 0)
    if bits:
        if bits != int(bits):
            raise InputError(f"sweep: bits must be whole numbers, got {bits}")
        present = made.constraints.parts if made.constraints else ()
        parts = [*(p for p in present if not isinstance(p, WeightBits)), WeightBits(int(bits))]
        made = constrain(made, data.x_train, parts, made.constraints.seed if made.constraints else seed)
    if "window" in settings:
        made.set_windows([settings["window"] * w for w in made.windows])
        made.rescale(data.x_train)
    return made


def with_yield(result: xr.Dataset, target: float | None) -> xr.Dataset:
    """The same with the yield of every point.

    Parameters
    ----------
    result : Dataset
        Of a sweep of a network.
    target : float, optional
        Yield is the share of chips of at least this accuracy; default: the best accuracy without mismatch of
        all points, less 0.01.

    Returns
    -------
    Dataset
        With `yield` and `yield_ci95` (Clopper-Pearson); attribute `target`.
    """
    best = float(result["nominal_accuracy"].max())
    target = max(best - 0.01, 0.0) if target is None else check_target(target)
    per_chip = result["accuracy"].transpose(..., "chip")
    places = per_chip.dims[:-1]
    rows = [yield_of(values, target) for values in per_chip.values.reshape(-1, per_chip.sizes["chip"])]
    shape = per_chip.shape[:-1]
    share = np.array([value for value, _ in rows]).reshape(shape)
    between = np.array([ends for _, ends in rows]).reshape(*shape, 2)
    about = {"units": "1", "long_name": f"yield, chips of {100 * target:.1f} % or more"}
    return result.assign(
        {"yield": (places, share, about), "yield_ci95": ((*places, "bound"), between, about)}
    ).assign_attrs(target=target)
