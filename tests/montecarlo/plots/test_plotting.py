"""Figures show the numbers they were given, in the units they name."""

from __future__ import annotations

import base64
import math
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from montecarlo.plots import plotting

PREFIX = "data:image/svg+xml;base64,"


def lines(axes) -> list[tuple[list[float], list[float]]]:
    return [(list(np.asarray(x.get_xdata())), list(np.asarray(x.get_ydata()))) for x in axes.lines]


def widths(axes) -> list[float]:
    return [patch.get_width() for patch in axes.patches]


def labels(axes) -> list[str]:
    return [t.get_text() for t in axes.get_yticklabels()]


@pytest.fixture
def sample_waveforms():
    time = np.linspace(0, 3, 31)
    volts = np.stack([0.5 + 0.1 * time, 0.5 + 0 * time], axis=1)
    return plotting.waveforms(time, volts, np.array([0.7, 0.9]), 1.0, 3.0, np.array([2.0, np.inf]))


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_suffix_chooses_the_format(tmp_path, sample_waveforms, suffix, start):
    path = plotting.save(sample_waveforms, str(tmp_path / f"figure.{suffix}"))
    assert path == tmp_path / f"figure.{suffix}"
    assert path.read_bytes().startswith(start)


def test_a_data_uri_is_a_drawing_without_a_date(sample_waveforms):
    uri = plotting.data_uri(sample_waveforms)
    assert uri.startswith(PREFIX)
    text = base64.b64decode(uri.removeprefix(PREFIX), validate=True)
    assert ET.fromstring(text).tag.endswith("svg")
    assert b"<dc:date>" not in text


