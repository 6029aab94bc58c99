"""Generators of torch that a seed sets with all of its bits."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch

from circuits.errors import InputError

LOW = 2**32
"""torch's generator of a CPU takes the low 32 bits of a seed and drops the others."""


def seeded(seed: int, *stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for a stream of a seed.

    Parameters
    ----------
    seed : int
        The user's seed, >= 0.
    *stream : int
        What is drawn, where one seed serves several things; none: small seeds are those of torch.
    device : torch.device or str
        Where the numbers are drawn.

    Raises
    ------
    InputError
        If the seed is not a whole number >= 0: torch would take -1 for another one.
    """
    if not isinstance(seed, Integral) or seed < 0:
        raise InputError(f"a seed must be a whole number >= 0, got {seed!r}")
    generator = torch.Generator(device=device)
    if not stream and seed < LOW:
        return generator.manual_seed(int(seed))
    words = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)
    return generator.manual_seed(int(words[0]) % LOW)
