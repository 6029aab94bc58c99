"""When a spike is a failure: too early, too late, or never; of one neuron, or of any of a layer.

The question is put to the standard normals behind a sample, as a margin in tau_c that
`montecarlo.analysis.rare_failure` takes: how far the worst neuron is from its limits. Every sample is a chip
of its own; the neurons of a layer share its common and reference parts.
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
from montecarlo.analysis.limit_state import Margin
from montecarlo.mismatch.law import NEURON, REFERENCED, TERMS, MismatchLaw

SILENT = 0.05
"""By how much of its window a silent neuron is late at least."""


def spike_margin(
    law: MismatchLaw,
    layer: Layer,
    spike_times: Array,
    *,
    earliest: float = -math.inf,
    latest: float = math.inf,
    point: OperatingPoint | None = None,
    level: str = "closed-form",
    workers: int = 1,
) -> tuple[Margin, int]:
    """How far all neurons of a layer are from firing outside [earliest, latest]; dimensions of a sample.

    Parameters
    ----------
    law : MismatchLaw
        Of the neurons' devices.
    layer : Layer
        Of one neuron, or of those of which any may fail.
    spike_times : array, shape (n_in,)
        Input spike times [tau_c]; inf = silent.
    earliest, latest : float
        After t_min [tau_c]. A neuron that does not fire is too late, if there is a latest time.
    point : OperatingPoint, optional
        Needed at the level ngspice; spike times in the closed form do not depend on it.
    level : {"closed-form", "ngspice"}
    workers : int
        ngspice processes at a time.

    Returns
    -------
    margin, dimensions
        Standard normals (n, dimensions) -> margin (n,) [tau_c], below 0 where a spike fails.

    Raises
    ------
    InputError
        If no time lies between the bounds, or neither is finite.
    """
    if not earliest < latest:
        raise InputError(f"no spike can lie between {earliest:g} and {latest:g} tau_c")
    if not (math.isfinite(earliest) or math.isfinite(latest)):
        raise InputError("without an earliest or a latest time no spike fails")
    out, into = layer.weights.shape
    sizes = {
        "neuron": len(NEURON) * out,
        "synapse": out * into,
        "common": len(TERMS) if law.common else 0,
        "reference": len(REFERENCED) if law.reference else 0,
        "delay": out if law.delay else 0,
    }
    ends = np.cumsum(list(sizes.values()))
    fields = [f.name for f in dataclasses.fields(LayerMismatch)]
    simulator = Ngspice() if level == "ngspice" else None
    place = point or OperatingPoint()
    silent = layer.window if math.isinf(latest) else max(layer.window, latest + SILENT * layer.window)

    def margin(u: Array) -> Array:
        neuron, synapse, common, reference, delay = np.split(u, ends[:-1], axis=1)
        drawn = law.deviations(
            np.tile(layer.weights, (len(u), 1)),  # the samples stand below each other
            neuron.reshape(-1, len(NEURON), out).transpose(1, 0, 2).reshape(len(NEURON), -1),
            synapse.reshape(-1, into),
            np.repeat(common.T, out, axis=1) if law.common else None,
            np.repeat(reference.T, out, axis=1) if law.reference else None,
            delay.reshape(-1) if law.delay else None,
        )
        chips = LayerMismatch(**{f: drawn[f].reshape(len(u), out, *drawn[f].shape[1:]) for f in fields})
        response = simulate(
            layer, spike_times, place, chips, level=level, workers=workers, simulator=simulator
        )
        late = np.where(np.isinf(response.delay), silent, response.delay)
        return np.minimum(latest - late, late - earliest).min(axis=1)

    return margin, int(ends[-1])
