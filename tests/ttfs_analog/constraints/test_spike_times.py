"""Normal numbers by key, and the times at which spikes leave, with kernels and without."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from ttfs_analog import compiled
from ttfs_analog.constraints.spike_times import _polynomial, normals, send
from ttfs_analog.splitmix import BLOCK, COSINE, LOG, SINE

F32, F64 = torch.float32, torch.float64
LIKE = torch.zeros(0, dtype=F64)


def test_the_numbers_are_normal():
    x = normals(7, (1_000_000,), LIKE).numpy()
    # four standard errors of a million independent normal numbers
    assert abs(x.mean()) < 4e-3
    assert x.var() == pytest.approx(1, abs=4 * np.sqrt(2e-6))
    assert (x**4).mean() == pytest.approx(3, abs=4 * np.sqrt(96e-6))
    assert abs(stats.skew(x)) < 4 * np.sqrt(6e-6)
    assert stats.kstest(x, "norm").pvalue > 1e-3
    assert 4.4 < abs(x).max() < 4.86
    assert np.isfinite(x).all()


def test_the_two_numbers_of_a_pair_do_not_know_of_each_other():
    first, second = normals(3, (2**20,), LIKE).view(-1, 2, BLOCK // 2).movedim(1, 0).flatten(1).numpy()
    bound = 4 / np.sqrt(len(first))
    for f, g in itertools.product((np.sign, np.abs, np.square), repeat=2):
        assert abs(np.corrcoef(f(first), g(second))[0, 1]) < bound
    radius = first**2 + second**2
    assert stats.kstest(radius / 2, "expon").pvalue > 1e-3
    assert stats.kstest(np.arctan2(second, first) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3


def test_the_polynomials_are_those_functions():
    m, y = torch.linspace(1, 2, 5001), torch.linspace(-np.pi / 4, np.pi / 4, 5001)
    assert float((_polynomial(LOG, m) - m.log()).abs().max()) < 2.5e-6
    assert float((y * _polynomial(SINE, y * y) - y.sin()).abs().max()) < 2e-7
    assert float((_polynomial(COSINE, y * y) - y.cos()).abs().max()) < 2e-7


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 784, 1024])
def test_neighbours_and_streams_do_not_know_of_each_other(lag):
    x = normals(11, (400_000,), LIKE).numpy()
    bound = 4 / np.sqrt(len(x))
    assert abs(np.corrcoef(x[lag:], x[:-lag])[0, 1]) < bound
    assert abs(np.corrcoef(x[lag:] ** 2, x[:-lag] ** 2)[0, 1]) < bound
    other = normals(11 + lag, (400_000,), LIKE).numpy()
    assert abs(np.corrcoef(x, other)[0, 1]) < bound


def test_the_generator_is_splitmix64_and_box_muller():
    """First words of seed 1234567, as published with the reference code; the lowest bits come first."""
    words = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    found = normals(1234567, (BLOCK,), LIKE).view(2, BLOCK // 2)
    for k, (word, m) in enumerate(itertools.product(words, range(2))):
        bits = word >> 32 * m & 0xFFFFFFFF
        r = np.sqrt(-2 * np.log(((bits & 0xFFFF) + 0.5) / 2**16))
        angle = ((bits >> 16 & 0x3FFF) + 0.5) * np.pi / 2**15
        wanted = r * np.cos(angle), r * np.sin(angle)
        for value, w, bit in zip(found[:, k].tolist(), wanted, (31, 30), strict=True):
            assert value == pytest.approx(-w if bits >> bit & 1 else w, abs=1e-5)


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
