"""Training step of a TTFS network over that of its ReLU twin, in one run: same batches, Adam included.

Columns: form b1 with adaptive windows (bar 1.05); one chip's mismatch of every neuron, and of every synapse
too; jitter; time steps; weight bits; all of them at once (bar 1.20 for fully connected layers, 1.30 for
convolutions, whose mismatch is that of the neurons only). Denormal numbers count as 0, in both networks: the
moments of neurons that have died would make a step longer the more steps there were before.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ttfs_analog.constraints.constraints import Constraint, Jitter, TimeSteps, WeightBits
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.network.constrain import constrain
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import widen
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.training.architectures import build
from ttfs_analog.training.training import Recipe

SHAPE, CLASSES = (1, 28, 28), 10
WARM = 100
COLUMNS = ("adaptive", "neurons", "+synapses", "jitter", "steps", "bits", " all")


def teacher(batch: int, device: str) -> list[tuple[Tensor, Tensor]]:
    """Batches that can be learned: labels from a linear map."""
    generator = torch.Generator().manual_seed(0)
    rule = torch.randn(784, CLASSES, generator=generator)
    images = torch.rand(64, batch, 784, generator=generator)
    return [(x.to(device), ((x - 0.5) @ rule).argmax(1).to(device)) for x in images]


def frozen(net: TTFSNetwork, synapses: bool) -> list[Deviations]:
    """One chip at 5 %."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return 0.05 * torch.randn(1, *shape, generator=generator).to(net.like)

    return [
        Deviations(
            normal(*layer.weight.shape) if synapses else None, *(normal(layer.n_out) for _ in range(3))
        )
        for layer in net.layers
    ]


def step_of(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]], chips: list[Deviations] | None, adapt: bool
) -> Callable[[], None]:
    """One training step, on the batches in turn."""
    optimizer = Recipe.paper().build(model.parameters())
    turns = itertools.cycle(batches)

    def step() -> None:
        x, y = next(turns)
        if isinstance(model, TTFSNetwork):
            trace = model.trace(x, chips)
            logits = trace[-1].squeeze(0) if chips else trace[-1]
        else:
            logits = model(x)
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if adapt:
            widen(model, trace)

    return step


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
            own = []
            for _ in range(run):
                start = time.perf_counter()
                steps[k]()
                own.append(time.perf_counter() - start)
            times[k] = statistics.median(own)
        turns.append(times)
    ratios = [[t / turn[0] for t in turn[1:]] for turn in turns]
    first = statistics.median(turn[0] for turn in turns)
    return first, [statistics.median(column) for column in zip(*ratios, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="per row")
    parser.add_argument("--run", type=int, default=1, help="steps of a network in a row: warm caches")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    print("arch      batch   ReLU step   " + "  ".join(COLUMNS))
    good = True
    for arch in ("fc-340", "fc16-340", "lenet5"):
        for batch in (8, 64):
            x = torch.rand(500, 784, device=options.device)
            batches = teacher(batch, options.device)
            relu = build(arch, SHAPE, CLASSES, 0, torch.float32).to(options.device)
            net = convert(relu, x)
            conv = any(layer.inside for layer in net.layers)
            limits: list[Constraint] = [Jitter(0.02), TimeSteps(64), WeightBits(6)]
            neurons, every = frozen(net, False), frozen(net, not conv)

            def held(*parts: Constraint, net: TTFSNetwork = net, x: Tensor = x) -> TTFSNetwork:
                return constrain(net, x, parts)

            steps = [
                step_of(relu, batches, None, False),
                step_of(net.clone(), batches, None, True),
                step_of(net.clone(), batches, neurons, False),
                step_of(net.clone(), batches, every, False),
                *(step_of(held(part), batches, None, False) for part in limits),
                step_of(held(*limits), batches, every, False),
            ]
            first, ratios = compare(steps, options.seconds, options.run)
            good &= ratios[0] <= 1.05 and max(ratios[1:]) <= (1.3 if conv else 1.2)
            cells = "  ".join(f"{r:{len(c)}.2f}" for r, c in zip(ratios, COLUMNS, strict=True))
            print(f"{arch:<9} {batch:>5}   {1e3 * first:6.2f} ms   {cells}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
