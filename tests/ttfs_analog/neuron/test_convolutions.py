"""Convolutions on chips: every place has synapses of its own, and the account of chips runs on them."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from random_models import close, images, lenet5, shake
from torch import nn

from circuits.errors import InputError
from circuits.model.layer import LayerMismatch
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.evaluation.energy import energy, layer_energies
from ttfs_analog.neuron.functional import Deviations, fire, ramp_activation
from ttfs_analog.neuron.layers import FORCED, FORMS
from ttfs_analog.noise.chips import Chips
from ttfs_analog.training.finetuning import finetune

LAW = MismatchLaw(0.1, 0.1, 0.1, 0.1, 0.1)
OPTIONS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 1), "dilation": (1, 2)},
    {"kernel_size": 3, "groups": 2, "stride": 2},
]


def small(options, norm=True):
    """Two convolutions, pooling over negative scales, a fully connected read-out, on 2 x 7 x 7 images."""
    body = [
        *(nn.BatchNorm2d(2) if norm else nn.Identity(), nn.Conv2d(2, 4, **options), nn.ReLU()),
        *(nn.BatchNorm2d(4), nn.MaxPool2d(2, 1), nn.Conv2d(4, 3, 2), nn.ReLU(), nn.Flatten()),
    ]
    features = nn.Sequential(*body)(torch.zeros(2, 2, 7, 7)).shape[1]
    return shake(nn.Sequential(*body, nn.Linear(features, 4)), 1)


@pytest.fixture(scope="module")
def net():
    return convert(small(OPTIONS[0]), images(0, 50, 2, 7, 7))


@pytest.mark.parametrize("mapping", FORMS)
@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_a_convolution_with_deviations_is_its_dense_layer(options, mapping):
    x = images(0, 6, 2, 7, 7)
    net = convert(small(options), x, mapping=mapping)
    layer, chips = net.layers[0], Chips.draw(LAW, net, range(3), 5)
    deviations = chips.deviations(x)[0]
    geometry = {**layer.geometry, "groups": layer.groups}
    dense = oracle.unroll(layer.weight.numpy(), (2, 7, 7), **geometry)
    # which tap of a neuron an input meets: unroll a kernel that holds the numbers of its taps
    taps = torch.arange(1, 1 + layer.weight[0].numel()).double().reshape(1, *layer.weight.shape[1:])
    place = oracle.unroll(taps.expand(layer.weight.shape).numpy(), (2, 7, 7), **geometry).astype(int)
    own = np.take_along_axis(
        np.pad(deviations.synapse.numpy(), ((0, 0), (0, 0), (1, 0))),
        np.broadcast_to(place, (3, *place.shape)),
        2,
    )
    rows, columns = layer.geometry["padding"]
    padded = nn.functional.pad(x, (columns, columns, rows, rows)).flatten(1)
    q = torch.einsum("bi,cni->cbn", padded, torch.tensor(dense * (1 + own)))
    # some tens of products in another order
    torch.testing.assert_close(layer.charge(x, layer.weight, deviations), q, rtol=1e-12, atol=1e-12)
    slope, alpha = (layer.per_neuron(v) for v in (layer.slopes(), layer.alphas()))
    lead = 0.0 if mapping == "b1" else 1.0
    # forced inputs, padded ones too, stay on in phase 2: their errors are errors of the slope
    slow = torch.tensor((dense * own).sum(-1))[:, None] if mapping in FORCED else 0.0
    window = layer.window_length
    terms = Deviations(None, *(v.unsqueeze(-2) for v in deviations[1:5]))
    x_free = ramp_activation(
        q, layer.shift(), window, slope, terms, alpha=alpha, lead=lead, slow=slow, form=mapping
    )
    expected = fire(x_free, window)
    torch.testing.assert_close(layer(x, deviations).flatten(2), expected, rtol=1e-11, atol=1e-11)
    # every chip may also get images of its own: what the layer before gave it
    each = layer(x.expand(3, *x.shape), deviations)
    torch.testing.assert_close(each.flatten(2), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("mapping", FORMS)
@torch.no_grad()
def test_zero_deviations_are_the_ideal_network(mapping):
    x = images(0, 8, 2, 7, 7)
    net = convert(small(OPTIONS[0]), x, mapping=mapping)
    chips = Chips(0, (0,), tuple(LayerMismatch.none(layer) for layer in net.neurons()))
    for zero, ideal in zip(net.trace(x, chips.deviations(x)), net.trace(x), strict=True):
        # two orders of summation
        torch.testing.assert_close(zero[0], ideal, rtol=1e-11, atol=1e-12)
    shared = [parts._replace(synapse=None) for parts in chips.deviations(x)]
    assert close(net(x, shared)[0], net(x), 1e-11)


def test_deviations_have_the_sizes_of_neurons_and_taps(net):
    chips = Chips.draw(LAW, net, range(2), 0)
    sizes = [(layer.n_out, layer.weight[0].numel()) for layer in net.layers]
    assert [m.synapse.shape[1:] for m in chips.layers] == sizes
    assert sizes[0] == (4 * 7 * 7, 2 * 9)


@torch.no_grad()
def test_a_convolution_as_read_out_with_deviations():
    model = shake(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 5, 5), nn.Flatten()), 0)
    x = images(0, 6, 2, 7, 7)
    net = convert(model, x)
    assert close(net(x), model(x), 1e-12)
    chips = Chips.draw(LAW, net, range(3), 1).deviations(x)
    before = net.trace(x, chips)[0].unflatten(-1, (3, 5, 5))
    out = net.layers[1]
    q = out.charge(before, out.weight, chips[1])
    expected = (q + out.shift()) / (1 + chips[1].capacitance[:, None])
    assert net(x, chips).shape == (3, 6, 5)
    torch.testing.assert_close(net(x, chips), expected)


@pytest.mark.parametrize("mapping", FORMS)
def test_evaluation_energy_and_tuning_run_on_convolutions(make_noise, mapping):
    x, noise = images(0, 20, 2, 7, 7), make_noise(0.05)
    net = convert(small(OPTIONS[0]), x, mapping=mapping)
    y = net(x).argmax(-1)
    found = evaluate(net, (x, y), noise.sample(net, 4, seed=3))
    assert np.array_equal(found["nominal"].values, y.numpy())
    shares = found["silent"] + found["spikes_per_neuron"]
    np.testing.assert_allclose(shares, 1.0, rtol=1e-14)  # silent and spiking are all there is
    if mapping == "b1":
        joules = energy(net, (x, y), noise, chips=2)
        assert joules["energy"].shape == (2, 3, 2)
        assert float(joules["energy"].sel(part="source.synapse").min()) > 0
        assert np.isfinite(joules["capacitor_estimate"]).all()
    else:  # the account is that of B1 currents
        with pytest.raises(InputError, match="form b1"):
            energy(net, (x, y), noise, chips=2)
    tuned = finetune(net, (x, y), noise, epochs=1, percentile=None)
    assert not torch.equal(tuned.layers[0].weight, net.layers[0].weight)


@torch.no_grad()
def test_energy_of_a_convolution_is_that_of_its_neurons(net):
    """Of the first layer: charge of the sources and the time every ramp is on."""
    x = images(0, 5, 2, 7, 7)
    chips = Chips.draw(LAW, net, range(2), 3).deviations(x)
    found = layer_energies(net, x, None, chips)
    layer, unit = net.layers[0], net.points[0].unit_energy
    q = layer.charge(x, layer.weight.clamp(min=0), chips[0]).sum(-1)
    torch.testing.assert_close(found[:, :, 0, 0], q * unit)
    on = (1 + chips[0].slope)[:, None] * (layer.window_length - net.trace(x, chips)[0])
    torch.testing.assert_close(found[:, :, 0, 1], on.sum(-1) * unit)


def test_netlists_of_convolutions_and_other_forms_are_refused(net, make_relu):
    with pytest.raises(InputError, match="layer 0 is a convolution: netlists and ngspice"):
        net.to_circuit()
    dense = convert(make_relu((4, 5, 2)), images(0, 5, 4), mapping="alpha")
    with pytest.raises(
        InputError, match=r"layer 0 has form 'alpha': whole networks run in ngspice in form b1"
    ):
        dense.to_circuit()


@torch.no_grad()
def test_operating_points_hold_the_swing_of_convolutions():
    x = images(0, 30, 1, 20, 20)
    net = convert(lenet5(), x)
    assert len(net.points) == len(net.layers)
    for layer, given, point in zip(net.layers, net.inputs(x), net.points, strict=True):
        q = layer.charge(given, layer.weight)
        q = top = q if layer.spiking else q + layer.shift()
        if layer.spiking:  # a ramp ends at the threshold, or at t_max below it
            ramp = q + layer.per_neuron(layer.slopes()) * layer.window_length
            top = torch.maximum(q, torch.minimum(ramp, layer.thresholds()))
        swing = max(float(top.max()), 0.0) - min(float(q.min()), 0.0)
        assert 0 < point.v_unit * swing <= point.v_high - point.v_low
