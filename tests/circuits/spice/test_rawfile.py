"""Raw files: what was written is read back, and every way to cut or bend one is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import SimulatorError
from circuits.spice.rawfile import parse

NAMES = ("time", "v(m0)", "i(vdd0)")
VALUES = np.array([[0.0, 1.0, -1.0], [1.0, 2.0, -2.0]])


def raw(values=VALUES, names=NAMES, points=None, variables=None, flags="real") -> bytes:
    """A raw file as ngspice writes it, with counts that may lie."""
    header = [
        "Title: deck",
        "Date: Thu Jan  1 00:00:00  1970",
        "Plotname: Transient Analysis",
        f"Flags: {flags}",
        f"No. Variables: {len(names) if variables is None else variables}",
        f"No. Points: {len(values) if points is None else points}       ",
        "Variables:",
        *(f"\t{k}\t{n}\tvoltage" for k, n in enumerate(names)),
        "Binary:\n",
    ]
    return "\n".join(header).encode() + np.asarray(values, "<f8").tobytes()


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 20).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
            min_size=n,
            max_size=n,
        )
    )
)
def test_values_come_back_bit_for_bit(rows):
    plot = parse(raw(np.array(rows)))[0]
    assert plot.values.tobytes() == np.array(rows).tobytes()
    assert plot.variables == NAMES
    assert plot.name == "Transient Analysis"


def test_variables_are_found_by_name_in_any_order():
    plot = parse(raw())[0]
    assert np.array_equal(plot["v(m0)"], [1.0, 2.0])
    assert np.array_equal(plot.columns(["i(vdd0)", "time"]), [[-1.0, 0.0], [-2.0, 1.0]])


def test_several_plots_are_kept_apart():
    plots = parse(raw() + raw(10 * VALUES))
    assert len(plots) == 2
    assert np.array_equal(plots[1].values, 10 * plots[0].values)


def test_data_that_look_like_a_header_mark_do_no_harm():
    """Eight bytes that spell the mark itself, as a float."""
    value = np.frombuffer(b"Binary:\n", "<f8")[0]
    plots = parse(raw([[value, value, value]]) + raw())
    assert len(plots) == 2
    assert plots[0].values[0, 0] == value


@pytest.mark.parametrize("cut", [1, 8, 24, 47])
def test_missing_bytes_are_noticed(cut):
    with pytest.raises(SimulatorError, match="48 expected"):
        parse(raw()[:-cut])


def test_more_bytes_than_announced_are_noticed():
    with pytest.raises(SimulatorError, match="without a data block"):
        parse(raw() + b"\0" * 8)


def test_a_count_that_was_never_filled_in_is_noticed():
    """ngspice writes 0 points first and mends the header at the end."""
    with pytest.raises(SimulatorError, match="0 points"):
        parse(raw(points=0))


@pytest.mark.parametrize("variables", [2, 4])
def test_a_wrong_number_of_variables_is_noticed(variables):
    with pytest.raises(SimulatorError):
        parse(raw(variables=variables))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(SimulatorError, match="not finite"):
        parse(raw([[0.0, value, 0.0]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"no simulator wrote this", "without a data block"),
        (b"Title: x\nBinary:\n", "without counts"),
        (raw(points="many"), "without counts"),
        (raw(flags="complex"), "complex"),
    ],
)
def test_what_is_no_transient_is_refused(content, message):
    with pytest.raises(SimulatorError, match=message):
        parse(content)


def test_a_name_that_is_not_there_is_an_error():
    plot = parse(raw())[0]
    with pytest.raises(ValueError, match="not in tuple"):
        plot["v(m1)"]
    with pytest.raises(KeyError, match="m1"):
        plot.columns(["v(m1)"])


@pytest.mark.parametrize("line", [b"\t1\tv(m0)\tvoltage", b"\t2\ti(vdd0)\tvoltage"])
@pytest.mark.parametrize("short", [b"\t1", b"", b"lost"])
def test_a_variable_line_without_a_name_is_noticed(line, short):
    with pytest.raises(SimulatorError, match="3 variables announced"):
        parse(raw().replace(line, short))
