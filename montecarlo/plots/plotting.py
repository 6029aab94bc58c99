"""Figures from arrays and datasets. Nothing is computed here that is not also in a file.

Uses matplotlib's object interface only, in a style of its own (`montecarlo.plots.style`).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from circuits import whole_file
from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.plots.style import Axes, Figure, house_style

BLUE, ORANGE, GREEN, GRAY = "#2b6cb0", "#dd6b20", "#2f855a", "#718096"
COLORS = (BLUE, ORANGE, GREEN, "#805ad5", "#c53030", "#00838f", "#b7791f", GRAY)
Triple = tuple[float, float, float]
"""Value, and the ends of its interval."""


@house_style()
def canvas(columns: int = 1, width: float = 4.2, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A figure with one row of axes.

    Parameters
    ----------
    columns : int
    width, height : float
        Of one column [inch].
    """
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, list(axes)


@house_style()
def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all.

    Parameters
    ----------
    figure : Figure
    path : str or Path
        Its suffix chooses the format; without one it is a PNG.

    Raises
    ------
    InputError
        If the format is not known, or the place cannot be written.
    """
    buffer, kind = io.BytesIO(), Path(path).suffix[1:].lower() or "png"
    if kind not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: figures cannot be written as .{kind}; take .png or .svg")
    figure.savefig(buffer, format=kind, dpi=150)
    return whole_file.write(path, buffer.getbuffer())


@house_style()
def data_uri(figure: Figure) -> str:
    """A figure as an SVG data URI, for a page in one file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


@house_style()
def waveforms(
    time: Array, volts: Array, threshold: Array, t_min: float, t_max: float, spikes: Array
) -> Figure:
    """Membranes with their thresholds, spikes and the two windows.

    Parameters
    ----------
    time : array, shape (n,)
        [tau_c].
    volts : array, shape (n, neuron)
        [V].
    threshold : array, shape (neuron,)
        [V].
    t_min, t_max : float
        Ends of the windows [tau_c].
    spikes : array, shape (neuron,)
        [tau_c]; inf = silent. Marked on the membranes: a comparator answers after its threshold is reached.
    """
    figure, (ax,) = canvas(width=8.4, height=3.6)
    ax.axvspan(0, t_min, color=BLUE, alpha=0.12, lw=0, label="input window")
    ax.axvspan(t_min, t_max, color=ORANGE, alpha=0.14, lw=0, label="firing window")
    for k in range(volts.shape[1]):
        color = COLORS[k % len(COLORS)]
        end = spikes[k] if np.isfinite(spikes[k]) else t_max
        shown = time <= end
        ax.plot(time[shown], volts[shown, k], color=color, lw=1.3)
        ax.plot(time[~shown], volts[~shown, k], color=color, lw=0.6, alpha=0.25)
        ax.plot([t_min, t_max], [threshold[k]] * 2, color=color, lw=0.8, ls=":")
        if np.isfinite(spikes[k]):
            ax.plot(spikes[k], np.interp(spikes[k], time, volts[:, k]), "o", color=color, ms=5)
    ax.plot([], [], "k:", lw=0.8, label="threshold")
    ax.plot([], [], "ko", ms=5, label="spike")
    ax.set(xlabel="time [tau_c]", ylabel="membrane voltage [V]", xlim=(0, t_max))
    ax.legend(fontsize=7, frameon=False, loc="upper left", ncols=4)
    return figure


@house_style()
def histograms(columns: Mapping[str, tuple[Array, float, float, str]]) -> Figure:
    """One histogram a term with the fitted normal law: name -> (values, mean, std, axis label)."""
    figure, axes = canvas(len(columns), width=3.0, height=2.7)
    for ax, (name, (values, mean, std, label)) in zip(axes, columns.items(), strict=True):
        values = values[np.isfinite(values)].ravel()
        varies = std > 1e-9
        ax.hist(values, bins=30 if varies else 1, density=varies, color=BLUE, alpha=0.55)
        if varies:
            x = np.linspace(mean - 4 * std, mean + 4 * std, 200)
            ax.plot(x, stats.norm.pdf(x, mean, std), color=ORANGE, lw=1.5)
        ax.set_title(f"{name}\nsigma = {std:.4g}, n = {len(values)}", fontsize=8)
        ax.set_xlabel(label, fontsize=8)
        ax.set_yticks([])
    return figure


