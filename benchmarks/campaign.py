"""Memory and CPU of a campaign through the command line, against bare simulations of the same size.

    python benchmarks/campaign.py [--samples 100000] [--synapses 64] [--workers 2]

A sample of a campaign answers many stimuli; the unit of both figures is one neuron under one stimulus. The
bars: 1 GiB for the largest process, 1.5 times the CPU of `circuits.simulation.simulate` (the first column of
neuron_throughput.py), here by the hardest stimuli: all synapses on.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from common import POINT, cost, machine, problem

from circuits.pdk.technology import Technology
from circuits.simulation import simulate
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.campaign import Campaign

BAR_BYTES, BAR_RATIO = 1 << 30, 1.5


def main() -> None:
    """Run both, print the figures and whether they hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--synapses", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    layer, times, mismatch = problem(options.synapses, 2048)
    simulator = Ngspice()
    simulate(layer, times, POINT, mismatch[:2], simulator=simulator)  # self-test, imports
    bare = cost(lambda: simulate(layer, times, POINT, mismatch, simulator=simulator), 2048)

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ttfs_analog", "characterize", "--json", "--out", f"{folder}/run"]
        for name in ("samples", "synapses", "workers"):
            command += [f"--{name}", str(getattr(options, name))]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        used, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start
        files = [os.path.join(place, f) for place, _, names in os.walk(folder) for f in names]
        stored = sum(os.path.getsize(f) for f in files)
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    plan = Campaign.characterize(Technology.load("ideal"), options.samples, synapses=options.synapses)
    units = options.samples * len(plan.neuron.stimuli.label)
    each, peak = 1e3 * spent / units, 1024 * used.ru_maxrss
    size = f"{options.samples} samples x {units // options.samples} stimuli, K = {options.synapses}"
    print(f"{size} ({machine()})")
    print(f"  failed samples          {said['n_failed']}")
    print(f"  wall                    {wall:.1f} s, {options.samples / wall:.1f} samples/s")
    print(f"  peak memory             {peak / 2**20:.0f} MiB (bar {BAR_BYTES / 2**20:.0f})")
    print(f"  store                   {stored / 2**20:.0f} MiB in {len(files)} files")
    print(f"  CPU a sample            {1e3 * spent / options.samples:.2f} ms, all stimuli")
    print(f"  CPU a unit, campaign    {each:.4f} ms")
    print(f"  CPU a unit, bare        {bare:.4f} ms")
    print(f"  ratio                   {each / bare:.2f} (bar {BAR_RATIO})")
    sys.exit(0 if peak <= BAR_BYTES and each <= BAR_RATIO * bare else 1)


if __name__ == "__main__":
    main()
