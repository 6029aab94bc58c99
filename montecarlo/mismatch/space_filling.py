r"""How the standard normals of the samples of a campaign fill their space.

=======  ===========================================================================================
plain    independent draws: sample k is its own stream, and N can grow
latin    Latin hypercube: each device has exactly one sample in each of N equally likely strata
sobol    scrambled Sobol' sequence: even in several devices together; best with N a power of 2
=======  ===========================================================================================

.. math:: z = \Phi^{-1}(u), \qquad u \in (0, 1)^d

A mean over samples of a nearly additive quantity (a spike time) has less variance under latin and
sobol. Samples are then not independent: intervals that take them to be so are too wide for means.

Source: McKay, Beckman & Conover, Technometrics 21 (1979); Owen, J. Complexity 14 (1998), scrambling;
both from scipy.stats.qmc.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import special

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.mismatch.seeds import DESIGN, generator

DESIGNS = ("plain", "latin", "sobol")
LATIN_VALUES = 2**24
"""A Latin hypercube is made whole: 128 MiB at most."""
SOBOL_BITS = 30


def check_design(design: str, samples: int, dimensions: int) -> None:
    """Refuse a design that is unknown or cannot hold so many samples.

    Parameters
    ----------
    design : {"plain", "latin", "sobol"}
    samples, dimensions : int
        Of the campaign, and devices of a sample.

    Raises
    ------
    InputError
    """
    if design not in DESIGNS:
        raise InputError(f"unknown design {design!r}; available: {', '.join(DESIGNS)}")
    if design == "latin" and samples * dimensions > LATIN_VALUES:
        raise InputError(
            f"a Latin hypercube of {samples} x {dimensions} values is made at once, and that is too large "
            f"(at most {LATIN_VALUES}); use sobol, which is not"
        )
    if design == "sobol" and samples > 2**SOBOL_BITS:
        raise InputError(f"a Sobol' sequence has 2^{SOBOL_BITS} samples, {samples} were asked for")


def normals(design: str, entropy: int, samples: Array, of: int, dimensions: int) -> Array:
    """Standard normals of some samples of a campaign, shape (sample, dimension).

    Sample k is the same vector in any batch and order, and under `latin` for one N only.

    Parameters
    ----------
    design : {"plain", "latin", "sobol"}
    entropy : int
        Seed of the campaign.
    samples : array of int, shape (sample,)
        Which ones, >= 0.
    of : int
        N, all samples of the campaign. Under `latin` sample N + k is sample k again (the last deck of
        a campaign is filled up with them).
    dimensions : int
        Devices of a sample. The first ones of a plain sample do not depend on how many there are.

    Raises
    ------
    InputError
        If a sample is negative or `check_design` refuses.
    """
    check_design(design, of, dimensions)
    samples = np.asarray(samples)
    if np.any(samples < 0):
        raise InputError(f"samples are numbered from 0, got {int(samples.min())}")
    if design == "plain":
        drawn = [generator(entropy, int(k)).standard_normal(dimensions) for k in samples]
        return np.stack(drawn) if drawn else np.empty((0, dimensions))
    if design == "latin":
        return _latin(entropy, of, dimensions)[samples % of]
    return _sobol(entropy, samples, dimensions)


@lru_cache(maxsize=1)
def _latin(entropy: int, of: int, dimensions: int) -> Array:
    """The whole hypercube. Kept for the next batch: it is pure, and made in the time of many batches."""
    from scipy.stats import qmc

    u = qmc.LatinHypercube(dimensions, rng=generator(entropy, DESIGN, 0)).random(of)
    z = special.ndtri(np.clip(u, 2.0**-54, 1 - 2.0**-53))  # 0 and 1 are no normals
    z.flags.writeable = False
    return z


def _sobol(entropy: int, samples: Array, dimensions: int) -> Array:
    """Points of the sequence, each by its number."""
    from scipy.stats import qmc

    wanted, back = np.unique(samples, return_inverse=True)
    if not len(wanted):
        return np.empty((0, dimensions))
    engine = qmc.Sobol(dimensions, bits=SOBOL_BITS, rng=generator(entropy, DESIGN, 1))
    runs = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1)
    blocks, at = [], 0
    for run in runs:
        if run[0] > at:
            engine.fast_forward(int(run[0] - at))
        elif at == 0:  # alone, or scipy warns of a first block that is no power of 2
            blocks.append(engine.random(1))
            run = run[1:]
        if len(run):
            blocks.append(engine.random(len(run)))
            at = int(run[-1]) + 1
        else:
            at = 1
    u = np.concatenate(blocks) + 2.0 ** -(SOBOL_BITS + 1)  # middle of a cell: never 0
    return special.ndtri(u)[back]
