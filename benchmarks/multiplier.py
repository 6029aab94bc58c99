"""Four-quadrant multiplier at transistor level: accuracy, pulses, energy, mismatch.

Random signed vectors through one output each; one gain and one offset are fitted over all of them. Full scale
is an output pulse of one tau_c. The published figure it is compared with is an estimate for a 55 nm flash
process (Bavandpour et al., arXiv:1711.10673).
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from common import machine

from circuits.benches.multiplier import (
    MARK,
    PARKED,
    THETA,
    WAKE,
    MultiplierPoint,
    Product,
    measure_product,
    multiplier_bench,
)
from circuits.model.layer import Array
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from montecarlo.mismatch.transistors import draw

LARGEST = 7
"""Weights are drawn from -7..7 unit sources."""
SMALLEST = 0.02
"""Pulses of at least this length must come, and must not come with the other sign [tau_c]."""
PUBLISHED = 7e-15
"""J per operation, 55 nm, N > 200, 6 bit, digital input and output."""


def vector(rng: np.random.Generator, inputs: int, units: int) -> tuple[Array, Array, Array, int]:
    """Weights, inputs, starts, and how many draws before were beyond the range."""
    for beyond in range(10_000):
        weights = rng.integers(-LARGEST, LARGEST + 1, inputs) / units
        x = rng.uniform(-1.0, 1.0, inputs)
        starts = rng.uniform(0.0, 1.0, inputs) * (1.0 - np.abs(x))
        parts = weights * x
        common = np.abs(weights).sum() * (MARK + PARKED)
        if max(parts[parts > 0].sum(), -parts[parts < 0].sum()) + common <= THETA - WAKE and np.any(weights):
            return weights, x, starts, beyond
    raise ValueError("no vector within the range")


def run(
    technology: Technology,
    inputs: int,
    vectors: int,
    mark: float,
    options: argparse.Namespace,
    mismatch: bool = False,
) -> list[tuple[float, Product, int]]:
    """(sum w x, result, draws beyond the range); with mismatch every vector meets a chip of its own."""
    scale, simulator = MultiplierPoint.of(technology, inputs), Ngspice()

    def one(k: int) -> tuple[float, Product, int]:
        rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(inputs, k)))
        weights, x, starts, beyond = vector(rng, inputs, scale.units)
        build = partial(
            multiplier_bench, technology, weights, x, scale=scale, starts=starts, mark=mark,
            corner=options.corner, temperature=options.temperature,
        )  # fmt: skip
        bench = build()
        if mismatch:
            bench = build(deviations=draw(bench.bench.devices, rng))
        return bench.product, measure_product(bench, simulator.run(bench.deck)), beyond

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, range(vectors)))


def report(label: str, found: list[tuple[float, Product, int]], inputs: int) -> None:
    """Print accuracy, pulses and energy of one set of vectors."""
    y, measured = np.array([f[0] for f in found]), np.array([f[1].y for f in found])
    table = np.stack([y, np.ones_like(y)], axis=1)
    (gain, offset), *_ = np.linalg.lstsq(table, measured, rcond=None)
    error = measured - gain * y - offset
    rms, raw = (float(np.sqrt(np.mean(e**2))) for e in (error, measured - y))
    large = [(np.sign(v), p.positive, p.negative) for v, p, _ in found if abs(v) > SMALLEST]
    missing = sum((p if s > 0 else m) == 0 for s, p, m in large)
    false = sum((m if s > 0 else p) > 0 for s, p, m in large)
    gate = np.array([p.positive - p.negative for _, p, _ in found]) - measured
    bits, used = (np.log2(span / (np.sqrt(12.0) * rms)) for span in (2.0, np.ptp(y)))
    print(f"{label}: {len(found)} vectors of {inputs}, {sum(f[2] for f in found)} draws beyond the range")
    print(
        f"  gain {gain:.4f}, offset {100 * offset:+.3f} %; error rms {100 * rms:.3f} %, "
        f"largest {100 * np.abs(error).max():.3f} % of full scale (raw, rms: {100 * raw:.3f} %)"
    )
    print(
        f"  effective bits: {bits:.1f} of full scale, -1..1; {used:.1f} of the range "
        f"{y.min():+.2f}..{y.max():+.2f} of these vectors"
    )
    print(
        f"  pulses above {100 * SMALLEST:g} % of full scale: {missing} missing, {false} false of "
        f"{len(large)}; the gates add {100 * gate.mean():+.3f} +- {100 * gate.std():.3f} %"
    )
    mean = {k: float(np.mean([p.energy[k] for _, p, _ in found])) for k in found[0][1].energy}
    total, floor = sum(mean.values()), found[0][1].membranes
    shared = float(np.mean([p.reference for _, p, _ in found]))
    parts = ", ".join(f"{k} {1e15 * v:.1f}" for k, v in mean.items())
    print(
        f"  energy: {1e15 * total / (2 * inputs):.1f} fJ/Op, of which "
        f"{1e15 * floor / (2 * inputs):.1f} charge the membranes; {1e15 * total:.0f} fJ an output ({parts}); "
        f"bias lines of the whole layer {1e15 * shared:.0f} fJ"
    )


def main() -> None:
    """All figures of one technology."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--technology", default="generic130")
    parser.add_argument("--inputs", type=int, nargs="+", default=[6, 12, 32, 64])
    parser.add_argument("--vectors", type=int, default=100)
    parser.add_argument("--chips", type=int, default=100, help="mismatch, at the first size; 0: none")
    parser.add_argument("--corner", default="tt")
    parser.add_argument("--temperature", type=float, default=27.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    technology, first = Technology.load(options.technology), options.inputs[0]
    print(f"{technology.name}, {options.corner}, {options.temperature:g} C; {machine()}", flush=True)
    for inputs in options.inputs:
        report("nominal", run(technology, inputs, options.vectors, MARK, options), inputs)
    report("without the shortest pulse", run(technology, first, options.vectors, 0.0, options), first)
    if options.chips:
        chips = run(technology, first, options.chips, MARK, options, mismatch=True)
        report("mismatch, a chip a vector", chips, first)
    print(
        f"published: {1e15 * PUBLISHED:g} fJ/Op (multiplications and additions, as here). What differs: "
        f"there 55 nm flash cells, here transistors of {technology.name} and its supply; there N > 200 "
        "inputs share a comparator and a latch; there conversion to and from 6-bit digital numbers and the "
        "wires of a layout are counted, here neither, but the gates of the input lines are. Here most of it "
        "charges the membranes, VDD s_V theta C for N operations, and C grows with N."
    )


if __name__ == "__main__":
    main()
