"""What helps against mismatch: the table of all remedies, as rows, as a figure, and in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from ttfs_analog.evaluation.accuracy import accuracy_interval, yield_of
from ttfs_analog.evaluation.transistor_report import Results, Section

if TYPE_CHECKING:
    from montecarlo.plots.style import Figure

SCHEMA = "ttfs-analog/remedies/1"
HEAD = ["sigmas", "remedy", "without mismatch", "mean", "95 % interval", "worst", "yield", "95 % interval"]


def require_complete(dataset: xr.Dataset) -> None:
    """Refuse a comparison that was stopped: some of its chips are missing."""
    if "target" not in dataset.attrs or bool(dataset["accuracy"].isnull().any()):
        raise InputError("this comparison was stopped before its end; the same 'remedies' command goes on")


def summarize(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """One row a scale and remedy: mean accuracy and yield with their 95 % intervals, worst chip.

    Parameters
    ----------
    dataset : Dataset
        Of `ttfs_analog.remedies.comparison.run`.

    Raises
    ------
    InputError
        If it was stopped before its end.
    """
    require_complete(dataset)
    rows, target = [], float(dataset.attrs["target"])
    for scale in dataset["scale"].values:
        for remedy in dataset["remedy"].values:
            one = dataset.sel(scale=scale, remedy=remedy)
            values = one["accuracy"].values
            mean, low, high = accuracy_interval(values, int(dataset.attrs["images"]))
            share, between = yield_of(values, target)
            clean = float(one["clean"])
            rows.append(
                {
                    "scale": float(scale),
                    "area": 1.0 / float(scale) ** 2 if scale else None,
                    "remedy": str(remedy),
                    "clean": None if np.isnan(clean) else clean,
                    "mean": mean,
                    "ci95": [low, high],
                    "min": float(values.min()),
                    "yield": share,
                    "yield_ci95": list(between),
                    "seconds": float(one["seconds"]),
                }
            )
    return rows


def figure(dataset: xr.Dataset) -> Figure:
    """Mean accuracy over the size of the devices, one curve a remedy, with the worst chips."""
    from montecarlo.plots.plotting import accuracies, over_area  # matplotlib loads only here

    if dataset.sizes["scale"] > 1:
        curves = {str(r): 100 * dataset["accuracy"].sel(remedy=r).values for r in dataset["remedy"].values}
        return over_area(dataset["scale"].values, curves, 100 * float(dataset.attrs["target"]))
    groups = {
        str(r): np.asarray(dataset["accuracy"].sel(remedy=r).values[0]) for r in dataset["remedy"].values
    }
    return accuracies(groups, None, float(dataset.attrs["target"]))


def section(results: Results) -> Section | None:
    """The section of the report; None: there is no comparison."""
    from montecarlo.plots.plotting import data_uri

    if SCHEMA not in results:
        return None
    name, ds = next(iter(results[SCHEMA].items()))
    rows = [
        [
            f"{row['scale']:g} x",
            row["remedy"],
            "" if row["clean"] is None else f"{100 * row['clean']:.2f} %",
            f"{100 * row['mean']:.2f} %",
            f"{100 * row['ci95'][0]:.2f} .. {100 * row['ci95'][1]:.2f} %",
            f"{100 * row['min']:.2f} %",
            f"{100 * row['yield']:.1f} %",
            f"{100 * row['yield_ci95'][0]:.1f} .. {100 * row['yield_ci95'][1]:.1f} %",
        ]
        for row in summarize(ds)
    ]
    return {
        "title": "What helps",
        "text": f"Remedies against mismatch on the same {ds.sizes['chip']} chips, every training of the same "
        f"number of steps; yield is the share of chips at or above {100 * float(ds.attrs['target']):.2f} %.",
        "head": HEAD,
        "rows": rows,
        "figures": [data_uri(figure(ds))],
        "files": [name],
    }
