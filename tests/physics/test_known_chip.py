"""Devices of one chip in the terms of the equation: each where it belongs, references in every current."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.biasing.cell_figures import figures
from circuits.biasing.choose import choose
from circuits.biasing.transistor_layer import TransistorMismatch, TransistorNeuron
from circuits.model.layer import Layer
from circuits.pdk.technology import Technology
from montecarlo.extraction.delay_law import FACTOR, INTERCEPT, TAIL
from montecarlo.extraction.known_chip import known, perfect

GENERIC = Technology.load("generic130")
WEIGHTS = np.array([[0.5, -0.25, 0.25, 0.0], [0.25, 0.5, -0.5, 0.25], [-0.5, 0.75, 0.25, 0.25]])
COMPARATOR = ("n_cmp_m1", "n_cmp_m5", "n_latch_m13")
NONE = (0.0, 1.0)


@pytest.fixture(scope="module")
def kind() -> TransistorNeuron:
    rng = np.random.default_rng(1)
    layer = Layer(WEIGHTS, np.array([0.5, 0.6, 0.4]), t_min=1.0, t_max=2.5)
    x = rng.uniform(0.0, 1.0, (20, 4))
    return TransistorNeuron(choose([layer], x, GENERIC, figures(GENERIC))[0])


@pytest.fixture(scope="module")
def nominal(kind):
    return perfect(kind)


def chip(
    *changes: dict[str, tuple[float, float]], capacitors=(0.0, 0.0, 0.0), **common
) -> TransistorMismatch:
    """A chip whose neurons differ from perfect ones by what is named; references are common."""
    plain = dict.fromkeys(COMPARATOR, NONE)
    rows = [{**plain, **(changes[i] if i < len(changes) else {}), **common} for i in range(3)]
    return TransistorMismatch(tuple(rows), np.array(capacitors))


def largest(*arrays) -> float:
    return max(float(np.abs(a).max()) for a in arrays)


def test_a_perfect_chip_deviates_by_nothing(kind, nominal):
    found, tail = known(kind, chip(), {}, nominal)
    found.fits(kind.layer)
    assert largest(found.synapse, found.slope, found.threshold, found.capacitance, found.delay, tail) == 0.0


def test_each_device_is_in_its_own_term(kind, nominal):
    """Rows of neuron 1 alone: a mirror, the slope source, the pair, the capacitor, the tail."""
    own = {"w1_ma": (0.0, 1.05), "n_slope_mb1": (0.0, 0.95), "n_cmp_m1": (0.004, 1.0), "n_cmp_m5": (0.0, 1.1)}
    found, tail = known(kind, chip({}, own, capacitors=(0.0, 0.1, 0.0)), {}, nominal)
    c = 0.1 * kind.bias.capacitors[1] / kind.point.c_mem
    assert found.synapse[0, 1, 1] == pytest.approx(0.05, abs=2e-3)
    assert found.capacitance[0] == pytest.approx([0.0, c, 0.0])
    assert found.slope[0, 1] == pytest.approx(-0.05, abs=3e-3)
    assert abs(found.threshold[0, 1]) == pytest.approx(0.004 / kind.point.v_unit * (1 + c), rel=0.15)
    assert tail[1] == pytest.approx(0.1, abs=2e-3)
    others = np.ones((3, 4), bool)
    others[1, 1] = False
    assert largest(found.synapse[0][others]) < 1e-6
    assert largest(found.slope[0, [0, 2]], found.threshold[0, [0, 2]], tail[[0, 2]]) < 1e-5
    assert not found.delay.any()  # no law


def test_references_are_in_every_current_of_their_line(kind, nominal):
    """A weaker diode of the sources' line: more of all sources, nothing of sinks, slopes and comparators."""
    found, tail = known(kind, chip(ref_mpb=(0.0, 0.95)), {}, nominal)
    sources, sinks = WEIGHTS > 0, WEIGHTS < 0
    assert np.ptp(found.synapse[0][sources]) < 2e-3
    assert found.synapse[0][sources].mean() == pytest.approx(1 / 0.95 - 1, abs=5e-3)
    assert largest(found.synapse[0][sinks], found.slope, found.threshold, tail) < 1e-5
    assert found.synapse[0, 0, 3] == 0.0  # no synapse there


def test_delays_follow_the_law_from_the_devices(kind, nominal):
    """d (exp(0.02 - 0.5 ln(1 + r) + 0.3 ln 1.2 + 2 * 0.01) - 1), with the tail's own deviation r."""
    law = {INTERCEPT: 0.02, TAIL: -0.5, "n_latch_m13" + FACTOR: 0.3, "n_cmp_m1": 2.0}
    own = {"n_cmp_m5": (0.0, 1.1), "n_latch_m13": (0.0, 1.2), "n_cmp_m1": (0.01, 1.0)}
    found, tail = known(kind, chip({}, {}, own), law, nominal)
    delay = float(np.mean(kind.constants.delay))
    wanted = 0.02 - 0.5 * np.log1p(tail[2]) + 0.3 * np.log(1.2) + 0.02
    assert found.delay[0] == pytest.approx(delay * np.expm1([0.02, 0.02, wanted]), rel=1e-4)


def test_some_neurons_of_a_chip_are_those_of_the_whole(kind, nominal):
    deviating = chip({"w0_ma": (0.01, 1.0)}, {"w0_ma": (0.0, 1.03)}, {"n_cmp_m1": (0.002, 1.0)})
    whole, tails = known(kind, deviating, {}, nominal)
    part, tail = known(kind, deviating, {}, perfect(kind, neurons=[0, 2]), neurons=[0, 2])
    for name in ("synapse", "slope", "threshold", "capacitance", "delay"):
        assert getattr(part, name) == pytest.approx(getattr(whole, name)[:, [0, 2]], abs=1e-6), name
    assert tail == pytest.approx(tails[[0, 2]], abs=1e-6)
