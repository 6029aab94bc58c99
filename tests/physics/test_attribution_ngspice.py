"""Attribution in ngspice: the sum of parts against the Monte Carlo variance, and the closed form."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.model.layer import Layer
from circuits.pdk.technology import Technology
from montecarlo.analysis.attribution import attribute
from montecarlo.analysis.device_area import enlarged
from montecarlo.mismatch.law import MismatchLaw

IDEAL = Technology.load("ideal")
LAW = MismatchLaw.of(IDEAL.mismatch)


@pytest.mark.parametrize("synapses", [2, 8, 64])
def test_the_sum_of_parts_is_within_10_percent_of_the_monte_carlo_variance(make_layer, synapses):
    """Also within 4 standard errors of it: 4000 samples, so 2.2 % each; 5 % sigmas interact below 1 %."""
    rng = np.random.default_rng(synapses)
    while True:  # a neuron that fires well inside its window
        layer, times = make_layer(rng, 1, synapses)
        point = IDEAL.operating_point.fit_swing(-8.0, 8.0)
        theta = layer.slope * (layer.window - layer.bias)
        x = np.where(np.isfinite(times), layer.t_min - times, 0.0)
        s = float(((theta - layer.weights @ x) / layer.slope)[0])
        if 0.4 * layer.window < s < 0.6 * layer.window:
            break
    found = attribute(layer, times, point, LAW, samples=4000)
    off = np.abs(found["sum_of_parts_ratio"] - 1)
    assert (off < 0.1).all(), found["sum_of_parts_ratio"].values
    assert (off < 4 * found["sum_of_parts_ratio_se"]).all()
    theory = attribute(layer, times, point, LAW, samples=4000, level="closed-form")
    for name in ("spike_time", "slope", "threshold", "energy"):
        # 1e-12 of the circuit (slope: 1e-8) over a step of 1e-3, with room of ten for each
        scale = float(np.abs(theory[f"{name}_sensitivity"]).max())
        close = {"rtol": 0, "atol": 1e-4 * scale}
        np.testing.assert_allclose(found[f"{name}_sensitivity"], theory[f"{name}_sensitivity"], **close)
        one, two = (float(d[f"{name}_total_variance"]) for d in (found, theory))
        assert one == pytest.approx(two, rel=1e-6)
    assert found.attrs["ngspice_version"]
    assert found.attrs["deck_hash"] == theory.attrs["deck_hash"]


def test_a_larger_slope_source_does_in_ngspice_what_was_predicted():
    """Four times the area is half the sigma: 4 standard errors of the variance of 3000 samples."""
    layer = Layer([[1.0, -0.5, 0.8, -0.2]], [0.5], t_min=1.0, t_max=4.0)
    times = np.array([0.1, 0.5, 0.3, np.inf])
    point = IDEAL.operating_point.fit_swing(-8.0, 8.0)
    before = attribute(layer, times, point, LAW, samples=3000)
    after = attribute(layer, times, point, LAW.replace(slope=LAW.slope / 2), samples=3000)
    wanted = float(after["spike_time_total_variance"])
    error = float(after["spike_time_total_variance_se"])
    assert abs(enlarged(before, {"slope_source": 4.0}) - wanted) < 4 * error