@house_style()
def intervals(rows: Mapping[str, Triple], label: str) -> Figure:
    """Estimates with their intervals.

    Parameters
    ----------
    rows : mapping
        Name -> (value, low, high).
    label : str
    """
    return interval_panels(list(rows), {label: list(rows.values())})


@house_style()
def interval_panels(names: Sequence[str], panels: Mapping[str, Sequence[Triple]]) -> Figure:
    """Estimates with their intervals, several quantities side by side.

    Parameters
    ----------
    names : sequence of str
        Of the rows.
    panels : mapping
        Label -> (value, low, high) of every row; what is infinite is left out.
    """
    figure, axes = canvas(len(panels), 6.0 if len(panels) == 1 else 3.6, 0.6 + 0.4 * len(names))
    for k, (ax, (label, rows)) in enumerate(zip(axes, panels.items(), strict=True)):
        for row, (value, low, high) in enumerate(rows):
            if np.isfinite(value):
                ax.plot([low, min(high, 1e3 * value)], [row, row], color=BLUE, lw=2)
                ax.plot(value, row, "o", color=BLUE)
        ax.set_yticks(range(len(names)), list(names) if k == 0 else [""] * len(names))
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlabel(label)
    return figure


@house_style()
def accuracies(groups: Mapping[str, Array], nominal: float | None, target: float | None) -> Figure:
    """Accuracy of every chip, one strip a network, with mean and quartiles.

    Parameters
    ----------
    groups : mapping
        Network -> accuracies (chip,), in [0, 1].
    nominal, target : float, optional
        Accuracy of the ReLU network, and the accuracy that a good chip reaches.
    """
    figure, (ax,) = canvas(width=8.4, height=1.0 + 0.65 * len(groups))
    spread = np.random.default_rng(0)
    for k, values in enumerate(groups.values()):
        y = k + 0.25 * (spread.random(len(values)) - 0.5)
        ax.plot(100 * values, y, ".", color=COLORS[k % len(COLORS)], alpha=0.45, ms=5)
        low, high = 100 * np.quantile(values, [0.25, 0.75])
        ax.plot([low, high], [k + 0.28] * 2, color="k", lw=2)
        ax.plot(100 * values.mean(), k + 0.28, "kD", ms=5)
    if nominal is not None:
        ax.axvline(100 * nominal, color=GRAY, lw=1, ls="--", label="ReLU network")
    if target is not None:
        ax.axvline(100 * target, color="#c53030", lw=1, ls=":", label="yield target")
    ax.set_yticks(range(len(groups)), list(groups))
    ax.invert_yaxis()
    ax.set_xlabel("accuracy [%], one dot a chip; diamond = mean, bar = middle half")
    if nominal is not None or target is not None:
        ax.legend(fontsize=7, frameon=False, loc="lower left")
    return figure


