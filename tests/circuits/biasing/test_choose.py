"""Operating points by objective, from figures measured on generic130 once: no simulator here."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.biasing.bounds import BOLTZMANN, CHARGE, Bounds, worth
from circuits.biasing.cell_figures import COUNTS, UNIT_CURRENTS, Figures
from circuits.biasing.choose import OBJECTIVES, bias, choose
from circuits.biasing.layer_demand import Demand, in_units
from circuits.biasing.transistor_layer import TransistorNeuron
from circuits.blocks.bias_lines import REFERENCE
from circuits.errors import InputError
from circuits.model.layer import Layer
from circuits.pdk.technology import Technology
from circuits.simulation import expected_response

FEW = settings(max_examples=25, deadline=None)
TECHNOLOGY = Technology.load("generic130")
GM = np.interp(np.log(UNIT_CURRENTS), np.log([3e-10, 3e-8, 3e-6]), [25.0, 20.0, 2.5])
FIGURES = Figures(
    point=TECHNOLOGY.operating_point,
    corner="tt",
    temperature=27.0,
    unit=31.25e-9,
    gm_source=GM,
    gm_sink=GM + 0.5,
    sigma_source=(4.5e-3, 6.5e-3),
    sigma_sink=(3.2e-3, 4.6e-3),
    leak_source=5.3e-12,
    leak_sink=14.7e-12,
    gain_source=np.array([0.995, 0.994, 0.992, 0.991, 0.989, 0.986, 0.98, 0.959]),
    gain_sink=np.array([0.996, 0.995, 0.993, 0.992, 0.99, 0.988, 0.985, 0.979]),
    gain_slope=np.array([0.995, 0.994, 0.992, 0.990, 0.988, 0.982, 0.97, 0.93]),
    gain_end=np.array([0.986, 0.986, 0.985, 0.984, 0.982, 0.977, 0.963, 0.886]),
    offset=12.95e-3,
    gm_pair=4.8e-6,
    tail=400e-9,
    lowest_threshold=0.45,
    delay=14.9e-9,
    latch=14.8e-15,
    counts=np.array([1, 3, 8]),
    extra_source=np.array([0.22e-15, 0.48e-15, 1.12e-15]),
    extra_sink=np.array([-0.24e-15, -0.55e-15, -1.33e-15]),
    kick=0.8e-15,
)
assert len(COUNTS) == len(FIGURES.gain_end)


def network(seed: int, fan_in: int = 16, n_out: int = 3, scale: float = 0.8) -> tuple[Layer, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n_out, fan_in)) * scale / np.sqrt(fan_in)
    x = np.where(rng.random((12, fan_in)) < 0.6, rng.uniform(0.05, 1, (12, fan_in)), 0.0)
    return Layer(weights, np.full(n_out, 0.5), t_min=1.0, t_max=2.5), x


def chosen(objective: str, seed: int = 0, figures: Figures = FIGURES, **options):
    layer, x = network(seed, **options)
    return choose([layer], x, TECHNOLOGY, figures, objective=objective)[0], x


@FEW
@given(st.integers(0, 10**5), st.sampled_from([8, 40, 128]))
def test_each_objective_is_the_best_of_the_three_at_what_it_is_for(seed, fan_in):
    by_objective = {o: chosen(o, seed, fan_in=fan_in)[0] for o in OBJECTIVES}
    spread = {o: (b.worth.spread**2).mean() for o, b in by_objective.items()}
    energy = {o: b.worth.energy.mean() for o, b in by_objective.items()}
    assert spread["spread"] <= min(spread.values()) * (1 + 1e-9)
    assert energy["energy"] <= min(energy.values()) * (1 + 1e-9)
    assert by_objective["speed"].point.tau_c <= min(b.point.tau_c for b in by_objective.values())


def test_objectives_differ():
    """A small fan-in leaves room: one point is nearly twice as fast, another takes half the energy."""
    spread, energy, speed = (chosen(o, fan_in=8)[0] for o in OBJECTIVES)
    assert speed.point.tau_c < 0.6 * spread.point.tau_c
    assert energy.worth.energy.mean() < 0.5 * spread.worth.energy.mean()
    assert spread.worth.jitter.max() < 0.7 * energy.worth.jitter.max()


@FEW
@given(st.integers(0, 10**5), st.sampled_from([8, 64]), st.sampled_from(OBJECTIVES))
def test_every_trajectory_stays_inside_the_swing_and_every_bound_holds(seed, fan_in, objective):
    biased, x = chosen(objective, seed, fan_in=fan_in)
    point, bounds, demand = biased.point, Bounds(), Demand.of(biased.layer, x)
    top = biased.layer.theta + biased.delay
    assert np.all(point.volts(demand.low) >= point.v_low - 1e-9)
    assert np.all(point.volts(np.minimum(top, np.maximum(demand.high, 0))) <= point.v_high + 1e-9)
    assert np.all(biased.v_th >= FIGURES.lowest_threshold - 1e-9)
    assert np.all(np.abs(biased.worth.leakage) <= bounds.leakage)
    assert np.all(biased.worth.jitter <= bounds.jitter)
    assert np.all(biased.worth.offset <= bounds.offset)
    assert biased.delay <= bounds.delay
    assert biased.unit_current >= bounds.above_leakage * FIGURES.leak_sink
    assert biased.unit_current * biased.technology.transistors().units == pytest.approx(point.i_unit)


@FEW
@given(st.integers(8, 784), st.sampled_from(OBJECTIVES))
def test_what_is_drawn_and_what_the_fan_in_hangs_on_make_up_the_membrane(fan_in, objective):
    biased, _ = chosen(objective, 1, fan_in=fan_in)
    process = TECHNOLOGY.transistors()
    connected = np.count_nonzero(biased.layer.weights, axis=1) * process.synapse_capacitance
    total = biased.capacitors + connected + process.fixed_capacitance
    np.testing.assert_allclose(total, biased.point.c_mem, rtol=1e-12)
    assert np.all(biased.capacitors >= 0.25 * biased.point.c_mem * (1 - 1e-9))


def test_figures_follow_their_equations():
    """One point by hand: OP of the technology, one source of W = 1 for half a tau_c, theta = 1."""
    layer, x = Layer([[1.0]], [0.5], t_min=1.0, t_max=2.5), np.array([[0.5]])
    demand, point = Demand.of(layer, x), FIGURES.point
    candidate = [np.array([v]) for v in (point.tau_c, point.c_mem, point.v_unit, point.v_reset)]
    evaluated = worth(demand, TECHNOLOGY, FIGURES, 8, Bounds(), *candidate)
    q = 25e-15
    assert evaluated.offset[0] == pytest.approx(12.95e-3 / 0.25)
    assert evaluated.delay[0] == pytest.approx(0.149)
    assert evaluated.leakage[0] == pytest.approx(5.3e-12 * 2.5 * 100e-9 / q)
    shot = CHARGE * (0.5 + 0.5) / q
    ktc = BOLTZMANN * 300.15 * 100e-15 / q**2
    comparator = 2 * CHARGE * 400e-9 / (4.8e-6 * 2.5e6) ** 2 / 14.9e-9 / 100e-9**2
    assert evaluated.jitter[0] == pytest.approx(math.sqrt(shot + ktc + comparator), rel=1e-9)
    energy = 1.2 * q * (1.0 + 0.149) + 1.2 * 400e-9 * (0.5 + 0.149) * 100e-9 + 14.8e-15
    assert evaluated.energy[0] == pytest.approx(energy, rel=1e-9, abs=0)


@pytest.mark.parametrize("what", ["c_mem", "tau_c", "s_V"])
def test_scaling_laws(what):
    """Twice C at the same s_V, twice tau_c, twice s_V at the same C: what each figure does."""
    layer, x = network(0)
    demand = Demand.of(in_units(layer, 16)[0], x)
    base = {"tau_c": 100e-9, "c_mem": 200e-15, "s_V": 0.2}
    one, two = (
        worth(demand, TECHNOLOGY, FIGURES, 16, Bounds(), *(np.array([v]) for v in (base | extra).values()))
        for extra in ({}, {what: 2 * base[what]})
    )
    leakage = {"c_mem": 0.5, "tau_c": 2.0, "s_V": 0.5}[what]
    np.testing.assert_allclose(two.leakage, leakage * one.leakage)
    offset = 0.5 if what == "s_V" else 1.0
    np.testing.assert_allclose(two.offset, offset * one.offset)
    delay = {"c_mem": 1.0, "tau_c": 2 ** (0.4 - 1), "s_V": 2**-0.4}[what]
    np.testing.assert_allclose(two.delay, delay * one.delay)
    assert np.all(two.jitter < one.jitter) or what == "tau_c"


def test_leakage_that_the_layer_cannot_bear_names_neuron_number_and_remedy():
    """At 85 C a synapse leaks 13 times as much; here 100 times."""
    hot = dataclasses.replace(FIGURES, leak_sink=14.7e-10, leak_source=5.3e-12, temperature=85.0)
    with pytest.raises(InputError, match=r"layer 0, neuron \d: .*leakage.* at 85 C.*; ") as refused:
        chosen("spread", 0, hot, fan_in=128)
    assert "switch" in str(refused.value)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_partial_sums_beyond_the_swing_are_refused_by_neuron_with_a_remedy(sign):
    """V(t_min) = 0, but the path goes 3.6 units up or down on its way."""
    weights = np.array([[0.5, 0.5], [8.0 * sign, -16.0 * sign]])
    layer = Layer(weights, np.zeros(2), t_min=1.0, t_max=2.0)
    with pytest.raises(InputError, match=r"layer 3, neuron 1: the membrane swings .*lower i_unit"):
        bias(layer, np.array([[0.9, 0.45]]), TECHNOLOGY, FIGURES, FIGURES.point, name="layer 3")
    calm = Layer(weights[:1], np.zeros(1), t_min=1.0, t_max=2.0)
    assert bias(calm, np.array([[0.9, 0.45]]), TECHNOLOGY, FIGURES, FIGURES.point).delay > 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"offset": 0.2}, "offset"),
        ({"delay": 5e-6}, "delay"),
        ({"gm_pair": 4.8e-8}, "jitter"),
        ({"lowest_threshold": 1.1}, "threshold"),
        ({"extra_sink": np.array([-0.24e-13, -5.5e-13, -13e-13])}, "charge parked"),
        ({"unit": 1e-11}, "(largest weight|unit device)"),
    ],
)
def test_a_bound_that_no_point_holds_is_named(changes, says):
    with pytest.raises(InputError, match=rf"layer 0, neuron \d: .*{says}.*; \w"):
        chosen("energy", 0, dataclasses.replace(FIGURES, **changes))


def test_coarser_weights_where_fine_ones_leave_too_little_current_a_device():
    """Weights want 64 unit devices; charge at turn-on allows fewer."""
    wanted, _ = chosen("spread", 0, fan_in=256)
    heavy = dataclasses.replace(FIGURES, extra_source=4 * FIGURES.extra_source)
    fewer, _ = chosen("spread", 0, heavy, fan_in=256)
    assert fewer.technology.transistors().units < wanted.technology.transistors().units
    assert fewer.rounded > wanted.rounded


def test_layers_of_a_network_share_tau_c_and_a_read_out_layer_has_no_comparator():
    first, x = network(0, n_out=4)
    second = Layer(np.eye(2, 4) * 0.5, np.full(2, 0.1), t_min=1.5, t_max=1.5, spiking=False)
    for objective in OBJECTIVES:
        a, b = choose([first, second], x, TECHNOLOGY, FIGURES, objective=objective)
        assert a.point.tau_c == b.point.tau_c
        assert (b.delay, b.worth.offset.max()) == (0.0, 0.0)
        assert np.all(b.constants.kick == 0)
        devices = {path.split("_")[0] for d in TransistorNeuron(b).devices()[0] for path in [d.path]}
        assert devices == {"ref", "w0", "n"}


def test_thresholds_that_calibration_never_reaches_lie_at_the_end_of_the_swing():
    layer = Layer([[0.5], [0.5]], [0.0, -1000.0], t_min=1.0, t_max=2.0)
    (biased,) = choose([layer], np.array([[0.8]]), TECHNOLOGY, FIGURES)
    assert biased.unreached == 1
    assert biased.v_th[1] == pytest.approx(biased.point.v_high, abs=1e-5)
    assert biased.point.v_unit > 0.1  # it does not take the swing of the others


def test_bias_numbers_are_those_of_the_deck():
    biased, _ = chosen("spread")
    bench = TransistorNeuron(biased).benches(np.full(16, np.inf))[0]
    assert bench.phases == biased.phases
    assert bench.v_th == pytest.approx(biased.v_th[0])
    assert f"cm={float(biased.capacitors[0])!r}" in bench.deck.text.lower()
    many = REFERENCE * biased.technology.transistors().units  # in parallel behind each line of mirrors
    text = f"iunit={many * biased.unit_current!r}"
    assert text in bench.deck.text.lower()


def test_the_expected_spike_of_an_input_without_spikes_is_theta_and_the_delay():
    """Small systematic terms only: kick, turn-on and gain of the slope source, leakage."""
    biased, _ = chosen("spread")
    silent = np.full(16, np.inf)
    late = expected_response(biased.layer, silent, TransistorNeuron(biased)).delay[0] + biased.delays
    np.testing.assert_allclose(late, biased.layer.theta + biased.delay, atol=0.05)
    assert np.all(late != biased.layer.theta + biased.delay)


def test_an_unknown_objective_is_refused():
    with pytest.raises(InputError, match="spread, energy, speed"):
        chosen("accuracy")
