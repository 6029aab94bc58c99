"""Training step of the commands over that of the ReLU twin, in one run: same batches, Adam included.

Columns: `train` on spike times with adaptive windows (bar 1.05); `finetune` under jitter, time steps or
weight bits (bar 1.4) and under all of them (2.1); `finetune --noise`, every image on a chip of its own,
devices at 5 to 6 % (bars: 3 of fc-340 at batch 64 and 4.5 at batch 8, 3.5 of lenet5). The losses are those
that the commands minimize. Denormal numbers count as 0 in both networks: the moments of neurons that have
died would make a step longer the more steps there were before.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from circuits.model.closed_form import IDEAL
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.constraints.constraints import Constraint, Jitter, TimeSteps, WeightBits
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.network.constrain import constrain
from ttfs_analog.training.architectures import build
from ttfs_analog.training.finetuning import loss_under
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import steps_of

SHAPE, CLASSES = (1, 28, 28), 10
WARM = 100
LIMITS: list[Constraint] = [Jitter(0.02), TimeSteps(64), WeightBits(6)]
COLUMNS = ("train", "jitter", "steps", "bits", "  all", "noise")
BARS = {"train": 1.05, "jitter": 1.4, "steps": 1.4, "bits": 1.4, "all": 2.1}
NOISE: Any = SimpleNamespace(law=MismatchLaw(0.06, 0.05, 0.05, 0.05, 0.05), constants=IDEAL, jitter=0.0)
"""What `finetune` takes of a noise model."""


def teacher(batch: int, device: str) -> list[tuple[Tensor, Tensor]]:
    """Batches that can be learned: labels from a linear map."""
    generator = torch.Generator().manual_seed(0)
    rule = torch.randn(784, CLASSES, generator=generator)
    images = torch.rand(64, batch, 784, generator=generator)
    return [(x.to(device), ((x - 0.5) @ rule).argmax(1).to(device)) for x in images]


def step_of(
    model: nn.Module,
    batches: list[tuple[Tensor, Tensor]],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    after: Callable[[int], None] | None = None,
) -> Callable[[], None]:
    """One training step, on the batches in turn."""
    optimizer = Recipe.paper().build(model.parameters())
    turns = itertools.cycle(batches)

    def step() -> None:
        x, y = next(turns)
        loss = loss_of(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if after is not None:
            after(0)

    return step


def steps_under_test(arch: str, batch: int, device: str) -> list[Callable[[], None]]:
    """The ReLU step, and those of COLUMNS."""
    generator = torch.Generator(device=device).manual_seed(1)
    x, batches = torch.rand(500, 784, device=device), teacher(batch, device)
    relu = build(arch, SHAPE, CLASSES, 0, torch.float32).to(device)
    net = convert(relu, x)
    steps = [step_of(m, batches, *steps_of(m, Recipe())) for m in (relu, net.clone())]
    for parts in (*([part] for part in LIMITS), LIMITS):
        limited = constrain(net, x, parts)
        steps.append(step_of(limited, batches, loss_under(limited, None, generator)))
    tuned = net.clone()
    return [*steps, step_of(tuned, batches, loss_under(tuned, NOISE, generator))]


def compare(steps: list[Callable[[], None]], seconds: float, run: int) -> tuple[float, list[float]]:
    """Time of the first step [s], and those of the others over it: medians over turns.

    In a turn all take `run` steps, of which the median counts, in random order: all meet the same machine,
    and the first one fetches the batch. Ratios are those of single turns: machines change their speed.
    """
    for step in steps:
        for _ in range(WARM):  # windows reach their size, caches fill
            step()
    turns, order, generator = [], list(range(len(steps))), random.Random(0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(turns) < 20:
        generator.shuffle(order)
        times = [0.0] * len(steps)
        for k in order:
            single = []
            for _ in range(run):
                start = time.perf_counter()
                steps[k]()
                single.append(time.perf_counter() - start)
            times[k] = statistics.median(single)
        turns.append(times)
    ratios = [[t / turn[0] for t in turn[1:]] for turn in turns]
    first = statistics.median(turn[0] for turn in turns)
    return first, [statistics.median(column) for column in zip(*ratios, strict=True)]


def bar(column: str, arch: str, batch: int) -> float:
    """Largest ratio of a column."""
    if column.strip() != "noise":
        return BARS[column.strip()]
    return 3.5 if arch == "lenet5" else (4.5 if batch == 8 else 3.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="per row")
    parser.add_argument("--run", type=int, default=1, help="steps of a network in a row: warm caches")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    print("arch      batch   ReLU step   " + "  ".join(COLUMNS) + "   (*: above its bar)")
    good = True
    for arch in ("fc-340", "fc16-340", "lenet5"):
        for batch in (8, 64):
            steps = steps_under_test(arch, batch, options.device)
            first, ratios = compare(steps, options.seconds, options.run)
            above = [r > bar(c, arch, batch) for r, c in zip(ratios, COLUMNS, strict=True)]
            good &= not any(above)
            cells = "  ".join(
                f"{r:{len(c)}.2f}{'*' if a else ''}" for r, c, a in zip(ratios, COLUMNS, above, strict=True)
            )
            print(f"{arch:<9} {batch:>5}   {1e3 * first:6.2f} ms   {cells}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
