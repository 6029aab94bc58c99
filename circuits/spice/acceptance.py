"""When a simulation is believed. ngspice exits with 0 on many failures, so its exit code proves little.

A result counts only if no message announces a changed circuit, the header counts points, the bytes
match, every value is finite, every vector is there, time runs forward, and the end was reached.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from circuits.errors import SimulatorError
from circuits.spice.deck import Deck
from circuits.spice.rawfile import Plot, parse

RAW = "out.raw"
END, WIDTH = 1 << 14, 200
"""Of what ngspice printed: bytes that are read for a message, and characters of a line in it."""
HARMLESS = re.compile(r"^(Note: |Circuit: |\s*Reference value|Using transient initial|Trying gmin = |$)")
SUSPECT = re.compile(r"error|warning|message:|singular|aborted|too small|fatal|unknown|can't|cannot", re.I)


def accept(folder: Path, decks: Sequence[Deck]) -> list[Plot]:
    """The plots of a run folder, one a deck, if they can be trusted.

    Parameters
    ----------
    folder : with ngspice's stdout, stderr and raw file
    decks : in the order in which they ran

    Raises
    ------
    SimulatorError
        Saying which condition did not hold.
    """
    for stream in ("stderr", "stdout"):
        for line in (folder / stream).read_text("latin-1").splitlines():
            if SUSPECT.search(line) and not HARMLESS.match(line):
                raise SimulatorError(f"ngspice said: {line.strip()[:WIDTH]}")
    raw = folder / RAW
    if not raw.exists():
        raise SimulatorError("ngspice wrote no raw file")
    plots = parse(raw.read_bytes())
    if len(plots) != len(decks):
        raise SimulatorError(f"ngspice wrote {len(plots)} plots, {len(decks)} expected")
    for plot, deck in zip(plots, decks, strict=True):
        _check(plot, deck)
    return plots


def _check(plot: Plot, deck: Deck) -> None:
    static = deck.stop == 0  # an operating point
    wanted = {f"v({n})" for n in deck.nodes} | {f"i({c})" for c in deck.currents}
    wanted |= set() if static else {"time"}
    missing = wanted - set(plot.variables)
    if missing:
        raise SimulatorError(f"vectors missing from the result: {sorted(missing)[:5]}")
    if static:
        if len(plot.values) != 1:
            raise SimulatorError(f"{len(plot.values)} operating points instead of one")
        return
    time = plot["time"]
    if not time[-1] >= deck.stop * (1 - 1e-9):
        raise SimulatorError(f"run ended at {time[-1]:.6g} s instead of {deck.stop:.6g} s")
    if np.any(np.diff(time) < 0):
        raise SimulatorError("time runs backwards in the raw file")


def last_words(folder: Path) -> str:
    """The end of what ngspice printed, for an error message; of a flood no more than its end is read."""
    words: list[str] = []
    for stream in ("stdout", "stderr"):
        with contextlib.suppress(OSError):
            with open(folder / stream, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - END))
                text = file.read().decode("latin-1")
            words += [w[-WIDTH:] for w in text.splitlines() if w.strip()]
    return "".join(f"  | {w}\n" for w in words[-6:])
