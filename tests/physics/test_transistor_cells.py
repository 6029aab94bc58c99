"""Cells at transistor level: comparators, references, weights, pooling, readout, two layers."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.benches.neuron import neuron_bench
from circuits.benches.neuron_waveforms import Measured, measure
from circuits.benches.pooling import measure_pooling, pooling_bench
from circuits.benches.readout import Sampled, measure_readout, readout_bench
from circuits.benches.testbench import CONVERGED
from circuits.benches.two_layers import DELAY, Chained, chain_bench, measure_chain, stages
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice

GENERIC = Technology.load("generic130")
W, TIMES = np.array([0.5, -0.25, 0.25]), np.array([0.2, 0.5, 0.6])
SILENT = np.array([np.inf, 0.1, np.inf])


def neuron(times=TIMES, weights=W, **options) -> Measured:
    bench = neuron_bench(GENERIC, weights, times, **options)
    return measure(bench, Ngspice().run(bench.deck))


def test_a_zero_idle_neuron_costs_almost_nothing_while_it_is_silent():
    """Comparators of a silent neuron: the OTA waits with its tail on, the other stage with no current."""
    ota, idle = (neuron(SILENT, comparator=kind, window=1.3) for kind in ("ota", "zero_idle"))
    assert np.isinf([ota.spike_time, idle.spike_time]).all()
    assert sum(ota.energy["vdc"]) == pytest.approx(59e-15, rel=0.1, abs=0)
    assert sum(idle.energy["vdc"]) < 2e-15
    assert idle.total == pytest.approx(40e-15, rel=0.1)


def test_a_zero_idle_neuron_fires_later_and_with_less_than_half_the_comparator_energy():
    ota, idle = neuron(), neuron(comparator="zero_idle")
    assert 0.6 < ota.spike_time < idle.spike_time < 1.0
    assert sum(idle.energy["vdc"]) < 0.5 * sum(ota.energy["vdc"])


def test_the_zero_idle_threshold_moves_with_temperature_and_the_ota_s_does_not():
    """-0.9 mV / C of 250 mV: 0.4 tau_c over 105 C; the OTA 0.02."""
    shift = {
        kind: neuron(comparator=kind, temperature=85.0).spike_time
        - neuron(comparator=kind, temperature=-20.0).spike_time
        for kind in ("ota", "zero_idle")
    }
    assert -0.5 < shift["zero_idle"] < -0.3
    assert -0.04 < shift["ota"] < 0.0


def test_a_bias_line_needs_its_decoupling_capacitor():
    """A bare line moves a spike by 0.38 % of tau_c, 100 fF no less, 1 pF 0.34 %, 10 pF 0.09 %."""
    still = neuron(accuracy=CONVERGED).spike_time
    shift = [
        neuron(accuracy=CONVERGED, decoupling=c).spike_time - still for c in (1e-16, 1e-13, 1e-12, 1e-11)
    ]
    assert np.allclose(shift, [-0.00378, -0.00378, -0.00342, -0.00093], rtol=0.15)


def test_weights_stored_as_gate_bias_give_the_spike_of_weights_stored_as_units():
    """Not the same one: the drain of one device parks less charge than those of several."""
    units, bias = neuron(), neuron(weight_storage="bias")
    assert bias.spike_time == pytest.approx(units.spike_time, abs=0.03)
    assert bias.spike_time > units.spike_time


def test_gate_bias_reaches_weights_between_the_units():
    at = [neuron(weights=np.array([w, -0.25, 0.25]), weight_storage="bias").v_t_min for w in (0.5, 0.55, 0.6)]
    assert np.diff(at) == pytest.approx([0.04, 0.04], rel=0.1)


def pooled(kind: str, times: list[float]):
    bench = pooling_bench(GENERIC, kind, np.array(times))
    return measure_pooling(bench, Ngspice().run(bench.deck))


@pytest.mark.parametrize(
    "times", [[0.2, 0.5], [0.9, 0.7, 0.2, 0.4], [0.1 * k + 0.05 for k in (5, 1, 8, 3, 0, 7, 2)]]
)
@pytest.mark.parametrize(("kind", "edge"), [("max", min), ("min", max)])
def test_pooling_gates_pass_the_first_and_the_last_arrival(kind, edge, times):
    found = pooled(kind, times)
    assert 20e-12 < found.delay < 250e-12
    assert found.time == pytest.approx(edge(times), abs=4e-3)


def test_a_silent_input_silences_the_last_arrival_only():
    times = [0.3, np.inf, 0.6]
    assert pooled("max", times).time == pytest.approx(0.3, abs=4e-3)
    assert np.isinf(pooled("min", times).time)


def sampled(weights: list[float], times: list[float], **options) -> tuple[float, Sampled]:
    bench = readout_bench(GENERIC, np.array(weights), np.array(times), **options)
    return bench.potential, measure_readout(bench, Ngspice().run(bench.deck))


READ = [([0.5], [0.2]), ([1.0, 0.5], [0.1, 0.2]), ([-1.0], [0.1]), ([0.5, -0.25, 0.75], [0.2, 0.5, 0.6])]


def test_a_readout_holds_its_sample_while_the_membrane_is_reset():
    """Injection below 0.05 mV (2e-4 of a unit), droop below 0.04 uV / us (1e-8 of a unit a tau_c)."""
    found = [sampled(*pattern) for pattern in READ]
    gain, offset = np.polyfit([p for p, _ in found], [s.sampled for _, s in found], 1)
    assert gain == pytest.approx(1.03, abs=0.02)
    assert abs(offset) < 0.01
    assert max(abs(s.injection) for _, s in found) < 2e-4
    assert max(abs(s.droop) for _, s in found) < 1e-8


def test_droop_is_leakage_of_the_off_gate():
    """Towards the reset level; a thousandfold from 27 to 125 C where the gate's N device is least off."""
    cold, hot = (sampled([-1.0], [0.1], temperature=t)[1].droop for t in (27.0, 125.0))
    assert 0 < 100 * cold < hot < 1e-5


