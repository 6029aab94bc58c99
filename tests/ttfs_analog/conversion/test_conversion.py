"""Whole networks, trained the usual ways, keep their function under every mapping."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from random_models import F64, close, images, lenet5, vgg
from torch import nn

from ttfs_analog.conversion.mapping import agreement, convert, to_relu
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.convolutions import TTFSConv2d
from ttfs_analog.neuron.layers import FORMS
from ttfs_analog.neuron.pooling import Pool

KINDS = {"lenet5": (lenet5, (1, 20, 20)), "vgg": (vgg, (3, 16, 16))}
RELATIVE = {F64: 1e-10, torch.float32: 1e-4}
"""Largest difference of the logits: products of 5 to 6 layers in another order, slopes up to 1 / delta."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    make, shape = KINDS[request.param]
    return make, images(11, 250, *shape)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("mapping", FORMS)
@torch.no_grad()
def test_logits_classes_and_checkpoint_are_the_models(kind, mapping, dtype, tmp_path):
    make, x = kind
    model, x = make(3, dtype), x.to(dtype)
    net = convert(model, x, mapping=mapping)
    expected, logits = model(x), net(x)
    assert close(logits, expected, RELATIVE[dtype])
    assert torch.equal(logits.argmax(-1), expected.argmax(-1))
    assert len(expected.argmax(-1).unique()) > 1
    assert {layer.form for layer in net.layers if layer.spiking} == {mapping}
    back = TTFSNetwork.load(net.save(tmp_path / "net.pt"))
    assert torch.equal(back(x), logits)
    assert [layer.form for layer in back.layers] == [layer.form for layer in net.layers]
    assert back.points == net.points


@pytest.mark.parametrize("mapping", FORMS)
@torch.no_grad()
def test_the_way_back_has_the_same_function(kind, mapping):
    make, x = kind
    model, x = make(5), x[:40]
    net = convert(model, x, mapping=mapping)
    back = to_relu(net)
    flat = x.flatten(1)
    assert close(back(flat), model(x), 1e-10)
    assert close(convert(back, flat, mapping=mapping)(flat), model(x), 1e-10)
    assert agreement(net, back, flat)[1] < 1e-10


@torch.no_grad()
def test_windows_and_currents_do_not_matter_without_deviations(kind):
    make, x = kind
    model, x = make(7), x[:40]
    for options in ({"alpha": 0.2}, {"alpha": 3.0, "delta": 0.4, "b_low": 1.0}, {"zeta": 9.0}):
        for mapping in FORMS[1:]:
            assert close(convert(model, x, mapping=mapping, **options)(x), model(x), 1e-10)


def test_padding_under_normalization_gives_maps_and_negative_scales_min_pooling():
    net = convert(vgg(3), images(1, 4, 3, 16, 16))
    convolutions = [layer for layer in net.layers if isinstance(layer, TTFSConv2d)]
    assert [layer.border is None for layer in convolutions] == [True, False, False, False, False]
    pools = [block for block in net.blocks if isinstance(block, Pool)]
    norms = [a for a, b in pairwise(vgg(3)) if isinstance(b, nn.MaxPool2d)]
    for pool, norm in zip(pools, norms, strict=True):
        assert torch.equal(pool.last, norm.weight.detach() < 0)
        assert pool.last.any()


@pytest.mark.parametrize(("mode", "mapping"), [("train", "alpha"), ("eval", "b1")])
@torch.no_grad()
def test_the_model_is_left_untouched_and_read_as_at_inference(kind, mode, mapping):
    make, x = kind
    model, x = make(2), x[:30]
    expected = model(x).detach()
    getattr(model, mode)()
    before = copy.deepcopy(model)
    net = convert(model, x, mapping=mapping)
    assert close(net(x), expected, 1e-10)
    for (name, value), (_, old) in zip(model.state_dict().items(), before.state_dict().items(), strict=True):
        assert torch.equal(value, old), name
    for now, then in zip(model.modules(), before.modules(), strict=True):
        assert now.training == then.training
        assert list(now._parameters) == list(then._parameters)
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert torch.equal(model.eval()(x).detach(), expected)


def test_the_metadata_say_how_it_was_mapped():
    net = convert(vgg(3), images(1, 4, 3, 16, 16), mapping="single", metadata={"note": 1})
    assert net.metadata == {"note": 1, "mapping": "single", "input_range": [0.0, 1.0]}
    assert net.input_shape == (3, 16, 16)


@torch.no_grad()
def test_flat_images_are_taken_too(kind):
    make, x = kind
    net = convert(make(1), x[:20])
    assert torch.equal(net(x[:20].flatten(1)), net(x[:20]))
