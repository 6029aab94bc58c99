"""Spread of GF180MCU transistors against area: the kit's formula, our draws, the kit's own draws.

Devices of W = L, many in one operating point: V_GS of diodes at 1 uA each, which the threshold sets, and
ln I at |V_GS| = |V_DS| = 3 V, where the current factor counts too, if the kit draws it. Our draws are of
plain transistors that carry one cut model card; the kit's come from its own subcircuits with
sw_stat_mismatch = 1, sw_stat_global = 0 and a seed. The formula is each sigma of the card times its effect,
measured by small steps, in quadrature. Intervals are 95 %. Needs PDK_ROOT.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from circuits.pdk.installation import locate
from circuits.pdk.model_cards import card
from circuits.pdk.technology import Size, Technology

CURRENT = 1e-6
FULL = 3.0
STEPS = ((-1e-3, 1), (1e-3, 1), (0, 0.99), (0, 1.01))
"""Threshold shift [V] and current factor, in pairs whose differences are the effects."""
SIDES = (0.5, 1.0, 2.0)  # W = L [um]: area x 0.25, 1, 4


def solved(lines: list[str], vectors: list[str]) -> np.ndarray:
    """Values of vectors, such as v(g0) or i(v0), in one operating point."""
    deck = ["kit matching", *lines, ".options num_threads=1", ".control", "set numdgt=12", "op"]
    deck += [*(f"print {v}" for v in vectors), "quit", ".endc", ".end"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ".spiceinit").write_text("set ngbehavior=hsa\nset num_threads=1\n")
        (Path(folder) / "deck.cir").write_text("\n".join(deck) + "\n")
        run = subprocess.run(
            ["ngspice", "-b", "deck.cir"],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1", "HOME": folder},
            check=True,
        )
    printed = dict(re.findall(r"(?m)^([vi]\(\w+\)) = *(\S+)$", run.stdout))
    return np.array([float(printed[v]) for v in vectors])


def gate_voltages(head: list[str], devices: list[str], sign: int) -> np.ndarray:
    """|V_GS| of diode-connected devices [V]; a device is its letter and what follows its nodes."""
    lines = [f"{d[0]}{k} g{k} g{k} 0 0 {d[1:]}" for k, d in enumerate(devices)]
    lines += [f"i{k} 0 g{k} {sign * CURRENT!r}" for k in range(len(devices))]
    return np.abs(solved([*head, *lines], [f"v(g{k})" for k in range(len(devices))]))


def log_currents(head: list[str], devices: list[str], sign: int) -> np.ndarray:
    """ln |I_D| at full gate and drain voltage."""
    lines = [f"vg g 0 {sign * FULL}"]
    for k, d in enumerate(devices):
        lines += [f"v{k} d{k} 0 {sign * FULL}", f"{d[0]}{k} d{k} g 0 0 {d[1:]}"]
    return np.log(np.abs(solved([*head, *lines], [f"i(v{k})" for k in range(len(devices))])))


def interval(values: np.ndarray) -> str:
    """Standard deviation with its interval, x 1000."""
    degrees, sigma = len(values) - 1, 1e3 * float(np.std(values, ddof=1))
    low, high = (sigma * math.sqrt(degrees / chi2.ppf(q, degrees)) for q in (0.975, 0.025))
    return f"{sigma:6.2f} [{low:5.2f}, {high:5.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    technology, rng, count = Technology.load("gf180mcu"), np.random.default_rng(options.seed), options.devices
    kit = technology.transistors().kit
    path = locate("gf180mcu", [[place] for place in kit["places"]])[0]
    text = path.read_text(encoding="latin-1")
    head = [".param sw_stat_global=0 sw_stat_mismatch=1 mc_skew=3 fnoicor=0", f".lib '{path}' typical"]
    print(f"sigma(V_GS) [mV] and sigma(ln I) [0.1 %], {count} devices a row; {path}")
    print("device            what   formula  ours                  the kit's draws")
    seed = options.seed
    for kind, sign in (("n", 1), ("p", -1)):
        wrapper = next(m for m in kit["models"][kind] if f".subckt {m} " in text)
        for side in SIDES:
            unit = card(technology, Size(kind, side * 1e-6, side * 1e-6))
            plain = f"m{unit.model} w={side}e-6 l={side}e-6"
            shifts = rng.normal(0, unit.sigma_vth, count).tolist()
            factors = np.exp(rng.normal(0, unit.sigma_beta, count)).tolist()
            pairs = zip(shifts, factors, strict=True)
            ours = [f"{plain} delvto={dv!r} mulu0={mu!r}" for dv, mu in pairs]
            steps = [f"{plain} delvto={dv} mulu0={mu}" for dv, mu in STEPS]
            theirs = [f"x{wrapper} w={side}e-6 l={side}e-6"] * count
            for what, measured in (("V_GS", gate_voltages), ("ln I", log_currents)):
                effects = np.diff(measured([unit.text], steps, sign))[::2] / [2e-3, 2e-2]
                formula = math.hypot(*(effects * [unit.sigma_vth, unit.sigma_beta]))
                a = measured([unit.text], ours, sign)
                b = measured([f".option seed={seed}", *head], theirs, sign)
                name = f"{wrapper} {side:g}/{side:g}"
                print(f"{name:<18}{what:<6} {1e3 * formula:7.2f}  {interval(a)}  {interval(b)}")
            seed += 1  # else every row has the same draws


if __name__ == "__main__":
    main()