HIDDEN = np.array([[0.5, -0.25], [0.25, 0.5]])
OUTPUT = np.array([[0.75, -0.25], [-0.25, 0.5]])


def chained(times) -> Chained:
    bench = chain_bench(stages(GENERIC, (HIDDEN, OUTPUT)), np.array(times))
    return measure_chain(bench, Ngspice().run(bench.deck))


def test_a_second_layer_does_what_it_does_behind_ideal_edges():
    """At most 0.004 tau_c earlier: the gate driver's off-edge."""
    found = chained([0.2, 0.6])
    for weights, time, potential in zip(OUTPUT, found.output, found.potential, strict=True):
        alone = neuron(found.hidden, weights, input_window=1.0 + DELAY, window=1.6)
        assert potential == pytest.approx(alone.v_t_min, abs=1e-3)
        assert -4e-3 < time - alone.spike_time < 0


def test_two_layers_follow_the_equation_after_constants():
    """t = theta - sum W (x + delta) + d with one delta and one d for both layers and all neurons."""
    rows, left = [], []
    for pattern in ([0.2, 0.6], [0.7, 0.1], [0.4, 0.4]):
        found = chained(pattern)
        hidden = np.where(np.isfinite(found.hidden), 1.0 + DELAY - found.hidden, 0.0)
        for weights, x, times in (
            (HIDDEN, 1.0 - np.array(pattern), found.hidden),
            (OUTPUT, hidden, found.output),
        ):
            for row, time in zip(weights, times, strict=True):
                if np.isfinite(time):
                    rows.append([1.0, -(row @ (x > 0))])
                    left.append(time - (1.0 - row @ x))
    (d, delta), *_ = np.linalg.lstsq(np.array(rows), np.array(left), rcond=None)
    assert len(left) >= 10
    assert 0.05 < d < 0.2
    assert 0.03 < delta < 0.07
    assert np.abs(np.array(rows) @ [d, delta] - left).max() < 0.01


def test_the_threshold_of_the_zero_idle_stage_follows_theta():
    """0.15 units of potential more: about 0.15 tau_c later at B = 1, the stage's own delay aside."""
    low, high = (
        measure(b, Ngspice().run(b.deck)).spike_time
        for b in (
            neuron_bench(GENERIC, [0.5, -0.25], [0.3, 0.5], theta=theta, comparator="zero_idle")
            for theta in (0.85, 1.0)
        )
    )
    assert 0.1 < high - low < 0.25
