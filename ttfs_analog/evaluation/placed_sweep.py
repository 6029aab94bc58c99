r"""Sweeps of networks on transistors over corner, temperature and supply: placed once, operated anywhere.

At every point small campaigns characterize the layers there, on the network's own neurons
(`ttfs_analog.placement.rows`); chips of the noise model that they give are evaluated. Weights, thresholds,
bias currents and windows stay as the network was placed. The spread of a chip is

.. math:: \mathrm{rms}_{image,\, neuron} \left( t_i^{chip} - t_i^{perfect} \right)

of the neurons that fire on both, against the circuit without mismatch at the same point: what the point
itself does to all chips shows in the accuracy without mismatch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.errors import InputError
from montecarlo.campaign.conditions import Settings
from montecarlo.statistics.intervals import mean_interval
from montecarlo.sweeps import sweep
from ttfs_analog.data.datasets import Data
from ttfs_analog.evaluation.accuracy import accuracy_interval, evaluate
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import Progress
from ttfs_analog.noise.chips import Chips, perfect
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.placement.neurons import neurons_of, placement_of
from ttfs_analog.placement.rows import campaigns

NEURONS = 60
"""Samples of each layer's campaign: sigmas to some 9 %."""
IMAGES = 100
"""Test images that spreads are taken over."""
VARIABLES: sweep.Variables = {
    "spread": (("chip",), "tau_c", "spread of spike times"),
    "spread_mean": ((), "tau_c", "mean spread of spike times"),
    "spread_mean_ci95": (("bound",), "tau_c", "95 % interval of the mean"),
}
"""Beside those of `ttfs_analog.evaluation.network_sweep`."""


def run(
    plan: sweep.Sweep,
    folder: Path,
    net: TTFSNetwork,
    data: Data,
    variables: sweep.Variables,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Accuracy and spread of chips at every point; chip k has the same draws at all of them.

    Parameters
    ----------
    plan : Sweep
    folder : Path
        Of its results, with the campaigns of point N in pointN; what is there already is not run again.
    net : TTFSNetwork
        Placed.
    data : Data
        Calibration images of the campaigns, and test images.
    variables : dict
        Of sweeps of networks.
    workers, scheduler : optional
        ngspice processes at a time, or the address of a dask scheduler: for the campaigns.
    progress : callable, optional
        (done, total) of the runs of all campaigns.

    Raises
    ------
    InputError
        If the network is not placed on the plan's technology, or cannot be operated at a point; if the
        campaign of a point does not tell its constants, naming the point.
    """
    technology = placement_of(net)["technology"]
    if technology != plan.technology:
        raise InputError(
            f"sweep: the network is placed on {technology}; say technology = {technology!r}, not "
            f"{plan.technology!r}"
        )
    for _, settings in plan.points():  # better now than at the last point
        neurons_of(net, **settings)
    points = int(np.prod(plan.shape))

    def measure(number: int, settings: Settings) -> dict[str, Any]:
        def tick(share: float) -> None:
            if progress:
                progress(round(1000 * (number + share)), 1000 * points)

        try:
            noise = _characterized(
                plan, folder / f"point{number}", net, data, settings, workers, scheduler, tick
            )
            chips = noise.sample(net, plan.samples, plan.entropy)
        except InputError as error:
            where = ", ".join(f"{axis} {value}" for axis, value in settings.items())
            raise InputError(f"sweep, at {where}: {error}") from None
        return _evaluated(net, data, chips)

    coords = {"chip": np.arange(plan.samples), "bound": ["low", "high"]}
    return sweep.run(plan, folder, {**variables, **VARIABLES}, coords, measure)


def _characterized(
    plan: sweep.Sweep,
    folder: Path,
    net: TTFSNetwork,
    data: Data,
    settings: Settings,
    workers: int,
    scheduler: str | None,
    tick: Callable[[float], None],
) -> LayeredNoise:
    """The noise model of the network's layers at one point."""
    fitted = []
    folder.mkdir(parents=True, exist_ok=True)
    made = campaigns(net, data.x_train, NEURONS, plan.entropy, **settings)
    for n, campaign in enumerate(made):

        def each(done: int, total: int, n: int = n) -> None:
            tick((n + done / total) / len(made))

        stored = campaign.run(folder / f"layer{n}", workers=workers, scheduler=scheduler, progress=each)
        fitted.append(NoiseModel.fit(stored, plan.entropy))
    return LayeredNoise(tuple(fitted), net.provenance()["network"])


def _evaluated(net: TTFSNetwork, data: Data, chips: Chips) -> dict[str, Any]:
    """Values of one point by variable."""
    result = evaluate(net, data, chips)
    accuracy, spread = result["accuracy"].values, spreads(net, data.x_test[:IMAGES], chips)
    values: dict[str, Any] = {"nominal_accuracy": float((result["nominal"] == result["label"]).mean())}
    of_accuracy = accuracy_interval(accuracy, result.sizes["image"])
    columns = (("accuracy", accuracy, of_accuracy), ("spread", spread, mean_interval(spread)))
    for name, by_chip, (mean, low, high) in columns:
        values |= {name: by_chip, f"{name}_mean": mean, f"{name}_mean_ci95": (low, high)}
    return values


@torch.no_grad()
def spreads(net: TTFSNetwork, x: torch.Tensor, chips: Chips) -> np.ndarray:
    """How far spikes of chips lie from those of a perfect one, rms, shape (chip,) [tau_c].

    Parameters
    ----------
    net : TTFSNetwork
    x : Tensor, shape (image, n_in)
        Activations [tau_c].
    chips : Chips
        Without jitter they would be the same in every trial, and are here.
    """
    x = x.to(net.like)
    spiking = [n for n, layer in enumerate(net.layers) if layer.spiking]
    nominal = net.trace(x, perfect(net, chips.constants))
    result = []
    for chip in chips:
        active = net.trace(x, chip.deviations(x))
        apart = [
            (active[n][0] - nominal[n])[(active[n][0] > 0) & (nominal[n] > 0)].flatten() for n in spiking
        ]
        result.append(float(torch.cat(apart).square().mean().sqrt()))
    return np.array(result)
