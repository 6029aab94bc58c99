"""Accuracy over the spread of slopes: where networks collapse, and what holds beyond it (T Fig. 2.5c).

    ttfs-analog train --arch fc9-340 --data fashion-mnist --epochs 10 --batch 64 --out fc9.pt
    ttfs-analog characterize --technology ideal --sigma 0 --sigma slope=0.1 --samples 300 --out slope.zarr
    ttfs-analog fit slope.zarr --out slope.json
    python benchmarks/heterogeneity.py fc9.pt slope.json --out heterogeneity

Slopes alone deviate, by a factor of their own for every neuron. Without any remedy: form alpha and form b1,
windows of 1.5 and of 10 times the largest activation. With: windows at the 99.5th percentile, training for
mismatch, and a trim of 4 bits behind it, of chips that are calibrated by their spike times. Mean over chips
with its 95 % interval; figures as JSON, PNG and SVG.

T: thesis of A. Stanojevic, EPFL 2023.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import torch

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.plots.distribution_plots import sweep
from montecarlo.plots.plotting import save
from ttfs_analog.conversion.mapping import convert, to_relu
from ttfs_analog.data.datasets import Data
from ttfs_analog.data.network_data import load_network
from ttfs_analog.evaluation.accuracy import accuracy_interval
from ttfs_analog.network.constrain import slope_noise
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import choose_windows
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.remedies import comparison
from ttfs_analog.remedies.remedies import Setting
from ttfs_analog.training.training import accuracy

SIGMAS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.2)
WINDOWS = (0.5, 9.0)
"""Margins over the largest activation."""
REMEDIES = ("windows", "agnostic", "agnostic+trim-4")
Curve = list[tuple[float, float, float]]
"""Mean and ends of its interval, by sigma [%]."""


def bare(net: TTFSNetwork, form: str, zeta: float, data: Data, chips: int) -> Curve:
    """Accuracy of chips without any remedy."""
    mapped = convert(to_relu(net), data, mapping=form)
    x = data.x_train.to(mapped.like)
    mapped.set_windows(choose_windows(mapped, x, zeta=zeta))
    mapped.rescale(x)
    curve, test = [], (data.x_test, data.y_test)
    for sigma in SIGMAS:
        generator = torch.Generator().manual_seed(7)
        values = []
        for _ in range(chips):
            chip = slope_noise(mapped, sigma, generator)
            values.append(accuracy(lambda x, c=chip: mapped(x.to(mapped.like), c)[0], *test))
        curve.append(percent(torch.tensor(values).numpy(), data))
    return curve


def percent(values: Array, data: Data) -> tuple[float, float, float]:
    """Mean accuracy of chips, and the ends of its interval."""
    mean, low, high = accuracy_interval(values, len(data.x_test))
    return 100 * mean, 100 * low, 100 * high


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network")
    parser.add_argument("noise", help="noise model of slopes that spread, and nothing else")
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("heterogeneity"))
    o = parser.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    try:
        net, data = load_network(o.network, None)
        noise = NoiseModel.load(o.noise).extrapolated()
        few = {"x_test": data.x_test[: o.images], "y_test": data.y_test[: o.images]}
        data = dataclasses.replace(data, **few)
        curves: dict[str, Curve] = {}
        for form in ("alpha", "b1"):
            for zeta in WINDOWS:
                name = f"form {form}, windows {1 + zeta:g} x max"
                curves[name] = bare(net, form, zeta, data, o.chips)
                print(name, [round(c[0], 2) for c in curves[name]], flush=True)
        own = noise.sets[0].terms["slope"].std
        setting = Setting(data, noise, o.steps, batch=128, seed=50)
        found = comparison.run(
            net, setting, o.out / "remedies.nc", remedies=REMEDIES, scales=[s / own for s in SIGMAS],
            chips=o.chips,
        )  # fmt: skip
        for remedy in REMEDIES:
            rows = found["accuracy"].sel(remedy=remedy).values
            curves[f"form b1, {remedy}"] = [percent(row, data) for row in rows]
            print(remedy, [round(c[0], 2) for c in curves[f"form b1, {remedy}"]], flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")
    (o.out / "heterogeneity.json").write_text(
        json.dumps({"sigma": SIGMAS, "curves": curves}, indent=1) + "\n"
    )
    columns = {name: tuple(zip(*curve, strict=True)) for name, curve in curves.items()}
    figure = sweep(
        torch.tensor(SIGMAS).numpy(), columns, "spread of slopes, standard deviation", "accuracy [%]"
    )
    for suffix in ("png", "svg"):
        save(figure, o.out / f"heterogeneity.{suffix}")


if __name__ == "__main__":
    main()
