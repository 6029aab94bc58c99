"""Neurons of 8 to 784 synapses at transistor level: the operating point adapts, every size fires correctly.

    python benchmarks/fan_in.py [--technology generic130] [--sizes 8 64 784] [--objective spread]

Random signed weights in whole unit devices whose partial sums stay of order one, all K synapses in the deck,
operating point from `circuits.biasing.choose`. Spike times are compared with the ideal equation plus the
comparator's delay (`ideal`), and with the equation and its constants (`rms`, `max`): those
constants (delay, turn-on charge and feed-through by sign, kick of the comparator, gains) are measured on
neurons with one synapse at the same operating point; nothing is fitted to the neurons of the table. One input
has to leave the neuron silent, one puts it above threshold before t_min: it fires at once. Exit code 1 if a
neuron fires when it must not, or not when it must.
"""

import argparse
import dataclasses
import os
import sys
from dataclasses import dataclass

import numpy as np
from common import cpu, machine

from circuits.benches.neuron_waveforms import Measured
from circuits.benches.operating_points import static
from circuits.biasing.bounds import Bounds
from circuits.biasing.cell_figures import Figures, figures
from circuits.biasing.choose import LayerBias, bias, choose
from circuits.biasing.transistor_layer import TransistorNeuron, read
from circuits.model.coding import decode, encode
from circuits.model.layer import Array, Layer
from circuits.pdk.technology import Technology
from circuits.simulation import expected_response
from circuits.spice.ngspice import Ngspice

SIZES = (8, 16, 32, 64, 128, 256, 512, 784)
T_MIN, WINDOW, THETA = 1.0, 2.0, 1.0
GRID = 0.05
"""Input times lie on a grid, as those of gray levels do: each different one costs the simulator steps."""
SUM = 0.45
"""Standard deviation of the potential at t_min over inputs."""
SILENT, ABOVE = -1.25, 1.15
"""Potentials at t_min of the two special inputs."""
PATTERNS = 4


@dataclass(frozen=True)
class Case:
    """One size."""

    bias: LayerBias
    x: Array  #: (input, synapse); the last but one has to stay silent, the last to fire at once


def neuron(k: int, seed: int = 0) -> tuple[Layer, Array]:
    """A neuron of k synapses, half of them sinks, and calibration inputs for it."""
    rng = np.random.default_rng([seed, k])
    sign = np.where(np.arange(k) % 2 == 0, 1.0, -1.0)
    while True:
        weights = sign * np.abs(rng.normal(size=k)) * SUM / np.sqrt(k * 0.5 / 3)
        if weights[sign > 0].sum() > 1.2 * ABOVE and -weights[sign < 0].sum() > 1.2 * abs(SILENT):
            break
    layer = Layer(weights[None, :], np.array([WINDOW - THETA]), t_min=T_MIN, t_max=T_MIN + WINDOW)
    return layer, np.stack([_input(weights, rng) for _ in range(64)])


def _input(weights: Array, rng: np.random.Generator) -> Array:
    """Half of the synapses active; V(t_min) inside what must fire within the window."""
    while True:
        times = GRID * rng.integers(1, round(T_MIN / GRID), len(weights))
        times = np.where(rng.random(len(weights)) < 0.5, times, np.inf)
        x = decode(times, T_MIN)
        if -0.7 <= x @ weights <= 0.7:
            return x


def forced(weights: Array, target: float) -> Array:
    """An input with V(t_min) = target or beyond: the synapses of that sign, strongest first."""
    x = np.zeros(len(weights))
    for j in np.argsort(-np.sign(target) * weights):
        if np.sign(target) * weights[j] <= 0 or abs(x @ weights) >= abs(target):
            break
        x[j] = min(T_MIN - GRID, GRID * np.ceil((abs(target) - abs(x @ weights)) / abs(weights[j]) / GRID))
    return x


def case(k: int, technology: Technology, found: Figures, objective: str, simulator: Ngspice) -> Case:
    """The operating point of one size, and the inputs to simulate."""
    layer, x = neuron(k)
    special = np.stack([forced(layer.weights[0], v) for v in (SILENT, ABOVE)])
    every = np.vstack([x, special])
    (chosen,) = choose([layer], every, technology, found, objective=objective)
    # its constants, measured on neurons with one synapse at this very point
    own = dataclasses.replace(chosen.technology, operating_point=chosen.point)
    units = chosen.technology.transistors().units
    exact = figures(own, simulator=simulator)
    wide = Bounds(turn_on=0.2, leakage=0.1, delay=0.4, offset=0.2, jitter=0.02, headroom=0.1)
    ready = bias(layer, every, technology, exact, chosen.point, units=units, bounds=wide)
    return Case(ready, np.vstack([x[:PATTERNS], special]))


