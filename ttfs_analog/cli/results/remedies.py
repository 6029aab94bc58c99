"""What `calibrate`, `remedies`, `size` and `iso` do."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuits import whole_file
from circuits.errors import InputError
from montecarlo.extraction.reading import load_dataset
from montecarlo.plots.drawing import Drawing
from ttfs_analog.calibration.calibrate import Calibration
from ttfs_analog.calibration.calibrate import calibrate as estimate
from ttfs_analog.calibration.measurement import measure, read_times, write_patterns
from ttfs_analog.calibration.patterns import choose
from ttfs_analog.cli.console import Drawn, Result
from ttfs_analog.cli.results.chips import chips_of
from ttfs_analog.data.datasets import Data
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.evaluation.remedy_table import SCHEMA, figure, summarize
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.remedies import iso_accuracy as iso
from ttfs_analog.remedies import sizing
from ttfs_analog.remedies.comparison import USUAL, run
from ttfs_analog.remedies.iso_accuracy import iso_accuracy
from ttfs_analog.remedies.remedies import Setting
from ttfs_analog.training.one_chip import require_one
from ttfs_analog.training.training import Progress

if TYPE_CHECKING:
    from montecarlo.plots.style import Figure

INTERVALS = ("layer", "neuron", "term", "unit", "value", "low", "high", "measured")


def calibrate_chip(
    net: TTFSNetwork,
    data: Data,
    noise: Noise,
    *,
    chip: str | None,
    patterns: int,
    error: float,
    repeats: int,
    level: str,
    plan: str | None,
    times: str | None,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """Plan patterns, measure a chip or read what was measured, and estimate its neurons.

    Parameters
    ----------
    net, data, noise
        Network, calibration images, and what chips are like.
    chip : str, optional
        File of the chip that is measured here.
    patterns, error, repeats, level
        As of `ttfs_analog.calibration.measurement.measure`.
    plan, times : str, optional
        CSV of patterns to write; CSV of spike times to read.
    out : str
        File of the chip as it is known.
    seed : int
        Of the errors, and of the patterns.
    progress : callable
        (done, total) of the patterns.
    """
    if chip and times:
        raise InputError("give CHIP.nc, which is measured here, or --times, which were measured elsewhere")
    if not chip and not times and not plan:
        raise InputError("give CHIP.nc to measure, --times FILE.csv to read, or --plan FILE.csv to write")
    noise.check_range(net)
    plans = choose(net, data.x_train, patterns, noise, seed)
    if plan:
        write_patterns(plan, net, plans)
    if not chip and not times:
        return {"path": plan, "patterns": patterns}, f"{patterns} patterns for each layer\n{plan}"
    if chip:
        real = require_one(net, chips_of(net, chip))
        rows = measure(
            net, real, plans, level=level, error=error, repeats=repeats, seed=seed, progress=progress
        )
    else:
        rows = read_times(str(times), net, patterns)
    known = estimate(net, noise, plans, rows, error=error, repeats=repeats)
    known.chip.save(out)
    table = Path(out).with_suffix(".csv")
    whole_file.write(table, _intervals(known))
    result: dict[str, Any] = {"path": out, "intervals": str(table), "patterns": patterns, "layers": []}
    lines = []
    for n, layer in enumerate(known.layers):
        if layer is None:
            continue
        about = {
            "layer": n,
            "neurons": len(layer.slope),
            "unmeasured": int((layer.measured == 0).sum()),
            "offset_sd_tau_c": float(layer.offset_sd.mean()),
            "slope_sd": float(layer.slope_sd.mean()),
        }
        result["layers"].append(about)
        lines.append(
            f"layer {n}: {about['neurons']} neurons, {about['unmeasured']} never seen to fire; known to "
            f"{about['offset_sd_tau_c']:.3g} tau_c (offset) and {100 * about['slope_sd']:.3g} % (slope)"
        )
    return result, "\n".join([*lines, str(table), out])


def _intervals(known: Calibration) -> str:
    """One row a neuron and term."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(INTERVALS)
    for n, layer in enumerate(known.layers):
        if layer is None:
            continue
        for term, unit in (("offset", "tau_c"), ("slope", "1")):
            low, high = layer.interval(term)
            columns = (getattr(layer, term), low, high, layer.measured)
            for i, row in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
                writer.writerow((n, i, term, unit, *row))
    return out.getvalue()


