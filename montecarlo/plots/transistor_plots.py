"""Figures of a transistor-level characterization, from its dataset on disk and its summary."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from montecarlo.extraction.from_operating_points import predict, systematic
from montecarlo.plots.plotting import BLUE, GRAY, GREEN, ORANGE, canvas

SHOWN = {
    "synapse_source": "sources, W = 1",
    "synapse_sink": "sinks, W = 1",
    "slope": "slope",
    "threshold": "threshold",
    "delay": "delay",
    "jitter": "jitter",
}


def overview(dataset: xr.Dataset, summary: dict[str, Any]) -> Figure:
    """Spike times against their prediction, the size of every term, the energy by supply and phase."""
    figure, (left, middle, right) = canvas(3, width=3.9, height=3.3)
    good = dataset.isel(sample=dataset["status"].values == 0)
    constants = systematic(dataset)
    time = good["spike_time"].values
    known, alone = predict(good, constants), predict(good, constants, frozen=False)
    left.plot(alone.ravel(), time.ravel(), ".", ms=3, color=GRAY, alpha=0.5, label="no neuron deviates")
    left.plot(known.ravel(), time.ravel(), ".", ms=3, color=BLUE, label="from operating points")
    ends = [np.nanmin(known), np.nanmax(known)]
    left.plot(ends, ends, color=ORANGE, lw=0.8)
    left.set(xlabel="predicted [tau_c]", ylabel="transient [tau_c]", title="spike time")
    left.legend(fontsize=7, frameon=False)
    terms = {label: summary["terms"][key] for key, label in SHOWN.items() if summary["terms"][key]["std"]}
    place = np.arange(len(terms))[::-1]
    std = np.array([t["std"] for t in terms.values()])
    error = np.abs(np.array([t["std_ci"] for t in terms.values()]).T - std)
    middle.barh(place, 100 * std, xerr=100 * error, color=BLUE, ecolor=GRAY, height=0.6)
    middle.set_yticks(place, list(terms))
    middle.set(xlabel="standard deviation [%], 95 % interval", title="one neuron to the next")
    energy = good["energy"].mean(("sample", "stimulus")) * 1e15
    base = np.zeros(energy.sizes["supply"])
    for phase, color in zip(energy["phase"].values, (BLUE, GREEN), strict=True):
        part = energy.sel(phase=phase).values
        right.bar(
            [str(d) for d in energy["supply"].values], part, bottom=base, color=color, label=f"{phase} window"
        )
        base = base + part
    right.set(ylabel="energy [fJ]", title="a neuron and inference")
    right.legend(fontsize=7, frameon=False)
    figure.suptitle(
        f"{summary['technology']}, {summary['corner']}, {summary['temperature']:g} C: "
        f"{summary['n_samples']} neurons",
        fontsize=9,
    )
    return figure
