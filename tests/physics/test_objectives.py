"""Every objective on every technology: the circuit fires when the closed form says."""

from __future__ import annotations

import numpy as np
import pytest
from kit_decks import needs_kits

from circuits.biasing.choose import OBJECTIVES
from circuits.model.coding import encode
from circuits.model.layer import Layer
from circuits.pdk.technology import Technology
from circuits.simulation import KICK, expected_response, neurons, simulate

ACTIVE = np.array([0.51, 0.95, 0.14])
WEIGHTS = [[0.5, -0.25, 0.3], [0.7, -0.3, 0.0], [0.2, -0.5, 0.4]]
LAYER = Layer(WEIGHTS, [0.5, 1.0, -0.5], t_min=1.0, t_max=3.0)
"""Ramps of 1.4 and 0.9 tau_c, later than two delays; the last one is silent."""
TECHNOLOGIES = ("generic130", *(pytest.param(name, marks=needs_kits) for name in ("gf180mcu", "sky130")))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_a_layer_fires_when_the_closed_form_says(name, objective):
    (kind,) = neurons([LAYER], ACTIVE[None], Technology.load(name), objective=objective)
    if objective != "spread":
        assert np.all(np.abs(kind.constants.kick) <= KICK * (1 + 1e-9))
    times = encode(ACTIVE, 1.0)
    wanted = expected_response(LAYER, times, kind).delay[0]
    measured = simulate(LAYER, times, kind).delay[0]
    assert np.isinf(wanted).tolist() == [False, False, True]
    np.testing.assert_allclose(measured, wanted, atol=0.03)
