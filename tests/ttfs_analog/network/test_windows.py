"""Firing windows: from calibration data, in training, and tight ones for inference."""

from __future__ import annotations

import math

import pytest
import torch
from random_models import close, images, lenet5, vgg
from torch import nn

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import agreement, convert
from ttfs_analog.network.windows import GAMMA, choose_windows, latency, tighten, widen
from ttfs_analog.neuron.layers import FORMS


def inputs(seed, count, features):
    return images(seed, count, features)


@torch.no_grad()
def test_the_window_is_the_largest_activation_with_its_margin(make_relu):
    relu, x = make_relu((4, 9, 7, 2), seed=4), inputs(4, 30, 4)
    first = torch.relu(relu[0](x))
    second = torch.relu(relu[2](first))
    found = choose_windows(convert(relu, x), x, zeta=0.25)
    assert found == pytest.approx([1.25 * float(first.max()), 1.25 * float(second.max())], rel=1e-15)


@torch.no_grad()
def test_a_percentile_clips_the_share_above_it(make_relu):
    relu, x = make_relu((4, 30, 2), seed=4), inputs(4, 300, 4)
    net = convert(relu, x, percentile=90.0)
    active = torch.relu(relu[0](x))
    active = active[active > 0]
    above = float((active > net.windows[0]).double().mean())
    assert above == pytest.approx(0.10, abs=1 / len(active))  # a quantile is exact to one value
    assert choose_windows(net, x, percentile=100.0)[0] == pytest.approx(float(active.max()), rel=1e-15)


@torch.no_grad()
def test_a_percentile_of_all_activations_counts_the_silent_ones(make_relu):
    relu, x = make_relu((4, 30, 2), seed=4), inputs(4, 300, 4)
    net = convert(relu, x, percentile=90.0, percentile_of="all")
    active = torch.relu(relu[0](x))
    assert 0.2 < float((active == 0).double().mean()) < 0.8
    assert net.windows[0] == pytest.approx(float(torch.quantile(active, 0.9)), rel=1e-12)
    assert choose_windows(net, x, percentile=100.0, percentile_of="all")[0] == pytest.approx(
        float(active.max()), rel=1e-15
    )
    shorter = tighten(net, x, 90.0, percentile_of="all").windows[0]
    assert shorter == net.windows[0] < choose_windows(net, x, percentile=90.0)[0]


def test_a_percentile_that_leaves_no_window_is_refused(make_relu):
    relu, x = make_relu((4, 30, 2), seed=4), inputs(4, 300, 4)
    net = convert(relu, x)
    assert choose_windows(net, x, percentile=5.0)[0] > 0
    with pytest.raises(
        InputError, match=r"layer 0: 5 % of all activations are 0.*take a higher percentile, or one"
    ):
        choose_windows(net, x, percentile=5.0, percentile_of="all")
    with pytest.raises(InputError, match="percentiles are of nonzero or all activations, got 'most'"):
        choose_windows(net, x, percentile=5.0, percentile_of="most")


@pytest.mark.parametrize("options", [{"zeta": -1.0}, {"percentile": 0.0}, {"percentile": 101.0}])
def test_margins_and_percentiles_out_of_range_are_refused(make_relu, options):
    x = inputs(0, 10, 3)
    net = convert(make_relu((3, 4, 2)), x)
    with pytest.raises(InputError, match=next(iter(options))):
        choose_windows(net, x, **options)


@pytest.mark.parametrize("options", [{"zeta": math.nan}, {"zeta": math.inf}, {"percentile": math.nan}])
def test_margins_that_are_no_numbers_are_refused(make_relu, options):
    with pytest.raises(InputError, match=next(iter(options))):
        convert(make_relu((3, 4, 2)), inputs(0, 10, 3), **options)


def test_a_layer_that_never_fires_still_gets_a_window():
    relu = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        relu[0].weight.fill_(-1)
        relu[0].bias.fill_(-1)
    for options in ({}, {"percentile": 99.0}):
        net = convert(relu, inputs(0, 10, 2), **options)
        assert net.windows == [1.0]
        assert agreement(net, relu, inputs(0, 10, 2))[1] <= 1e-12  # float64 rounding


@pytest.fixture(scope="module", params=["lenet5", "vgg"])
def images_and_model(request):
    if request.param == "vgg":
        return images(3, 60, 3, 16, 16), vgg(1)
    return images(3, 60, 1, 20, 20), lenet5(1)


