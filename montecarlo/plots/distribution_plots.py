"""Figures of how things vary: histogram, Q-Q, convergence, attribution, sweep curves, strips.

Like `montecarlo.plots.plotting` they take arrays and datasets that are also in a file, and give a Figure.
Values that are not finite are left out of the drawing and counted in its title.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import stats

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.plots.drawing import both
from montecarlo.plots.plotting import BLUE, COLORS, GRAY, GREEN, ORANGE, canvas, save
from montecarlo.plots.style import Axes, Figure, house_style
from montecarlo.statistics.goodness_of_fit import LEAST, tails
from montecarlo.statistics.moments import LEVEL, varies

FITTED = 20_000
"""Student's t is fitted to this many values at most: what a histogram can show."""
LINE = 36
"""Letters of a label's line."""
SHOWN = 12
"""Devices with a bar of their own; the others share one."""


def save_both(figure: Figure, stem: str | Path) -> list[Path]:
    """Write STEM.png and STEM.svg.

    Parameters
    ----------
    figure : Figure
    stem : str or Path
        Path without suffix.
    """
    return [save(figure, file) for file in both(stem)]


def _good(values: Array) -> tuple[Array, str]:
    """The finite values, and what to say about the others."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    good = flat[np.isfinite(flat)]
    failed, silent = int(np.isnan(flat).sum()), int(np.isinf(flat).sum())
    note = f"n = {len(good)}"
    note += f", {failed} failed" if failed else ""
    return good, note + (f", {silent} silent" if silent else "")


@house_style()
def _axes(ax: Axes | None) -> tuple[Figure, Axes]:
    """The figure to draw in: a new one, unless axes of one are given."""
    if ax is not None and isinstance(owner := ax.figure, Figure):
        return owner, ax
    figure, (new,) = canvas()
    return figure, new


def _folded(label: str) -> str:
    """A label in lines that fit the height of a figure."""
    return textwrap.fill(label, LINE)


def _title(ax: Axes, *lines: str) -> None:
    ax.set_title("\n".join(line for line in lines if line), fontsize=8)


def _empty(ax: Axes, good: Array, least: int = 2) -> bool:
    if len(good) >= least and varies(good):
        return False
    text = "too few values" if len(good) < least else f"all values are {good[0]:.6g}"
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, fontsize=8, color=GRAY)
    return True


@house_style()
def histogram(values: Array, label: str, title: str = "", ax: Axes | None = None) -> Figure:
    """Density with the normal law of the same moments and, where its tails are heavier, Student's t.

    Parameters
    ----------
    values : array
        NaN = failed, inf = silent; both are counted in the title.
    label : str
        With unit.
    title : str
    ax : Axes, optional
        None: a new figure.
    """
    figure, ax = _axes(ax)
    good, note = _good(values)
    ax.set_xlabel(label)
    if _empty(ax, good, LEAST):
        _title(ax, title, note)
        return figure
    mean, std = good.mean(), good.std(ddof=1)
    ax.hist(good, bins=min(max(int(np.sqrt(len(good))), 10), 60), density=True, color=BLUE, alpha=0.5)
    x = np.linspace(min(good.min(), mean - 4 * std), max(good.max(), mean + 4 * std), 300)
    ax.plot(x, stats.norm.pdf(x, mean, std), color=ORANGE, lw=1.5, label="normal")
    fit = tails(good[:FITTED])
    if fit.p < 0.01:
        scale = std * np.sqrt(max(1 - 2 / fit.freedom, 0.05))
        law = stats.t(fit.freedom, np.median(good), scale)
        ax.plot(x, law.pdf(x), color=GREEN, lw=1.2, ls="--", label=f"Student t, {fit.freedom:.3g}")
    ax.legend(fontsize=7, frameon=False)
    ax.set_yticks([])
    _title(ax, title, f"mean {mean:.4g}, sigma {std:.4g}, {note}")
    return figure


@house_style()
def qq(values: Array, label: str, title: str = "", ax: Axes | None = None, level: float = LEVEL) -> Figure:
    """Ordered values against normal quantiles; the band is where each would lie with chance `level`.

    Parameters
    ----------
    values : array
        NaN = failed, inf = silent; both are counted in the title.
    label : str
        With unit.
    title : str
    ax : Axes, optional
        None: a new figure.
    level : float
        In (0, 1).

    Source: order statistics of uniforms are Beta(k, n + 1 - k).
    """
    figure, ax = _axes(ax)
    good, note = _good(values)
    ax.set(xlabel="normal quantile", ylabel=label)
    _title(ax, title, note)
    if _empty(ax, good, LEAST):
        return figure
    x, n = np.sort(good), len(good)
    mean, std = x.mean(), x.std(ddof=1)
    k = np.arange(1, n + 1)
    z = stats.norm.ppf((k - 0.375) / (n + 0.25))  # Blom's plotting positions
    tail = (1 - level) / 2
    low, high = (stats.norm.ppf(stats.beta.ppf(p, k, n + 1 - k)) for p in (tail, 1 - tail))
    ax.fill_between(z, mean + std * low, mean + std * high, color=ORANGE, alpha=0.2, lw=0)
    ax.plot(z, mean + std * z, color=ORANGE, lw=1)
    ax.plot(z, x, ".", color=BLUE, ms=3)
    return figure


@house_style()
def convergence(
    values: Array, label: str, title: str = "", ax: Axes | None = None, level: float = LEVEL
) -> Figure:
    """Sigma of the first n values against n, with its interval (chi-square), and +-10 % of the last.

    Parameters
    ----------
    values : array
        NaN = failed, inf = silent; both are counted in the title.
    label : str
        With unit.
    title : str
    ax : Axes, optional
        None: a new figure.
    level : float
        Of the interval, in (0, 1).
    """
    figure, ax = _axes(ax)
    good, note = _good(values)
    ax.set(xlabel="samples", ylabel=f"sigma of {label}")
    _title(ax, title, note)
    if _empty(ax, good, LEAST):
        return figure
    n = np.unique(np.geomspace(5, len(good), 120).astype(int))
    centered = good - good.mean()
    total, square = np.cumsum(centered), np.cumsum(centered**2)
    sigma = np.sqrt(np.maximum(square[n - 1] - total[n - 1] ** 2 / n, 0) / (n - 1))
    tail = np.array([(1 + level) / 2, (1 - level) / 2])
    low, high = (sigma * np.sqrt((n - 1) / stats.chi2.ppf(p, n - 1)) for p in tail)
    ax.fill_between(n, low, high, color=BLUE, alpha=0.2, lw=0, label=f"{100 * level:g} % interval")
    ax.plot(n, sigma, color=BLUE, lw=1.3)
    for factor in (0.9, 1.1):
        ax.axhline(factor * sigma[-1], color=GRAY, lw=0.8, ls=":")
    ax.set_xscale("log")
    ax.set_ylim(0, 2.2 * sigma[-1])
    ax.legend(fontsize=7, frameon=False)
    return figure


@house_style()
def distribution(values: Array, label: str, title: str = "") -> Figure:
    """Histogram, Q-Q plot and convergence side by side.

    Parameters
    ----------
    values : array
        NaN = failed, inf = silent.
    label, title : str
    """
    figure, axes = canvas(3, width=3.6)
    for draw, ax in zip((histogram, qq, convergence), axes, strict=True):
        draw(values, label, title, ax)
    return figure


@house_style()
def attribution_bars(attribution: xr.Dataset) -> Figure:
    """Share of every device in the Monte Carlo variance, largest first; one panel a quantity."""
    quantities = [str(q) for q in attribution["quantity"].values]
    figure, axes = canvas(len(quantities), width=3.6, height=4.2)
    names = attribution["device"].values.astype(str)
    for ax, quantity in zip(axes, quantities, strict=True):
        row = attribution.sel(quantity=quantity)
        share = np.nan_to_num(row["share"].values)
        order = np.argsort(-share, kind="stable")
        bars = {names[k]: share[k] for k in order[:SHOWN]}
        if len(order) > SHOWN:
            bars[f"{len(order) - SHOWN} others"] = share[order[SHOWN:]].sum()
        bars["interactions"] = float(np.nan_to_num(row["interactions"]))
        colors = [BLUE] * (len(bars) - 1) + [ORANGE]
        ax.barh(list(bars), [100 * v for v in bars.values()], color=colors, alpha=0.8)
        ax.invert_yaxis()
        ax.set_xlabel("share of the variance [%]", fontsize=8)
        ratio, error = float(row["sum_of_parts_ratio"]), float(row["sum_of_parts_ratio_se"])
        _title(ax, quantity, f"sum / Monte Carlo = {ratio:.3f} +- {error:.3f}")
    return figure


@house_style()
def sweep(x: Array, curves: Mapping[str, tuple[Array, Array, Array]], xlabel: str, ylabel: str) -> Figure:
    """Curves with bands; x is logarithmic over a decade or more.

    Parameters
    ----------
    x : array, shape (point,)
        In any order.
    curves : mapping
        Name -> (value, low, high), arrays (point,).
    xlabel, ylabel : str

    Raises
    ------
    InputError
        If a curve is not as long as x.
    """
    figure, (ax,) = canvas(width=5.6, height=3.6)
    order = np.argsort(x)
    for k, (name, triple) in enumerate(curves.items()):
        if any(len(x) != len(column) for column in triple):
            raise InputError(f"curve {name!r} has {len(triple[0])} points, the axis has {len(x)}")
        value, low, high = (np.asarray(column)[order] for column in triple)
        color = COLORS[k % len(COLORS)]
        ax.fill_between(x[order], low, high, color=color, alpha=0.18, lw=0)
        ax.plot(x[order], value, "o-", color=color, ms=3.5, lw=1.3, label=name)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(_folded(ylabel))
    if x.min() > 0 and x.max() >= 10 * x.min():
        ax.set_xscale("log")
    if len(curves) > 1:
        ax.legend(fontsize=7, frameon=False)
    return figure


@house_style()
def strips(groups: Mapping[str, Array], label: str, title: str = "") -> Figure:
    """Groups of samples side by side (corners, technologies): every value, middle half and mean.

    Parameters
    ----------
    groups : mapping
        Name -> values; NaN = failed, inf = silent.
    label, title : str
    """
    longest = max((len(line) for name in groups for line in name.split("\n")), default=0)
    figure, (ax,) = canvas(width=max(4.2, max(0.7, 0.075 * longest) * len(groups) + 1.6), height=3.4)
    spread = np.random.default_rng(0)
    ticks = []
    for k, (name, values) in enumerate(groups.items()):
        good, note = _good(values)
        ticks.append(f"{name}\n{note}")
        if not len(good):
            continue
        ax.plot(k + 0.3 * (spread.random(len(good)) - 0.5), good, ".", color=BLUE, alpha=0.35, ms=4)
        ax.plot([k + 0.25] * 2, np.quantile(good, [0.25, 0.75]), color="k", lw=2)
        ax.plot(k + 0.25, good.mean(), "kD", ms=4)
    ax.set_xticks(range(len(groups)), ticks, fontsize=7)
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.set_ylabel(_folded(label))
    _title(ax, title)
    return figure
