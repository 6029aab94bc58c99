"""Monte Carlo at transistor level: convergence failures, corners, and the area law.

`failures`: transients of neurons with mismatch, at the typical corner and fewer at the others and at the ends
of the temperature range; failed ones are counted, and those that converged at the second setting only.
`area`: spreads of slope, threshold and delay against the gate area of the matched transistors on generic130,
with the exponent of a power law and its 95 % interval; Pelgrom's law says -1/2. The delay itself grows with
the area, since larger gates take longer to charge: its relative spread is what follows the law.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.stats import norm

from circuits import InputError, Technology
from montecarlo import Campaign

AREAS = (0.25, 0.5, 1.0, 2.0, 4.0)


def run(technology: Technology, samples: int, **options) -> xr.Dataset:
    """One campaign, in a folder of its own."""
    settings = {k: options.pop(k) for k in ("corner", "temperature", "size") if k in options}
    plan = Campaign.characterize(technology, samples, settings=settings)
    plan = dataclasses.replace(plan, **{"nominal": 0, "trials": 0, **options})
    with tempfile.TemporaryDirectory() as folder:
        return plan.run(Path(folder) / "run.zarr", workers=os.cpu_count() or 1).load()


def failures(transients: int, elsewhere: int) -> bool:
    good, per = True, 4
    print("technology   corner   temperature   transients   failed   run again   silent   early   wall")
    for name in ("generic130", "gf180mcu", "sky130"):
        technology = Technology.load(name)
        conditions = [(technology.corners[0], 27.0, transients)]
        conditions += [(c, 27.0, elsewhere) for c in technology.corners[1:]]
        conditions += [(c, t, elsewhere) for c in ("ss", "ff") for t in (technology.temperatures or ())]
        for corner, temperature, count in conditions:
            start = time.time()
            try:
                found = run(
                    technology,
                    -(-count // per),
                    random=per,
                    corner=corner,
                    temperature=temperature,
                )
            except InputError as error:
                print(f"{name:<12} skipped: {str(error).splitlines()[0]}")
                break
            failed = int((found["status"] != 0).sum())
            spikes = found["spike_time"].values
            good &= failed == 0
            print(
                f"{name:<12} {corner:<8} {temperature:>8g} C   {per * found.sizes['sample']:>10}   "
                f"{failed:>6}   {int(found['retried'].sum()):>9}   {int(np.isinf(spikes).sum()):>6}   "
                f"{int((spikes <= 0).sum()):>5}   {time.time() - start:>3.0f} s",
                flush=True,
            )
    return good


def power(spreads: np.ndarray, count: int) -> tuple[float, float]:
    """Exponent of spread = a * area ** exponent, and its standard error; `count` samples behind each spread.

    The logarithm of a standard deviation has the standard error 1 / sqrt(2 (n - 1)).
    """
    x = np.log(AREAS) - np.mean(np.log(AREAS))
    return float(x @ np.log(spreads) / (x @ x)), float(1 / np.sqrt(2 * (count - 1) * (x @ x)))


def area(samples: int) -> bool:
    rows, technology = [], Technology.load("generic130")
    for factor in AREAS:
        found = run(technology, samples, size=factor, random=1)
        delay = found["delay"].values[:, 0]
        rows.append(
            (
                np.nanstd(np.log(found["slope"].values[:, 0]), ddof=1),
                found["deviation_threshold"].values.std(ddof=1),
                np.nanstd(delay, ddof=1),
                np.nanmean(delay),
            )
        )
        print(
            f"area x{factor:<5g} sigma(slope) {rows[-1][0]:.4f}   sigma(threshold) {rows[-1][1]:.4f}   "
            f"sigma(delay) {rows[-1][2]:.5f} tau_c   mean delay {rows[-1][3]:.4f} tau_c",
            flush=True,
        )
    found = np.array(rows)
    spreads = {
        "slope": found[:, 0],
        "threshold": found[:, 1],
        "delay": found[:, 2],
        "delay, relative": found[:, 2] / found[:, 3],
    }
    good, z = True, float(norm.ppf(0.975))
    for name, values in spreads.items():
        exponent, error = power(values, samples)
        low, high = exponent - z * error, exponent + z * error
        good &= low <= -0.5 <= high or name == "delay"
        print(f"exponent of sigma({name}): {exponent:.3f}, 95 % {low:.3f} .. {high:.3f}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["failures", "area"])
    parser.add_argument("--transients", type=int, default=2000, help="at the typical corner")
    parser.add_argument("--elsewhere", type=int, default=100, help="at every other condition")
    parser.add_argument("--samples", type=int, default=200, help="neurons at every area")
    options = parser.parse_args()
    if options.what == "area":
        return 0 if area(options.samples) else 1
    return 0 if failures(options.transients, options.elsewhere) else 1


if __name__ == "__main__":
    sys.exit(main())
