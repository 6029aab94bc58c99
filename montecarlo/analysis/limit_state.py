"""A question about rare failures: a margin over the standard normals behind a sample, and its answer.

A sample fails where its margin is below 0. The margin is best continuous, since searches follow its slope
and roots are found on lines; where it jumps (a neuron that falls silent) only its sign is used.

Plain Monte Carlo answers any such question, with the interval of Clopper and Pearson: right at any count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.statistics.intervals import proportion_interval

Margin = Callable[[Array], Array]
"""Standard normals (n, dimension) -> margin of each sample (n,); below 0: it fails."""
BLOCK = 8192
"""Samples that plain Monte Carlo asks for at a time."""


class LimitState:
    """A margin that counts how often it is evaluated, and is checked."""

    def __init__(self, margin: Margin, dimensions: int) -> None:
        if dimensions < 1:
            raise InputError(f"a sample needs at least one normal behind it, got {dimensions}")
        self.margin, self.dimensions, self.evaluations = margin, dimensions, 0

    def __call__(self, u: Array) -> Array:
        """Margins of samples, shape (n,).

        Raises
        ------
        InputError
            If the function does not give one number a sample.
        """
        value = np.asarray(self.margin(u))
        if value.shape != (len(u),) or value.dtype.kind != "f":
            raise InputError(f"a margin must give {len(u)} floats, got {value.dtype} of shape {value.shape}")
        if odd := int((~np.isfinite(value)).sum()):
            raise InputError(f"the margin of {odd} of {len(u)} samples is not a finite number")
        self.evaluations += len(u)
        return value


@dataclass(frozen=True)
class Estimate:
    """A probability with what it cost and how far it can be trusted."""

    probability: float
    se: float  #: standard error
    low: float  #: 95 %
    high: float  #: 95 %
    evaluations: int  #: samples that were simulated, those of the search included
    method: str  #: "plain", "lines" or "subset"
    failures: int = 0  #: samples that failed, of plain Monte Carlo
    regions: int = 0  #: places where failures are near, as far as they were searched
    distance: float = math.nan  #: sigmas from nominal to the nearest failures; nan if not searched

    @property
    def plain_evaluations(self) -> float:
        """Samples that plain Monte Carlo needs for the same relative standard error."""
        variance = (1 - self.probability) * self.probability
        return variance / self.se**2 if self.se > 0 else math.inf

    @property
    def gain(self) -> float:
        """How many times as many samples plain Monte Carlo would need."""
        return self.plain_evaluations / self.evaluations


def plain(margin: Margin, dimensions: int, samples: int, rng: np.random.Generator) -> Estimate:
    """Plain Monte Carlo.

    Parameters
    ----------
    margin : callable
        Standard normals (n, dimensions) -> margin (n,); below 0: a failure.
    dimensions, samples : int
        Normals behind a sample, and how many samples.
    rng : numpy.random.Generator
    """
    state, count = LimitState(margin, dimensions), 0
    for first in range(0, samples, BLOCK):  # the same numbers in blocks as at once, in little memory
        n = min(BLOCK, samples - first)
        count += int((state(rng.standard_normal((n, dimensions))) < 0).sum())
    low, high = proportion_interval(count, samples)
    p = count / samples
    return Estimate(p, math.sqrt(p * (1 - p) / samples), low, high, samples, "plain", count)
