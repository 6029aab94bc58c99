"""Sweeps of single neurons: a campaign in ngspice at every point, and what its spike times and energy say."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.conditions import Settings
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.statistics.intervals import mean_interval, std_interval
from montecarlo.sweeps import sweep

VARIABLES: sweep.Variables = {
    "spike_time_std": ((), "tau_c", "spread of spike times over neurons, random inputs"),
    "spike_time_std_ci95": (("bound",), "tau_c", "95 % interval of the spread"),
    "spike_time": (("sample",), "tau_c", "mean spike time of random inputs, patterns centered"),
    "energy": (("sample",), "J", "supply energy of the neuron, mean over random inputs"),
    "energy_mean": ((), "J", "mean supply energy over neurons, random inputs"),
    "energy_mean_ci95": (("bound",), "J", "95 % interval of the mean"),
    "tau_c": ((), "s", "unit of time at the operating point"),
    "silent": ((), "1", "share of random inputs without a spike"),
    "failed": ((), "1", "samples that failed"),
}


def run(
    plan: sweep.Sweep,
    folder: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Carry out a sweep of neurons; the campaign of point k stays in FOLDER/points/k.zarr.

    Parameters
    ----------
    plan : Sweep
    folder : Path
    workers : int
        ngspice processes at a time, without a scheduler.
    scheduler : str, optional
        Address of a dask scheduler.
    progress : callable, optional
        Told how many runs are done, and of how many.

    Returns
    -------
    xarray.Dataset
        The axes of the plan, and VARIABLES.

    Raises
    ------
    InputError
        If the folder holds another sweep, or cannot be written.
    """
    technology = Technology.load(plan.technology)
    campaigns = [campaign_at(plan, technology, settings) for _, settings in plan.points()]
    coords = {"sample": np.arange(plan.samples), "bound": ["low", "high"]}

    def measure(number: int, settings: Settings) -> dict[str, Any]:
        def tick(done: int, of: int) -> None:
            if progress:
                progress(number * of + done, len(campaigns) * of)

        where = folder / "points" / f"{number:05d}.zarr"
        dataset = campaigns[number].run(where, workers=workers, scheduler=scheduler, progress=tick)
        return summarize(dataset.load(), plan.entropy)

    return sweep.run(plan, folder, VARIABLES, coords, measure)


def campaign_at(plan: sweep.Sweep, technology: Technology, settings: Settings) -> Campaign:
    """The campaign of one point.

    Parameters
    ----------
    plan : Sweep
    technology : Technology
    settings : dict
        Value by axis.

    Raises
    ------
    InputError
        If the circuit cannot work at these settings.
    """
    campaign = Campaign.characterize(
        technology,
        plan.samples,
        plan.entropy,
        synapses=plan.synapses,
        law=plan.law(MismatchLaw.of(technology.mismatch)),
        settings=settings,
        design=plan.design,
    )
    return dataclasses.replace(campaign, nominal=0, trials=0)  # spreads need no constants and no jitter


def summarize(dataset: xr.Dataset, entropy: int) -> dict[str, Any]:
    """Statistics of one campaign, by variable.

    Neurons carry different weight patterns, so the spread is taken about the mean of each pattern and
    stimulus, which costs one degree of freedom a pattern: a spike that is alone in its pattern says nothing
    of it. `spike_time` of a neuron is its mean distance from these means, put about the mean of all.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization.
    entropy : int
        Seed of the bootstrap.

    Returns
    -------
    dict
        By name of VARIABLES; NaN where too few neurons fired.
    """
    random = [str(s).startswith("random_") for s in dataset["stimulus"].values]
    good = dataset["status"].values == 0
    times = dataset["spike_time"].values[:, random]
    silent = np.isinf(times[good])
    times = np.where(np.isfinite(times), times, np.nan)[good]
    group = dataset["sample"].values[good] % dataset.sizes["pattern"]
    residual = np.full_like(times, np.nan)
    for k in np.unique(group):
        group_times = times[group == k]
        seen = np.isfinite(group_times).sum(0).astype(float)
        seen[seen < 2] = np.nan
        mean = np.nansum(group_times, 0) / seen
        residual[group == k] = (group_times - mean) * np.sqrt(seen / (seen - 1))
    neuron_time = np.full(len(good), np.nan)
    with warnings.catch_warnings():  # of neurons that never fired nothing is known
        warnings.simplefilter("ignore", RuntimeWarning)
        neuron_time[good] = np.nanmean(residual, 1) + np.nanmean(times)
    energy = dataset["energy"].sum(("supply", "phase"), skipna=False).values[:, random].mean(1)
    blank = (np.nan, np.nan, np.nan)
    enough = np.isfinite(residual).sum() >= 3
    std, *std_ci = std_interval(residual, generator(entropy, PLAN, 2)) if enough else blank
    mean, *mean_ci = mean_interval(energy[good]) if good.sum() > 1 else blank
    return {
        "spike_time_std": std,
        "spike_time_std_ci95": std_ci,
        "spike_time": neuron_time,
        "energy": energy,
        "energy_mean": mean,
        "energy_mean_ci95": mean_ci,
        "tau_c": OperatingPoint.from_json(dataset.attrs["operating_point"]).tau_c,
        "silent": float(silent.mean()) if silent.size else np.nan,
        "failed": float(np.sum(~good)),
    }
