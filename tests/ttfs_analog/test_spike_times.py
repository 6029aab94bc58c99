"""Normal numbers by key, and the times at which spikes leave, with kernels and without."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from ttfs_analog import compiled
from ttfs_analog.spike_times import normals, quantiles, send

F32, F64 = torch.float32, torch.float64
LIKE = torch.zeros(0, dtype=F64)


def test_the_numbers_are_normal():
    x = normals(7, (1_000_000,), LIKE).numpy()
    # four standard errors of a million independent normal numbers
    assert abs(x.mean()) < 4e-3
    assert x.var() == pytest.approx(1, abs=4 * np.sqrt(2e-6))
    assert stats.kurtosis(x, fisher=False) == pytest.approx(3, abs=4 * np.sqrt(24e-6))
    assert abs(stats.skew(x)) < 4 * np.sqrt(6e-6)
    # distance of two distribution functions that differ by a bin at most, plus that of a million draws
    assert stats.kstest(x, "norm").statistic < 1 / 65_536 + 1.95 / 1000
    assert 3.9 < abs(x).max() < 4


def test_all_places_of_all_bins_have_variance_one():
    low, step = quantiles(F64).unbind(1)
    values = low[:, None] + (torch.arange(16) + 0.5) * step[:, None]
    assert float(values.square().mean()) == pytest.approx(1, abs=1e-12)
    assert float(values.pow(4).mean()) == pytest.approx(2.998, abs=1e-3)
    assert bool((values.flatten().diff() > 0).all())


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 784, 1024])
def test_neighbours_and_streams_do_not_know_of_each_other(lag):
    x = normals(11, (400_000,), LIKE).numpy()
    bound = 4 / np.sqrt(len(x))
    assert abs(np.corrcoef(x[lag:], x[:-lag])[0, 1]) < bound
    assert abs(np.corrcoef(x[lag:] ** 2, x[:-lag] ** 2)[0, 1]) < bound
    other = normals(11 + lag, (400_000,), LIKE).numpy()
    assert abs(np.corrcoef(x, other)[0, 1]) < bound


def test_the_generator_is_splitmix64():
    """First words of seed 1234567, as published with the reference code; the lowest 16 bits come first."""
    words = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    low, step = (v.numpy() for v in quantiles(F64).unbind(1))
    wanted = []
    for word, m in itertools.product(words, range(4)):
        bits = word >> 16 * m & 0xFFFF
        entry = bits >> 4 & 2047
        value = low[entry] + ((bits & 15) + 0.5) * step[entry]
        wanted.append(-value if bits >> 15 else value)
    assert normals(1234567, (12,), LIKE).tolist() == wanted


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize(("errors", "step"), [(5, 0.0), (5, 1 / 7), (None, 1 / 7), (2**63 - 1, 0.03)])
@pytest.mark.parametrize("size", [257, 1024, 2051])
@torch.no_grad()
def test_a_kernel_sends_the_same_spikes(monkeypatch, dtype, errors, step, size):
    x = torch.randn(size, 3, generator=torch.Generator().manual_seed(1), dtype=dtype).clamp_(0.0, 1.4)
    with_kernel = send(x, errors, 0.1, 1.4, step)
    monkeypatch.setattr(compiled, "_kernels", lambda: None)
    without = send(x, errors, 0.1, 1.4, step)
    assert torch.equal(with_kernel, without)
    assert not torch.equal(without, x)
    assert not without[x == 0].any()
    assert 0 <= float(without.min()) <= float(without.max()) <= 1.4 + step / 2


def test_single_precision_sees_the_same_numbers():
    torch.testing.assert_close(
        normals(3, (5000,), LIKE.float()), normals(3, (5000,), LIKE).float(), rtol=3e-7, atol=1e-7
    )


def test_shapes_are_filled_in_order():
    flat = normals(9, (30,), LIKE)
    assert torch.equal(normals(9, (2, 3, 5), LIKE), flat.view(2, 3, 5))
    assert torch.equal(normals(9, (29,), LIKE), flat[:29])
    assert normals(9, (0, 4), LIKE).shape == (0, 4)
