"""The electrical scale: volts per unit, the swing check and the fit to a swing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint

FEW = settings(max_examples=50, deadline=None)
POINT = OperatingPoint()
POTENTIAL = st.floats(-50, 50)


def test_volts_per_unit_follow_from_current_time_and_capacitance():
    """Q = I t = 2e-6 * 1e-6; over 4e-12 F that is 0.5 V; 1e-15 covers one rounding."""
    point = OperatingPoint(tau_c=1e-6, c_mem=4e-12, i_unit=2e-6)
    assert point.v_unit == pytest.approx(0.5, rel=1e-15)
    assert point.volts(0.5) == pytest.approx(0.55 + 0.25, rel=1e-15)


def test_energy_of_a_unit_is_supply_times_charge():
    """1.2 V * 250 nA * 100 ns = 30 fJ; 1e-15 covers rounding."""
    assert POINT.unit_energy == pytest.approx(30e-15, rel=1e-12, abs=0)


@FEW
@given(POTENTIAL)
def test_volts_and_back_is_the_same_potential(potential):
    """Subtracting v_reset loses an ulp of 0.55 V, 1e-16 / 0.25 V a unit: 1e-13 is ample up to 50."""
    assert POINT.unit_free(POINT.volts(potential)) == pytest.approx(potential, abs=1e-13)


@FEW
@given(POTENTIAL, POTENTIAL, st.floats(0.01, 1))
def test_a_fitted_swing_holds_its_range_with_margin_to_spare(a, b, margin):
    """The check itself allows 1e-9 of the swing for rounding; the middle must be centered to 1e-12 V."""
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    point = POINT.fit_swing(min(a, b), max(a, b), margin)
    point.check_swing(low, high, "layer")
    middle = point.volts((low + high) / 2)
    assert middle == pytest.approx((point.v_low + point.v_high) / 2, abs=1e-12)
    if high - low > 1e-3:  # below that the span is floored, lest the scale run away
        used = point.v_unit * (high - low)
        assert used * (1 + margin) == pytest.approx(point.v_high - point.v_low, rel=1e-12)


@FEW
@given(POTENTIAL, POTENTIAL)
def test_fitting_changes_the_current_and_the_reset_level_only(a, b):
    point = POINT.fit_swing(min(a, b), max(a, b))
    restored = dataclasses.replace(point, i_unit=POINT.i_unit, v_reset=POINT.v_reset)
    assert restored == POINT
    assert point.v_low <= point.v_reset <= point.v_high


def test_a_larger_range_gets_fewer_volts_per_unit():
    assert POINT.fit_swing(-4, 4).v_unit < POINT.fit_swing(-1, 1).v_unit


@pytest.mark.parametrize("bad", [(math.nan, 1.0), (0.0, math.inf), (-math.inf, 0.0)])
def test_a_range_that_is_not_finite_is_refused(bad):
    with pytest.raises(InputError, match="finite"):
        POINT.fit_swing(*bad)


def test_leaving_the_swing_names_the_place_and_the_remedy():
    POINT.check_swing(-1.0, 1.5, "layer 1")  # 0.3..0.925 V, inside
    with pytest.raises(InputError, match=r"layer 1, neuron 3.*lower i_unit"):
        POINT.check_swing(-1.0, 2.0, "layer 1, neuron 3")  # 1.05 V
    with pytest.raises(InputError, match=r"swings from 0\.175 V"):
        POINT.check_swing(-1.5, 0.0, "layer 1")


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(OperatingPoint)])
@pytest.mark.parametrize("value", [0.0, -1e-9, math.nan, math.inf])
def test_every_field_must_be_positive_and_finite(field, value):
    with pytest.raises(InputError, match=field):
        dataclasses.replace(POINT, **{field: value})


@pytest.mark.parametrize("bad", [{"v_reset": 0.2}, {"v_reset": 1.1}, {"v_high": 1.3}, {"v_low": 0.6}])
def test_levels_must_be_in_order(bad):
    with pytest.raises(InputError, match="v_low <= v_reset"):
        dataclasses.replace(POINT, **bad)


@FEW
@given(st.floats(1e-12, 1e-3), st.floats(1e-18, 1e-6))
def test_json_keeps_every_bit(tau_c, c_mem):
    point = OperatingPoint(tau_c=tau_c, c_mem=c_mem)
    assert OperatingPoint.from_json(point.to_json()) == point


def test_arrays_are_converted_element_by_element():
    """1e-15: the same two operations on each element."""
    volts = POINT.volts(np.array([[0.0, 1.0], [2.0, -1.0]]))
    np.testing.assert_allclose(volts, [[0.55, 0.8], [1.05, 0.3]], rtol=1e-15)


@FEW
@given(POTENTIAL, POTENTIAL)
def test_without_margin_the_range_fills_the_swing(a, b):
    """1e-12 V: rounding of two products; a range of one sign may be kept off one end by v_reset."""
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    point = POINT.fit_swing(min(a, b), max(a, b), margin=0)
    point.check_swing(low, high, "layer")
    if high - low > 1e-3:  # below that the span is floored
        assert point.volts(low) == pytest.approx(point.v_low, abs=1e-12)
        assert point.volts(high) == pytest.approx(point.v_high, abs=1e-12)
