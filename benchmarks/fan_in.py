"""Neurons of 8 to 784 synapses at transistor level: the operating point adapts, every size fires correctly.

    python benchmarks/fan_in.py [--technology generic130] [--sizes 8 64 784] [--objective spread]

Random signed weights in whole unit devices whose partial sums stay of order one, all K synapses in the deck,
operating point from `circuits.sizing`. The constants of the equation in `circuits.transistor_layer` (scale of
the threshold, delay, turn-on charge and feed-through by sign) are fitted at the first size; at the others
they are scaled as charges (delta with i tau_c, kappa with C s_V, delay with the slope), nothing is fitted.
One input has to leave the neuron silent, one puts it above threshold before t_min: it fires at once.
Exit code 1 if a neuron fires when it must not, or not when it must.
"""

import argparse
import dataclasses
import os
import sys
from dataclasses import dataclass

import numpy as np
from common import cpu, machine

from circuits.cells.bias_bench import Figures, figures
from circuits.cells.dc import static
from circuits.demand import activations
from circuits.layer import Array, Layer
from circuits.ngspice import Ngspice
from circuits.sizing import LayerBias, choose
from circuits.technology import Technology
from circuits.transistor_layer import decks, run
from circuits.worth import SLOPE_EXPONENT, Bounds

SIZES = (8, 16, 32, 64, 128, 256, 512, 784)
T_MIN, WINDOW, THETA = 1.0, 2.0, 1.0
GRID = 0.05
"""Input times lie on a grid, as those of gray levels do: each different one costs the simulator steps."""
SUM = 0.45
"""Standard deviation of the potential at t_min over inputs."""
SILENT, ABOVE = -1.25, 1.15
"""Potentials at t_min of the two special inputs."""
PATTERNS = 4
FIRST_PATTERNS = 18
THETAS = (1.0, 0.85, 1.15)
TOGETHER = 1.5
"""Spikes closer than this many tau_c x 0.01 to an end of the window are not judged."""


@dataclass(frozen=True)
class Case:
    """One size."""

    bias: LayerBias
    x: Array  #: (input, synapse); the last but one has to stay silent, the last to fire at once


def neuron(k: int, seed: int = 0) -> tuple[Layer, Array]:
    """A neuron of k synapses, and calibration inputs for it."""
    rng = np.random.default_rng([seed, k])
    weights = rng.normal(size=k) * SUM / np.sqrt(k * 0.5 / 3)
    weights[:2] = np.abs(weights[:2]) * [1, -1]  # both signs
    layer = Layer(weights[None, :], np.array([WINDOW - THETA]), t_min=T_MIN, t_max=T_MIN + WINDOW)
    return layer, np.stack([_input(layer.weights[0], rng) for _ in range(64)])


def _input(weights: Array, rng: np.random.Generator) -> Array:
    """Half of the synapses active; V(t_min) inside what must fire within the window."""
    while True:
        times = GRID * rng.integers(1, round(T_MIN / GRID), len(weights))
        times = np.where(rng.random(len(weights)) < 0.5, times, np.inf)
        x = activations(times, T_MIN)
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


def case(
    k: int, technology: Technology, found: Figures, objective: str, patterns: int, seed: int = 0
) -> Case:
    """The operating point of one size, and the inputs to simulate."""
    layer, x = neuron(k, seed)
    special = np.stack([forced(layer.weights[0], v) for v in (SILENT, ABOVE)])
    (bias,) = choose([layer], np.vstack([x, special]), technology, found, objective=objective)
    return Case(bias, np.vstack([x[:patterns], special]))


def simulate(one: Case, simulator: Ngspice, thetas: tuple[float, ...] = (THETA,), workers: int = 1):
    """(threshold, Measured) of every input."""
    benches, used = [], []
    for n, x in enumerate(one.x):
        theta = thetas[n % len(thetas)] if n < len(one.x) - 2 else THETA
        layer = dataclasses.replace(one.bias.layer, bias=np.array([WINDOW - theta]))
        times = np.where(x > 0, T_MIN - x, np.inf)
        benches += decks(dataclasses.replace(one.bias, layer=layer), times)
        used.append(theta)
    return list(zip(used, run(benches, simulator, workers), strict=True))


def terms(bias: LayerBias, x: Array) -> Array:
    """Columns of the constants delta+, delta-, kappa+, kappa-, shape (input, 4)."""
    w, active = bias.layer.weights[0], (x > 0).astype(float)
    signs = [active * (np.sign(w) == s) for s in (1, -1)]
    return np.column_stack([*(a @ w for a in signs), *(a.sum(axis=1) for a in signs)])


def fit(one: Case, results) -> Array:
    """Threshold scale, delay [tau_c], delta+, delta- [tau_c], kappa+, kappa- [unit] by least squares."""
    x = one.x[:-2]
    theta = np.array([t for t, _ in results])[:-2]
    spike = np.array([m.spike_time for _, m in results])[:-2]
    columns = np.column_stack([theta, np.ones(len(x)), -terms(one.bias, x)])
    y = spike + x @ one.bias.layer.weights[0] + leak(one.bias)
    return np.linalg.lstsq(columns, y, rcond=None)[0]


