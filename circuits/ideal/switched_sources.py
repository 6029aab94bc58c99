r"""Current sources that switch at common times: the one form that every ideal cell here reduces to.

.. math:: C_i \dot V_i = \sum_s I_{is}\, [\,on_s \le t < off_s\,]

Piecewise linear, so the crossing of a threshold has a closed form (`first_crossing`): the reference for
any arrangement of sources, whatever the neuron's own formula says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuits.model.layer import Array

BREAK_DISTANCE = 4e-10
"""Grid spacing as a fraction of the simulated time; ngspice merges break points below 1e-10 of it."""
NEVER = -1
"""`on` tick of a source that stays off."""


@dataclass(frozen=True)
class Grid:
    """Integer time: ticks of 10**exponent seconds from 0 to `stop`."""

    exponent: int
    stop: int

    @classmethod
    def spanning(cls, seconds: float) -> Grid:
        """The finest grid whose edges ngspice keeps apart over this time."""
        exponent = math.ceil(math.log10(BREAK_DISTANCE * seconds))
        return cls(exponent, math.ceil(seconds * float(f"1e{-exponent}")) + 2)

    @property
    def tick(self) -> float:
        """One tick [s]."""
        return float(f"1e{self.exponent}")

    def ticks(self, seconds: float) -> float:
        """A time in ticks, not rounded."""
        return seconds * float(f"1e{-self.exponent}")

    def text(self, ticks: int) -> str:
        """A time as netlist text: the same tick is always the same string."""
        return f"{int(ticks)}e{self.exponent}"


@dataclass(frozen=True)
class Sources:
    """Sources of many neurons; column s switches at the same times in all of them."""

    amps: Array  #: (neuron, source) [A]; > 0 from the supply, < 0 to ground
    on: NDArray[np.int64]  #: (source,) tick; NEVER = off throughout
    off: NDArray[np.int64]  #: (source,) tick
    labels: tuple[str, ...]  #: (source,) for readable decks

    @property
    def neurons(self) -> int:
        return self.amps.shape[0]

    def rows(self, grid: Grid) -> tuple[NDArray[np.int64], Array]:
        """Edges (tick > 0) and the sum current of every neuron: rows[0] from 0, rows[k] from edge k - 1.

        Returns
        -------
        edges : array, shape (edge,)
        rows : array, shape (edge + 1, neuron) [A]
        """
        used = np.flatnonzero((self.on != NEVER) & (self.off > self.on) & (self.on < grid.stop))
        ends = used[self.off[used] < grid.stop]
        ticks = np.concatenate([self.on[used], self.off[ends]])
        column = np.concatenate([used, ends])
        sign = np.concatenate([np.ones(len(used)), -np.ones(len(ends))])
        order = np.argsort(ticks, kind="stable")
        edges, first = np.unique(ticks[order], return_index=True)
        if len(edges) == 0:
            return edges, np.zeros((1, self.neurons))
        change = (self.amps[:, column[order]] * sign[order]).T
        total = np.cumsum(np.add.reduceat(change, first, axis=0), axis=0)
        if edges[0] == 0:  # on from the very start: there is no edge to step onto
            return edges[1:], total
        return edges, np.vstack([np.zeros((1, self.neurons)), total])


@dataclass(frozen=True)
class Cell:
    """Neurons as capacitors fed by sources, and when their comparators are armed."""

    sources: Sources
    capacitance: Array  #: (neuron,) [F]
    threshold: Array  #: (neuron,) trip voltage [V]
    grid: Grid
    v_reset: float  #: membrane voltage at t = 0 [V]
    armed: int  #: tick from which a crossing counts; at or above threshold then fires at once


def first_crossing(cell: Cell) -> tuple[Array, Array]:
    """Exact first crossing of every neuron, and its potential when its comparator is armed.

    Returns
    -------
    time : array, shape (neuron,)
        Seconds after `armed`: 0 if already above, inf if never before the end of the grid.
    v_armed : array, shape (neuron,) [V]
    """
    edges, rows = cell.sources.rows(cell.grid)
    bounds = np.concatenate([[0], edges, [cell.grid.stop]])
    v = np.full(cell.sources.neurons, cell.v_reset)
    time = np.full(cell.sources.neurons, np.inf)
    v_armed = v.copy()
    for k, amps in enumerate(rows):
        start, end = int(bounds[k]), int(bounds[k + 1])
        rate = amps / cell.capacitance * cell.grid.tick  # [V per tick]
        if start <= cell.armed <= end:
            v_armed = v + rate * (cell.armed - start)
            time = np.where(np.isinf(time) & (v_armed >= cell.threshold), 0.0, time)
        if end > cell.armed:
            begin = max(start, cell.armed)
            at = v + rate * (begin - start)
            with np.errstate(divide="ignore", invalid="ignore"):
                wait = (cell.threshold - at) / rate
            hit = np.isinf(time) & (rate > 0) & (wait >= 0) & (wait <= end - begin)
            time = np.where(hit, (begin - cell.armed + wait) * cell.grid.tick, time)
        v = v + rate * (end - start)
    return time, v_armed
