"""Spikes that come too late, too early or never: exact probabilities, in the closed form and in ngspice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from circuits.errors import InputError
from circuits.model.layer import Layer
from circuits.model.operating_point import OperatingPoint
from montecarlo.analysis.limit_state import plain
from montecarlo.analysis.rare_failure import failure_probability
from montecarlo.analysis.spike_failure import spike_margin
from montecarlo.mismatch.law import MismatchLaw

SEEDS = 20
ENOUGH = 16
"""Of 20 intervals of 95 %: fewer happen once in 400 times."""


def judged(margin, dimensions, exact):
    """Estimates over seeds, and how many of their intervals hold the exact value."""
    estimates = [failure_probability(margin, dimensions, np.random.default_rng(s)) for s in range(SEEDS)]
    assert {e.method for e in estimates} == {"lines"}
    return estimates, sum(e.low <= exact <= e.high for e in estimates)


def neuron(weights, theta=1.0, window=20.0):
    return Layer(np.array([weights]), np.array([window - theta]), t_min=1.0, t_max=1.0 + window)


def test_late_and_early_spikes_of_a_ramp_have_their_exact_probability():
    r"""s = theta (1 + c) / (1 + beta): ln(s) is normal of sigma hypot(0.05, 0.03)."""
    law = MismatchLaw(slope=0.05, capacitance=0.03)
    deadline = math.exp(4 * math.hypot(0.05, 0.03))
    margin, dimensions = spike_margin(law, neuron([0.5, -0.5]), np.array([np.inf, np.inf]), latest=deadline)
    assert dimensions == 5
    estimates, inside = judged(margin, dimensions, stats.norm.sf(4))
    assert inside >= ENOUGH
    assert all(e.plain_evaluations > 20 * e.evaluations for e in estimates)
    law = MismatchLaw(slope=0.05)
    margin, dimensions = spike_margin(law, neuron([0.5]), np.array([np.inf]), earliest=math.exp(-0.2))
    assert judged(margin, dimensions, stats.norm.sf(4))[1] >= ENOUGH


def late(law, weight, x, theta, deadline, nodes):
    """P(theta (1 + c) + o - W (1 + e) x > deadline (1 + beta)) by quadrature over o, c, e."""
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    o, c, e = np.meshgrid(law.threshold * z, law.capacitance * z, law.synapse_source * z, indexing="ij")
    room = np.maximum(theta * np.exp(c) + o - weight * x * np.exp(e), 1e-300)
    return float(np.einsum("ijk,i,j,k", stats.norm.cdf(np.log(room / deadline) / law.slope), w, w, w))


def test_a_late_spike_with_every_device_at_work_has_its_exact_probability():
    law = MismatchLaw(0.05, 0.05, 0.05, 0.05, 0.05)
    exact = [late(law, 0.6, 0.5, 1.0, 1.1, nodes) for nodes in (40, 80)]
    assert exact[0] == pytest.approx(exact[1], rel=1e-6)
    assert 1e-6 < exact[0] < 1e-3
    margin, dimensions = spike_margin(law, neuron([0.6, -0.4]), np.array([0.5, np.inf]), latest=1.1)
    estimates, inside = judged(margin, dimensions, exact[0])
    assert inside >= ENOUGH
    assert all(e.plain_evaluations > 20 * e.evaluations for e in estimates)


def test_a_neuron_that_stays_silent_is_late():
    law = MismatchLaw(slope=0.05)
    margin, dimensions = spike_margin(
        law, neuron([0.5], theta=1.0, window=1.2), np.array([np.inf]), latest=1.1
    )
    slow = np.zeros((1, dimensions))
    slow[0, 0] = -10.0  # slope 0.61: 1.65 is beyond the window
    assert margin(slow)[0] < 0


def test_correlation_and_common_parts_reach_the_failure():
    """ln(s) = c - beta: rho 0.6 leaves sigma^2 (2 - 1.2); the common part of the slope adds its own."""
    law = MismatchLaw(
        slope=0.05,
        capacitance=0.05,
        correlation=(("slope", "capacitance", 0.6),),
        common=(("slope", 0.04),),
    )
    sigma = math.sqrt(0.05**2 * 0.8 + 0.04**2)
    margin, dimensions = spike_margin(law, neuron([0.5]), np.array([np.inf]), latest=math.exp(4 * sigma))
    assert dimensions == 3 + 1 + 5
    assert judged(margin, dimensions, stats.norm.sf(4))[1] >= ENOUGH


@pytest.mark.ngspice
def test_ngspice_says_of_every_sample_what_the_closed_form_says():
    """Over wide normals, early, late and silent; limits lie where no rounding matters."""
    law = MismatchLaw(0.05, 0.05, 0.05, 0.05, 0.05, common=(("slope", 0.03),))
    layer, times = neuron([0.6, -0.4], window=1.2), np.array([0.5, 0.2])
    point = OperatingPoint().fit_swing(-1.5, 4.0)
    u = 4 * np.random.default_rng(2).standard_normal((400, 3 + 2 + 5))
    limits = {"earliest": 0.9, "latest": 1.15}
    here, there = (
        spike_margin(law, layer, times, **limits, point=point, level=level)[0](u)
        for level in ("closed-form", "ngspice")
    )
    assert 20 < (here < 0).sum() < 380
    assert np.array_equal(here < 0, there < 0)
    assert here == pytest.approx(there, abs=2e-3)


def test_plain_sampling_in_blocks_is_plain_sampling():
    """The stream of normals does not depend on the blocks: 20000 are three of them."""
    margin, dimensions = spike_margin(MismatchLaw(slope=0.1), neuron([0.5]), np.array([np.inf]), latest=1.1)
    u = np.random.default_rng(3).standard_normal((20_000, dimensions))
    failures = plain(margin, dimensions, 20_000, np.random.default_rng(3)).failures
    assert failures == int((margin(u) < 0).sum())


def test_any_neuron_of_a_layer_is_late_as_often_as_independent_ones_are():
    """Twelve ramps, every neuron with devices of its own: 1 - (1 - p)^12."""
    law = MismatchLaw(slope=0.05, capacitance=0.03)
    layer = Layer(np.full((12, 2), 0.5), np.full(12, 19.0), t_min=1.0, t_max=21.0)
    deadline = math.exp(4 * math.hypot(0.05, 0.03))
    margin, dimensions = spike_margin(law, layer, np.array([np.inf, np.inf]), latest=deadline)
    assert dimensions == 12 * (3 + 2)
    estimates, inside = judged(margin, dimensions, -math.expm1(12 * math.log1p(-stats.norm.sf(4))))
    assert inside >= ENOUGH
    assert {e.regions for e in estimates} == {12}


def test_neurons_of_a_chip_share_its_common_reference_and_delay_parts():
    """ln(s) = c - beta - common - reference of the slope; the delay of each neuron adds to its time."""
    law = MismatchLaw(slope=0.03, common=(("slope", 0.04),), reference=(("slope", 0.02),), delay=0.01)
    layer = Layer(np.full((2, 1), 0.5), np.full(2, 19.0), t_min=1.0, t_max=21.0)
    margin, dimensions = spike_margin(law, layer, np.array([np.inf]), latest=1.1)
    assert dimensions == 2 * (3 + 1) + 5 + 6 + 2
    u = np.random.default_rng(4).standard_normal((50, dimensions))
    slope, common, reference, delay = u[:, :2], u[:, 8 + 2], u[:, 13 + 2], u[:, 19:]
    shared = 0.04 * common + 0.02 * reference
    late = np.exp(-(0.03 * slope + shared[:, None])) + 0.01 * delay
    assert margin(u) == pytest.approx(1.1 - late.max(axis=1), rel=1e-9)


@pytest.mark.parametrize(
    ("layer", "limits", "message"),
    [
        (neuron([0.5]), {}, "without an earliest or a latest time"),
        (neuron([0.5]), {"earliest": 2.0, "latest": 1.0}, "no spike can lie between 2 and 1"),
    ],
)
def test_what_cannot_be_asked_is_named(layer, limits, message):
    with pytest.raises(InputError, match=message):
        spike_margin(MismatchLaw(), layer, np.array([0.5]), **limits)
