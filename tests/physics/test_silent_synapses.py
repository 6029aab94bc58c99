"""Silent synapses left out of a neuron's deck: capacitance is all they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from circuits.benches.neuron import neuron_bench
from circuits.benches.neuron_waveforms import measure
from circuits.benches.testbench import CONVERGED
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice

GENERIC = Technology.load("generic130")
POINT = dataclasses.replace(GENERIC.operating_point, c_mem=300e-15, i_unit=750e-9)
SYNAPSES, ACTIVE = 64, 10


def case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of both signs, up to three unit devices, and inputs most of which are silent."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1.0, 1.0], SYNAPSES) * rng.integers(1, 4, SYNAPSES) / 8
    times = np.full(SYNAPSES, np.inf)
    times[rng.choice(SYNAPSES, ACTIVE, replace=False)] = rng.uniform(0.1, 0.9, ACTIVE)
    return weights, times


def bench(seed: int, leave_out: bool, **options):
    weights, times = case(seed)
    return neuron_bench(
        GENERIC, weights, times, point=POINT, window=2.0, leave_out=leave_out, **options
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_54_silent_synapses_of_64_move_a_spike_by_less_than_a_thousandth_of_tau_c(seed):
    """Measured: 2e-4 to 4e-4."""
    benches = [bench(seed, leave_out, accuracy=CONVERGED) for leave_out in (False, True)]
    whole, part = (measure(b, Ngspice().run(b.deck)) for b in benches)
    assert 0.0 < whole.spike_time < 2.0
    assert part.spike_time == pytest.approx(whole.spike_time, abs=1e-3)
    assert part.v_t_min == pytest.approx(whole.v_t_min, abs=1e-3)


def test_what_is_left_out_is_drawn_as_capacitance_and_nothing_else():
    weights, times = case(0)
    whole, part = ({d.path for d in bench(0, out).bench.devices} for out in (False, True))
    silent = {f"w{j}" for j in np.flatnonzero(np.isinf(times))}
    assert {path for path in whole if path.partition("_")[0] in silent} == whole - part
    # a unit synapse's capacitance for each of them, in the membrane's own
    without = neuron_bench(GENERIC, weights[np.isfinite(times)], times[np.isfinite(times)], point=POINT)
    assert capacitor(bench(0, True)) == pytest.approx(capacitor(without), rel=1e-9)
    added = (SYNAPSES - ACTIVE) * GENERIC.transistors().synapse_capacitance
    assert capacitor(bench(0, True)) == pytest.approx(capacitor(bench(0, False)) + added, rel=1e-9)


def capacitor(one) -> float:
    """What is drawn of the membrane [F]."""
    (line,) = (line for line in one.deck.text.splitlines() if line.lower().startswith("xn "))
    (value,) = (word.partition("=")[2] for word in line.lower().split() if word.startswith("cm="))
    return float(value)


def test_deviations_of_absent_synapses_are_dropped_and_those_of_others_stay():
    """A silent synapse's mirror is in no deck: naming it would be refused there."""
    _, times = case(0)
    silent, active = int(np.flatnonzero(np.isinf(times))[0]), int(np.flatnonzero(np.isfinite(times))[0])
    deviations = {f"w{silent}_ma": (0.02, 1.1), f"w{active}_ma": (0.02, 1.0), "n_cmp_m1": (0.01, 1.0)}
    kept = {k: v for k, v in deviations.items() if not k.startswith(f"w{silent}_")}
    text = bench(0, True, deviations=deviations).deck.text
    assert text == bench(0, True, deviations=kept).deck.text
    assert text != bench(0, True).deck.text
    with_it, without = (bench(0, False, deviations=d).deck.text for d in (deviations, kept))
    assert with_it != without