def simulate(one: Case, simulator: Ngspice, workers: int = 1) -> list[Measured]:
    """Every input of a size, one deck each."""
    benches = [TransistorNeuron(one.bias).benches(encode(x, T_MIN))[0] for x in one.x]
    return read(benches, simulator, workers)


def judge(one: Case, found: list[Measured]) -> tuple[Array, Array, bool]:
    """Errors [tau_c] of the spikes that must come, of the ideal equation with the delay, and with constants.

    And whether every neuron fired, stayed silent and fired at once where it must.
    """
    ready = one.bias
    spike = np.array([m.spike_time for m in found])
    ideal = (ready.layer.theta - one.x @ ready.layer.weights.T)[:, 0] + ready.delay
    right = np.isfinite(spike[:-2]).all() and (spike[:-2] > spike[-1]).all() and np.isinf(spike[-2])
    right &= 0 < spike[-1] <= Bounds().delay
    neuron = TransistorNeuron(ready)
    known = [expected_response(ready.layer, encode(x, T_MIN), neuron).delay[0, 0] for x in one.x[:-2]]
    return spike[:-2] - ideal[:-2], spike[:-2] - np.array(known) - ready.delay, bool(right)


def capacitance(one: Case, slope: float, simulator: Ngspice) -> float:
    """Membrane capacitance from the measured slope and the slope source's own current [F]."""
    point, own = one.bias.point, one.bias.technology
    units = own.transistors().units
    current = static(own, np.array([1 / units]), [{}], point=point, simulator=simulator).slope[0]
    return float(current / (slope * point.v_unit / point.tau_c))


def sweep(technology: str, sizes: tuple[int, ...], objective: str, workers: int = 1) -> bool:
    """Print the table; whether every size fired correctly."""
    simulator, tech = Ngspice(), Technology.load(technology)
    found = figures(tech, simulator=simulator)
    print(f"{technology}, objective {objective}; {machine()}")
    titles = (
        "K",
        "n",
        "tau",
        "C",
        "drawn",
        "meas.",
        "s_V",
        "I_u",
        "i",
        "ideal",
        "rms",
        "max",
        "spike",
        "silent",
    )
    units = ("", "", "ns", "fF", "fF", "fF", "V", "nA", "nA", "tau_c", "tau_c", "tau_c", "fJ", "fJ")
    widths = (4, 3, 4, 6, 6, 6, 6, 5, 6, 7, 7, 7, 6, 6)
    for line in (titles, units):
        print(" ".join(f"{text:>{w}}" for text, w in zip(line, widths, strict=True)) + f" {'CPU':>6}")
    good = True
    for k in sizes:
        one = case(k, tech, found, objective, simulator)
        start = cpu()
        results = simulate(one, simulator, workers)
        spent = (cpu() - start) / len(results)
        ideal, error, right = judge(one, results)
        good &= right
        point = one.bias.point
        measured = capacitance(one, float(np.median([m.slope for m in results[:-2]])), simulator)
        row = (
            f"{k}", f"{one.bias.technology.transistors().units}", f"{1e9 * point.tau_c:.0f}",
            f"{1e15 * point.c_mem:.1f}", f"{1e15 * one.bias.capacitors[0]:.1f}", f"{1e15 * measured:.1f}",
            f"{point.v_unit:.3f}", f"{1e9 * point.i_unit:.0f}", f"{1e9 * one.bias.unit_current:.1f}",
            f"{np.sqrt((ideal**2).mean()):.4f}", f"{np.sqrt((error**2).mean()):.4f}",
            f"{np.abs(error).max():.4f}", f"{1e15 * np.mean([m.total for m in results[:-2]]):.0f}",
            f"{1e15 * results[-2].total:.0f}",
        )  # fmt: skip
        text = " ".join(f"{value:>{w}}" for value, w in zip(row, widths, strict=True))
        print(f"{text} {spent:>6.2f}{'' if right else '  WRONG'}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--technology", nargs="*", default=None)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--objective", default="spread")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    kits = [n for n in Technology.available() if Technology.load(n).process]
    ready = [n for n in kits if all(os.environ.get(v) for v in Technology.load(n).environment)]
    wanted = options.technology or ready
    results = [sweep(t, tuple(options.sizes), options.objective, options.workers) for t in wanted]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
