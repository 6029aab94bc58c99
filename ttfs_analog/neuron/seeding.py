"""Generators of torch that a seed sets with all of its bits."""

from __future__ import annotations

import numpy as np
import torch

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
    """
    generator = torch.Generator(device=device)
    if not stream and seed < LOW:
        return generator.manual_seed(seed)
    words = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)
    return generator.manual_seed(int(words[0]) % LOW)
