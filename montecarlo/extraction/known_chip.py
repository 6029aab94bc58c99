r"""What the devices of one chip of transistors are in the terms of the equation.

Currents of synapses and slope sources, and the comparators' trip voltages, are solved at operating points, as
in a campaign (`circuits.benches.operating_points`); a comparator's delay follows from its devices by the law
that a campaign has measured (`montecarlo.extraction.delay_law`). References are the chip's own: what they add
is in every current.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from circuits.benches.operating_points import Static, static
from circuits.biasing.transistor_layer import TransistorMismatch, TransistorNeuron
from circuits.model.layer import Array, LayerMismatch
from circuits.spice.ngspice import Ngspice
from montecarlo.extraction import delay_law

SWITCHING = ("n_cmp_", "n_latch_")
"""Transistors that a comparator's delay depends on."""


class Known(NamedTuple):
    """One layer of a chip."""

    terms: LayerMismatch  #: one sample
    tail: Array  #: (neuron,) relative deviation of the comparators' tail currents


def perfect(
    kind: TransistorNeuron, *, neurons: Sequence[int] | None = None, simulator: Ngspice | None = None
) -> Static:
    """The same without mismatch: what deviations are counted from.

    Parameters
    ----------
    kind : TransistorNeuron
    neurons : sequence of int, optional
        Which ones; None: all of the layer.
    """
    rows = range(kind.layer.n_out) if neurons is None else neurons
    return _solve(kind, rows, [{} for _ in rows], {}, simulator)


def known(
    kind: TransistorNeuron,
    chip: TransistorMismatch,
    law: delay_law.Law,
    nominal: Static,
    *,
    neurons: Sequence[int] | None = None,
    simulator: Ngspice | None = None,
) -> Known:
    """Deviations of one layer of a chip.

    Parameters
    ----------
    kind : TransistorNeuron
        Its constants have the nominal delay.
    chip : TransistorMismatch
        Of the whole layer.
    law : mapping
        Of delays, see `delay_law.fit`; empty: no delay deviates.
    nominal : Static
        Of `perfect`, of the same neurons.
    neurons : sequence of int, optional
        Which ones; None: all of the layer.
    """
    rows = list(range(kind.layer.n_out) if neurons is None else neurons)
    devices = [chip.transistors[i] for i in rows]
    references = {path: d for path, d in devices[0].items() if path.startswith("ref_")}
    own = [{path: d for path, d in one.items() if not path.startswith("ref_")} for one in devices]
    solved = _solve(kind, rows, own, references, simulator)
    absent = kind.layer.weights[rows] == 0
    point = kind.point
    c = kind.bias.capacitors[rows] / point.c_mem * chip.capacitors[rows]
    slope = solved.slope / nominal.slope - 1.0
    offset = (solved.trip - nominal.trip) / point.v_unit * (1.0 + c)
    delay = float(np.mean(kind.constants.delay))
    tail = solved.tail / nominal.tail - 1.0
    terms = LayerMismatch(
        synapse=np.where(absent, 0.0, solved.synapse / nominal.synapse - 1.0)[None],
        slope=slope[None],
        threshold=offset[None],
        capacitance=c[None],
        delay=_late(law, own, tail, slope, delay)[None],
    )
    return Known(terms, tail)


def _late(
    law: delay_law.Law, own: Sequence[dict[str, tuple[float, float]]], tail: Array, slope: Array, delay: float
) -> Array:
    if not law:
        return np.zeros(len(own))
    paths = [path for path in own[0] if path.startswith(SWITCHING)]
    shift, factor = (np.array([[one[path][k] for path in paths] for one in own]) for k in (0, 1))
    return delay_law.late_by(law, delay_law.features(tail, slope, paths, shift, factor), delay)


def _solve(
    kind: TransistorNeuron,
    rows: Sequence[int],
    own: Sequence[dict[str, tuple[float, float]]],
    references: dict[str, tuple[float, float]],
    simulator: Ngspice | None,
) -> Static:
    bias, rows = kind.bias, list(rows)
    return static(
        bias.technology, kind.layer.weights[rows], own, point=kind.point,
        corner=kind.corner or bias.technology.corners[0], temperature=kind.celsius, reference=references,
        theta=kind.layer.theta[rows], simulator=simulator,
    )  # fmt: skip
