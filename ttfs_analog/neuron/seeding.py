"""Generators of torch that a seed sets with all of its bits."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch

from circuits.errors import InputError

LOW = 2**32
"""torch's generator of a CPU takes the low 32 bits of a seed and drops the others."""


def folded(seed: int, *stream: int) -> int:
    """All bits of a seed as the 32 that torch takes.

    Parameters
    ----------
    seed : int
        The user's seed, >= 0.
    *stream : int
        What is drawn, where one seed serves several things; none: seeds below 2^32 stay as they are.

    Raises
    ------
    InputError
        If the seed is not a whole number >= 0: torch would take -1 for another one.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"a seed must be a whole number >= 0, got {seed!r}")
    if seed >= LOW:  # as a list, its upper words would be the stream of a smaller seed
        sequence = np.random.SeedSequence(int(seed), spawn_key=(len(stream), *stream))
    elif stream:
        sequence = np.random.SeedSequence([int(seed), *stream])
    else:
        return int(seed)
    return int(sequence.generate_state(1, np.uint64)[0]) % LOW


def seeded(seed: int, *stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for a stream of a seed.

    Parameters
    ----------
    seed, *stream
        As of `folded`.
    device : torch.device or str
        Where the numbers are drawn.
    """
    return torch.Generator(device=device).manual_seed(folded(seed, *stream))
