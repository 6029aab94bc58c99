"""One picture of a finished demo: membranes in ngspice, and accuracy over chips.

python examples/plot_demo.py demo demo.png
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr

from montecarlo.plots.plotting import COLORS, canvas, save


def main(folder: Path, out: Path) -> Path:
    """Draw the picture from the demo's files."""
    figure, (left, right) = canvas(2, width=5.2, height=3.2)
    with xr.open_dataset(folder / "waveforms.nc") as ds:
        t_min, t_max = ds.attrs["t_min"], ds.attrs["t_max"]
        left.axvspan(0, t_min, color=COLORS[0], alpha=0.07)
        left.axvspan(t_min, t_max, color=COLORS[1], alpha=0.09)
        for k in range(ds.sizes["neuron"]):
            one, color = ds.isel(neuron=k), COLORS[k]
            spike = float(one["spike_time"])
            shown = ds["time"].values <= min(spike, t_max)
            left.plot(ds["time"][shown], one["volts"][shown], color=color, lw=1.3)
            if np.isfinite(spike):
                left.plot(spike, float(one["threshold"]), "o", color=color, ms=4)
        left.axhline(float(ds["threshold"].mean()), color="k", lw=0.8, ls=":")
    left.set(xlabel="time [tau_c]", ylabel="membrane [V]", xlim=(0, t_max))
    left.set_title("six neurons of one mismatched chip, ngspice", fontsize=9)
    labels = {
        "1_before": "mapped",
        "2_windows": "shorter windows",
        "3_control": "fine-tuned, no mismatch",
        "4_tuned": "fine-tuned for mismatch",
    }
    for k, (file, label) in enumerate(labels.items()):
        with xr.open_dataset(folder / f"evaluation_{file}.nc") as ds:
            values, relu = np.sort(100 * ds["accuracy"].values), 100 * float(ds["relu_accuracy"])
        right.plot(values, np.linspace(0, 1, len(values)), color=COLORS[k], label=label)
    right.axvline(relu, color="k", lw=0.8, ls="--", label="ReLU network")
    right.set(xlabel="accuracy [%]", ylabel="share of chips below")
    right.set_title(f"{len(values)} chips each, drawn from the fitted noise model", fontsize=9)
    right.legend(fontsize=7, frameon=False, loc="upper left")
    return save(figure, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
