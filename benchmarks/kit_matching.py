"""Spread of V_GS of GF180MCU transistors against area: the kit's formula, our draws, the kit's own draws.

Diode-connected devices of W = L, 1 uA each, many in one operating point. Our draws shift the threshold of
plain transistors that carry one cut model card; the kit's come from its own subcircuits with
sw_stat_mismatch = 1, sw_stat_global = 0 and a seed. Intervals are 95 %. A P transistor's V_GS moves by
1.03 of the shift of its threshold (N: 1.00), so its spread is that much above the formula. Needs PDK_ROOT.
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
SIDES = (0.5, 1.0, 2.0)  # W = L [um]: area x 0.25, 1, 4


def gate_voltages(lines: list[str], count: int, sign: int) -> np.ndarray:
    """|V_GS| of `count` diode-connected devices at nodes g0, g1 ... [V]"""
    deck = ["kit matching", *lines, ".options num_threads=1"]
    deck += [f"i{k} 0 g{k} {sign * CURRENT!r}" for k in range(count)]
    deck += [
        ".control",
        "set numdgt=12",
        "op",
        *(f"print v(g{k})" for k in range(count)),
        "quit",
        ".endc",
        ".end",
    ]
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
    found = dict(re.findall(r"(?m)^v\(g(\d+)\) = *(\S+)$", run.stdout))
    return np.abs([float(found[str(k)]) for k in range(count)])


def interval(values: np.ndarray) -> str:
    """Standard deviation with its interval, in mV."""
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
    print(f"sigma(V_GS) [mV], {count} devices a row")
    print("device          formula  ours                  the kit's draws")
    seed = options.seed
    for kind, sign in (("n", 1), ("p", -1)):
        wrapper = next(m for m in kit["models"][kind] if f".subckt {m} " in text)
        for side in SIDES:
            unit = card(technology, Size(kind, side * 1e-6, side * 1e-6))
            shape, draws = f"w={side}e-6 l={side}e-6", rng.normal(0, unit.sigma_vth, count).tolist()
            ours = [f"m{k} g{k} g{k} 0 0 {unit.model} {shape} delvto={d!r}" for k, d in enumerate(draws)]
            theirs = [f"x{k} g{k} g{k} 0 0 {wrapper} {shape}" for k in range(count)]
            a = gate_voltages([unit.text, *ours], count, sign)
            b = gate_voltages([f".option seed={seed}", *head, *theirs], count, sign)
            seed += 1  # else every row has the same draws
            name = f"{wrapper} {side:g}/{side:g}"
            print(f"{name:<16}{1e3 * unit.sigma_vth:7.2f}  {interval(a)}  {interval(b)}")


if __name__ == "__main__":
    main()
