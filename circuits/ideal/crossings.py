"""Cells through ngspice: choose a netlist form that this ngspice can run, simulate, measure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from circuits.errors import SimulatorError
from circuits.ideal.netlist import build
from circuits.ideal.switched_sources import Cell, Grid, Sources, first_crossing
from circuits.model.layer import Array
from circuits.spice.deck import Deck
from circuits.spice.ngspice import Ngspice
from circuits.spice.rawfile import Plot
from circuits.spice.waveforms import Crossing, crossing

FAST, PORTABLE = "table", "pwl"
TOGETHER = 64
"""Decks that share one ngspice process, where each has its own input spikes."""


def cross(cells: Sequence[Cell], simulator: Ngspice, form: str | None = None) -> list[Crossing]:
    """First threshold crossing of every neuron of every cell, in ngspice.

    Parameters
    ----------
    form : {"table", "pwl", "pulse"}, optional
        Netlist form; default: step tables, or PWL sources if this ngspice has no XSPICE tables.
    """
    form = form or fast_form(simulator.program)
    if len(cells) == 1:
        deck = build(cells[0], form)
        return [measure(cells[0], deck, simulator.run(deck))]
    crossings: list[Crossing] = []
    for first in range(0, len(cells), TOGETHER):
        group = cells[first : first + TOGETHER]
        prefix = [{"prefix": f"s{k}t"} if form == FAST else {} for k in range(len(group))]
        decks = [build(cell, form, **options) for cell, options in zip(group, prefix, strict=True)]
        plots = simulator.run_many(decks)
        crossings += [measure(*item) for item in zip(group, decks, plots, strict=True)]
    return crossings


def measure(cell: Cell, deck: Deck, plot: Plot) -> Crossing:
    """First crossing of every neuron of a deck.

    Parameters
    ----------
    deck, plot : Deck, Plot
        The cell's deck (`circuits.ideal.netlist.build`) and what ngspice made of it.
    """
    time, volts = _membranes(cell, deck, plot)
    start = cell.armed * cell.grid.tick
    return crossing(time, volts, cell.threshold, start, cell.grid.tick)


def _membranes(cell: Cell, deck: Deck, plot: Plot) -> tuple[Array, Array]:
    """Time [s] and membrane voltages [V], shape (point, neuron), of a cell's deck.

    The point at t = 0 is put in front: ngspice leaves it out of a run from initial conditions.
    """
    time, volts = plot["time"], plot.columns([f"v({n})" for n in deck.nodes])
    if cell.armed > 0 or time[0] == 0.0:
        return time, volts
    start = np.full((1, volts.shape[1]), cell.v_reset)
    return np.concatenate([[0.0], time]), np.concatenate([start, volts])


@lru_cache(maxsize=8)
def fast_form(program: str) -> str:
    """Step tables, if this ngspice loads XSPICE code models and reads them right; else PWL sources.

    A self-test once per program: two neurons, two inputs, against the exact crossing. Both forms give
    the same numbers; the second is several times slower at large fan-in.
    """
    grid = Grid(-15, 3_000_000)
    sources = Sources(
        amps=np.array([[4e-7, -1e-7, 3e-7], [1e-7, 2e-7, 3e-7]]),
        on=np.array([500_000, 700_000, 1_000_000]),
        off=np.array([1_000_000, 1_000_000, 6_000_000]),
        labels=("w0", "w1", "b"),
    )
    cell = Cell(sources, np.full(2, 1e-15), np.full(2, 0.5), grid, 0.0, 1_000_000)
    deck = build(cell, FAST)
    try:
        measured = measure(cell, deck, Ngspice(program, retries=2).run(deck, keep=False))
    except SimulatorError:
        return PORTABLE
    exact, _ = first_crossing(cell)
    return FAST if np.allclose(measured.time, exact, rtol=0, atol=1e-9 * grid.stop * grid.tick) else PORTABLE
