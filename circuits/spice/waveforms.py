"""Waveforms -> spike time, slope, potential and energy, by linear interpolation in Python.

ngspice's own `.meas` keeps seven digits and fails in silence; it is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.errors import SimulatorError
from circuits.model.layer import Array


@dataclass(frozen=True)
class Crossing:
    """First upward crossing of each neuron's threshold at or after a time. Arrays (neuron,)."""

    time: Array  #: [s] after `start`; 0 if already above, inf if never
    slope: Array  #: dV/dt at the crossing [V/s]; over the last segment if there is none
    v_start: Array  #: potential at `start` [V]
    v_end: Array  #: potential at the crossing, or at the end of the record [V]


def crossing(time: Array, volts: Array, threshold: Array, start: float, tick: float) -> Crossing:
    """Measure every neuron of one transient.

    Parameters
    ----------
    time : array, shape (point,)
        [s]
    volts : array, shape (point, neuron)
        Membrane voltages [V].
    threshold : array, shape (neuron,)
        Trip voltages [V].
    start : float
        t_min [s]; the record must hold this very point (it is a break point).
    tick : float
        Grid spacing [s]: how close to `start` the point must be.
    """
    at = int(np.argmin(np.abs(time - start)))
    if abs(time[at] - start) > 0.01 * tick:
        raise SimulatorError(f"the record has no point at t_min = {start!r} s")
    ahead, v = time[at:] - start, volts[at:]
    if ahead[-1] < tick:
        raise SimulatorError("the record ends at t_min")
    above = v >= threshold
    fired = above.any(axis=0)
    k = np.where(fired, above.argmax(axis=0), len(ahead) - 1)
    early = fired & (k == 0)
    # two points around the crossing, at least a tick apart: the first step after a break point is tiny
    after = np.maximum(k, np.searchsorted(ahead, tick))
    before = np.maximum(after - 1, 0)
    column = np.arange(v.shape[1])
    v0, v1 = v[before, column], v[after, column]
    t0, t1 = ahead[before], ahead[after]
    slope = (v1 - v0) / (t1 - t0)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = t0 + (threshold - v0) / slope
    hit = np.where(early, 0.0, np.where(fired, exact, np.inf))
    return Crossing(
        time=hit,
        slope=slope,
        v_start=v[0],
        v_end=np.where(early, v[0], np.where(fired, threshold, v[-1])),
    )


def supply_energy(time: Array, current: Array, vdd: float, until: float, stepped: bool = True) -> float:
    """Energy that a supply gives from 0 to `until`, the integral of -vdd * i(vdd) [J].

    Parameters
    ----------
    time, current : array, shape (point,)
        Raw points [s] and the branch current of the supply [A].
    until : float
        End of the account [s], such as the spike.
    stepped : bool
        True for ideal sources, whose current jumps: the value at a point holds for the whole step that
        leads to it. False for smooth currents: trapezoid.
    """
    inside = int(np.searchsorted(time, until))
    t = np.concatenate([[0.0], time[:inside], [until]])
    last = min(inside, len(time) - 1)
    if stepped:
        return float(-vdd * np.diff(t) @ np.append(current[:inside], current[last]))
    end = np.interp(until, time, current)
    return float(-vdd * np.trapezoid(np.concatenate([current[:1], current[:inside], [end]]), t))
