"""Closed form = step tables = PWL sources = PULSE sources, over more than 1,000 random neurons."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.ideal.ideal_layer import IdealNeuron
from circuits.model import closed_form
from circuits.model.layer import LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import simulate

POINT = OperatingPoint().fit_swing(-6.0, 8.0)
SIZES = ((1, 200), (4, 300), (16, 300), (64, 200), (340, 64), (784, 48))
"""(synapses, neurons): 1,112 neurons in all."""


@pytest.mark.parametrize(("n_in", "neurons"), SIZES)
@pytest.mark.parametrize("form", ["table", "pwl", "pulse"])
def test_circuit_equals_closed_form(make_layer, n_in, neurons, form):
    """1e-12 of the window in spike time and potential: float64 sums of up to 784 currents."""
    rng = np.random.default_rng(n_in)
    layer, times = make_layer(rng, neurons, n_in)
    mismatch = LayerMismatch(
        0.05 * rng.normal(size=(1, neurons, n_in)),
        *(0.05 * rng.normal(size=(1, neurons)) for _ in range(3)),
    )
    circuit = simulate(layer, times, IdealNeuron(POINT, form), mismatch)
    theory = closed_form.response(layer, times, POINT, mismatch)
    fired = np.isfinite(theory.delay)
    assert np.array_equal(np.isfinite(circuit.delay), fired)
    span = layer.t_max
    assert np.max(np.abs(circuit.delay[fired] - theory.delay[fired]), initial=0.0) <= 1e-12 * span
    assert np.max(np.abs(circuit.v_t_min - theory.v_t_min)) <= 1e-12 * span


def test_there_are_more_than_a_thousand():
    assert sum(neurons for _, neurons in SIZES) >= 1000
