"""Predicted against simulated spike times, group by group, for several predictions side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from circuits.model.layer import Array
from montecarlo.plots.plotting import COLORS, GRAY, canvas
from montecarlo.plots.style import Figure, house_style


@house_style()
def predictions(panels: Mapping[str, Array], simulated: Array, groups: Array) -> Figure:
    """One panel a prediction, all on the same axes; spikes of one side only are left out.

    Parameters
    ----------
    panels : mapping
        Name -> predicted spike times, shape (..., neuron) [tau_c]; inf = silent.
    simulated : array, shape (..., neuron)
        [tau_c]; inf = silent.
    groups : array, shape (neuron,)
        Layer of each neuron.
    """
    figure, axes = canvas(len(panels), width=4.2, height=3.7)
    finite = simulated[np.isfinite(simulated)]
    end = float(finite.max()) if finite.size else 1.0
    for ax, (name, predicted) in zip(axes, panels.items(), strict=True):
        ax.plot([0, end], [0, end], color=GRAY, lw=0.8)
        notes = []
        for k, group in enumerate(np.unique(groups)):
            x, y = simulated[..., groups == group].ravel(), predicted[..., groups == group].ravel()
            both = np.isfinite(x) & np.isfinite(y)
            rms = float(np.sqrt(np.mean((x[both] - y[both]) ** 2))) if both.any() else 0.0
            notes.append(f"layer {group}: {rms:#.2g}")
            color = COLORS[k % len(COLORS)]
            ax.plot(x[both], y[both], ".", color=color, ms=4, alpha=0.5, label=f"layer {group}")
        ax.set(xlabel="ngspice [tau_c]", ylabel="predicted [tau_c]")
        ax.set_title(f"{name}\nrms [tau_c]: {', '.join(notes)}", fontsize=8)
        ax.legend(fontsize=7, frameon=False, loc="upper left")
    return figure
