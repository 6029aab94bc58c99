"""How exact and how fast one transistor-level neuron is, on every technology whose kit is there.

Bars: with reltol ten times tighter and half the longest step, the converged setting moves spike times by
at most 1e-5 tau_c and energies by 1e-3, in at most 0.3 s CPU; the campaign setting stays within 1e-3 tau_c
and 1 % of it in at most 0.1 s CPU. Several inputs; the worst counts, and of the CPU the median of the best.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import sys

import numpy as np

from circuits import InputError, Technology
from circuits.benches.neuron_waveforms import Measured, measure
from circuits.benches.testbench import CAMPAIGN, CONVERGED, Accuracy
from circuits.spice.ngspice import Ngspice
from montecarlo import Campaign
from montecarlo.campaign.transistor_runs import TransistorsUnderTest

BARS = {
    "moved": 1e-5,
    "energy": 1e-3,
    "converged_cpu": 0.3,
    "near": 1e-3,
    "near_energy": 1e-2,
    "campaign_cpu": 0.1,
}


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def simulate(neuron: TransistorsUnderTest, accuracy: Accuracy, repeats: int, simulator: Ngspice):
    """Measurements of all inputs, and the median over them of the least CPU [s]."""
    stim, found, times = neuron.stimuli, [], []
    for times_in in stim.input_time:
        bench = neuron.bench(stim.weights[0], times_in, accuracy=accuracy)
        best = np.inf
        for _ in range(repeats):
            before = cpu()
            plot = simulator.run(bench.deck)
            best = min(best, cpu() - before)
        found.append(measure(bench, plot))
        times.append(best)
    return found, float(np.median(times))


def worst(one: list[Measured], other: list[Measured]) -> tuple[float, float]:
    """Largest difference of spike times [tau_c], and of energies, relative."""
    times = max(abs(a.spike_time - b.spike_time) for a, b in zip(one, other, strict=True))
    return times, max(abs(a.total / b.total - 1) for a, b in zip(one, other, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, for the CPU time")
    options = parser.parse_args()
    simulator, good = Ngspice(), True
    print("             converged, tightened    converged    campaign against it      campaign")
    print("technology   spike time   energy     CPU          spike time   energy     CPU")
    for name in ("generic130", "gf180mcu", "sky130"):
        plan = dataclasses.replace(Campaign.characterize(Technology.load(name), 1), random=options.inputs)
        neuron = TransistorsUnderTest(plan)
        try:
            coarse, coarse_cpu = simulate(neuron, CAMPAIGN, options.repeats, simulator)
        except InputError as error:
            print(f"{name:<12} skipped: {str(error).splitlines()[0]}")
            continue
        fine, fine_cpu = simulate(neuron, CONVERGED, options.repeats, simulator)
        finer, _ = simulate(neuron, CONVERGED.tightened(), 1, simulator)
        found = dict(
            zip(BARS, (*worst(fine, finer), fine_cpu, *worst(coarse, fine), coarse_cpu), strict=True)
        )
        good &= all(found[k] <= bar for k, bar in BARS.items())
        cells = [f"{found['moved']:.1e} tau", f"{found['energy']:.1e}", f"{found['converged_cpu']:.3f} s"]
        cells += [f"{found['near']:.1e} tau", f"{found['near_energy']:.1e}", f"{found['campaign_cpu']:.3f} s"]
        widths = (12, 10, 12, 12, 10, 8)
        print(f"{name:<12}", *(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)))
    print("all bars held" if good else "a bar is not held")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
