"""Figures of `ttfs_analog.training.diagnostics`, from its datasets alone.

Source: laid out as Figs. 2 and 3 of Stanojevic et al., Nat. Commun. 2024.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from montecarlo.plots.plotting import BLUE, GRAY, GREEN, ORANGE, canvas
from montecarlo.plots.style import Figure, FixedLocator, NullLocator, house_style

RED = "#c53030"
LINEAR = 1.5
"""The complex plane is to scale up to here, and logarithmic beyond: alpha1 needs both."""
STYLES: dict[str, dict[str, Any]] = {
    "relu": {"color": BLUE, "lw": 3.5, "alpha": 0.45, "label": "ReLU"},
    "b1": {"color": GREEN, "lw": 1.2, "ls": "--", "label": "B1"},
    "alpha1": {"color": ORANGE, "lw": 1.4, "label": "alpha1, smart initialization"},
}


@house_style()
def spectrum(dataset: xr.Dataset) -> Figure:
    """Eigenvalues of Jacobians in the complex plane with the unit circle, one panel a case or layer.

    Parameters
    ----------
    dataset : Dataset
        Of `initial_spectrum` (the first seed is shown) or `jacobian_spectrum`.
    """
    if "seed" in dataset.dims:
        dataset = dataset.isel(seed=0)
    (along,) = (d for d in dataset.eigenvalue_real.dims if d != "eigenvalue")
    figure, axes = canvas(dataset.sizes[along], width=3.2, height=3.5)
    top = max(2.0, 1.3 * float(dataset.spectral_radius.max()))
    linear = LINEAR if top > 4 else top
    turn = np.linspace(0, 2 * np.pi, 400)
    for ax, name in zip(axes, dataset[along].values, strict=True):
        one = dataset.sel({along: name})
        ax.plot(one.eigenvalue_real, one.eigenvalue_imag, ".", color=BLUE, ms=3, alpha=0.6)
        ax.plot(np.cos(turn), np.sin(turn), color=RED, lw=1)
        for axis, set_scale, limit in (
            (ax.xaxis, ax.set_xscale, ax.set_xlim),
            (ax.yaxis, ax.set_yscale, ax.set_ylim),
        ):
            ticks = [-1.0, 0.0, 1.0]
            if top > linear:
                set_scale("symlog", linthresh=linear, linscale=1.5)
                ticks += [s * 10.0**k for k in range(1, 1 + int(np.log10(top))) for s in (-1, 1)]
            limit(-top, top)
            axis.set_major_locator(FixedLocator(sorted(ticks)))
            axis.set_minor_locator(NullLocator())
        ax.set_aspect("equal", adjustable="box")
        ax.set(xlabel="real part", ylabel="imaginary part")
        ax.set_title(
            f"{name if along == 'case' else f'layer {name}'}: radius {float(one.spectral_radius):.3g},\n"
            f"{float(one.share_outside):.1%} outside, B <= 0 in {float(one.share_unusable):.1%}",
            fontsize=8,
        )
    return figure


@house_style()
def trajectories(dataset: xr.Dataset) -> Figure:
    """Training accuracy, and cosine similarity with the ReLU weights, against the training step."""
    figure, (left, right) = canvas(2, width=4.4, height=3.2)
    for name, style in STYLES.items():
        left.plot(dataset.step, 100 * dataset.accuracy.sel(network=name), marker=".", ms=3, **style)
        if name in dataset.snn:
            right.plot(dataset.step, dataset.cosine.sel(snn=name), marker=".", ms=3, **style)
    left.set(ylabel="training accuracy [%]")
    right.set(ylabel="cosine similarity with ReLU weights")
    low = float(dataset.cosine.min())
    right.set_ylim(1 - 1.1 * max(1 - low, 1e-6), 1 + 0.1 * max(1 - low, 1e-6))
    right.ticklabel_format(axis="y", useOffset=False)
    step = dataset.attrs["diverged_step"]
    for ax in (left, right):
        ax.set_xlabel("training step")
        ax.set_xlim(0, float(dataset.step.max()))
        if step >= 0:
            if step < 0.05 * float(dataset.step.max()):
                ax.set_xscale("symlog", linthresh=1)
                ax.xaxis.set_minor_locator(NullLocator())
            ax.axvline(step, color=RED, lw=1, ls=":")
            last = dataset.cosine.sel(snn="alpha1").dropna("step").step[-1]
            y = (
                dataset.cosine.sel(snn="alpha1")
                if ax is right
                else 100 * dataset.accuracy.sel(network="alpha1")
            )
            ax.plot(
                step, float(y.sel(step=last)), "x", color=RED, ms=7, label=f"alpha1 diverges, step {step}"
            )
    left.legend(fontsize=7, frameon=False, loc="lower right")
    recipe = json.loads(dataset.attrs["recipe"])
    how = f"{recipe['optimizer']}, learning rate {recipe['lr']:g}, batch {recipe['batch']}"
    left.set_title(f"{dataset.attrs['data']}, {how}", fontsize=8, color=GRAY)
    right.set_title(dataset.attrs["diverged_reason"], fontsize=8, color=RED)
    return figure