@house_style()
def over_area(scales: Array, curves: Mapping[str, Array], target: float) -> Figure:
    """Accuracy over the area of devices, one curve a remedy: mean over chips, and the worst of them.

    Parameters
    ----------
    scales : array, shape (scale,)
        Factors on the sigmas: areas are 1 / scale^2.
    curves : mapping
        Remedy -> accuracies (scale, chip) [%].
    target : float
        Accuracy that a good chip reaches [%].
    """
    figure, axes = canvas(2, width=4.6, height=4.0)
    area = 1.0 / np.square(scales)
    for k, (name, values) in enumerate(curves.items()):
        color, line = COLORS[k % len(COLORS)], ("-", "--", ":")[k // len(COLORS) % 3]
        axes[0].plot(area, values.mean(1), marker="o", label=name, ms=3, color=color, ls=line, lw=1.3)
        axes[1].plot(area, values.min(1), marker="o", ms=3, color=color, ls=line, lw=1.3)
    for ax, title in zip(axes, ("mean over chips", "worst chip"), strict=True):
        ax.axhline(target, color=GRAY, lw=1, ls=":")
        ax.set_xscale("log", base=4)
        ax.invert_xaxis()
        ax.set(xlabel="gate area of the transistors, relative", ylabel="accuracy [%]")
        ax.set_title(title, fontsize=8)
    axes[0].legend(fontsize=6, frameon=False, ncols=2, loc="lower left")
    return figure


@house_style()
def model_against_circuit(spice: Array, model: Array, low: Array, high: Array, width: float) -> Figure:
    """Spike times of the same chips: predicted against simulated, the residual, and intervals.

    Parameters
    ----------
    spice, model, low, high : array, one shape
        Simulated, predicted, and the ends of the 95 % prediction interval [tau_c]; inf = silent.
    width : float
        Firing window [tau_c].
    """
    figure, axes = canvas(3, width=3.3, height=3.0)
    both = np.isfinite(spice) & np.isfinite(model)
    residual = spice[both] - model[both]
    axes[0].plot([0, width], [0, width], color=GRAY, lw=0.8)
    axes[0].plot(spice[both], model[both], ".", color=BLUE, ms=3, alpha=0.4)
    axes[0].set(xlabel="ngspice [tau_c]", ylabel="model, same chip [tau_c]")
    axes[0].set_title("spike time after t_min", fontsize=8)
    axes[1].hist(residual, bins=40, color=BLUE, alpha=0.6)
    rms = float(np.sqrt(np.mean(residual**2))) if residual.size else 0.0
    axes[1].set(xlabel="ngspice - model [tau_c]")
    axes[1].set_title(f"residual, rms {rms:.2g} tau_c", fontsize=8)
    axes[1].xaxis.get_offset_text().set_fontsize(7)
    axes[1].locator_params(axis="x", nbins=4)
    with np.errstate(invalid="ignore", divide="ignore"):  # silent neurons have no finite place
        place = (spice - 0.5 * (low + high)) / (0.5 * (high - low))
    place = place[np.isfinite(place)]
    axes[2].hist(np.clip(place, -2, 2), bins=40, range=(-2, 2), color=GREEN, alpha=0.6)
    axes[2].axvspan(-1, 1, color=GREEN, alpha=0.08)
    axes[2].set(xlabel="place in the 95 % prediction interval")
    axes[2].set_title("ngspice chips against the fitted population", fontsize=8)
    return figure


@house_style()
def bars(groups: Mapping[str, Mapping[str, float]], label: str, scale: float = 1.0) -> Figure:
    """Stacked bars.

    Parameters
    ----------
    groups : mapping
        Group -> part -> value.
    label : str
    scale : float
        Factor of all values.
    """
    parts = list(dict.fromkeys(p for g in groups.values() for p in g))
    figure, (ax,) = canvas(width=8.4, height=0.9 + 0.5 * len(groups))
    left = np.zeros(len(groups))
    for k, part in enumerate(parts):
        values = scale * np.array([g.get(part, 0.0) for g in groups.values()])
        ax.barh(list(groups), values, left=left, color=COLORS[k % len(COLORS)], label=part)
        left += values
    ax.invert_yaxis()
    ax.set_xlabel(label)
    if len(parts) > 1:
        figure.legend(fontsize=7, frameon=False, ncols=min(len(parts), 4), loc="outside upper right")
    return figure


@house_style()
def log_bars(rows: Mapping[str, float], label: str) -> Figure:
    """Positive numbers of very different size, on a logarithmic axis.

    Parameters
    ----------
    rows : mapping
        Name -> value.
    label : str
    """
    figure, (ax,) = canvas(width=8.4, height=0.9 + 0.3 * len(rows))
    ax.barh(list(rows), [max(v, 1e-18) for v in rows.values()], color=BLUE, alpha=0.7)
    ax.set_xscale("log")
    ax.set_xlim(left=min(max(v, 1e-18) for v in rows.values()) / 3)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return figure