def compare(
    net: TTFSNetwork,
    data: Data,
    noise: Noise,
    *,
    remedies: Sequence[str] | None,
    scales: Sequence[float],
    chips: int,
    steps: int,
    batch: int,
    percentile: float,
    images: int | None,
    target: float | None,
    patterns: int,
    error: float,
    plot: str | None,
    out: str,
    seed: int,
    progress: Progress,
) -> Drawn:
    """All remedies on the same chips.

    Parameters
    ----------
    net, data, noise
        As of `ttfs_analog.remedies.remedies`.
    remedies, scales, chips, target
        As of `ttfs_analog.remedies.comparison.run`.
    steps, batch, percentile, patterns, error, seed
        As of `ttfs_analog.remedies.remedies.Setting`.
    images : int, optional
        Test images that count: the first so many.
    plot : str, optional
        Figure to draw.
    out : str
        File of the dataset.
    progress : callable
        (done, total) of trainings and chips.
    """
    if images is not None:
        data = dataclasses.replace(data, x_test=data.x_test[:images], y_test=data.y_test[:images])
    setting = Setting(data, noise, steps, batch, percentile, patterns, error, seed)
    dataset = run(
        net, setting, Path(out), remedies=remedies or USUAL, scales=scales, chips=chips, target=target,
        progress=progress,
    )  # fmt: skip
    rows = summarize(dataset)
    head = f"{'sigmas':>7} {'remedy':<22} {'clean':>6} {'mean':>6}  95 %            {'worst':>6}  yield"
    lines = [f"{chips} chips, {steps} steps a training; yield at {100 * dataset.attrs['target']:.1f} %", head]
    for row in rows:
        low, high = (100 * v for v in row["ci95"])
        least, most = (100 * v for v in row["yield_ci95"])
        clean = "     -" if row["clean"] is None else f"{100 * row['clean']:6.2f}"
        lines.append(
            f"{row['scale']:>6g}x {row['remedy']:<22} {clean} {100 * row['mean']:6.2f}  [{low:5.2f}, "
            f"{high:5.2f}]  {100 * row['min']:6.2f}  {100 * row['yield']:.0f} % [{least:.0f}, {most:.0f}]"
        )
    result = {"path": out, "target": float(dataset.attrs["target"]), "rows": rows}
    drawings = [Drawing((Path(plot),), lambda: figure(dataset))] if plot else []
    return result, "\n".join([*lines, out]), drawings


def size_network(
    placements: Sequence[tuple[str, TTFSNetwork, Data, Noise]],
    *,
    target: float | None,
    wanted: float,
    least: str,
    remedies: Sequence[str] | None,
    chips: int,
    steps: int,
    batch: int,
    patterns: int,
    error: float,
    plot: str | None,
    out: str,
    seed: int,
    progress: Progress,
) -> Drawn:
    """The smallest devices of placed networks for a yield, with every remedy.

    Parameters
    ----------
    placements : sequence of (name, network, data, noise model)
        See `ttfs_analog.remedies.sizing.Candidate`.
    target : float, optional
        Accuracy of a good chip; default: what the first network reaches without mismatch, less a point.
    wanted, least, remedies, chips
        As of `ttfs_analog.remedies.sizing.size`.
    steps, batch, patterns, error, seed
        As of `ttfs_analog.remedies.remedies.Setting`.
    plot : str, optional
        Figure to draw.
    out : str
        JSON file.
    progress : callable
        (done, total) of the judgings.
    """
    candidates = [
        sizing.Candidate(
            name, net, Setting(data, noise, steps, batch, patterns=patterns, error=error, seed=seed)
        )
        for name, net, data, noise in placements
    ]
    if target is None:
        _, net, data, noise = placements[0]
        judged = evaluation.evaluate(net, data, noise.silent().sample(net, 1))
        target = max(float((judged["nominal"] == judged["label"]).mean()) - 0.01, 0.0)
    points, beyond = sizing.size(
        candidates, target=target, wanted=wanted, remedies=remedies or sizing.USUAL, chips=chips,
        least=least, progress=progress,
    )  # fmt: skip
    result = {
        "path": out,
        "target": target,
        "yield": wanted,
        "least": least,
        "points": sizing.described(points),
        "out_of_reach": beyond,
        "passed": bool(points) and points[0].holds,
    }
    whole_file.write(out, json.dumps(result, indent=1) + "\n")
    several = len(candidates) > 1
    names = {(p.net, p.remedy): f"{p.net}: {p.remedy}" if several else p.remedy for p in points}
    wide = max((len(name) for name in names.values()), default=6)
    lines = [
        f"{100 * wanted:g} % of the chips at {100 * target:.1f} % or more; the least {least} first",
        f"{'remedy':<{wide}} {'gates':>7} {'silicon':>11} {'energy':>9}  promised yield    on fresh chips",
    ]
    for p in points:
        low, high = (100 * v for v in p.yield_promised)
        lines.append(
            f"{names[p.net, p.remedy]:<{wide}} {p.area:>7.4g} {1e6 * p.silicon_m2:>7.4g} mm2 "
            f"{1e12 * p.energy_j:>6.4g} pJ  [{low:5.1f}, {high:5.1f}] %  {100 * p.yield_fresh:.1f} %, "
            f"worst chip {100 * p.worst_fresh:.1f} %" + " *" * p.on_front
        )
    lines += [f"{b['net']}, {b['remedy']}: does not reach it at the area of the placement" for b in beyond]
    lines += ["* no other point takes less silicon and less energy"] if points else []

    def draw() -> Figure:
        from montecarlo.plots.fronts import front  # matplotlib loads only here

        return front(
            {names[p.net, p.remedy]: (1e6 * p.silicon_m2, 1e12 * p.energy_j, p.on_front) for p in points},
            "silicon [mm2]",
            "energy per inference [pJ]",
        )

    return result, "\n".join([*lines, out]), [Drawing((Path(plot),), draw)] if plot and points else []


