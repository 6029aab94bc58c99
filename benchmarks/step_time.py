"""Training step of a TTFS network over that of its ReLU twin, in one run: same batch, Adam included.

Columns: form b1 with adaptive windows; with one chip's mismatch (synapses, slopes, thresholds, capacitors of
every neuron); with mismatch of neurons, jitter, time steps and weight bits. Bars: 1.05; 1.20 for fully
connected layers and 1.30 for convolutions. Convolutions draw mismatch per neuron, not per synapse.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from ttfs_analog.architectures import build
from ttfs_analog.constraints import Jitter, TimeSteps, WeightBits
from ttfs_analog.functional import Deviations
from ttfs_analog.hardware import constrain
from ttfs_analog.mapping import convert
from ttfs_analog.network import TTFSNetwork
from ttfs_analog.training import Recipe
from ttfs_analog.windows import widen

SHAPE, CLASSES = (1, 28, 28), 10


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
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, chips: list[Deviations] | None, adapt: bool
) -> Callable[[], None]:
    """One training step."""
    optimizer = Recipe.paper().build(model.parameters())
    loss_of = nn.functional.cross_entropy

    def step() -> None:
        if isinstance(model, TTFSNetwork):
            trace = model.trace(x, chips)
            logits = trace[-1]
        else:
            logits = model(x)
        loss = loss_of(logits.squeeze(0) if chips else logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if adapt:
            widen(model, trace)

    return step


def compare(steps: list[Callable[[], None]], seconds: float) -> list[float]:
    """Tenth percentile of the time of each step [s]; they take turns, so that all meet the same machine."""
    for step in steps:
        step()
    times: list[list[float]] = [[] for _ in steps]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 20:
        for own, step in zip(times, steps, strict=True):
            start = time.perf_counter()
            step()
            own.append(time.perf_counter() - start)
    return [sorted(t)[len(t) // 10] for t in times]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="per row")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("arch      batch   ReLU step   b1 adaptive   mismatch   constraints   all    bar")
    good = True
    for arch in ("fc-340", "fc16-340", "lenet5"):
        for batch in (8, 64):
            x = torch.rand(batch, 784, device=options.device)
            y = torch.randint(CLASSES, (batch,), device=options.device)
            relu = build(arch, SHAPE, CLASSES, 0, torch.float32).to(options.device)
            net = convert(relu, torch.rand(500, 784))
            conv = any(layer.inside for layer in net.layers)
            limits = [Jitter(0.02), TimeSteps(64), WeightBits(6)]
            limited = constrain(net, torch.rand(500, 784, device=options.device), limits)
            steps = [
                step_of(relu, x, y, None, False),
                step_of(net.clone(), x, y, None, True),
                step_of(net.clone(), x, y, frozen(net, not conv), False),
                step_of(limited, x, y, None, False),
                step_of(limited.clone(), x, y, frozen(net, not conv), False),
            ]
            base, *others = compare(steps, options.seconds)
            ratios = [t / base for t in others]
            bar = 1.3 if conv else 1.2
            good &= ratios[0] <= 1.05 and max(ratios[1:]) <= bar
            cells = "   ".join(f"{r:8.2f}" for r in ratios)
            print(f"{arch:<9} {batch:>5}   {1e3 * base:6.2f} ms   {cells}    {bar}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
