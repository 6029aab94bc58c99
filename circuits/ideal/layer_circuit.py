"""A layer as a cell, and the crossings of a cell as the response of a layer."""

from __future__ import annotations

import numpy as np

from circuits.errors import InputError
from circuits.ideal.stimulus import Stimulus
from circuits.ideal.switched_sources import NEVER, Cell, Sources
from circuits.model import closed_form
from circuits.model.layer import Layer, LayerMismatch, LayerResponse
from circuits.model.operating_point import OperatingPoint
from circuits.spice.waveforms import Crossing


def layer_cell(layer: Layer, stim: Stimulus, point: OperatingPoint, mismatch: LayerMismatch) -> Cell:
    """Amperes, farads and volts of every sample of a layer; neuron = sample-major (sample, n_out).

    Columns of the sources: one a synapse, then the phase-1 drive, then the slope source.

    Parameters
    ----------
    stim : the input spikes on the grid
    mismatch : LayerMismatch
        Of all samples; comparators without deviations of their delay.

    Raises
    ------
    InputError
        For deviations of another layer, or of delays.
    """
    mismatch.fits(layer)
    if np.any(mismatch.delay):
        raise InputError("comparators of ideal circuits have no delay that could deviate; set delay to 0")
    samples, n_out = mismatch.slope.shape
    neuron = samples * n_out
    slope = layer.slope * (1.0 + mismatch.slope) if layer.spiking else np.zeros((samples, n_out))
    synapse = (layer.weights * (1.0 + mismatch.synapse)).reshape(neuron, layer.n_in)
    drive = np.tile(layer.drive, samples)
    columns = [synapse * stim.inputs.gain, drive[:, None] * stim.phase_gain, slope.reshape(neuron, 1)]
    # the offset is referred to the nominal capacitor
    threshold = layer.theta + mismatch.threshold / (1.0 + mismatch.capacitance)
    stop = stim.grid.stop
    return Cell(
        Sources(
            amps=point.i_unit * np.hstack(columns),
            on=np.concatenate([stim.inputs.on, [0, stim.n_min]]),
            off=np.concatenate([stim.inputs.off, [stim.n_min, 2 * stop]]),
            labels=(*(f"w{j}" for j in range(layer.n_in)), "a", "b"),
        ),
        capacitance=point.c_mem * (1.0 + mismatch.capacitance).reshape(neuron),
        threshold=point.volts(threshold.reshape(neuron)),
        grid=stim.grid,
        v_reset=point.v_reset,
        armed=stim.n_min,
    )


def read(layer: Layer, point: OperatingPoint, cell: Cell, m: Crossing, samples: int) -> LayerResponse:
    """Measured crossings -> the response of a layer.

    Energy closes on charge: what the supply gave is what the capacitor holds (measured) plus what the
    sinks took to ground; the slope source draws from the supply alone until the spike.

    Parameters
    ----------
    m : Crossing
        Of the cell's neurons, arrays (sample x n_out,), sample-major.
    samples : copies of the layer in the cell
    """
    delay = m.time / point.tau_c
    v_end, slope = m.v_end, m.slope * point.tau_c / point.v_unit
    if layer.spiking:
        delay = closed_form.fire(delay, layer.window)
        at_t_max = m.v_start + m.slope * layer.window * point.tau_c
        v_end = np.where(np.isfinite(delay), v_end, at_t_max)
    else:
        delay, slope, v_end = np.full_like(delay, np.inf), np.full_like(slope, np.nan), m.v_start
    sources = cell.sources
    used = (sources.on != NEVER) & (sources.on < cell.armed)
    seconds = np.where(used, sources.off - sources.on, 0) * cell.grid.tick
    sink = np.minimum(sources.amps, 0.0) @ seconds
    shape = (samples, layer.n_out)
    stored = cell.capacitance * (m.v_start - point.v_reset)
    joules = point.vdd * np.stack([stored - sink, cell.capacitance * (v_end - m.v_start)], axis=-1)
    return LayerResponse(
        delay=delay.reshape(shape),
        v_t_min=point.unit_free(m.v_start).reshape(shape),
        slope=slope.reshape(shape),
        energy_by_supply=joules.reshape(*shape, 1, 2),
    )
