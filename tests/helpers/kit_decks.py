"""Decks of whole process kits, run as their makers mean them to be: the reference for what is cut from them.

These decks hold library references and expressions, which the package never sends to ngspice; so they are
written and run here.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from circuits.pdk import sky130
from circuits.pdk.installation import locate
from circuits.pdk.model_cards import card
from circuits.pdk.technology import Size, Technology

needs_kits = pytest.mark.skipif(not os.environ.get("PDK_ROOT"), reason="PDK_ROOT is not set: no process kits")
START = "set ngbehavior=hsa\nset num_threads=1\n"


def operating_point(lines: Iterable[str], sources: Sequence[str], folder: Path) -> list[float]:
    """Currents of voltage sources, or with names v(...) voltages, in one operating point."""
    vectors = [s if "(" in s else f"i({s})" for s in sources]
    control = [".control", "set numdgt=15", "op", *(f"print {v}" for v in vectors), "quit", ".endc", ".end"]
    (folder / ".spiceinit").write_text(START)
    (folder / "deck.cir").write_text(
        "\n".join(["kit deck", *lines, ".options num_threads=1 gmin=1e-15", *control]) + "\n"
    )
    run = subprocess.run(
        ["ngspice", "-b", "deck.cir"],
        cwd=folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_THREAD_LIMIT": "1", "HOME": str(folder)},
    )
    found = dict(re.findall(r"(?m)^(\S+) = *(\S+)$", run.stdout))
    assert set(vectors) <= found.keys(), run.stdout[-1000:] + run.stderr[-1000:]
    return [float(found[v]) for v in vectors]


def whole(technology: Technology, corner: str) -> tuple[list[str], dict[str, str], float]:
    """Lines that read a whole kit at a corner, its subcircuit of each kind, and its unit of length [m]."""
    kit = technology.transistors().kit
    if technology.name == "gf180mcu":
        path = locate("the test", [[place] for place in kit["places"]])[0]
        text = path.read_text(encoding="latin-1")
        names = {k: next(m for m in kit["models"][k] if f".subckt {m} " in text) for k in "np"}
        head = [".param sw_stat_global=0 sw_stat_mismatch=0 mc_skew=3 fnoicor=0"]
        return [*head, f".lib '{path}' {kit['corners'][corner]}"], names, 1.0
    lines, names = [".option scale=1u", ".param mc_mm_switch=0"], dict(kit["models"])
    for kind in names:
        paths = sky130.files(kit, "the test", kind, corner)
        lines += [f'.include "{path}"' for path in (*paths[1:], paths[0])]
    return list(dict.fromkeys(lines)), names, 1e-6


def newer_gf180(folder: Path) -> Path:
    """A folder of kits with GF180MCU as it has been since October 2023: the current factor is drawn too."""
    old = locate("the test", [[p] for p in Technology.load("gf180mcu").transistors().kit["places"]])[0]
    place = folder / "kits" / "gf180mcu_fd_pr"
    place.mkdir(parents=True)
    drawn = r"(delvto='mis_vth\*sw_stat_mismatch')(?!\s*mulu0)"
    text, count = re.subn(drawn, r"\1 mulu0='1-mis_k*sw_stat_mismatch'", old.read_text(encoding="latin-1"))
    assert count > 0 or "mulu0" in text
    (place / old.name).write_text(text, encoding="latin-1")
    return place.parent


def cut(technology: Technology, corner: str, sizes: Iterable[Size]) -> tuple[list[str], dict[Size, str]]:
    """The cards that stand for a kit, and which model each size has."""
    cards = {size: card(technology, size, corner) for size in sizes}
    return sorted({c.text for c in cards.values()}), {size: c.model for size, c in cards.items()}
