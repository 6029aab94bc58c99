"""The four-quadrant multiplier at transistor level: accuracy after gain and offset, pulses, energy."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.benches.golden_decks import line_gate
from circuits.benches.multiplier import MARK, MultiplierPoint, Product, measure_product, multiplier_bench
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice

GENERIC = Technology.load("generic130")


def multiply(weights, inputs, **options) -> Product:
    bench = multiplier_bench(GENERIC, np.asarray(weights), np.asarray(inputs), **options)
    return measure_product(bench, Ngspice().run(bench.deck))


def vectors(rng: np.random.Generator, count: int, inputs: int):
    """Random weights, inputs and starts of pulses, within the range."""
    units = MultiplierPoint.of(GENERIC, inputs).units
    while count:
        w, x = rng.integers(-5, 6, inputs) / units, rng.uniform(-1, 1, inputs)
        if max(np.maximum(w * x, 0).sum(), np.maximum(-w * x, 0).sum()) + 0.11 * np.abs(w).sum() < 1:
            yield w, x, rng.uniform(0, 1, inputs) * (1 - np.abs(x))
            count -= 1


def error(rng: np.random.Generator, count: int, inputs: int, mark: float = MARK, **options) -> float:
    """rms after one gain and one offset, as a part of full scale."""
    y, found = [], []
    for w, x, starts in vectors(rng, count, inputs):
        y.append(w @ x)
        found.append(multiply(w, x, starts=starts, mark=mark, **options).y)
    return float(np.std(np.polynomial.Polynomial.fit(y, found, 1)(np.array(y)) - found))


def test_one_gain_and_one_offset_are_enough(rng):
    assert error(rng, 8, 6) < 1e-3


def test_the_shortest_pulse_on_both_lines_is_what_makes_it_so(rng):
    """Without it, turn-on charge adds 5.6 % of sum w sign(x)."""
    assert error(rng, 8, 6, mark=0.0) > 5e-3


def test_the_charge_parked_on_a_mirror_acts_like_a_longer_input():
    """One line only: x = 0.1 and 0.8 are both 0.04 to 0.07 too long; both lines: neither is."""
    for x in (0.1, 0.8):
        assert 0.04 < multiply([0.5], [x], mark=0.0).y / 0.5 - x < 0.07
        assert multiply([0.5], [x]).y / 0.5 == pytest.approx(x, abs=5e-3)


def test_only_the_length_of_a_pulse_counts_not_where_it_is():
    early, late = (multiply([0.5, -0.25], [0.5, 0.3], starts=np.array(s)).y for s in ([0, 0.7], [0.5, 0.1]))
    assert early == pytest.approx(late, abs=1e-3)


@pytest.mark.parametrize("x", [0.5, -0.5, 0.03, -0.03])
def test_the_pulse_is_on_the_line_of_the_result_s_sign(x):
    found = multiply([0.75, -0.25], [x, 0.0])
    pulses = (found.positive, found.negative) if x > 0 else (found.negative, found.positive)
    assert pulses[0] == pytest.approx(0.75 * abs(x), abs=4e-3)
    assert pulses[1] == 0.0


def test_energy_goes_where_the_inputs_say():
    """A source costs VDD I |w| (|x| + x_0), both lines x_0; comparators and latches do not depend on x."""
    small, large = multiply([0.5], [0.1]), multiply([0.5], [0.9])
    point = MultiplierPoint.of(GENERIC, 1).point
    ramp = point.vdd * point.i_unit * point.tau_c * (small.t_p + small.t_m - large.t_p - large.t_m)
    more = large.energy["vds"] - small.energy["vds"] + ramp
    assert more == pytest.approx(0.5 * 0.8 * point.unit_energy, rel=0.05)
    assert large.energy["vdl"] == pytest.approx(small.energy["vdl"], rel=0.05, abs=0)
    assert 1e-16 < large.energy["lines"] < 2e-15


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "count"), [(6, 60), (32, 20)])
def test_acceptance_of_many_vectors(rng, inputs, count):
    assert error(rng, count, inputs) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corner", "temperature"),
    [("ss", 27.0), ("ff", 27.0), ("sf", 27.0), ("fs", 27.0), ("tt", -40.0), ("tt", 125.0)],
)
def test_corners_and_temperatures_change_the_gain_only(rng, corner, temperature):
    assert error(rng, 8, 6, corner=corner, temperature=temperature) < 1e-3


@pytest.mark.parametrize("gap", [0.3, 0.02, 0.0, -0.3])
def test_the_lines_of_a_next_multiplier_carry_the_result_and_a_shortest_pulse(gap):
    plot = Ngspice().run(line_gate(GENERIC, gap))
    plus, minus = (
        np.ptp(plot["time"][plot[f"v({line})"] > 0.6]) / GENERIC.operating_point.tau_c
        for line in ("lp", "lm")
    )
    assert plus - minus == pytest.approx(gap, abs=3e-3)
    assert 0.05 < min(plus, minus) < 0.12
