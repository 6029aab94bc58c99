"""Random streams that depend on what is drawn, never on when.

Sample k of entropy E is `SeedSequence(E, spawn_key=(k,))`: the same in any order, batch, process or
after any interruption. Other things that are drawn have a longer key, so that no chip shares a
stream with a sample: (CHIP, k), (PLAN, k), (DESIGN, k); (COMMON, k), (REFERENCE, k), (DELAY, k) of sample k;
(COMMON, CHIP, k), (REFERENCE, CHIP, k, n), (DELAY, CHIP, k, n) of chip k and its layer n. On transistors:
(COMMON, CHIP, k, n) for references, (CHIP, k, n, i) for neuron i.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np

from circuits.errors import InputError

CHIP, PLAN, COMMON, DESIGN, REFERENCE, DELAY = 1, 3, 4, 5, 6, 7


def generator(entropy: int, *key: int) -> np.random.Generator:
    """The generator of one stream.

    Parameters
    ----------
    entropy : int
        The user's seed, >= 0.
    *key : int
        Spawn key: (k,) for sample k, (CHIP, k) for chip k.

    Raises
    ------
    InputError
        If the entropy or a part of the key is not a whole number >= 0.
    """
    for k in (entropy, *key):
        if not isinstance(k, Integral) or isinstance(k, bool) or k < 0:
            raise InputError(f"a seed must be a whole number >= 0, got entropy {entropy!r} and key {key}")
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))
