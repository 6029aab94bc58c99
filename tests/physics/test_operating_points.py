"""Operating points of many copies: each at its own threshold, each device's deviation where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.benches.operating_points import TOGETHER, static
from circuits.pdk.technology import Technology

GENERIC = Technology.load("generic130")
COPIES = [
    {},
    {"n_cmp_m5": (0.0, 1.1)},
    {"n_cmp_m1": (0.004, 1.0)},
    {"w0_ma": (0.0, 1.05), "n_slope_mb1": (0.0, 0.95)},
]
W = np.array([0.5, -0.25])
THETAS = np.array([0.6, 1.0, 1.2, 0.8])


@pytest.fixture(scope="module")
def solved():
    return static(GENERIC, W, COPIES, theta=THETAS)


def test_each_copy_is_looked_at_at_its_own_threshold(solved):
    """The perfect one trips within 5 mV of it; the same copy alone gives the same numbers."""
    at = GENERIC.operating_point.volts(THETAS)
    assert solved.trip[:2] == pytest.approx(at[:2], abs=5e-3)
    for k, copy in enumerate(COPIES):
        alone = static(GENERIC, W, [copy], theta=float(THETAS[k]))
        for name in ("synapse", "slope", "trip", "tail"):
            found, wanted = getattr(solved, name)[k], getattr(alone, name)[0]
            np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_pair_device_that_is_4_mv_off_moves_the_trip_voltage_by_that():
    """Beside a perfect copy at the same threshold."""
    trip = static(GENERIC, W, [{}, COPIES[2]], theta=np.array([1.2, 1.2])).trip
    assert abs(trip[1] - trip[0]) == pytest.approx(4e-3, rel=0.1)


def test_the_tail_current_is_that_of_its_own_device(solved):
    """A current factor of 1.1 is 1.1 times the current; no other device, and no threshold, moves it."""
    assert solved.tail[0] == pytest.approx(400e-9, rel=0.1)
    assert solved.tail[1] / solved.tail[0] == pytest.approx(1.1, abs=2e-3)
    assert solved.tail[2:] == pytest.approx(solved.tail[0], rel=1e-6)


def test_currents_of_synapses_and_slope_follow_their_own_mirrors(solved):
    assert solved.synapse[3, 0] / solved.synapse[0, 0] == pytest.approx(1.05, abs=2e-3)
    assert solved.slope[3] / solved.slope[0] == pytest.approx(0.95, abs=2e-3)
    assert solved.synapse[3, 1] == pytest.approx(solved.synapse[0, 1], rel=1e-6)
    assert solved.synapse[0, 0] > 0 > solved.synapse[0, 1]


def test_copies_beyond_one_deck_keep_their_thresholds():
    """TOGETHER go into one deck."""
    thetas = np.linspace(0.6, 1.2, TOGETHER + 2)
    trip = static(GENERIC, W, [{}] * len(thetas), theta=thetas).trip
    assert trip == pytest.approx(GENERIC.operating_point.volts(thetas), abs=5e-3)


def test_the_zero_idle_stage_has_no_tail():
    assert np.isnan(static(GENERIC, W, [{}], comparator="zero_idle").tail).all()
