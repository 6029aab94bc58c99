"""When the spike of one neuron counts as a failure: too early, too late, or never.

The question is put to the standard normals behind a sample, which is what
`montecarlo.analysis.importance_sampling` takes. Every sample is a neuron on a chip of its own.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from circuits.errors import InputError
from circuits.model.layer import Array, Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import simulate
from circuits.spice.ngspice import Ngspice
from montecarlo.analysis.importance_sampling import Fails
from montecarlo.mismatch.law import NEURON, TERMS, MismatchLaw


def bad_spike(
    law: MismatchLaw,
    layer: Layer,
    spike_times: Array,
    *,
    earliest: float = -math.inf,
    latest: float = math.inf,
    point: OperatingPoint | None = None,
    level: str = "closed-form",
    workers: int = 1,
) -> tuple[Fails, int]:
    """Whether one neuron fires outside [earliest, latest], or never; and the dimensions of a sample.

    Parameters
    ----------
    law : MismatchLaw
        Of the neuron's devices.
    layer : Layer
        Of one neuron.
    spike_times : array, shape (n_in,)
        Input spike times [tau_c]; inf = silent.
    earliest, latest : float
        After t_min [tau_c]. A neuron that does not fire is too late.
    point : OperatingPoint, optional
        Needed at the level ngspice; spike times in the closed form do not depend on it.
    level : {"closed-form", "ngspice"}
    workers : int
        ngspice processes at a time.

    Returns
    -------
    fails, dimensions
        Standard normals (n, dimensions) -> bool (n,).

    Raises
    ------
    InputError
        If the layer has more than one neuron, or no time lies between the bounds.
    """
    if layer.n_out != 1:
        raise InputError(f"a layer of one neuron is needed, this one has {layer.n_out}")
    if not earliest < latest:
        raise InputError(f"no spike can lie between {earliest:g} and {latest:g} tau_c")
    ends = np.cumsum([len(NEURON), layer.n_in, len(TERMS) if law.common else 0])
    fields = [f.name for f in dataclasses.fields(LayerMismatch)]
    simulator = Ngspice() if level == "ngspice" else None
    place = point or OperatingPoint()

    def fails(u: Array) -> np.ndarray:
        weights = np.repeat(layer.weights, len(u), axis=0)  # the samples stand side by side
        neuron, synapse, common = np.split(u, ends[:-1], axis=1)
        drawn = law.deviations(weights, neuron.T, synapse, common.T if law.common else None)
        # one sample of a layer each: its weights are the same in all
        chips = LayerMismatch(**{f: drawn[f][:, None] for f in fields})
        response = simulate(
            layer, spike_times, place, chips, level=level, workers=workers, simulator=simulator
        )
        delay = response.delay[:, 0]
        return (delay > latest) | (delay < earliest)

    return fails, int(ends[-1])
