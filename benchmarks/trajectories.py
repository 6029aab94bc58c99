"""Does training spikes equal training a ReLU network? Figures of acceptance, plots and netCDF files.

    python benchmarks/trajectories.py --what fc2 --out results

fc2       one hidden layer of 340, Fashion-MNIST, papers' recipe (Adam 5e-4, batches of 8), 10 epochs:
          |dW| <= 1e-8, test accuracies identical in every epoch; alpha1 diverges
fc9       eight hidden layers, batches of 64, 3 epochs: equal to 1e-6
fc16      fifteen hidden layers, 2 epochs, three seeds: in the mean as good as the ReLU network; a ReLU
          network that starts one rounding error away shows what rounding does to single runs
fig3      eight hidden layers, MNIST, SGD, batches of 16, 3000 steps, at 5e-4 and 3e-5 (P Fig. 3, reduced)
spectrum  eigenvalues of the Jacobian at initialization (P Fig. 2)

All in float64. Needs TTFS_ANALOG_DATA, but for spectrum.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from common import machine
from torch import nn

from montecarlo.campaign.schema import save_dataset
from montecarlo.plots.plotting import save
from ttfs_analog.conversion.mapping import convert, to_relu
from ttfs_analog.data import datasets
from ttfs_analog.data.datasets import Data
from ttfs_analog.training import diagnostic_plots
from ttfs_analog.training.architectures import build
from ttfs_analog.training.diagnostics import initial_spectrum, trajectories
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import train


@dataclass(frozen=True)
class Plan:
    """What to train and how."""

    arch: str
    data: str
    recipes: tuple[Recipe, ...]
    seeds: int = 1
    bar: float = np.inf  #: for the largest difference of the weights
    steps: int = 0  #: instead of epochs


FIG3 = Recipe(1, 16, 5e-4, "sgd", "constant")
PLANS = {
    "fc2": Plan("fc-340", "fashion-mnist", (Recipe.paper(epochs=10),), bar=1e-8),
    "fc9": Plan("fc9-340", "fashion-mnist", (Recipe.paper(epochs=3, batch=64),), bar=1e-6),
    "fc16": Plan("fc16-340", "fashion-mnist", (Recipe.paper(epochs=2, batch=64),), seeds=3),
    "fig3": Plan("fc9-340", "mnist", (FIG3, replace(FIG3, lr=3e-5)), steps=3000),
}


def images(name: str, limit: int | None) -> Data:
    """A dataset, or its first images: a quick run."""
    data = datasets.load(name)
    if limit is None:
        return data
    x, y = data.x_test[:limit], data.y_test[:limit]
    return replace(data, x_train=data.x_train[:limit], y_train=data.y_train[:limit], x_test=x, y_test=y)


def percent(shares: np.ndarray) -> str:
    return " ".join(f"{100 * share:.2f}" for share in shares)


def rounded(model: nn.Module, data: Data, recipe: Recipe) -> np.ndarray:
    """Test accuracies of the ReLU network when its first weights are off by one rounding error."""
    other = to_relu(convert(model, data, mapping="alpha"))  # rescaled, as in `trajectories`
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 2.0**-52)
    return np.array([h["accuracy"] for h in train(other, data, recipe, judge=True)])


def describe(found: xr.Dataset, bar: float) -> None:
    """Print what one run shows."""
    for name in found.network.values:
        print(f"  {name:7s} test accuracy {percent(found.test_accuracy.sel(network=name).values)}")
    b1, alpha1 = found.sel(snn="b1"), found.sel(snn="alpha1")
    worst = float(b1.largest_difference.max())
    verdict = "" if np.isinf(bar) else f" ({'pass' if worst <= bar else 'FAIL'}, bar {bar:g})"
    print(f"  b1      max |dW| {worst:.2e}{verdict}, 1 - cosine <= {float(1 - b1.cosine.min()):.1e}")
    relu, own = (found.test_accuracy.sel(network=n).values for n in ("relu", "b1"))
    print(f"  b1      test accuracy identical in {int((relu == own).sum())} of {len(relu)} epochs")
    left = alpha1.step.where(alpha1.cosine < 0.999, drop=True)
    print(f"  alpha1  lowest cosine {float(alpha1.cosine.min()):.6f}; below 0.999 from step", end=" ")
    print(int(left[0]) if len(left) else "(never)")
    step, reason = found.attrs["diverged_step"], found.attrs["diverged_reason"]
    print(f"  alpha1  {f'diverges in step {step}: {reason}' if step >= 0 else 'does not diverge'}")


def train_in_lockstep(
    what: str, out: Path, epochs: int | None, seeds: int | None, lr: float | None, limit: int | None
) -> None:
    """Run one plan, print its figures, save plots and datasets."""
    plan = PLANS[what]
    if lr is not None:
        plan = replace(plan, recipes=(replace(plan.recipes[0], lr=lr),))
    data = images(plan.data, limit)
    if plan.steps and limit is None and epochs is None:  # less than an epoch: the images it would take
        used = plan.steps * plan.recipes[0].batch
        data = replace(data, x_train=data.x_train[:used], y_train=data.y_train[:used])
    ends: dict[str, list[float]] = {"relu": [], "b1": [], "rounded": []}
    for seed in range(plan.seeds if seeds is None else seeds):
        for recipe in plan.recipes:
            own = replace(recipe, seed=seed, epochs=epochs or recipe.epochs)
            steps = own.epochs * -(-len(data.x_train) // own.batch)
            model = build(plan.arch, data.shape, data.classes, seed, torch.float64)
            start = time.perf_counter()
            found = trajectories(model, data, own, interval=max(1, steps // 150))
            spent = time.perf_counter() - start
            stem = out / f"{what}_lr{own.lr:g}_seed{seed}"
            save_dataset(found, stem.with_name(f"{stem.name}.nc"))
            for suffix in ("png", "svg"):
                save(diagnostic_plots.trajectories(found), stem.with_name(f"{stem.name}.{suffix}"))
            about = f"{plan.arch} on {plan.data}, lr {own.lr:g}, seed {seed}"
            print(f"{what}: {about}: {steps} steps, {spent:.0f} s")
            describe(found, plan.bar)
            for name in ("relu", "b1"):
                ends[name].append(float(found.test_accuracy.sel(network=name)[-1]))
            if what == "fc16":
                control = rounded(model, data, own)
                ends["rounded"].append(float(control[-1]))
                print(f"  rounded test accuracy {percent(control)}")
    for name, shares in ends.items():
        if len(shares) > 1 and len(plan.recipes) == 1:
            error = np.std(shares, ddof=1) / len(shares) ** 0.5
            print(
                f"{name:8s} mean over {len(shares)} seeds {100 * np.mean(shares):.2f} +- {100 * error:.2f} %"
            )


def spectrum(out: Path, seeds: int | None) -> None:
    """P Fig. 2: the three cases at standard initialization."""
    found = initial_spectrum(seeds=range(10 if seeds is None else seeds))
    save_dataset(found, out / "spectrum.nc")
    for suffix in ("png", "svg"):
        save(diagnostic_plots.spectrum(found), out / f"spectrum.{suffix}")
    for name in found.case.values:
        one = found.sel(case=name)
        radius = one.spectral_radius
        print(
            f"{name:13s} spectral radius {float(radius.mean()):.3f} ({float(radius.min()):.3f}.."
            f"{float(radius.max()):.3f}), outside the unit circle {float(one.share_outside.mean()):.1%}, "
            f"B <= 0 in {float(one.share_unusable.mean()):.1%} of the neurons"
        )


def main() -> None:
    """Read options, run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", choices=[*PLANS, "spectrum"], required=True)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for plots and netCDF")
    parser.add_argument("--epochs", type=int, help="instead of the plan's")
    parser.add_argument("--seeds", type=int, help="number of seeds, from 0")
    parser.add_argument("--lr", type=float, help="instead of the plan's learning rates")
    parser.add_argument("--images", type=int, help="only the first images: a quick run")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print(machine())
    if given.what == "spectrum":
        spectrum(given.out, given.seeds)
    else:
        train_in_lockstep(given.what, given.out, given.epochs, given.seeds, given.lr, given.images)


if __name__ == "__main__":
    main()