@pytest.mark.parametrize("mapping", FORMS)
@torch.no_grad()
def test_a_convolutions_window_holds_its_largest_activation_before_pooling(images_and_model, mapping):
    x, model = images_and_model
    net = convert(model, x, mapping=mapping, zeta=0.5)
    largest = [float(h.max()) for h in net.trace(x)[:-1]]
    assert net.windows == pytest.approx([1.5 * top for top in largest], rel=1e-14)
    starts = [float(layer.input_window) for layer in net.layers]
    assert starts == [1.0, *net.windows]  # t_min of a layer is t_max of the one before


@pytest.mark.parametrize("mapping", ["b1", "alpha", "single"])
@torch.no_grad()
def test_what_a_window_clips_fires_at_t_min(images_and_model, mapping):
    x, model = images_and_model
    net = convert(model, x, mapping=mapping)
    free = net.trace(x)[0]
    net.set_windows(choose_windows(net, x, percentile=80.0))
    clipped = net.trace(x)[0]
    assert torch.equal(clipped, free.clamp(max=net.windows[0]))
    share = float((free[free > 0] > net.windows[0]).double().mean())
    assert share == pytest.approx(0.2, abs=1e-4)  # a quantile of thousands of values


@torch.no_grad()
def test_windows_are_chosen_from_activations_that_no_window_clips(images_and_model):
    x, model = images_and_model
    net = convert(model, x)
    short = net.clone()
    short.set_windows([0.01] * len(net.windows))
    assert choose_windows(short, x) == net.windows
    assert short.windows == [0.01] * len(net.windows)  # choosing changes nothing


def test_one_batch_more_does_not_change_the_windows(images_and_model, monkeypatch):
    x, model = images_and_model
    net = convert(model, x)
    monkeypatch.setattr("ttfs_analog.network.windows.BATCH", 7)
    # sums in batches of another size may be in another order
    assert choose_windows(net, x) == pytest.approx(net.windows, rel=1e-13)


@pytest.mark.parametrize("mapping", FORMS)
@torch.no_grad()
def test_widening_grows_windows_to_ten_times_the_batch_and_keeps_the_function(images_and_model, mapping):
    """Eq. 8: T = max(T, gamma * largest activation of the batch)."""
    x, model = images_and_model
    net = convert(model, x, mapping=mapping)
    old, trace, theta = net.windows, net.trace(x), net.layers[0].thresholds()
    assert widen(net, trace)
    wanted = [max(t, GAMMA * float(h.max())) for t, h in zip(old, trace[:-1], strict=True)]
    assert net.windows == pytest.approx(wanted, rel=1e-14)
    assert torch.equal(net(x), trace[-1])
    # thresholds move by B times what the window grew
    grown = net.layers[0].per_neuron(net.layers[0].slopes()) * (net.windows[0] - old[0])
    torch.testing.assert_close(net.layers[0].thresholds() - theta, grown)
    assert not widen(net, net.trace(x))


@torch.no_grad()
def test_windows_never_shrink_in_training(images_and_model):
    x, model = images_and_model
    net = convert(model, x, zeta=100.0)
    before = net.windows
    assert not widen(net, net.trace(x))
    assert net.windows == before
    dark = net.clone()
    dark.set_windows([1e-9, *before[1:]])
    assert widen(dark, net.trace(x))
    assert dark.windows == [pytest.approx(GAMMA * float(net.trace(x)[0].max())), *before[1:]]


@torch.no_grad()
def test_tight_windows_are_a_copy_for_inference(images_and_model):
    x, model = images_and_model
    net = convert(model, x, zeta=4.0)
    tight = tighten(net, x)
    assert tight.windows == pytest.approx([t / 5 for t in net.windows], rel=1e-12)
    assert close(tight(x), model(x), 1e-10)
    assert torch.equal(tight.layers[0].weight, net.layers[0].weight)
    assert tight.points != net.points
    assert latency(tight) < latency(net)
    assert latency(tight) == pytest.approx(1.0 + sum(tight.windows), rel=1e-14)
    loose = tighten(net, x, zeta=1.0)
    assert loose.windows == pytest.approx([2 * t for t in tight.windows], rel=1e-12)


def test_a_network_without_hidden_layers_has_no_windows(make_relu):
    x = images(0, 5, 6)
    net = convert(make_relu((6, 3)), x)
    assert net.windows == []
    assert not widen(net, net.trace(x))
    assert tighten(net, x).windows == []
    assert latency(net) == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_percentiles_too(dtype):
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 2))
    torch.nn.init.ones_(model[0].weight), torch.nn.init.zeros_(model[0].bias)
    x = torch.arange(1, 17).reshape(-1, 1) / 16  # exact in both
    assert convert(model.to(dtype), x, percentile=50.0).windows == [pytest.approx(8.5 / 16)]