def at_one_accuracy(
    files: Sequence[str], *, accuracy: float | None, against: str, plot: str | None, out: str, seed: int
) -> Drawn:
    """Silicon and energy of every remedy at one accuracy.

    Parameters
    ----------
    files : sequence of str
        Datasets of `compare`.
    accuracy, against, seed
        As of `ttfs_analog.remedies.iso_accuracy.iso_accuracy`.
    plot : str, optional
        Figure to draw.
    out : str
        JSON file.
    """
    rows, accuracy = iso_accuracy([load_dataset(f, SCHEMA) for f in files], accuracy, against, seed)
    result = {"path": out, "accuracy": accuracy, "against": against, "rows": iso.described(rows)}
    whole_file.write(out, json.dumps(result, indent=1) + "\n")
    lines = [
        f"mean accuracy of {100 * accuracy:.2f} %; silicon compared with {against}",
        f"{'remedy':<22} {'silicon [mm2]':<26} {'energy [pJ]':<22} times less silicon",
    ]
    for r in rows:
        if r.out_of_reach:
            lines.append(f"{r.remedy:<22} not reached at the largest area")
            continue
        columns = (_ends(r.silicon_m2, 1e6), _ends(r.energy_j, 1e12), _ends(r.times_less, 1.0))
        lines.append(f"{r.remedy:<22} {columns[0]:<26} {columns[1]:<22} {columns[2]}" + " *" * r.at_most)
    if any(r.at_most for r in rows):
        lines.append("* reached even at the smallest area: it may need less")
    if any(r.remedy == against and r.out_of_reach for r in rows):
        lines.append(f"{against} needs more than the largest area: silicon is compared with that")
    reached = [r for r in rows if not r.out_of_reach]

    def draw() -> Figure:
        from montecarlo.plots.plotting import interval_panels  # matplotlib loads only here

        panels = {
            f"silicon at {100 * accuracy:.1f} % [mm2]": [_scaled(r.silicon_m2, 1e6) for r in reached],
            "energy per inference [pJ]": [_scaled(r.energy_j, 1e12) for r in reached],
            f"times less silicon than {against}": [r.times_less for r in reached],
        }
        return interval_panels([r.remedy + " (bound)" * r.at_most for r in reached], panels)

    return result, "\n".join([*lines, out]), [Drawing((Path(plot),), draw)] if plot else []


def _scaled(values: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    value, low, high = (factor * v for v in values)
    return value, low, high


def _ends(values: tuple[float, float, float], factor: float) -> str:
    value, low, high = _scaled(values, factor)
    return f"{value:.4g} [{low:.4g}, {high:.4g}]"