def test_figures_need_no_display_and_no_global_state(sample_waveforms):
    """pyplot, where something else has loaded it, knows of none; and no window stands behind a figure."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
    assert sample_waveforms.canvas.manager is None


def test_a_waveform_ends_boldly_at_its_spike(sample_waveforms):
    (axes,) = sample_waveforms.axes
    drawn = lines(axes)
    assert max(drawn[0][0]) == pytest.approx(2.0)  # neuron 0: bold until it fires at 2
    assert min(drawn[1][0]) > 2.0
    assert ([1.0, 3.0], [0.7, 0.7]) in drawn  # its threshold, over the firing window
    assert ([2.0], [0.7]) in drawn  # the spike, on the threshold
    assert ([1.0, 3.0], [0.9, 0.9]) in drawn


def test_a_silent_neuron_is_drawn_to_the_end_without_a_spike(sample_waveforms):
    (axes,) = sample_waveforms.axes
    flat = [x for x, y in lines(axes) if len(y) > 2 and set(y) == {0.5}]
    assert max(flat[0]) == 3.0
    assert not [x for x, y in lines(axes) if y == [0.9]]
    assert axes.get_xlim() == (0, 3)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time [tau_c]", "membrane voltage [V]")


def test_a_histogram_counts_finite_values_and_shows_the_law(rng):
    values = rng.normal(0.1, 0.05, (50, 2))
    values[3] = np.nan
    figure = plotting.histograms({"slope": (values, 0.1, 0.05, "log"), "flat": (np.zeros(9), 0, 0, "V")})
    first, second = figure.axes
    assert first.get_title() == "slope\nsigma = 0.05, n = 98"
    assert first.get_xlabel() == "log"
    area = sum(p.get_width() * p.get_height() for p in first.patches)
    assert area == pytest.approx(1.0, rel=1e-12)  # a density, up to rounding
    x, y = lines(first)[0]
    peak = 1 / (0.05 * math.sqrt(2 * math.pi))
    assert max(y) == pytest.approx(peak, rel=1e-3)  # 200 points over 8 sigma
    assert x[int(np.argmax(y))] == pytest.approx(0.1, abs=0.05 * 8 / 199)
    assert not second.lines  # values that do not vary have no law to draw
    assert sum(p.get_height() for p in second.patches) == 9


def test_intervals_are_drawn_from_low_to_high_around_the_value():
    figure = plotting.intervals({"slope": (2.0, 1.0, 4.0), "offset": (0.5, 0.0, 1.0)}, "sigma")
    (axes,) = figure.axes
    assert labels(axes) == ["slope", "offset"]
    assert lines(axes) == [
        ([1.0, 4.0], [0, 0]),
        ([2.0], [0]),
        ([0.0, 1.0], [1, 1]),
        ([0.5], [1]),
    ]
    assert axes.get_xlabel() == "sigma"
    assert axes.yaxis_inverted()


def test_accuracies_are_percent_with_mean_and_quartiles():
    """Exact to 1e-12 percent: products with 100."""
    values = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    (axes,) = plotting.accuracies({"plain": values, "tuned": values + 0.05}, 0.97, 0.9).axes
    drawn = lines(axes)
    np.testing.assert_allclose(drawn[0][0], 100 * values, atol=1e-12)
    np.testing.assert_allclose(drawn[1][0], [60, 80], atol=1e-12)
    np.testing.assert_allclose(drawn[2][0], [70], atol=1e-12)
    np.testing.assert_allclose(drawn[5][0], [75], atol=1e-12)
    assert labels(axes) == ["plain", "tuned"]
    vertical = [x for x, _ in drawn[6:]]
    np.testing.assert_allclose(vertical, [[97, 97], [90, 90]], atol=1e-12)
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["ReLU network", "yield target"]


def test_model_and_circuit_are_compared_where_both_fire():
    """rms of 0.3 and -0.1 and 0: sqrt(0.1 / 3) = 0.18."""
    spice = np.array([1.0, 2.0, 3.0, np.inf, 2.0])
    model = np.array([0.7, 2.1, 3.0, 1.0, np.inf])
    low, high = spice - 0.5, spice + 1.5  # every circuit is at -0.5 of its interval
    figure = plotting.model_against_circuit(spice, model, low, high, 5.0)
    scatter, residual, place = figure.axes
    assert lines(scatter)[0] == ([0, 5.0], [0, 5.0])
    assert lines(scatter)[1] == ([1.0, 2.0, 3.0], [0.7, 2.1, 3.0])
    assert "rms 0.18 tau_c" in residual.get_title()
    assert sum(p.get_height() for p in residual.patches) == 3
    bins = [p for p in place.patches if p.get_height() == 4]
    assert len(bins) == 1
    assert bins[0].get_x() <= -0.5 <= bins[0].get_x() + bins[0].get_width() + 1e-12


def test_a_comparison_of_silent_neurons_is_empty():
    silent = np.full(4, np.inf)
    figure = plotting.model_against_circuit(silent, silent, silent, silent, 5.0)
    assert "rms 0 tau_c" in figure.axes[1].get_title()
    assert plotting.data_uri(figure).startswith(PREFIX)


def test_bars_are_stacked_and_scaled():
    groups = {"a": {"synapse": 1.0, "slope": 2.0}, "b": {"slope": 3.0, "reset": 4.0}}
    (axes,) = plotting.bars(groups, "energy [pJ]", scale=10.0).axes
    assert widths(axes) == [10.0, 0.0, 20.0, 30.0, 0.0, 40.0]
    assert [p.get_x() for p in axes.patches] == [0.0, 0.0, 10.0, 0.0, 30.0, 30.0]
    assert [t.get_text() for t in axes.figure.legends[0].get_texts()] == ["synapse", "slope", "reset"]
    assert labels(axes) == ["a", "b"]


def test_one_thing_alone_needs_no_legend():
    for figure in (
        plotting.bars({"a": {"x": 1.0}, "b": {"x": 2.0}}, "energy"),
        plotting.accuracies({"plain": np.array([0.5, 0.6])}, None, None),
    ):
        assert figure.axes[0].get_legend() is None


def test_log_bars_keep_a_place_for_zero():
    (axes,) = plotting.log_bars({"large": 1e-3, "none": 0.0}, "error").axes
    assert axes.get_xscale() == "log"
    assert widths(axes) == [1e-3, 1e-18]
