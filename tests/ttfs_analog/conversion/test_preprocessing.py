"""Batch normalization is fused exactly, wherever it stands in a chain of Linear and ReLU layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from circuits.errors import InputError
from ttfs_analog.conversion.mapping import agreement, convert

F64 = torch.float64


def norm(size: int, seed: int, **options) -> nn.BatchNorm1d:
    """A normalization with statistics and scales as training leaves them, some scales negative."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.BatchNorm1d(size, dtype=F64, **options)
    if layer.running_mean is not None:
        layer.running_mean.copy_(torch.randn(size, generator=generator, dtype=F64))
        layer.running_var.copy_(0.1 + torch.rand(size, generator=generator, dtype=F64))
    if layer.affine:
        with torch.no_grad():
            layer.weight.copy_(torch.randn(size, generator=generator, dtype=F64))
            layer.bias.copy_(torch.randn(size, generator=generator, dtype=F64))
    return layer


def linear(n_in: int, n_out: int, seed: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(n_in, n_out, bias=bias, dtype=F64)


CHAINS = {
    "before ReLU": lambda: [linear(6, 9, 0), norm(9, 1), nn.ReLU(), linear(9, 4, 2)],
    "after ReLU": lambda: [linear(6, 9, 0), nn.ReLU(), norm(9, 1), linear(9, 4, 2)],
    "both": lambda: [linear(6, 9, 0), norm(9, 1), nn.ReLU(), norm(9, 3), linear(9, 4, 2)],
    "on the input": lambda: [norm(6, 1), linear(6, 9, 0), nn.ReLU(), linear(9, 4, 2)],
    "on the read-out": lambda: [linear(6, 9, 0), nn.ReLU(), linear(9, 4, 2), norm(4, 1)],
    "without bias": lambda: [
        linear(6, 9, 0, False),
        norm(9, 1),
        nn.ReLU(),
        norm(9, 2),
        linear(9, 4, 2, False),
    ],
    "without scale": lambda: [linear(6, 9, 0), norm(9, 1, affine=False), nn.ReLU(), linear(9, 4, 2)],
    "twice in a row": lambda: [linear(6, 9, 0), nn.ReLU(), norm(9, 1), norm(9, 4), linear(9, 4, 2)],
}


@pytest.mark.parametrize("name", CHAINS)
def test_converted_network_has_the_function_of_the_normalized_one(name):
    """1e-12 relative: a few products in another order."""
    model = nn.Sequential(*CHAINS[name]()).eval()
    x = torch.rand(200, 6, generator=torch.Generator().manual_seed(7), dtype=F64)
    same, error = agreement(convert(model, calibration=x), model, x)
    assert same == 1.0
    assert error < 1e-12


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (9, {"track_running_stats": False}, "running statistics"),
        (8, {}, r"8 features meets a layer of shape \(9,\)"),
    ],
)
def test_a_normalization_that_cannot_be_fused_is_refused(size, options, message):
    model = nn.Sequential(linear(6, 9, 0), norm(size, 1, **options), nn.ReLU(), linear(9, 4, 2))
    with pytest.raises(InputError, match=message):
        convert(model, torch.rand(5, 6, dtype=F64))
