"""Whole chips of a small placed network in ngspice: what comes back, what it is worth, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from placing import coarse_digits, on_transistors

from circuits.benches.neuron_waveforms import DOMAINS
from circuits.errors import InputError
from circuits.model.coding import encode
from circuits.spice.ngspice import Ngspice
from montecarlo.mismatch.transistors import draw_chip
from ttfs_analog.evaluation.audit import audit
from ttfs_analog.evaluation.transistor_runs import activation, reference_energy
from ttfs_analog.evaluation.transistor_summary import summarize
from ttfs_analog.evaluation.transistor_verification import (
    FRESH,
    SUPPLIES,
    neurons_at,
    verify_transistors,
)
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.placement.rows import campaigns

pytestmark = pytest.mark.ngspice
HIDDEN, OUTPUTS = 6, 4
VERDICTS = {
    "audited", "spikes", "spike_time_rms_tau_c", "spike_time_rms_by_layer",
    "spike_time_rms_without_deviations", "one_sided_spikes", "coverage_95", "coverage_95_ci95",
    "decisions_that_could_change", "decisions_that_could_change_ci95", "chips", "images", "labels",
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return coarse_digits(4, OUTPUTS)


@pytest.fixture(scope="module")
def placed_net(data):
    """16-6-4 on generic130."""
    return on_transistors(data, HIDDEN, epochs=20)


@pytest.fixture(scope="module")
def pair(data):
    return data.x_test, data.y_test


@pytest.fixture(scope="module")
def rough(transistor_noise):
    """A noise model that fits the form of the network but was not measured on it."""
    return LayeredNoise((transistor_noise.extrapolated(),) * 2)


@pytest.fixture(scope="module")
def result(placed_net, pair, rough):
    return verify_transistors(placed_net, pair, rough, chips=1, images=2, seed=3)


def test_every_neuron_of_every_chip_is_there(result, placed_net, pair):
    neurons = HIDDEN + OUTPUTS
    sizes = {"chip": 1, "image": 2, "neuron": neurons, "supply": len(SUPPLIES), "perfect_image": 2}
    assert dict(result.sizes) == sizes
    assert result["chip"].values.tolist() == [FRESH]
    assert result["layer"].values.tolist() == [0] * HIDDEN + [1] * OUTPUTS
    assert np.array_equal(result["label"].values, pair[1][:2].numpy())
    windows = [layer.window for layer in placed_net.to_circuit()]
    assert np.array_equal(result["window"].values, np.repeat(windows, [HIDDEN, OUTPUTS]))
    times = result["spike_time_spice"].values
    fired = np.isfinite(times)
    assert fired.any()
    assert np.all((times[fired] >= 0) & (times[fired] <= result["window"].values.max()))
    assert np.all(result["interval_low"] <= result["interval_high"])
    assert np.all(result["energy_spice"] > 0)


def test_the_same_seed_gives_the_same_bits(result, placed_net, pair, rough):
    again = verify_transistors(placed_net, pair, rough, chips=1, images=2, seed=3, workers=2)
    assert again.identical(result)
    other = verify_transistors(placed_net, pair, rough, chips=1, images=1, seed=4)
    assert not np.array_equal(other["spike_time_spice"][0, 0], result["spike_time_spice"][0, 0])


def test_supply_energy_is_the_integral_of_the_supply_currents(result, placed_net, data, rough):
    """V_DD i over both windows by the trapezoidal rule, all neurons of both layers, to 1e-3."""
    kinds, joules = neurons_at(placed_net, rough), 0.0
    active, simulator = data.x_test[0].numpy(), Ngspice()
    for n, (kind, size) in enumerate(zip(kinds, (slice(0, HIDDEN), slice(HIDDEN, None)), strict=True)):
        process = kind.bias.technology.transistors()
        chip = draw_chip(kind.devices(), kind.bias.capacitors, process, 3, FRESH, n)
        for bench in kind.benches(encode(active[None], kind.layer.t_min)[0], chip):
            plot = simulator.run(bench.deck)
            time, phases = plot["time"], bench.phases
            amps = -sum(plot[f"i(v{domain})"] for domain in DOMAINS)
            inside = (time > phases.start) & (time < phases.t_max)
            t = np.concatenate([[phases.start], time[inside], [phases.t_max]])
            joules += kind.point.vdd * np.trapezoid(np.interp(t, time, amps), t)
        active = activation(result["spike_time_spice"].values[0, 0, size], kind.layer)
    measured = result["energy_spice"][0, 0]
    assert float(measured[: len(DOMAINS)].sum()) == pytest.approx(joules, rel=1e-3)
    assert float(measured.sel(supply="reference")) == pytest.approx(sum(map(reference_energy, kinds)))


def test_figures_of_known_spikes(result):
    """What `summarize` counts, on spike times that are set by hand."""
    known = result.copy(deep=True)
    for kind in ("spice", "model", "nominal"):
        known[f"spike_time_{kind}"].values[...] = np.inf
        known[f"predicted_{kind}"] = known["label"].expand_dims(chip=1) if kind != "nominal" else 0
    known["spike_time_spice"].values[0, :, 0] = 0.30, 0.50
    known["spike_time_model"].values[0, :, 0] = 0.33, 0.46
    known["spike_time_nominal"].values[0, :, 0] = 0.30, 0.40
    window = float(known["window"][-1])
    known["spike_time_model"].values[0, 0, -1] = 0.25 * window
    found = summarize(known)
    assert found["spike_time_rms_tau_c"] == pytest.approx(np.sqrt((0.03**2 + 0.04**2) / 2))
    assert found["spike_time_rms_by_layer"]["layer1"] == 0.0
    assert found["spike_time_rms_without_deviations"] == pytest.approx(0.1 / np.sqrt(2))
    carried = 2 * float(known["window"][0]) - 0.80
    assert found["one_sided_spikes"] == 1
    assert found["one_sided_activation"] == pytest.approx(0.75 * window / carried)
    assert found["class_agreement"] == found["accuracy_spice"] == 1.0


def test_an_audit_bounds_the_decisions_that_could_change(placed_net, pair, rough):
    found = audit(placed_net, pair, rough, 3, images=5, chips=2, seed=1)
    assert set(found) == VERDICTS
    assert (found["audited"], found["chips"], found["images"]) == (3, 2, 5)
    low, high = found["decisions_that_could_change_ci95"]
    assert 0.0 <= low <= found["decisions_that_could_change"] <= high <= 1.0
    assert found == audit(placed_net, pair, rough, 3, images=5, chips=2, seed=1, workers=2)


def test_a_noise_model_of_another_technology_is_refused(placed_net, pair, rough, noise):
    with pytest.raises(InputError, match="measured on 'ideal', the network is placed on 'generic130'"):
        verify_transistors(placed_net, pair, noise, chips=1, images=1)
    with pytest.raises(InputError, match="characterize the network itself"):
        audit(placed_net, pair, noise, 1)


def test_a_network_on_no_transistors_is_refused(files, call, transistor_noise, tmp_path):
    transistor_noise.extrapolated().save(tmp_path / "noise.json")
    options = ("--noise", tmp_path / "noise.json", "--technology", "generic130")
    code, _, error = call("verify", files / "net.pt", *options, "--out", tmp_path / "out.nc")
    assert code == 2
    assert "place NET --technology" in error
    assert not (tmp_path / "out.nc").exists()


@pytest.mark.slow
def test_constants_measured_on_the_network_predict_chips_that_nothing_was_fitted_on(
    placed_net, data, pair, tmp_path
):
    """Small campaigns, 24 samples a layer: known chips to 0.02 tau_c, and closer than without deviations."""
    plans = [dataclasses.replace(plan, trials=4) for plan in campaigns(placed_net, data.x_train, 24, 0)]
    fitted = [NoiseModel.fit(plan.run(tmp_path / f"layer{n}")) for n, plan in enumerate(plans)]
    found = summarize(verify_transistors(placed_net, pair, LayeredNoise(tuple(fitted)), chips=2, images=4))
    assert found["spike_time_rms_tau_c"] < 0.02
    assert found["spike_time_rms_tau_c"] < 0.3 * found["spike_time_rms_without_deviations"]
    assert found["energy_ratio"] == pytest.approx(1.0, abs=0.1)


def test_dummies_close_the_window_in_the_circuit_as_in_the_equation(data, pair, rough):
    """All neurons, dummies among them; what the next layer meets counts from these."""
    made = on_transistors(data, HIDDEN, epochs=20, dummies=3)
    result = verify_transistors(made, pair, rough, chips=1, images=2, seed=3)
    assert result.sizes["neuron"] == HIDDEN + 3 + OUTPUTS
    dummies = result["spike_time_spice"].values[..., HIDDEN : HIDDEN + 3]
    window = made.windows[0]
    assert np.all(np.isfinite(dummies))
    assert np.all(np.abs(dummies - window / 1.25) < 0.2 * window)
    figures = summarize(result)
    assert figures["spike_time_rms_by_layer"]["layer1"] < 0.05  # of a noise model that was not measured on it


def test_tuned_chips_have_thresholds_of_their_own_and_no_intervals(placed_net, pair, rough, result):
    shift = 0.05 * placed_net.windows[0]

    def tune(chips):
        assert len(chips) == 1
        moved = placed_net.clone()
        with torch.no_grad():
            moved.layers[0].bias.add_(shift)  # a lower threshold: all spikes come earlier
        return [moved]

    tuned = verify_transistors(placed_net, pair, rough, chips=1, images=2, seed=3, tune=tune)
    assert np.isnan(tuned["interval_low"]).all()
    assert summarize(tuned)["coverage_95"] is None
    before, after = (r["spike_time_spice"].values[..., :HIDDEN] for r in (result, tuned))
    both = np.isfinite(before) & np.isfinite(after) & (after > 0)
    assert both.any()
    np.testing.assert_allclose(before[both] - after[both], shift, atol=0.02)
