"""Figures of distributions show the numbers they were given, and say what is missing."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from circuits.errors import InputError
from circuits.model.layer import Layer
from circuits.model.operating_point import OperatingPoint
from montecarlo.analysis.attribution import attribute
from montecarlo.mismatch.law import TERMS, MismatchLaw
from montecarlo.plots import distribution_plots as plots


@pytest.fixture
def values(rng) -> np.ndarray:
    return rng.normal(1.0, 0.05, size=300)


def legend(ax) -> list[str]:
    return [t.get_text() for t in ax.get_legend().get_texts()]


def test_a_histogram_has_the_normal_law_of_the_same_moments(values):
    (ax,) = plots.histogram(values, "slope").axes
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, stats.norm.pdf(x, values.mean(), values.std(ddof=1)))
    area = sum(p.get_width() * p.get_height() for p in ax.patches)
    assert area == pytest.approx(1)
    assert legend(ax) == ["normal"]
    assert ax.get_xlabel() == "slope"


def test_heavy_tails_get_their_own_curve(rng):
    (ax,) = plots.histogram(rng.standard_t(3, size=1000), "slope").axes
    assert len(legend(ax)) == 2
    assert "Student t" in legend(ax)[1]


@pytest.mark.parametrize("draw", [plots.histogram, plots.qq, plots.convergence])
def test_what_is_not_finite_is_counted_in_the_title(draw, values):
    values[:3], values[3:5] = np.nan, np.inf
    (ax,) = draw(values, "slope", "neuron").axes
    assert "neuron" in ax.get_title()
    assert "n = 295, 3 failed, 2 silent" in ax.get_title()


@pytest.mark.parametrize("draw", [plots.histogram, plots.qq, plots.convergence])
@pytest.mark.parametrize(("values", "text"), [([], "too few values"), ([0.1] * 9, "all values are 0.1")])
def test_nothing_to_show_is_said(draw, values, text):
    (ax,) = draw(np.array(values), "slope").axes
    assert [t.get_text() for t in ax.texts] == [text]


def test_a_qq_plot_is_sorted_and_its_band_holds_the_line(values):
    (ax,) = plots.qq(values, "slope").axes
    line, points = ax.lines
    np.testing.assert_array_equal(points.get_ydata(), np.sort(values))
    (band,) = ax.collections
    low, high = band.get_datalim(ax.transData).intervaly
    assert low < line.get_ydata()[0] < line.get_ydata()[-1] < high


def test_convergence_ends_at_the_std_of_all(values):
    (ax,) = plots.convergence(values, "slope").axes
    curve = ax.lines[0]
    assert curve.get_xdata()[-1] == 300
    assert curve.get_ydata()[-1] == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert curve.get_ydata()[0] == pytest.approx(values[:5].std(ddof=1), rel=1e-9)
    assert [line.get_ydata()[0] / curve.get_ydata()[-1] for line in ax.lines[1:]] == pytest.approx([0.9, 1.1])


def test_a_distribution_is_all_three(values):
    assert len(plots.distribution(values, "slope", "neuron").axes) == 3


def attributed(synapses: int) -> xr.Dataset:
    layer = Layer(np.linspace(0.1, 0.5, synapses)[None], np.zeros(1), t_min=1.0, t_max=4.0)
    law = MismatchLaw.of(dict.fromkeys(TERMS, 0.05))
    times = np.full(synapses, 0.9)
    return attribute(layer, times, OperatingPoint(), law, samples=200, level="closed-form")


def test_attribution_bars_are_the_shares_largest_first():
    attribution = attributed(20)
    axes = plots.attribution_bars(attribution).axes
    assert len(axes) == 4
    width = [p.get_width() for p in axes[0].patches]
    share = attribution["share"].sel(quantity="spike_time").values
    assert len(width) == plots.SHOWN + 2
    np.testing.assert_allclose(width[: plots.SHOWN], 100 * np.sort(share)[::-1][: plots.SHOWN])
    assert sum(width[:-1]) == pytest.approx(100 * share.sum())
    names = [t.get_text() for t in axes[0].get_yticklabels()]
    assert names[-2:] == ["11 others", "interactions"]


def test_a_sweep_has_a_curve_and_a_band_a_name():
    x, y = np.array([1.0, 10.0]), np.array([0.9, 0.8])
    (ax,) = plots.sweep(x, {"a": (y, y - 0.1, y + 0.1), "b": (y, y, y)}, "sigma", "accuracy").axes
    assert legend(ax) == ["a", "b"]
    assert len(ax.collections) == 2
    assert ax.get_xscale() == "log"
    (ax,) = plots.sweep(x[::-1] - 0.9, {"a": (y, y, y)}, "sigma", "a long label " * 6).axes
    assert ax.lines[0].get_ydata().tolist() == [0.8, 0.9]  # in the order of x
    assert max(map(len, ax.get_ylabel().split("\n"))) <= plots.LINE
    with pytest.raises(InputError, match="curve 'a' has 2 points, the axis has 1"):
        plots.sweep(x[:1], {"a": (y, y, y)}, "sigma", "accuracy")


def test_strips_stand_side_by_side(values):
    groups = {
        "tt": values,
        "ss": np.append(values + 0.1, np.nan),
        "ff": np.array([np.inf]),
        "sf": np.array([1.0]),
    }
    (ax,) = plots.strips(groups, "slope").axes
    names = [t.get_text() for t in ax.get_xticklabels()]
    assert names == ["tt\nn = 300", "ss\nn = 300, 1 failed", "ff\nn = 0, 1 silent", "sf\nn = 1"]
    diamonds = [line for line in ax.lines if line.get_marker() == "D"]
    assert [d.get_ydata()[0] for d in diamonds] == pytest.approx([values.mean(), values.mean() + 0.1, 1.0])


def test_both_formats_are_written(tmp_path, values):
    png, svg = plots.save_both(plots.histogram(values, "slope"), tmp_path / "a.b")
    assert (png.name, svg.name) == ("a.b.png", "a.b.svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert svg.read_bytes().startswith(b"<?xml")
