"""Figures of a characterization, from its dataset on disk and the spreads of its terms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.prediction import only_complete, spike_times, weights_of
from montecarlo.plots.plotting import BLUE, GRAY, GREEN, ORANGE, canvas
from montecarlo.plots.style import Figure, house_style


@house_style()
def overview(dataset: xr.Dataset, terms: Mapping[str, tuple[float, float, float]]) -> Figure:
    """Spike times against their prediction, the size of every term, the energy by supply and phase.

    Parameters
    ----------
    dataset : xarray.Dataset
        A complete characterization.
    terms : mapping
        Name -> (standard deviation, its interval's ends).
    """
    figure, (left, middle, right) = canvas(3, width=3.9, height=3.3)
    good = dataset.isel(sample=dataset["status"].values == 0)
    good, devices, _ = only_complete(good, extract(good))
    random = np.array([str(s).startswith("random_") for s in good["stimulus"].values])
    weights, time = weights_of(good), good["spike_time"].values[:, random]
    known = spike_times(good, weights, devices.mismatch, devices.constants)[:, random]
    alone = spike_times(good, weights, None, devices.constants)[:, random]
    left.plot(alone.ravel(), time.ravel(), ".", ms=3, color=GRAY, alpha=0.5, label="no neuron deviates")
    left.plot(known.ravel(), time.ravel(), ".", ms=3, color=BLUE, label="each neuron's devices known")
    finite = known[np.isfinite(known)]
    left.plot([finite.min(), finite.max()], [finite.min(), finite.max()], color=ORANGE, lw=0.8)
    left.set(xlabel="predicted [tau_c]", ylabel="ngspice [tau_c]", title="spike time")
    left.legend(fontsize=7, frameon=False)
    place = np.arange(len(terms))[::-1]
    std, low, high = np.array(list(terms.values())).T
    middle.barh(
        place, 100 * std, xerr=100 * np.abs([std - low, high - std]), color=BLUE, ecolor=GRAY, height=0.6
    )
    middle.set_yticks(place, list(terms))
    middle.set(xlabel="standard deviation [%], 95 % interval", title="one neuron to the next")
    energy = good["energy"].mean(("sample", "stimulus")) * 1e15
    base = np.zeros(energy.sizes["supply"])
    for phase, color in zip(energy["phase"].values, (BLUE, GREEN), strict=True):
        part = energy.sel(phase=phase).values
        supplies = [str(d) for d in energy["supply"].values]
        right.bar(supplies, part, bottom=base, color=color, label=f"{phase} window")
        base = base + part
    right.set(ylabel="energy [fJ]", title="a neuron and inference")
    right.legend(fontsize=7, frameon=False)
    figure.suptitle(f"{dataset.attrs['technology']}: {good.sizes['sample']} neurons", fontsize=9)
    return figure
