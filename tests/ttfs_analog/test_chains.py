"""Property: whatever the order of the layers, the converted network has the function of the model."""

from __future__ import annotations

import chains
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import F64, close, images, shake
from torch import nn

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.neuron.layers import FORMS


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chains.models(), st.sampled_from(FORMS), st.integers(0, 2**31), st.booleans())
@torch.no_grad()
def test_converted_logits_are_the_models(chain, mapping, seed, single_range):
    model, shape = chain
    generator = torch.Generator().manual_seed(seed)
    low = -2 + 3 * torch.rand(shape[0], generator=generator, dtype=F64)
    high = low + 0.5 + 2 * torch.rand(shape[0], generator=generator, dtype=F64)
    if single_range:
        low, high = low[:1], high[:1]
    unit = images(seed, 5, *shape)
    x = low[:, None, None] + (high - low)[:, None, None] * unit
    ends = tuple(v.item() if single_range else v.tolist() for v in (low, high))
    net = convert(model, x, mapping=mapping, input_range=ends)
    # fused products in another order; slopes of up to 1 / delta = 10 a layer
    assert close(net(unit), model(x).flatten(1), 1e-10)


TAILS = {
    "norm, max pooling, ReLU": [nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU()],
    "max pooling, norm, ReLU": [nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU()],
    "max pooling, ReLU, norm": [nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(4)],
    "ReLU, norm, max pooling": [nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2)],
    "ReLU, max pooling, norm": [nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4)],
    "average, norm, ReLU": [nn.AvgPool2d(2), nn.BatchNorm2d(4), nn.ReLU()],
    "average, ReLU, norm, padded average": [
        *(nn.AvgPool2d(2), nn.ReLU(), nn.BatchNorm2d(4)),
        nn.AvgPool2d(2, padding=1),
    ],
    "norms everywhere": [
        *(nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.AvgPool2d(2)),
    ],
    "overlapping pooling": [nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(3, 2, 1, ceil_mode=True)],
    "dilated pooling": [nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2, 1, dilation=2)],
    "adaptive pooling": [nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d((2, 1))],
    "divisor": [nn.ReLU(), nn.AvgPool2d(2, divisor_override=3)],
}


@pytest.mark.parametrize("mapping", ["b1", "alpha", "equal"])
@pytest.mark.parametrize("first", [{"padding": 1}, {"stride": 2, "dilation": 2, "padding": "valid"}, {}])
@pytest.mark.parametrize("tail", TAILS)
@torch.no_grad()
def test_every_order_between_two_convolutions(tail, first, mapping):
    layers = [nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3, **first), *TAILS[tail]]
    layers += [nn.Conv2d(4, 4, 3, padding="same", groups=2), nn.ReLU(), nn.Flatten()]
    x = images(0, 8, 2, 20, 20)
    features = nn.Sequential(*layers).double()(x).shape[1]
    model = shake(nn.Sequential(*layers, nn.Linear(features, 3)), 4)
    net = convert(model, x, mapping=mapping)
    assert close(net(x), model(x), 1e-10)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.ReLU(), nn.BatchNorm2d(2), nn.AvgPool2d(2, padding=1), nn.MaxPool2d(2)], "depends on the place"),
        ([nn.MaxPool2d(2), nn.AvgPool2d(2), nn.ReLU()], r"layer 2 \(AvgPool2d\): put it after the ReLU"),
        ([nn.AvgPool2d(2, padding=1), nn.ReLU()], r"layer 1 \(AvgPool2d\): put it after the ReLU"),
        ([nn.ReLU(), nn.AvgPool2d(2, padding=1, count_include_pad=False)], "count_include_pad=True"),
        ([nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)], "ceil_mode=False"),
        ([nn.ReLU(), nn.AdaptiveAvgPool2d(3)], r"\(8, 8\) is not a multiple of \(3, 3\)"),
        ([nn.ReLU(), nn.AdaptiveMaxPool2d(5)], r"\(8, 8\) is not a multiple of \(5, 5\)"),
        ([nn.ReLU(), nn.BatchNorm2d(3)], r"layer 2 \(BatchNorm2d\): a normalization of 3 features"),
        ([nn.ReLU(), nn.BatchNorm1d(2)], r"layer 2 \(BatchNorm1d\): a normalization of 2 features"),
        ([nn.ReLU(), nn.MaxPool2d(2, return_indices=True)], "return_indices=False"),
        ([nn.ReLU(), nn.MaxPool2d(9)], r"layer 2 \(MaxPool2d\) does not fit images of shape \(2, 8, 8\)"),
    ],
)
def test_orders_that_have_no_exact_map_are_refused_by_name(layers, message):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), *layers, nn.Conv2d(2, 2, 1))
    if not any(isinstance(m, nn.BatchNorm1d) for m in layers):
        shake(model, 0)
    with pytest.raises(InputError, match=message):
        convert(model, torch.rand(3, 1, 8, 8))


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, -1.0), ([0.0, 0.5], [1.0, 0.5])])
def test_an_empty_input_range_is_refused(ends):
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten())
    with pytest.raises(InputError, match="p < q"):
        convert(model, torch.rand(3, 2, 4, 4), input_range=ends)


def test_a_range_for_another_number_of_channels_is_refused():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten())
    with pytest.raises(InputError, match="3 values a side; give one, or one for each of the 2 channels"):
        convert(model, torch.rand(3, 2, 4, 4), input_range=([0.0] * 3, [1.0] * 3))


def test_inputs_out_of_the_range_are_refused():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten())
    with pytest.raises(InputError, match=r"inputs must lie in \[0, 1\]"):
        convert(model, torch.rand(3, 2, 4, 4), input_range=([0.0, 0.9], [1.0, 1.0]))


@pytest.mark.parametrize("rest", [[], [nn.ReLU(), nn.Linear(72, 3)]])
def test_a_normalization_of_every_place_of_an_open_convolution_is_refused(rest):
    """It would scale the places of one channel differently: no shared weights do that."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.BatchNorm1d(72), *rest)
    with pytest.raises(InputError, match=r"layer 2 \(BatchNorm1d\)"):
        convert(model, images(0, 5, 1, 8, 8))
