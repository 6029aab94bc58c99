"""Switched sources: the grid, their sums, and first crossings against the neuron's own formula."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.stimulus import stimulus
from circuits.ideal.switched_sources import BREAK_DISTANCE, NEVER, Cell, Grid, Sources, first_crossing
from circuits.model.closed_form import response
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint

FEW = settings(max_examples=50, deadline=None)
SEED = st.integers(0, 2**32 - 1)
POINT = OperatingPoint().fit_swing(-6, 8)


def random_cell(seed: int, neurons: int = 4, sources: int = 6) -> Cell:
    """Sources of either sign that switch anywhere, some of them beyond the end or never."""
    rng = np.random.default_rng(seed)
    grid = Grid(-3, 1000)
    on = rng.integers(0, 1200, sources)
    off = on + rng.integers(0, 600, sources)
    on[rng.random(sources) < 0.2] = NEVER
    amps = rng.normal(size=(neurons, sources))
    labels = tuple(f"s{k}" for k in range(sources))
    threshold = rng.uniform(-0.2, 0.5, neurons)
    return Cell(
        Sources(amps, on, off, labels),
        capacitance=rng.uniform(0.5, 2, neurons),
        threshold=threshold,
        grid=grid,
        v_reset=0.1,
        armed=int(rng.integers(0, 1000)),
    )


def change(cell: Cell, **changes) -> Cell:
    """The same neurons with other sources."""
    return dataclasses.replace(cell, sources=dataclasses.replace(cell.sources, **changes))


def same(one: Cell, other: Cell) -> None:
    """1e-9 s: rounding of a sum (1e-15) over the least slope, a sum of normals that may nearly cancel."""
    (a, v_a), (b, v_b) = first_crossing(one), first_crossing(other)
    np.testing.assert_allclose(v_a, v_b, rtol=0, atol=1e-12)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


@FEW
@given(st.floats(1e-12, 1e3))
def test_a_tick_is_longer_than_what_the_simulator_merges(seconds):
    """At least four break-point distances, and at most ten times that: a power of ten. 1e-9: rounding."""
    grid = Grid.spanning(seconds)
    relative = grid.tick / seconds
    assert BREAK_DISTANCE * (1 - 1e-9) <= relative <= 10 * BREAK_DISTANCE * (1 + 1e-9)
    assert BREAK_DISTANCE >= 4e-10
    assert seconds <= grid.stop * grid.tick <= seconds + 4 * grid.tick


@FEW
@given(st.integers(0, 10**10), st.integers(-20, 3))
def test_a_tick_reads_back_as_a_time(ticks, exponent):
    """One rounding in each of two ways to the same product: 1e-15."""
    grid = Grid(exponent, 10**10)
    assert float(grid.text(ticks)) == pytest.approx(ticks * grid.tick, rel=1e-15)
    assert grid.ticks(ticks * grid.tick) == pytest.approx(ticks, rel=1e-15)


def test_the_same_tick_is_the_same_text_whatever_its_type():
    assert Grid(-9, 10).text(7) == Grid(-9, 10).text(np.int64(7)) == "7e-9"


@FEW
@given(SEED)
def test_rows_are_what_flows_between_the_edges(seed):
    """Against the definition, source by source, in the middle of every piece; 1e-14: six terms."""
    cell = random_cell(seed)
    src, grid = cell.sources, cell.grid
    edges, rows = src.rows(grid)
    assert len(rows) == len(edges) + 1
    assert np.all(np.diff(edges) > 0)
    assert np.all((edges > 0) & (edges < grid.stop))
    bounds = np.concatenate([[0], edges, [grid.stop]])
    for k, row in enumerate(rows):
        middle = (bounds[k] + bounds[k + 1]) / 2
        flows = (src.on != NEVER) & (src.on <= middle) & (middle < src.off)
        np.testing.assert_allclose(row, src.amps @ flows, rtol=0, atol=1e-14)


def test_without_sources_there_is_one_row_of_nothing():
    off = Sources(np.ones((3, 2)), np.array([NEVER, 5]), np.array([9, 5]), ("a", "b"))
    edges, rows = off.rows(Grid(-3, 10))
    assert len(edges) == 0
    assert np.array_equal(rows, np.zeros((1, 3)))


def test_switching_over_at_one_tick_is_one_edge():
    both = Sources(np.array([[1.0, 2.0]]), np.array([2, 5]), np.array([5, 20]), ("a", "b"))
    edges, rows = both.rows(Grid(-3, 10))
    assert edges.tolist() == [2, 5]
    assert rows[:, 0].tolist() == [0, 1, 2]


@FEW
@given(SEED)
def test_layers_cross_where_their_formula_says(seed):
    """1e-12 of times and potentials of size 1 to 10: some tens of roundings. The grid may end two
    ticks behind the window, so later crossings count as silent, as they do in the layer."""
    rng = np.random.default_rng(seed)
    n_out, n_in, samples = int(rng.integers(1, 6)), int(rng.integers(1, 9)), 3
    t_min, window = float(rng.uniform(0.5, 4)), float(rng.uniform(1, 5))
    layer = Layer(
        rng.normal(size=(n_out, n_in)),
        rng.normal(size=n_out),
        t_min,
        t_min + window,
        rng.uniform(1, 2, n_out),
    )
    times = rng.uniform(0, t_min, n_in)
    times[rng.random(n_in) < 0.3] = np.inf
    mismatch = LayerMismatch(
        0.1 * rng.uniform(-1, 1, (samples, n_out, n_in)),
        *(0.1 * rng.uniform(-1, 1, (samples, n_out)) for _ in range(3)),
    )
    cell = layer_cell(layer, stimulus(layer, times, POINT), POINT, mismatch)
    time, v_armed = first_crossing(cell)
    wanted = response(layer, times, POINT, mismatch)
    delay = time / POINT.tau_c
    activation = np.where(delay < window, window - delay, 0.0)
    np.testing.assert_allclose(activation, wanted.activation(window).ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(POINT.unit_free(v_armed), wanted.v_t_min.ravel(), rtol=0, atol=1e-12)


@FEW
@given(SEED)
def test_permuting_the_sources_changes_nothing(seed):
    cell = random_cell(seed)
    order = np.random.default_rng(seed).permutation(6)
    src = cell.sources
    same(cell, change(cell, amps=src.amps[:, order], on=src.on[order], off=src.off[order]))


@FEW
@given(SEED, st.floats(-2, 3))
def test_splitting_a_source_in_two_changes_nothing(seed, share):
    """In amperes: two sources that switch together."""
    cell = random_cell(seed)
    src = cell.sources
    parts = [share * src.amps[:, :1], (1 - share) * src.amps[:, :1], src.amps[:, 1:]]
    on, off = (np.concatenate([k[:1], k]) for k in (src.on, src.off))
    same(cell, change(cell, amps=np.hstack(parts), on=on, off=off, labels=("first", *src.labels)))


@FEW
@given(SEED, st.floats(0, 1))
def test_splitting_a_source_in_time_changes_nothing(seed, share):
    """One that goes on where the other ends."""
    cell = random_cell(seed)
    src = cell.sources
    at = src.on[0] + int(share * (src.off[0] - src.on[0])) if src.on[0] != NEVER else NEVER
    amps = np.hstack([src.amps[:, :1], src.amps])
    on = np.concatenate([src.on[:1], [at], src.on[1:]])
    off = np.concatenate([[at], src.off])
    same(cell, change(cell, amps=amps, on=on, off=off, labels=("first", *src.labels)))


@FEW
@given(SEED, st.integers(1, 10_000))
def test_delaying_everything_shifts_nothing(seed, delay):
    """Times count from when the comparators are armed."""
    cell = random_cell(seed)
    src = cell.sources
    later = change(cell, on=np.where(src.on == NEVER, NEVER, src.on + delay), off=src.off + delay)
    grid = Grid(cell.grid.exponent, cell.grid.stop + delay)
    same(cell, dataclasses.replace(later, grid=grid, armed=cell.armed + delay))


def alone(on: int, off: int, armed: int, threshold: float, amps: float = 1.0) -> tuple[float, float]:
    """One neuron of 1 F with one source, on a grid of 10 ms in ticks of 1 ms."""
    cell = Cell(
        Sources(np.array([[amps]]), np.array([on]), np.array([off]), ("a",)),
        np.ones(1),
        np.array([threshold]),
        Grid(-3, 10),
        0.0,
        armed,
    )
    time, v = first_crossing(cell)
    return float(time[0]), float(v[0])


def test_crossings_by_hand():
    """1 A into 1 F is 1 mV a ms; 1e-15: rounding."""
    assert alone(2, 9, 0, 3e-3) == (pytest.approx(5e-3, rel=1e-14), 0.0)
    assert alone(2, 9, 4, 3e-3) == (pytest.approx(1e-3, rel=1e-14), pytest.approx(2e-3, rel=1e-14))
    assert alone(2, 9, 6, 3e-3) == (0.0, pytest.approx(4e-3, rel=1e-14))  # above already
    assert alone(2, 4, 0, 3e-3)[0] == np.inf  # never gets there
    assert alone(2, 90, 0, 9e-3)[0] == np.inf  # not before the end
    assert alone(2, 9, 0, -1e-3, -1.0)[0] == 0.0  # starts above, and is armed there
