"""The energy account: it closes, and it is the circuit's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from comparing_chips import identity

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import feed_forward
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.evaluation.energy import energy, labels, layer_energies, summarize
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.layers import TTFSLinear
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.layered import LayeredNoise


@pytest.fixture(scope="module")
def images(digits):
    return digits.x_test[:30], digits.y_test[:30]


@pytest.fixture(scope="module")
def both(transistor_noise, noise):
    """Transistors, and a read-out of ideal sources."""
    return LayeredNoise((transistor_noise.extrapolated(), noise))


@pytest.fixture(scope="module")
def result(net, images, noise):
    return energy(net, images, noise, chips=6, seed=2)


def test_the_ledger_adds_up(result):
    figures = summarize(result)
    # sums of float64 in another order
    mean = figures["energy_per_inference_j"]["mean"]
    assert sum(figures["ledger"].values()) == pytest.approx(mean, rel=1e-12)
    assert float(result["per_image"].mean()) == pytest.approx(mean, rel=1e-12)
    low, high = figures["energy_per_inference_j"]["ci95"]
    assert low < mean < high


def test_every_part_of_every_layer_is_listed(result, net):
    parts = ("source.synapse", "source.slope")
    names = {f"layer{n}.{part}" for n in range(len(net.layers)) for part in parts}
    ledger = summarize(result)["ledger"]
    assert set(ledger) == names
    assert ledger["layer1.source.slope"] == 0.0  # read-out neurons do not ramp
    assert all(v > 0 for k, v in ledger.items() if k != "layer1.source.slope")


def test_without_a_noise_model_it_is_the_circuits_closed_form(net, images):
    x, _ = images
    chips = Chips.draw(MismatchLaw(0.1, 0.1, 0.1, 0.1, 0.1), net, range(3), 1)
    found = layer_energies(net, x, None, chips.deviations(x)).numpy()
    run = feed_forward(net.to_circuit(), net.points, x.numpy(), list(chips.layers), level="closed-form")
    for image, responses in run:
        for n, r in enumerate(responses):
            # the same sums in another order
            np.testing.assert_allclose(
                found[:, image, n, 0], r.energy_by_supply[:, :, 0, 0].sum(1), rtol=1e-11
            )
            np.testing.assert_allclose(
                found[:, image, n, 1], r.energy_by_supply[:, :, 0, 1].sum(1), rtol=1e-11
            )


def test_measured_coefficients_multiply_their_own_part(net, images, noise):
    x, _ = images
    deviations = identity(net).deviations(x)
    twice = {"source": {"synapse": {"value": 2.0}, "slope": {"value": 3.0}}}
    found = layer_energies(net, x, dataclasses.replace(noise, energy=twice), deviations)
    ideal = layer_energies(net, x, None, deviations)
    # one multiplication
    torch.testing.assert_close(found, ideal * torch.tensor([2.0, 3.0]).double(), rtol=1e-14, atol=0)


def test_the_ledger_of_transistors_has_comparators_and_latches(net, images, transistor_noise):
    """Each part by its own rule: counts of neurons and spikes, and how long comparators wait."""
    x, _ = images
    deviations, point = identity(net).deviations(x), net.points[0]
    found = layer_energies(net, x, transistor_noise, deviations)[0]
    part = dict(zip(labels(transistor_noise), found.unbind(-1), strict=True))
    _, after = net.signals(x, deviations)[0]
    fired, coefficient = (after > 0).double().sum(-1)[0], transistor_noise.energy
    # rounding only
    latch = coefficient["latch"]["switching"]["value"] * point.vdd**2
    assert part["latch.switching"][:, 0].tolist() == pytest.approx((latch * fired).tolist(), rel=1e-12)
    neuron = coefficient["comparator"]["switching"]["value"] * point.vdd**2 * after.shape[-1]
    assert part["comparator.switching"][:, 0].tolist() == pytest.approx([neuron] * len(x), rel=1e-12)
    waiting = (net.windows[0] - after + transistor_noise.constants.delay).sum(-1)[0]
    bias = coefficient["comparator"]["bias"]["value"] * point.vdd * point.tau_c
    current = part["comparator.bias"][:, 0].tolist()
    assert current == pytest.approx((bias * waiting).tolist(), rel=1e-12, abs=0)
    # once a layer, over both windows and the delay; a read-out layer has the first window
    amps, (hidden, out) = coefficient["reference"]["bias"]["value"], net.layers
    late = transistor_noise.constants.delay
    spans = (float(hidden.input_window) + hidden.window_length + late, float(out.input_window))
    wanted = [amps * p.vdd * p.tau_c * span for p, span in zip(net.points, spans, strict=True)]
    for image in part["reference.bias"]:
        assert image.tolist() == pytest.approx(wanted, rel=1e-12, abs=0)
    # read-out neurons have none of the others
    shared = ("source.synapse", "reference.bias")
    assert all(float(v[:, -1].abs().max()) == 0.0 for k, v in part.items() if k not in shared)


def test_sources_act_longer_than_their_pulse(net, images, transistor_noise):
    """g x + delta for every active input, against the ideal charge."""
    x, _ = images
    deviations, c = identity(net).deviations(x), transistor_noise.constants
    k = transistor_noise.energy["source"]["synapse"]["value"]
    found = layer_energies(net, x, transistor_noise, deviations)[..., 0, 0]
    sources = net.layers[0].weight.detach().clamp(min=0).sum(0)
    ideal = (x @ sources, (x > 0).double() @ sources)
    expected = k * net.points[0].unit_energy * (c.gain_source * ideal[0] + c.turn_on_source * ideal[1])
    torch.testing.assert_close(found[0], expected, rtol=1e-12, atol=0)


def neuron(weight, bias, window=2.0):
    """One hidden neuron and one read-out neuron without any current."""
    one = torch.ones(1, 1, dtype=torch.float64)
    hidden = TTFSLinear(weight * one, bias * one[0], input_window=1.0, window=window)
    out = TTFSLinear(0 * one, 0 * one[0], input_window=window, spiking=False)
    net = TTFSNetwork([hidden, out])
    net.points = [OperatingPoint(), OperatingPoint()]
    return net


def energies(net, x):
    x = torch.full((1, 1), x, dtype=torch.float64)
    return layer_energies(net, x, None, identity(net).deviations(x))[0, 0, 0].tolist()


def test_one_neuron_by_hand():
    unit = OperatingPoint().unit_energy
    # charge 0.5 x 0.8 = 0.4; x = 0.4 + 0.1 = 0.5, so the ramp is on for 1.5 of 2; rounding only
    assert energies(neuron(0.5, 0.1), 0.8) == pytest.approx([0.4 * unit, 1.5 * unit], rel=1e-12)


def test_sinks_take_nothing_and_a_silent_neuron_ramps_to_the_end():
    unit = OperatingPoint().unit_energy
    # rounding only
    assert energies(neuron(-0.5, 0.1), 0.8) == pytest.approx([0.0, 2.0 * unit], rel=1e-12)


def test_a_neuron_that_fires_at_t_min_does_not_ramp():
    assert energies(neuron(10.0, 0.0), 0.8)[1] == 0.0


def test_the_capacitor_estimate_by_hand(noise):
    point = OperatingPoint()
    net = neuron(0.5, 0.1)
    data = (torch.tensor([[0.8], [0.0]], dtype=torch.float64), torch.zeros(2, dtype=torch.int64))
    found = energy(net, data, noise, chips=2)["capacitor_estimate"].values
    theta = 2.0 - 0.1
    # both fire: the bias alone is positive; rounding only
    assert found == pytest.approx([0.5 * point.c_mem * (theta * point.v_unit) ** 2] * 2, rel=1e-12)
    silent = energy(neuron(-0.5, 0.1), data, noise, chips=2)["capacitor_estimate"].values[0]
    # V at t_max = -0.4 + 2
    assert silent == pytest.approx(0.5 * point.c_mem * (1.6 * point.v_unit) ** 2, rel=1e-12)


def test_spikes_per_neuron_are_those_of_the_network(result, net, images):
    # a ratio of whole numbers
    assert summarize(result)["spikes_per_neuron"] == pytest.approx(
        net.spikes_per_neuron(images[0]), rel=1e-12
    )


def test_the_seed_decides_the_chips(net, images, noise, result):
    again = energy(net, images, noise, chips=6, seed=2)
    assert np.array_equal(again["energy"].values, result["energy"].values)
    assert not np.array_equal(energy(net, images, noise, chips=6)["energy"].values, result["energy"].values)


def test_progress_counts_chips(net, images, noise):
    seen = []
    energy(net, images, noise, chips=2, progress=lambda *a: seen.append(a))
    assert seen == [(1, 2), (2, 2)]


def test_a_network_without_operating_points_is_refused(net, images, noise):
    bare = net.clone()
    bare.points = []
    with pytest.raises(InputError, match="no operating points"):
        energy(bare, images, noise, chips=2)


def test_what_is_not_in_the_account_is_listed_by_technology(result, net, images, transistor_noise):
    assert {"comparator", "latch", "reference"} <= set(summarize(result)["not_included"])
    other = summarize(energy(net, images, transistor_noise.extrapolated(), chips=2))["not_included"]
    assert "drivers" in other
    assert not {"comparator", "latch", "reference"} & set(other)


def test_each_layer_has_its_own_coefficients_and_a_part_that_another_lacks_is_zero(net, images, both):
    x, _ = images
    deviations = both.sample(net, 2).deviations(x)
    found = layer_energies(net, x, both, deviations)
    assert labels(both) == labels(both.of(0))  # all parts of transistors, those of ideal sources among them
    for n, model in enumerate(both.layers):
        alone = layer_energies(net, x, model, deviations)
        own = [labels(both).index(label) for label in labels(model)]
        assert torch.equal(found[..., n, own], alone[..., n, :])
        rest = [k for k in range(len(labels(both))) if k not in own]
        assert not found[..., n, rest].any()
    result = energy(net, images, both, chips=2)
    assert list(result["part"].values) == labels(both)
    assert result["energy_ci95"].values[0] < float(result["energy_mean"]) < result["energy_ci95"].values[1]


def test_layers_of_one_set_doubt_its_coefficients_together(net, images, transistor_noise):
    model = transistor_noise.extrapolated()
    one, two = (energy(net, images, m, chips=2) for m in (model, LayeredNoise((model, model))))
    assert one.drop_attrs().identical(two.drop_attrs())


def test_bias_lines_take_their_current_once_a_layer(net, images, transistor_noise):
    """By hand: I V_DD times input window, firing window and delay, whatever fires."""
    x, _ = images
    line = {"reference": {"bias": {"value": 3e-7, "ci95": [3e-7, 3e-7], "unit": "A"}}}
    model = dataclasses.replace(transistor_noise.extrapolated(), energy={**transistor_noise.energy, **line})
    found = layer_energies(net, x, model, identity(net).deviations(x))[0, ..., -1]
    assert labels(model)[-1] == "reference.bias"
    hidden, out = net.layers
    spans = (1.0 + hidden.window_length + model.constants.delay, float(out.input_window))
    for n, (span, point) in enumerate(zip(spans, net.points, strict=True)):
        expected = 3e-7 * point.vdd * point.tau_c * span
        assert found[:, n].tolist() == pytest.approx([expected] * len(x), rel=1e-12, abs=0)  # rounding
    assert "reference" not in summarize(energy(net, images, model, chips=2))["not_included"]
