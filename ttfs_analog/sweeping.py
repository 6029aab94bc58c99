"""What the command `sweep` does: neurons or chips of a network at every point of a grid, and the figures."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from montecarlo import neuron_sweep, sweep
from montecarlo.axes import CORNER
from ttfs_analog.console import Result, Tick

CURVES = 8
"""Curves in one figure."""
STRIPS = 15
"""Strips in one figure."""


def run_sweep(
    toml: str, *, workers: int, scheduler: str | None, out: str, seed: int, progress: Tick
) -> Result:
    """Carry out a SWEEP.toml into a folder; the same command again resumes it."""
    plan, folder = sweep.Sweep.from_toml(toml, seed), Path(out)
    if plan.network:
        from ttfs_analog import network_sweep

        found = network_sweep.run(plan, folder, scheduler=scheduler, progress=progress)
    else:
        found = neuron_sweep.run(plan, folder, workers=workers, scheduler=scheduler, progress=progress)
    kind = "accuracy_mean" if plan.network else "spike_time_std"
    figures = [str(p) for p in draw(found.load(), kind, folder)]
    points = int(np.prod(plan.shape))
    result = {"path": out, "n_points": points, "dataset": str(folder / "sweep.zarr"), "figures": figures}
    rows = [f"{' x '.join(f'{len(v)} {k}' for k, v in plan.axes)}: {points} points of {plan.samples}"]
    for place, settings in itertools.islice(plan.points(), 50):
        value, (low, high) = float(found[kind].values[place]), found[f"{kind}_ci95"].values[place]
        rows.append(f"  {_where(settings)}: {kind} {value:.5g} [{low:.5g}, {high:.5g}]")
    return result, "\n".join([*rows, out])


def _where(settings: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" if isinstance(v, str) else f"{k} {v:g}" for k, v in settings.items())


def draw(found: xr.Dataset, kind: str, folder: Path) -> list[Path]:
    """Curves along the first axis that has numbers, one for each setting of the others, as PNG and SVG.

    Corners are drawn as strips too: every sample of every corner.
    """
    made = draw_curves(found, kind, folder)
    if CORNER in found.dims:
        made += draw_corners(found, folder)
    return made


def draw_curves(found: xr.Dataset, kind: str, folder: Path) -> list[Path]:
    """An estimate with its band."""
    from montecarlo.plotting import save, sweep_curves

    dims = [str(d) for d in found[kind].dims]
    first = next((d for d in dims if d != CORNER), None)
    if first is None:
        return []
    others = [d for d in dims if d != first]
    stacked = found.stack(setting=others) if others else found.expand_dims("setting", -1)
    curves = {}
    for k in range(min(stacked.sizes["setting"], CURVES)):
        one = stacked.isel(setting=k)
        name = _where({d: one[d].item() for d in others})
        band = one[f"{kind}_ci95"].transpose("bound", first).values
        curves[name] = (one[kind].values, *band)
    unit = found[first].attrs["units"]
    label = f"{found[kind].attrs['long_name']} [{found[kind].attrs['units']}]"
    figure = sweep_curves(found[first].values, curves, f"{first} [{unit}]", label)
    return [save(figure, folder / f"sweep.{suffix}") for suffix in ("png", "svg")]


def draw_corners(found: xr.Dataset, folder: Path) -> list[Path]:
    """Every neuron at every corner, for each quantity that is kept neuron by neuron; PNG and SVG."""
    from montecarlo.distribution_plots import save_both, strips

    made = []
    for name in ("ramp_time", "energy"):
        kept = found[name]
        others = [str(d) for d in kept.dims if d not in (CORNER, "sample")]
        stacked = kept.stack(point=[*others, CORNER]).transpose("point", "sample")
        groups = {}
        for k in range(min(stacked.sizes["point"], STRIPS)):
            one = stacked.isel(point=k)
            groups[_where({d: one[d].item() for d in others} | {CORNER: one[CORNER].item()})] = one.values
        label = f"{kept.attrs['long_name']} [{kept.attrs['units']}]"
        made += save_both(strips(groups, label), folder / f"corners_{name}")
    return made
