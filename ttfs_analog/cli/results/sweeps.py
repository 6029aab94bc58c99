"""What the command `sweep` does: neurons or chips of a network at every point of a grid, and the figures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from circuits import whole_file
from circuits.errors import InputError
from montecarlo.campaign.conditions import CORNER
from montecarlo.plots.drawing import Drawing, both
from montecarlo.sweeps import neuron_sweep
from montecarlo.sweeps.sweep import Sweep
from ttfs_analog.cli.console import Drawn
from ttfs_analog.cli.streams import Tick

if TYPE_CHECKING:
    from montecarlo.plots.style import Figure

NEURON = {"spike_time_std": "spike_time_std_ci95", "energy_mean": "energy_mean_ci95"}
NETWORK = {"accuracy_mean": "accuracy_mean_ci95", "yield": "yield_ci95"}
PLACED = {**NETWORK, "spread_mean": "spread_mean_ci95"}
"""What is told of every point, and its interval."""
ROWS = 50
"""Points in the text."""
CURVES = 8
"""Curves in one figure."""
STRIPS = 15
"""Strips in one figure."""


def run_sweep(
    toml: str,
    *,
    target: float | None,
    workers: int,
    scheduler: str | None,
    out: str,
    seed: int,
    progress: Tick,
) -> Drawn:
    """Carry out a SWEEP.toml into a folder; the same command again resumes it.

    Parameters
    ----------
    toml : str
        Path of the SWEEP.toml.
    target : float, optional
        Of networks: accuracy of a good chip; default: the best without mismatch, less 0.01.
    workers : int
        ngspice processes at a time; sweeps of networks with a noise model have no use for it.
    scheduler : str or None
        Address of a dask scheduler.
    out : str
        Folder of the results.
    seed : int
        Entropy of the samples.
    progress : callable
        (done, total).
    """
    plan, folder = Sweep.from_toml(toml, seed), Path(out)
    if plan.network:
        from ttfs_analog.evaluation import accuracy, network_sweep

        result = network_sweep.run(plan, folder, workers=workers, scheduler=scheduler, progress=progress)
        result = network_sweep.with_yield(result.load(), target)
        by_chip = ["accuracy", "spread"] if plan.placed else ["accuracy"]
        whole_file.write(folder / "sweep.csv", accuracy.table(result, by_chip))
    else:
        if target is not None:
            raise InputError("--target is an accuracy: name a network in the sweep, too")
        result = neuron_sweep.run(plan, folder, workers=workers, scheduler=scheduler, progress=progress)
    kinds = PLACED if plan.placed else NETWORK if plan.network else NEURON
    drawings = figures_of(result.load(), kinds, folder)
    figures = [name for drawing in drawings for name in drawing.names]
    points = [_point(result, kinds, place, settings) for place, settings in plan.points()]
    summary = {"path": out, "n_points": len(points), "dataset": str(folder / "sweep.zarr")}
    if plan.network:
        summary |= {"table": str(folder / "sweep.csv"), "target": result.attrs["target"]}
    rows = [f"{' x '.join(f'{len(v)} {k}' for k, v in plan.axes)}: {len(points)} points of {plan.samples}"]
    if plan.network:
        rows[0] += f" chips; yield at {100 * result.attrs['target']:.1f} %"
    for point in points[:ROWS]:
        what = [f"{k} {point[k]:.5g} [{point[ci][0]:.5g}, {point[ci][1]:.5g}]" for k, ci in kinds.items()]
        what += [f"tau_c {point['tau_c']:.4g} s"] if "current" in point["settings"] else []
        what += [f"{point['failed']} failed"] if point.get("failed") else []
        rows.append(f"  {_where(point['settings'])}: {', '.join(what)}")
    rows += [f"  and {len(points) - ROWS} more, see {out}"] if len(points) > ROWS else []
    return {**summary, "points": points, "figures": figures}, "\n".join([*rows, out]), drawings


def _point(
    result: xr.Dataset, kinds: dict[str, str], place: tuple[int, ...], settings: dict[str, Any]
) -> dict[str, Any]:
    """The figures of one point, as JSON can hold them."""
    point: dict[str, Any] = {"settings": settings}
    for kind, interval in kinds.items():
        point |= {kind: float(result[kind].values[place]), interval: result[interval].values[place].tolist()}
    if "failed" in result:
        point |= {
            "failed": int(result["failed"].values[place]),
            "tau_c": float(result["tau_c"].values[place]),
        }
        point["silent"] = float(result["silent"].values[place])
    return point


def _where(settings: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" if isinstance(v, str) else f"{k} {v:g}" for k, v in settings.items())


def figures_of(result: xr.Dataset, kinds: dict[str, str], folder: Path) -> list[Drawing]:
    """Curves along the first axis that has numbers, one for each setting of the others, as PNG and SVG.

    Corners are drawn as strips too: every sample of every corner. So are chips of a network on transistors.

    Parameters
    ----------
    result : Dataset
        Of a sweep; its dims are the axes.
    kinds : dict
        Variable to draw -> the variable of its interval.
    folder : Path
    """
    made: list[Drawing] = []
    for k, (kind, interval) in enumerate(kinds.items()):
        made += _draw_curves(result, kind, interval, folder / ("sweep" if k == 0 else f"sweep_{kind}"))
    if "spread" in result:
        made += _draw_strips(result, ("accuracy", "spread"), "chip", folder / "chips")
    elif CORNER in result.dims:
        made += _draw_strips(result, ("spike_time", "energy"), "sample", folder / "corners")
    return made


def _draw_curves(result: xr.Dataset, kind: str, interval: str, stem: Path) -> list[Drawing]:
    """An estimate with its band."""
    dims = [str(d) for d in result[kind].dims]
    first = next((d for d in dims if d != CORNER), None)
    if first is None:
        return []
    others = [d for d in dims if d != first]
    stacked = result.stack(setting=others) if others else result.expand_dims("setting", -1)
    curves = {}
    for k in range(min(stacked.sizes["setting"], CURVES)):
        one = stacked.isel(setting=k)
        name = _where({d: one[d].item() for d in others})
        curves[name] = (one[kind].values, *one[interval].transpose("bound", first).values)
    unit = result[first].attrs["units"]
    label = f"{result[kind].attrs['long_name']} [{result[kind].attrs['units']}]"
    what = (result[first].values, curves, f"{first} [{unit}]", label)

    def figure() -> Figure:
        from montecarlo.plots.distribution_plots import sweep

        return sweep(*what)

    return [Drawing(both(stem), figure)]


def _draw_strips(result: xr.Dataset, names: tuple[str, ...], along: str, stem: Path) -> list[Drawing]:
    """Every neuron or chip at every point, corners side by side, for each quantity; PNG and SVG."""

    def figure(groups: dict[str, np.ndarray], label: str) -> Figure:
        from montecarlo.plots.distribution_plots import strips

        return strips(groups, label)

    made = []
    for name in names:
        values = result[name]
        axes = sorted((str(d) for d in values.dims if d != along), key=lambda axis: axis == CORNER)
        stacked = values.stack(point=axes).transpose("point", along)
        groups = {}
        for k in range(min(stacked.sizes["point"], STRIPS)):
            one = stacked.isel(point=k)
            place = {axis: one[axis].item() for axis in sorted(axes, key=lambda axis: axis != CORNER)}
            groups[_where(place).replace(", ", "\n")] = one.values
        label = f"{values.attrs['long_name']} [{values.attrs['units']}]"
        made.append(Drawing(both(stem.with_name(f"{stem.name}_{name}")), partial(figure, groups, label)))
    return made
