"""References of a layer: how large they are beside the devices of a neuron, and what they take."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from kit_decks import needs_kits

from circuits.benches.bias_lines import reference_current
from circuits.benches.multiplier import MultiplierPoint, multiplier_bench
from circuits.benches.neuron import neuron_bench
from circuits.benches.testbench import Bench
from circuits.blocks.bias_lines import REFERENCE
from circuits.pdk.technology import Technology

GENERIC = Technology.load("generic130")
OWN = {
    "ref_mpb": "w0_ma",
    "ref_mnb": "w1_ma",
    "ref_mpbb": "n_slope_mb1",
    "ref_mnbt": "n_cmp_m5",
    "ref_mnbs": "n_cmp_m10",
}
"""Device of a bias line -> the neuron's device on it, at W = 1, W = -1 and B = 1."""


def with_units(units: int) -> Technology:
    return dataclasses.replace(GENERIC, process=dataclasses.replace(GENERIC.transistors(), units=units))


def compare(bench: Bench, own: dict[str, str]) -> None:
    device = {d.path: d for d in bench.devices}
    for line, of in own.items():
        assert device[line].role == device[of].role
        for sigma in ("sigma_vth", "sigma_beta"):
            assert 0 < getattr(device[line], sigma) <= getattr(device[of], sigma) / 3 * (1 + 1e-12)


@pytest.mark.parametrize("units", [4, 8, 32])
def test_the_common_error_of_a_layer_is_a_third_of_a_neurons_own(units):
    compare(neuron_bench(with_units(units), np.array([1.0, -1.0]), np.array([0.2, 0.5])).bench, OWN)


@needs_kits
@pytest.mark.parametrize("name", ["gf180mcu", "sky130"])
def test_the_same_on_kits(name):
    """Some kits give their devices no spread of the current factor."""
    devices = neuron_bench(Technology.load(name), np.array([1.0, -1.0]), np.array([0.2, 0.5])).bench.devices
    sigma = {d.path: d.sigma_vth for d in devices}
    assert all(0 < sigma[line] <= sigma[of] / 3 * (1 + 1e-12) for line, of in OWN.items())


def test_references_of_multipliers_are_of_their_own_unit_devices():
    """Their W = 1 is of more devices than a neuron's: of 64 inputs, 171."""
    scale = MultiplierPoint.of(GENERIC, 64)
    bench = multiplier_bench(GENERIC, np.array([1.0]), np.array([0.5]), scale=scale).bench
    assert {d.count for d in bench.devices if d.path == "ref_mpb"} == {REFERENCE * scale.units}


@pytest.mark.parametrize("units", [4, 8, 32])
def test_their_current_does_not_depend_on_how_finely_weights_are_built(units):
    """9 (3 x 250 + 400 + 200) nA: N unit currents n of which are I_u."""
    process = with_units(units).transistors()
    assert reference_current(process, GENERIC.operating_point) == pytest.approx(12.15e-6)
