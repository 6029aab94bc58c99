"""Numbers survive the trip through netlist text; names cannot smuggle in anything else."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.units import name, number, title

FEW = settings(max_examples=50, deadline=None)


@FEW
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_float_reads_back_bit_for_bit(value):
    """No tolerance: repr is exact, and the sign of zero counts too."""
    back = float(number(value))
    assert back == value
    assert math.copysign(1.0, back) == math.copysign(1.0, value)


@FEW
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_carries_no_unit_letter(value):
    """ngspice reads letters behind a number as a scale, e.g. a for 1e-18; only an exponent may stand."""
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", number(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(InputError, match="finite"):
        number(value)


def test_whole_numbers_and_numpy_scalars_are_taken_as_floats():
    import numpy as np

    assert number(3) == "3.0"
    assert number(np.float64(1e-15)) == "1e-15"


@pytest.mark.parametrize("text", ["a", "m0", "vdd12", "w3_4", "t"])
def test_plain_names_pass_through(text):
    assert name(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "M0", "0m", "_m", "m 0", "m0\n", "m0\n.control", "m-0", "../t", "t.txt", "é", "m0;", "m$"],
)
def test_names_that_could_be_read_otherwise_are_refused(text):
    with pytest.raises(InputError, match="netlist name"):
        name(text)


@FEW
@given(st.text(max_size=8))
def test_what_passes_is_one_lower_case_token(text):
    try:
        passed = name(text)
    except InputError:
        return
    assert passed == passed.lower() == "".join(passed.split())
    assert passed.isascii()


@pytest.mark.parametrize("text", ["a", "seven neurons", "V = 0.5 V + 0.125 V", "(error) 1", "2 x", "x" * 200])
def test_plain_titles_pass_through(text):
    assert title(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", " x", "*#shell ls", ".include x", "x\n.control", "x\r", "x\ty", "\x00", "x\x1b", "é", "x\n"),
        "x" * 201,
    ],
)
def test_titles_that_could_be_read_otherwise_are_refused(text):
    with pytest.raises(InputError, match="deck title"):
        title(text)
