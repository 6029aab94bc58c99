"""Attribution on the closed form: derivatives known by hand, sums that close, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.model.layer import Layer
from circuits.model.operating_point import OperatingPoint
from montecarlo.analysis.attribution import QUANTITIES, attribute, contributors
from montecarlo.campaign.schema import open_dataset
from montecarlo.mismatch.law import TERMS, MismatchLaw

POINT = OperatingPoint().fit_swing(-3, 6)
LAW = MismatchLaw.of(dict.fromkeys(TERMS, 0.05))
WEIGHTS = np.array([[1.0, -0.5, 0.0, 0.8], [0.3, 0.2, -0.1, 0.5]])
LAYER = Layer(WEIGHTS, np.array([0.5, 0.0]), t_min=1.0, t_max=4.0, slope=1.25)
TIMES = np.array([0.1, 0.5, 0.2, np.inf])
X = np.array([0.9, 0.5, 0.8, 0.0])


def attributed(law=LAW, layer=LAYER, times=TIMES, **options):
    return attribute(layer, times, POINT, law, level="closed-form", **{"samples": 1000, **options})


@pytest.fixture(scope="module")
def attribution():
    return attributed()


def test_every_device_has_a_name_and_a_term():
    assert [(d.name, d.term, d.column) for d in contributors(WEIGHTS[0])] == [
        ("synapse_source_0", "synapse_source", 0),
        ("synapse_sink_1", "synapse_sink", 1),
        ("synapse_source_3", "synapse_source", 3),
        ("slope_source", "slope", 4),
        ("comparator", "threshold", 5),
        ("capacitor", "capacitance", 6),
    ]


def test_sensitivities_are_the_derivatives_of_the_closed_form(attribution):
    """s = ((theta + o)(1 + c) - sum W x) / (B (1 + beta)); 1e-6: truncation, STEP squared."""
    theta, b = 1.25 * 2.5, 1.25
    s = (theta - WEIGHTS[0] @ X) / b
    charge = -WEIGHTS[0] * X / b
    wanted = [charge[0], charge[1], charge[3], -s, 1 / b, theta / b]
    np.testing.assert_allclose(attribution["spike_time_sensitivity"], wanted, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(attribution["slope_sensitivity"], [0, 0, 0, b, 0, -b], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(attribution["threshold_sensitivity"], [0, 0, 0, 0, 1, 0], rtol=1e-6, atol=1e-9)
    # what the supply gives: charge up to theta, and what the sink took, x 0.5 of |W| 0.5
    unit = POINT.unit_energy
    wanted = [0, 0.25 * unit, 0, 0, unit, theta * unit]
    np.testing.assert_allclose(attribution["energy_sensitivity"], wanted, rtol=1e-6, atol=1e-9 * unit)
    assert float(attribution["spike_time_nominal"]) == pytest.approx(s, rel=1e-12)


def test_the_sum_of_parts_closes_on_the_monte_carlo_total():
    """4 standard errors, and 10 %; 5 % sigmas interact by less than 1 %."""
    attribution = attributed(samples=8000)
    off = np.abs(attribution["sum_of_parts_ratio"] - 1)
    assert (off < 4 * attribution["sum_of_parts_ratio_se"]).all()
    assert (off < 0.1).all()
    assert (attribution["interactions"] < 0.01).all()
    assert (attribution["n"] == 8000).all()


def test_large_deviations_interact():
    """slope = exp(u), u normal with variance q = 2 x 0.25^2: what a line leaves is, in closed form,
    (e^q (e^q - 1) + q - 2 q e^(q/2)) / (e^q (e^q - 1)) = 6.5 %; 4000 draws know it to about 0.5 %."""
    law = MismatchLaw.of({"slope": 0.25, "capacitance": 0.25})
    layer = Layer([[0.5]], [20.0], t_min=1.0, t_max=40.0)
    attribution = attributed(law, layer, np.array([0.5]), samples=4000)
    q = 2 * 0.25**2
    variance = np.exp(q) * np.expm1(q)
    left = (variance + q - 2 * q * np.exp(q / 2)) / variance
    assert left == pytest.approx(0.065, abs=1e-3)
    assert float(attribution["interactions"].sel(quantity="slope")) == pytest.approx(left, abs=0.02)


def test_parts_go_with_the_square_of_sigma(attribution):
    """Exact to rounding: the derivatives do not depend on sigma."""
    half = attributed(MismatchLaw.of(dict.fromkeys(TERMS, 0.025)))
    np.testing.assert_allclose(half["spike_time_part"], attribution["spike_time_part"] / 4, rtol=1e-9)


def test_one_device_alone_is_all_of_it():
    attribution = attributed(MismatchLaw.of({"threshold": 0.04}))
    share = attribution["share"].sel(device="comparator")
    assert float(share.sel(quantity="threshold")) == pytest.approx(1, abs=0.15)
    assert float(attribution["threshold_part"].sum()) == pytest.approx(0.04**2, rel=1e-6)
    assert np.isnan(attribution["share"].sel(quantity="slope")).all()  # nothing varies: no shares of nothing
    assert np.isnan(attribution["sum_of_parts_ratio"].sel(quantity="slope"))


def test_a_systematic_part_moves_the_point_and_not_the_closing():
    law = MismatchLaw(slope=0.05, mean=(("slope", 0.2),))
    attribution = attributed(law, samples=4000)
    s = (1.25 * 2.5 - WEIGHTS[0] @ X) / 1.25 / np.exp(0.2)
    assert float(attribution["spike_time_nominal"]) == pytest.approx(s, rel=1e-12)
    ratio = attribution.sel(quantity="spike_time")
    assert abs(ratio["sum_of_parts_ratio"] - 1) < 4 * ratio["sum_of_parts_ratio_se"]


def test_another_neuron_has_other_parts_and_the_same_seed_the_same(attribution):
    other = attributed(neuron=1)
    assert other["device"].values.tolist()[1] == "synapse_source_1"
    assert attributed().equals(attribution)
    assert not attributed(entropy=1).equals(attribution)


def test_silent_and_early_samples_are_counted_and_not_hidden():
    """theta / B is 0.98 of the window: one neuron in three is too slow."""
    layer = Layer([[0.1]], [0.1], t_min=1.0, t_max=4.0)
    attribution = attributed(layer=layer, times=np.array([0.5]))
    silent = int(attribution["n_silent"])
    assert 100 < silent < 500
    assert int(attribution["n"].sel(quantity="spike_time")) == 1000 - silent
    assert int(attribution["n"].sel(quantity="slope")) == 1000
    layer = Layer([[2.0]], [1.9], t_min=1.0, t_max=4.0)
    attribution = attributed(layer=layer, times=np.array([0.48]))
    early = int(attribution["n_early"])
    assert 0 < early < 900
    assert int(attribution["n"].sel(quantity="threshold")) == 1000 - early


def test_the_file_says_what_it_is(attribution, tmp_path):
    attribution.to_netcdf(tmp_path / "a.nc")
    with open_dataset(tmp_path / "a.nc", "ttfs-analog/attribution/1") as stored:
        assert stored.equals(attribution)
        assert json.loads(stored.attrs["law"])["slope"] == 0.05
        assert len(stored.attrs["deck_hash"]) == 16
    for variable in attribution.variables.values():
        assert variable.attrs["units"]
    assert attribution["spike_time_part"].attrs["units"] == "tau_c^2"
    assert set(attribution["quantity"].values) == set(QUANTITIES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neuron": 2}, "neuron 2 does not exist: the layer has 2"),
        ({"samples": 99}, "at least 100 samples, got 99"),
        ({"law": MismatchLaw()}, "every sigma is 0"),
        ({"layer": Layer(WEIGHTS, np.zeros(2), 1.0, 1.0, spiking=False)}, "read-out neurons"),
        ({"layer": Layer(WEIGHTS, -9 * np.ones(2), 1.0, 4.0)}, "is silent without mismatch"),
        ({"layer": Layer(WEIGHTS, 9 * np.ones(2), 1.0, 4.0)}, r"fires at t_min \(early\)"),
        ({"layer": Layer([[0.0] * 4], [1e-4], 1.0, 4.0)}, "a change of 0.001 makes it so"),
    ],
)
def test_what_has_no_answer_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        attributed(**options)
