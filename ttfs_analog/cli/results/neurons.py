"""What `attribute` and `rare` do: how one neuron of a layer varies, and how its spike fails. No torch."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from circuits import whole_file
from circuits.errors import InputError
from circuits.model.coding import decode
from circuits.model.layer import Array
from circuits.model.layer_file import read_layer
from circuits.pdk.technology import Technology
from circuits.simulation import ideal_point
from montecarlo.analysis.attribution import ATTRIBUTION, QUANTITIES, attribute
from montecarlo.analysis.device_area import ALL, area_for, enlarged
from montecarlo.analysis.limit_state import Estimate, Margin, plain
from montecarlo.analysis.rare_failure import failure_probability
from montecarlo.analysis.spike_failure import spike_margin
from montecarlo.campaign.schema import save_dataset
from montecarlo.extraction.reading import load_dataset
from montecarlo.mismatch.notation import Items, parse_law
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.plots.drawing import Drawing, both
from ttfs_analog.cli.console import Drawn, Result, check_plot
from ttfs_analog.cli.streams import Tick

if TYPE_CHECKING:
    from montecarlo.plots.style import Figure

NAMES = {"lines": "line sampling", "subset": "subset simulation", "plain": "plain Monte Carlo"}
ROWS = 15
"""Devices that the table names."""
USUAL = 600
"""Samples beside those of the slopes, of a usual answer: what the progress bar counts on at first."""


def attribute_neuron(
    layer_file: str,
    technology: str,
    neuron: int,
    samples: int,
    sigmas: tuple[str, ...],
    quantity: str,
    enlarge: tuple[str, ...],
    target: float | None,
    level: str,
    plot: str | None,
    workers: int,
    out: str,
    seed: int,
) -> Drawn:
    """One neuron of a layer file: share of every device in its variance.

    Parameters
    ----------
    layer_file : str
        Path of the LAYER.json.
    technology : str
    neuron : int
        0 is the first.
    samples : int
        Of the Monte Carlo run.
    sigmas : tuple of str
        See `montecarlo.mismatch.notation.parse_sigmas`.
    quantity : str
        A key of QUANTITIES, for the table and the areas.
    enlarge : tuple of str
        'DEVICE=X': what devices X times larger would change.
    target : float or None
        Spread [unit of the quantity] that areas are worked out for.
    level : str
        "ngspice" or "closed-form".
    plot : str or None
        File of a figure.
    workers : int
        ngspice processes at a time.
    out : str
        File of the dataset.
    seed : int
        Entropy of the samples.
    """
    check_plot(plot)
    layer, times = read_layer(layer_file)
    tech = Technology.load(technology)
    law = parse_law(tech, sigmas)
    areas = _areas(enlarge)
    dataset = attribute(
        layer,
        times,
        ideal_point(layer, decode(times, layer.t_min)[None, :], tech),
        law,
        neuron=neuron,
        samples=samples,
        entropy=seed,
        level=level,
        workers=workers,
    )
    dataset.attrs["technology"] = technology
    save_dataset(dataset, out)
    tables = {q: _table(dataset, q) for q in QUANTITIES}
    result: dict[str, Any] = {
        "path": out,
        "quantity": quantity,
        **tables[quantity],
        "neuron": neuron,
        "n_samples": samples,
        "n_silent": int(dataset["n_silent"]),
        "n_early": int(dataset["n_early"]),
        "quantities": tables,
    }
    text = [_attribution_text(dataset, quantity, result)]
    if areas:
        variance = enlarged(dataset, areas, quantity)
        before = result["total_variance"]
        result["enlarged"] = {"area": areas, "variance": variance, "sigma": math.sqrt(variance)}
        sizes = ", ".join(f"{name} {factor:g} x larger" for name, factor in areas.items())
        text.append(f"with {sizes}: sigma {math.sqrt(before):.4g} -> {math.sqrt(variance):.4g}")
    if target is not None:
        terms = [*dict.fromkeys(dataset["term"].values.astype(str)), ALL]
        needed = {term: area_for(dataset, term, target, quantity) for term in terms}
        result["area_for_target"] = needed
        words = ", ".join(f"{k} {v:.3g} x" if math.isfinite(v) else f"{k} cannot" for k, v in needed.items())
        text.append(f"area that alone brings sigma to {target:g}: {words}")
    drawings = []
    if plot:
        drawings.append(Drawing((Path(plot),) if Path(plot).suffix else both(plot), lambda: _bars(out)))
        result["plot"] = drawings[0].names
    return result, "\n".join([*text, out]), drawings


def _areas(items: tuple[str, ...]) -> dict[str, float]:
    areas = {}
    for item in items:
        name, _, text = item.rpartition("=")
        try:
            areas[name] = float(text)
        except ValueError:
            raise InputError(f"--enlarge {item!r}: {text!r} is not a number") from None
        if not name:
            raise InputError(f"--enlarge {item!r} is not of the form DEVICE=X")
    return areas


def _table(dataset: xr.Dataset, quantity: str) -> dict[str, Any]:
    row = dataset.sel(quantity=quantity)
    shares = zip(dataset["device"].values.astype(str).tolist(), row["share"].values.tolist(), strict=True)
    terms = row["share"].groupby(row["term"]).sum(skipna=False)
    by_term = zip(terms["term"].values.astype(str).tolist(), terms.values.tolist(), strict=True)
    keys = ("sum_of_parts_ratio", "sum_of_parts_ratio_se", "remainder", "interactions")
    return {
        "parts": dict(shares),
        "terms": dict(by_term),
        "nominal": float(dataset[f"{quantity}_nominal"]),
        "total_variance": float(dataset[f"{quantity}_total_variance"]),
        "total_variance_se": float(dataset[f"{quantity}_total_variance_se"]),
        **{key: float(row[key]) for key in keys},
    }


def _attribution_text(dataset: xr.Dataset, quantity: str, result: dict[str, Any]) -> str:
    units, what = QUANTITIES[quantity]
    unit = "" if units == "1" else f" {units}"
    parts = {name: share for name, share in result["parts"].items() if share > 1e-9}
    ranked = sorted(parts.items(), key=lambda item: -item[1])
    std, std_se = math.sqrt(result["total_variance"]), 0.0
    if std > 0:
        std_se = 0.5 * result["total_variance_se"] / std
    rows = [
        f"{what}: {result['nominal']:.6g}{unit}, sigma {std:.4g} +- {std_se:.2g}{unit} "
        f"({result['n_samples']} samples, {result['n_silent']} silent, {result['n_early']} early"
        + ("; of the others)" if result["n_silent"] and quantity in ("spike_time", "threshold") else ")"),
        f"{'device':<22} {'sigma':>8} {'sensitivity':>12} {'share':>9}",
    ]
    for name, share in ranked[:ROWS]:
        device = dataset.sel(device=name)
        sensitivity = float(device[f"{quantity}_sensitivity"])
        rows.append(f"{name:<22} {float(device['sigma']):>8.4g} {sensitivity:>12.4g} {share:>9.2%}")
    if rest := ranked[ROWS:]:
        rows.append(f"{f'{len(rest)} others':<44} {sum(s for _, s in rest):>9.2%}")
    if math.isnan(result["sum_of_parts_ratio"]):
        return f"{rows[0]}\n{quantity} does not vary under these sigmas: there are no shares"
    by_term = sorted(result["terms"].items(), key=lambda item: -item[1])
    rows.append("by term: " + ", ".join(f"{name} {share:.2%}" for name, share in by_term if share > 1e-9))
    rows.append(
        f"sum of parts / Monte Carlo variance {result['sum_of_parts_ratio']:.3f} "
        f"+- {result['sum_of_parts_ratio_se']:.2g}; interactions {result['interactions']:.2%}"
    )
    return "\n".join(rows)


def _bars(path: str) -> Figure:
    from montecarlo.plots.distribution_plots import attribution_bars

    return attribution_bars(load_dataset(path, ATTRIBUTION))


def rare_failure(
    layer_file: str,
    technology: str,
    neuron: int,
    any_neuron: bool,
    earliest: float | None,
    latest: float | None,
    error: float,
    method: str,
    samples: int,
    plain_samples: int,
    level: str,
    workers: int,
    out: str,
    seed: int,
    progress: Tick,
    **law_items: Items,
) -> Result:
    """Failure probability of one neuron of a layer file, or of any of them.

    Parameters
    ----------
    layer_file : str
        Path of the LAYER.json.
    technology : str
    neuron : int
        0 is the first.
    any_neuron : bool
        Whether the failure of any neuron of the layer counts, in place of that one's.
    earliest, latest : float or None
        Limits of a good spike, after t_min [tau_c].
    error : float
        Relative standard error at which lines stop.
    method : str
        "auto": lines, and in the closed form subset simulation where those do not do; "lines"; "subset".
    samples : int
        Lines at most; samples of a level of subset simulation.
    plain_samples : int
        Of plain Monte Carlo besides; 0: none.
    level : str
        "ngspice" or "closed-form".
    workers : int
        ngspice processes at a time.
    out : str
        File of the result, JSON.
    seed : int
        Entropy of the samples.
    progress : callable
        (done, total) of the samples.
    **law_items
        Of `montecarlo.mismatch.notation.parse_law`.
    """
    if earliest is None and latest is None:
        raise InputError("give --latest, --earliest or both: the limits of a good spike, after t_min [tau_c]")
    layer, times = read_layer(layer_file)
    if not 0 <= neuron < layer.n_out:
        raise InputError(f"neuron {neuron} does not exist: the layer has {layer.n_out} (0 is the first)")
    if not layer.spiking:
        raise InputError("read-out neurons do not fire: there is no spike to be late")
    k = slice(None) if any_neuron else slice(neuron, neuron + 1)
    part = dataclasses.replace(layer, weights=layer.weights[k], bias=layer.bias[k], slope=layer.slope[k])
    tech = Technology.load(technology)
    margin, dimensions = spike_margin(
        parse_law(tech, **law_items),
        part,
        times,
        earliest=-math.inf if earliest is None else earliest,
        latest=math.inf if latest is None else latest,
        point=ideal_point(layer, decode(times, layer.t_min)[None, :], tech),
        level=level,
        workers=workers,
    )
    counted = _counted(margin, USUAL + 2 * dimensions + plain_samples, progress)
    if method == "auto" and level == "ngspice":
        method = "lines"  # subset simulation would take hours
    estimate = failure_probability(
        counted, dimensions, generator(seed, PLAN, 4), error=error, samples=samples, method=method
    )
    result: dict[str, Any] = {
        "path": out,
        "neuron": None if any_neuron else neuron,
        "limits": [earliest, latest],
        "level": level,
        **_numbers(estimate),
        "method": estimate.method,
        "regions": estimate.regions,
        "distance_sigma": estimate.distance if estimate.regions else None,
        "plain_evaluations_needed": estimate.plain_evaluations,
        "gain": estimate.gain,
    }
    where = "no search for the nearest failures"
    if estimate.regions:
        places = f"in {estimate.regions} regions" if estimate.regions > 1 else "in one region"
        where = f"failures {places}, the nearest {estimate.distance:.2f} sigma away"
    rows = [
        _text(NAMES[estimate.method], estimate),
        f"{where}; plain Monte Carlo would need {estimate.plain_evaluations:.3g} samples for this standard "
        f"error, {estimate.gain:.3g} times as many",
    ]
    if plain_samples:
        other = plain(counted, dimensions, plain_samples, generator(seed, PLAN, 5))
        result["plain"] = _numbers(other) | {"failures": other.failures}
        rows.append(_text(NAMES["plain"], other))
    progress(1, 1)
    whole_file.write(out, json.dumps(result, indent=1) + "\n")
    return result, "\n".join([*rows, out])


def _counted(margin: Margin, expected: int, progress: Tick) -> Margin:
    """The same margin; progress shows how often it was evaluated."""
    evaluations = 0

    def counting(u: Array) -> Array:
        nonlocal evaluations
        value = margin(u)
        evaluations += len(u)
        progress(evaluations, max(expected, evaluations))
        return value

    return counting


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {
        "probability": estimate.probability,
        "se": estimate.se,
        "ci95": [estimate.low, estimate.high],
        "evaluations": estimate.evaluations,
    }


def _text(name: str, estimate: Estimate) -> str:
    return (
        f"{name:<20} {estimate.probability:.4g} +- {estimate.se:.2g}, 95 % interval [{estimate.low:.4g}, "
        f"{estimate.high:.4g}], {estimate.evaluations} samples"
    )
