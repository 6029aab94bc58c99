"""Laws that were planted into ngspice campaigns: are they found again, and are wrong ones refused?

    python benchmarks/planted_laws.py [--samples 4000]

Every number comes out of the simulator: deviations are extracted from spike times, never looked up.

    area law        sigma over device area, four sizes, an independent campaign each: the exponent is -1/2
    correlation     slope and threshold of one neuron, 0.6
    tails           Student-t slopes: found by `describe`; the same neurons' capacitors are normal
    distributions   Kolmogorov-Smirnov against the planted law, and against wrong ones
    rare failures   a failure 4 sigma away whose probability is known, by `rare`
    attribution     sum of parts over the Monte Carlo variance, by `attribute`
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import machine
from scipy import stats

from circuits.model.layer import Layer
from montecarlo.analysis.rare_failure import failure_probability
from montecarlo.analysis.spike_failure import spike_margin
from montecarlo.campaign.schema import open_dataset
from montecarlo.extraction.description import term_values
from montecarlo.mismatch.law import TERMS, MismatchLaw
from montecarlo.statistics.goodness_of_fit import kolmogorov_smirnov
from montecarlo.statistics.intervals import correlation_interval
from montecarlo.statistics.moments import moments

SIZES = (1.0, 4.0, 16.0, 64.0)
SIGMA, SECOND = 0.05, 0.03
SEEDS = 20
bad: list[str] = []


def command(*arguments: object) -> dict[str, Any]:
    """One command of the package, its JSON."""
    line = [sys.executable, "-m", "ttfs_analog", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def hold(name: str, text: str, good: bool) -> None:
    """Print a row and remember whether it holds."""
    print(f"{name:<15} {text:<88} {'holds' if good else 'DOES NOT HOLD'}", flush=True)
    if not good:
        bad.append(name)


def deviations(store: str) -> dict[str, np.ndarray]:
    """u of every device by term, extracted from what ngspice gave."""
    dataset = open_dataset(store).load()
    return {name: values.values for name, values in term_values(dataset).items()}


def area_law(folder: Path, samples: int) -> None:
    """ln(sigma) over ln(area) by weighted least squares; the weights are the standard errors."""
    found: dict[str, list[tuple[float, float]]] = {term: [] for term in TERMS}
    for seed, size in enumerate(SIZES):
        store = folder / f"size{size:g}"
        line = ("--samples", samples, "--synapses", 2, "--seed", seed, "--out", store)
        command("characterize", *line, "--at", f"size={size}")
        for term, values in deviations(str(store)).items():
            m = moments(values)
            found[term].append((math.log(m.std), m.std_se / m.std))
    x = np.log(SIZES)
    exponents, errors = [], []
    for term, rows in found.items():
        y, se = np.array(rows).T
        w = se**-2
        center = (w @ x) / w.sum()
        spread = w @ (x - center) ** 2
        exponents.append(float(w @ ((x - center) * y)) / spread)
        errors.append(spread**-0.5)
        print(f"  {term:<15} exponent {exponents[-1]:.4f} +- {1.96 * errors[-1]:.4f} (95 %)")
    w = np.array(errors) ** -2
    mean, half = float(w @ exponents / w.sum()), 1.96 * float(w.sum() ** -0.5)
    hold("area law", f"exponent {mean:.4f} +- {half:.4f} (95 %); planted -0.5", abs(mean + 0.5) <= half)
    hold(
        "", f"exponent -1 is {abs(mean + 1) / half * 1.96:.0f} standard errors away", abs(mean + 1) > 5 * half
    )


def joint_law(folder: Path, samples: int) -> None:
    """Correlation and tails, planted into one campaign."""
    store = folder / "joint"
    line = ("--samples", samples, "--synapses", 2, "--seed", 5, "--out", store)
    command("characterize", *line, "--correlation", "slope.threshold=0.6")
    found = deviations(str(store))
    rho, low, high = correlation_interval(found["slope"], found["threshold"])
    hold("correlation", f"{rho:.3f}, 95 % interval [{low:.3f}, {high:.3f}]; planted 0.6", low <= 0.6 <= high)
    rho, low, high = correlation_interval(found["slope"], found["capacitance"])
    hold("", f"slope and capacitance {rho:.3f} [{low:.3f}, {high:.3f}]; planted 0", low <= 0 <= high)

    store = folder / "tails"
    line = ("--samples", samples, "--synapses", 2, "--seed", 6, "--out", store)
    command("characterize", *line, "--distribution", "slope=student-t:4")
    terms = command("describe", store, "--out", folder / "tails.nc")["terms"]
    t, n = terms["slope"], terms["capacitance"]
    text = f"slope: Student-t of {t['freedom']:.2f} degrees of freedom, p of a normal law {t['tail_p']:.1g}"
    hold("tails", f"{text}; planted 4", t["tail_p"] < 1e-6 and 3 < t["freedom"] < 5.5)
    hold("", f"capacitance, planted normal: p {n['tail_p']:.2f}", n["tail_p"] > 0.01)
    wide = stats.t(4, scale=SIGMA * math.sqrt(0.5))
    slope, capacitance = deviations(str(store))["slope"], deviations(str(store))["capacitance"]
    for name, values, law, right in (
        ("slope against its Student-t of 4", slope, wide, True),
        ("slope against a normal law of its sigma", slope, stats.norm(0, SIGMA), False),
        ("capacitance against its normal law", capacitance, stats.norm(0, SIGMA), True),
        ("capacitance against a sigma 15 % too large", capacitance, stats.norm(0, 1.15 * SIGMA), False),
        ("capacitance against a mean 0.2 sigma off", capacitance, stats.norm(0.2 * SIGMA, SIGMA), False),
    ):
        d, p = kolmogorov_smirnov(values, law.cdf)
        text = f"{name}: D = {d:.4f}, p = {p:.2g}, to be {'kept' if right else 'rejected'}"
        hold("distributions", text, p > 0.01 if right else p < 0.001)


def rare_failure(folder: Path) -> None:
    """A ramp alone: ln of its spike time is normal of sigma hypot(slope, capacitance)."""
    window, deadline = 20.0, math.exp(4 * math.hypot(SIGMA, SECOND))
    layer = {"weights": [[0.5, -0.5]], "bias": [window - 1.0], "spike_times": [None, None]}
    (folder / "ramp.json").write_text(json.dumps(layer | {"t_min": 1.0, "t_max": 1.0 + window, "slope": 1.0}))
    exact = float(stats.norm.sf(4))
    sigmas = ("--sigma", 0, "--sigma", f"slope={SIGMA}", "--sigma", f"capacitance={SECOND}")
    line = ("rare", folder / "ramp.json", "--latest", repr(deadline), *sigmas, "--out", folder / "rare.json")
    said = command(*line, "--level", "ngspice")
    low, high = said["ci95"]
    text = f"{said['probability']:.3g} [{low:.3g}, {high:.3g}] by {said['evaluations']} samples in ngspice"
    hold("rare failures", f"{text}; exact {exact:.4g}", low <= exact <= high)
    hold("", f"plain Monte Carlo needs {said['gain']:.0f} times as many (bar 20)", said["gain"] >= 20)
    law = MismatchLaw(slope=SIGMA, capacitance=SECOND)
    neuron = Layer(np.array([[0.5, -0.5]]), np.array([window - 1.0]), t_min=1.0, t_max=1.0 + window)
    margin, dimensions = spike_margin(law, neuron, np.full(2, np.inf), latest=deadline)
    many = [failure_probability(margin, dimensions, np.random.default_rng(s)) for s in range(SEEDS)]
    inside = sum(e.low <= exact <= e.high for e in many)
    hold("", f"exact value inside the interval for {inside} of {SEEDS} seeds (closed form)", inside >= 17)
    true_se = float(np.std([e.probability for e in many], ddof=1))
    gain = exact * (1 - exact) / true_se**2 / float(np.mean([e.evaluations for e in many]))
    text = f"spread over seeds {true_se:.2g}, mean standard error {np.mean([e.se for e in many]):.2g}"
    hold("", f"{text}: {gain:.0f} times fewer samples", gain >= 20)


def attribution(folder: Path) -> None:
    """A neuron of 8 synapses with every device at 5 %."""
    weights = [0.8, -0.5, 0.6, -0.3, 0.9, -0.7, 0.4, -0.2]
    times = [0.1, 0.4, 0.2, None, 0.5, 0.7, 0.3, 0.6]
    layer = {
        "weights": [weights],
        "bias": [2.0],
        "spike_times": times,
        "t_min": 1.0,
        "t_max": 6.0,
        "slope": 1.0,
    }
    (folder / "neuron.json").write_text(json.dumps(layer))
    line = ("attribute", folder / "neuron.json", "--samples", 4000, "--out", folder / "attribution.nc")
    for name, row in command(*line)["quantities"].items():
        ratio, se = row["sum_of_parts_ratio"], row["sum_of_parts_ratio_se"]
        text = f"{name}: sum of parts / Monte Carlo variance {ratio:.3f} +- {se:.3f}"
        hold(
            "attribution", f"{text}, interactions {row['interactions']:.2%} (bar 10 %)", abs(ratio - 1) <= 0.1
        )


def main() -> None:
    """Print the rows; exit code 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000, help="neurons of each campaign")
    options = parser.parse_args()
    print(f"campaigns of {options.samples} neurons ({machine()})")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        area_law(folder, options.samples)
        joint_law(folder, options.samples)
        rare_failure(folder)
        attribution(folder)
    print("all hold" if not bad else f"{len(bad)} do not hold")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