def leak(bias: LayerBias) -> float:
    return float(bias.leakage[0])


def scaled(constants: Array, first: LayerBias, other: LayerBias) -> Array:
    """The constants of another operating point: charges and the comparator's law stay."""
    a, b = first.point, other.point
    unit = first.unit_current * a.tau_c / (other.unit_current * b.tau_c)
    charge = a.i_unit * a.tau_c / (b.i_unit * b.tau_c)
    slow = (a.v_unit / a.tau_c / (b.v_unit / b.tau_c)) ** SLOPE_EXPONENT * a.tau_c / b.tau_c
    return constants * np.array([1.0, slow, unit, unit, charge, charge])


def predict(one: Case, constants: Array, theta: Array) -> Array:
    """Spike times after t_min [tau_c]."""
    columns = np.column_stack([theta, np.ones(len(one.x)), -terms(one.bias, one.x)])
    return columns @ constants - one.x @ one.bias.layer.weights[0] - leak(one.bias)


def judge(one: Case, results, constants: Array) -> tuple[Array, bool]:
    """Errors [tau_c] of the spikes that must come, and whether those that must not did not."""
    theta = np.array([t for t, _ in results])
    spike = np.array([m.spike_time for _, m in results])
    wanted = predict(one, constants, theta)
    delay = constants[1]
    fires = np.isfinite(spike[:-2]).all() and spike[-1] <= 2 * delay and not np.isfinite(spike[-2])
    return spike[:-2] - wanted[:-2], bool(fires) and bool((spike[:-2] > 0).all())


def capacitance(one: Case, slope: float, simulator: Ngspice) -> float:
    """Membrane capacitance from the measured slope and the slope source's own current [F]."""
    bias, point = one.bias, one.bias.point
    units = bias.technology.transistors().units
    current = static(bias.technology, np.array([1 / units]), [{}], point=point, simulator=simulator).slope[0]
    return float(current / (slope * point.v_unit / point.tau_c))


def sweep(technology: str, sizes: tuple[int, ...], objective: str, workers: int = 1) -> bool:
    """Print the table; whether every size fired correctly."""
    simulator, tech = Ngspice(), Technology.load(technology)
    found = figures(tech, simulator=simulator)
    print(f"{technology}, objective {objective}; {machine()}")
    print(
        f"{'K':>4} {'n':>3} {'tau':>5} {'C':>6} {'drawn':>6} {'meas.':>6} {'s_V':>6} {'I_u':>6} {'i':>6} "
        f"{'rms':>7} {'max':>7} {'energy':>7} {'silent':>7} {'CPU':>6}"
    )
    print(
        f"{'':>4} {'':>3} {'ns':>5} {'fF':>6} {'fF':>6} {'fF':>6} {'V':>6} {'nA':>6} {'nA':>6} "
        f"{'tau_c':>7} {'tau_c':>7} {'fJ':>7} {'fJ':>7} {'s/deck':>6}"
    )
    good, first, constants = True, None, np.zeros(6)
    for k in sizes:
        start = cpu()
        one = case(k, tech, found, objective, FIRST_PATTERNS if first is None else PATTERNS)
        results = simulate(one, simulator, THETAS if first is None else (THETA,), workers)
        spent = (cpu() - start) / len(results)
        if first is None:
            first, constants = one, fit(one, results)
        error, right = judge(one, results, scaled(constants, first.bias, one.bias))
        good &= right
        bias, point = one.bias, one.bias.point
        slope = float(np.median([m.slope for _, m in results[:-2]]))
        measured = capacitance(one, slope, simulator)
        print(
            f"{k:>4} {bias.technology.transistors().units:>3} {1e9 * point.tau_c:>5.0f} "
            f"{1e15 * point.c_mem:>6.1f} {1e15 * bias.capacitors[0]:>6.1f} {1e15 * measured:>6.1f} "
            f"{point.v_unit:>6.3f} {1e9 * point.i_unit:>6.0f} {1e9 * bias.unit_current:>6.1f} "
            f"{np.sqrt((error**2).mean()):>7.4f} {np.abs(error).max():>7.4f} "
            f"{1e15 * np.mean([m.total for _, m in results[:-2]]):>7.0f} "
            f"{1e15 * results[-2][1].total:>7.0f} {spent:>6.2f}{'' if right else '  WRONG'}",
            flush=True,
        )
    names = ("theta scale", "delay", "delta+", "delta-", "kappa+", "kappa-")
    print(
        "constants at the first size: "
        + ", ".join(f"{n} {v:.4f}" for n, v in zip(names, constants, strict=True))
    )
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
    return (
        0 if all([sweep(t, tuple(options.sizes), options.objective, options.workers) for t in wanted]) else 1
    )


if __name__ == "__main__":
    sys.exit(main())
