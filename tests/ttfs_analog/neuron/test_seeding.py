"""Seeds act with all of their bits."""

from __future__ import annotations

import pytest
import torch

from circuits.errors import InputError
from ttfs_analog.neuron.seeding import seeded
from ttfs_analog.training.architectures import build


def first(*key):
    return float(torch.rand((), generator=seeded(*key)))


@pytest.mark.parametrize("bit", [0, 31, 32, 33, 62, 63, 64, 200])
def test_every_bit_of_a_seed_counts(bit):
    assert first(1) != first(1 ^ (1 << bit))
    assert first(1, 3) != first(1 ^ (1 << bit), 3)


def test_small_seeds_are_those_of_torch_and_streams_differ():
    assert first(7) == float(torch.rand((), generator=torch.Generator().manual_seed(7)))
    assert len({first(7), first(7, 0), first(7, 1), first(7, 0, 1)}) == 4
    assert first(7, 1) == first(7, 1)


def test_a_large_seed_is_no_stream_of_a_small_one():
    assert len({first(1 + 3 * 2**32), first(1, 3), first(1 + 3 * 2**32, 0), first(1, 3, 1)}) == 4


@pytest.mark.parametrize("far", [2**32, 2**63])
def test_networks_built_with_seeds_far_apart_differ_and_small_seeds_build_what_torch_does(far):
    near, other = (build("fc-4", 3, 2, seed, torch.float64)[0].weight for seed in (1, 1 + far))
    assert not torch.equal(near, other)
    again = torch.nn.init.xavier_uniform_(
        torch.empty(4, 3, dtype=torch.float64), generator=torch.Generator().manual_seed(1)
    )
    assert torch.equal(near, again)


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None, True])
@pytest.mark.parametrize("stream", [(), (3,)])
def test_what_is_no_seed_is_refused_with_its_value(seed, stream):
    with pytest.raises(InputError, match=f"whole number >= 0, got {seed!r}"):
        seeded(seed, *stream)
