"""Predicted against simulated spike times: what is drawn, and the rms in the titles."""

from __future__ import annotations

import numpy as np

from montecarlo.plots.agreement import predictions


def test_panels_show_each_layer_where_both_spike_and_say_its_rms():
    """Layer 0: errors of 0.3 and 0.1, rms sqrt(0.05) = 0.22; layer 1: one pair, 0.5 apart."""
    simulated = np.array([[1.0, 2.0, 1.5], [3.0, np.inf, np.inf]])  # (image, neuron)
    first = np.array([[1.3, 2.0, 1.0], [3.0, 1.0, np.inf]])
    first[1, 0] = 3.1
    first[0, 1] = np.inf
    figure = predictions({"known": first, "exact": simulated}, simulated, np.array([0, 0, 1]))
    left, right = figure.axes
    diagonal, zero, one = (line.get_xydata().tolist() for line in left.lines)
    assert diagonal == [[0, 0], [3.0, 3.0]]
    assert zero == [[1.0, 1.3], [3.0, 3.1]]
    assert one == [[1.5, 1.0]]
    assert left.get_title() == "known\nrms [tau_c]: layer 0: 0.22, layer 1: 0.50"
    assert right.get_title() == "exact\nrms [tau_c]: layer 0: 0.0, layer 1: 0.0"


def test_layers_that_are_silent_are_empty():
    silent = np.full((2, 2), np.inf)
    (ax,) = predictions({"known": silent}, silent, np.array([0, 1])).axes
    assert ax.get_title().endswith("layer 0: 0.0, layer 1: 0.0")
