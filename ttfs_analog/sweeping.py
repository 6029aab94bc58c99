"""What the command `sweep` does: neurons or chips of a network at every point of a grid, and the curves."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.technology import Technology
from montecarlo import neuron_sweep, sweep
from montecarlo.mismatch import MismatchLaw
from montecarlo.statistics import mean_interval
from ttfs_analog.console import Result, Tick, load_network

VARIABLES: sweep.Variables = {
    "accuracy": (("chip",), "1", "share of right classes"),
    "accuracy_mean": ((), "1", "mean accuracy over chips"),
    "accuracy_mean_ci95": (("bound",), "1", "95 % interval of the mean"),
    "nominal_accuracy": ((), "1", "accuracy without mismatch"),
}
CURVES = 8
"""Curves in one figure."""


def run_sweep(
    toml: str, *, workers: int, scheduler: str | None, out: str, seed: int, progress: Tick
) -> Result:
    """Carry out a SWEEP.toml into a folder; the same command again resumes it."""
    plan, folder = sweep.Sweep.from_toml(toml, seed), Path(out)
    if plan.network:
        if scheduler:
            raise InputError("--scheduler: the chips of a network are evaluated here; leave it away")
        found = of_network(plan, folder, progress)
    else:
        found = neuron_sweep.run(plan, folder, workers=workers, scheduler=scheduler, progress=progress)
    kind = "accuracy_mean" if plan.network else "spike_time_std"
    figures = [str(p) for p in draw(found.load(), kind, folder)]
    points = int(np.prod(plan.shape))
    result = {"path": out, "n_points": points, "dataset": str(folder / "sweep.zarr"), "figures": figures}
    rows = [f"{' x '.join(f'{len(v)} {k}' for k, v in plan.axes)}: {points} points of {plan.samples}"]
    for place, settings in itertools.islice(plan.points(), 50):
        value, (low, high) = float(found[kind].values[place]), found[f"{kind}_ci95"].values[place]
        where = ", ".join(f"{k} {v:g}" for k, v in settings.items())
        rows.append(f"  {where}: {kind} {value:.5g} [{low:.5g}, {high:.5g}]")
    return result, "\n".join([*rows, out])


def of_network(plan: sweep.Sweep, folder: Path, progress: Tick | None = None) -> xr.Dataset:
    """Accuracy over chips at every point; chip k is the same at all of them."""
    from ttfs_analog.chip import Chips
    from ttfs_analog.evaluation import evaluate
    from ttfs_analog.noise_model import NoiseModel

    net, data = load_network(plan.network, plan.data or None)
    noise = NoiseModel.load(plan.noise) if plan.noise else None
    base = noise.law if noise else MismatchLaw.of(Technology.load(plan.technology).mismatch)
    total = plan.samples * int(np.prod(plan.shape))

    def measure(number: int, settings: sweep.Settings) -> dict[str, Any]:
        def tick(done: int, _: int) -> None:
            if progress:
                progress(number * plan.samples + done, total)

        made = network_at(net, data, settings, plan.entropy)
        if noise:
            noise.check_range(made)
        chips = Chips.draw(sweep.law_at(settings, base), made, range(plan.samples), plan.entropy)
        found = evaluate(made, data, chips, progress=tick)
        accuracy = found["accuracy"].values
        mean, low, high = mean_interval(accuracy)
        return {
            "accuracy": accuracy,
            "accuracy_mean": mean,
            "accuracy_mean_ci95": (low, high),
            "nominal_accuracy": float((found["nominal"] == found["label"]).mean()),
        }

    coords = {"chip": np.arange(plan.samples), "bound": ["low", "high"]}
    return sweep.run(plan, folder, VARIABLES, coords, measure)


def network_at(net: Any, data: Any, settings: sweep.Settings, seed: int) -> Any:
    """The network of one point: `bits` of its weights (0: as they are), `window` times its windows."""
    from ttfs_analog.constraints import WeightBits
    from ttfs_analog.hardware import constrain

    made, bits = net.clone(), settings.get("bits", 0)
    if bits:
        if bits != int(bits):
            raise InputError(f"sweep: bits must be whole numbers, got {bits}")
        held = made.constraints.parts if made.constraints else ()
        parts = [*(p for p in held if not isinstance(p, WeightBits)), WeightBits(int(bits))]
        made = constrain(made, data.x_train, parts, made.constraints.seed if made.constraints else seed)
    if "window" in settings:
        made.set_windows([settings["window"] * w for w in made.windows])
        made.rescale(data.x_train)
    return made


def draw(found: xr.Dataset, kind: str, folder: Path) -> list[Path]:
    """Curves along the first axis, one for each setting of the others, as PNG and SVG."""
    from montecarlo.plotting import save, sweep_curves

    first, *others = (str(d) for d in found[kind].dims)
    stacked = found.stack(setting=others) if others else found.expand_dims("setting", -1)
    curves = {}
    for k in range(min(stacked.sizes["setting"], CURVES)):
        one = stacked.isel(setting=k)
        name = ", ".join(f"{d} {float(one[d]):g}" for d in others)
        band = one[f"{kind}_ci95"].transpose("bound", first).values
        curves[name] = (one[kind].values, *band)
    unit = found[first].attrs["units"]
    label = f"{found[kind].attrs['long_name']} [{found[kind].attrs['units']}]"
    figure = sweep_curves(found[first].values, curves, f"{first} [{unit}]", label)
    return [save(figure, folder / f"sweep.{suffix}") for suffix in ("png", "svg")]
