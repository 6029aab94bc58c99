r"""Probabilities of rare failures: importance sampling beside plain Monte Carlo.

.. math:: \hat p = \sum_k \alpha_k \frac{1}{n_k} \sum_{i \in k} 1_{fail}(u_i)\, \frac{\phi(u_i)}{q(u_i)},
          \qquad q = \sum_k \alpha_k\, \phi(u - m_k)

u are the standard normals behind a sample. The shifts m_k lie at the most probable failures, found by
widening the normals until failures are common and walking back; one part of the samples stays unshifted,
so that no weight exceeds 1 / alpha_0 and the standard error is that of bounded numbers.

The function only says whether a sample fails: no gradient, and silent neurons may fail too. Failures on
two opposite sides (too early, too late) get a shift each; a third region of similar probability would be
missed, and then the estimate is too low without a sign of it.

Source: Rubinstein & Kroese, The Cross-Entropy Method (2004), ch. 3 (shifts); Owen & Zhou, JASA 95
(2000) (mixture with fixed shares); Bucher, Structural Safety 5 (1988) (search by wider normals).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.statistics.intervals import proportion_interval
from montecarlo.statistics.moments import LEVEL

Fails = Callable[[Array], np.ndarray]
"""Standard normals (n, dimension) -> whether each sample fails (n,)."""
WIDER = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Spreads of the search: the last one finds failures 9 sigma away."""
NOMINAL = 0.1
"""Share of the samples that are not shifted."""
BLOCK = 8192
"""Samples that plain Monte Carlo asks for at a time."""
LEAST = 50.0
"""Effective failures below which no standard error is given."""


@dataclass(frozen=True)
class Estimate:
    """A probability with what it cost and how far it can be trusted."""

    probability: float
    se: float  #: standard error
    low: float  #: 95 %
    high: float  #: 95 %
    evaluations: int  #: samples that were simulated, those of the search included
    failures: int
    effective: float  #: failures, less what unequal weights lose (Kish)
    distance: float  #: sigmas from nominal to the mean of the nearest failures; nan if not searched

    @property
    def plain_evaluations(self) -> float:
        """Samples that plain Monte Carlo needs for the same relative standard error."""
        variance = (1 - self.probability) * self.probability
        return variance / self.se**2 if self.se > 0 else math.inf

    @property
    def gain(self) -> float:
        """How many times as many samples plain Monte Carlo would need."""
        return self.plain_evaluations / self.evaluations


def plain(fails: Fails, dimensions: int, samples: int, rng: np.random.Generator) -> Estimate:
    """Plain Monte Carlo, with the interval of Clopper and Pearson: right at any count, 0 too.

    Parameters
    ----------
    fails : callable
        Standard normals (n, dimensions) -> bool (n,).
    dimensions, samples : int
        Normals behind a sample, and how many samples.
    rng : numpy.random.Generator
    """
    count = 0
    for first in range(0, samples, BLOCK):  # the same numbers in blocks as at once, in little memory
        n = min(BLOCK, samples - first)
        count += int(_failures(fails, rng.standard_normal((n, dimensions))).sum())
    low, high = proportion_interval(count, samples)
    p = count / samples
    return Estimate(p, math.sqrt(p * (1 - p) / samples), low, high, samples, count, float(count), math.nan)


def importance(
    fails: Fails, dimensions: int, samples: int, rng: np.random.Generator, *, search: int | None = None
) -> Estimate:
    """Probability of a failure by importance sampling.

    Parameters
    ----------
    fails : callable
        Standard normals (n, dimensions) -> bool (n,).
    dimensions : int
        Normals behind a sample.
    samples : int
        For the estimate itself; 2000 give about 5 % at any distance.
    rng : numpy.random.Generator
    search : int, optional
        Samples of each step of the search, about ten steps; default 250, or 10 a dimension if more.

    Raises
    ------
    InputError
        If no failure is found within 9 sigma, or too few to trust the standard error: the message
        then carries the estimate.

    Source: Owen & Zhou, JASA 95 (2000), mixture with fixed shares.
    """
    if samples < 100:
        raise InputError(f"importance sampling needs at least 100 samples, got {samples}")
    shifts, spent = find_shifts(fails, dimensions, search or max(250, 10 * dimensions), rng)
    share = np.array([NOMINAL] + [(1 - NOMINAL) / len(shifts)] * len(shifts))
    center = np.vstack([np.zeros(dimensions), shifts])
    count = np.maximum(np.round(share * samples).astype(int), 2)
    part = np.repeat(np.arange(len(center)), count)
    u = center[part] + rng.standard_normal((len(part), dimensions))
    weighted = np.where(_failures(fails, u), np.exp(-_log_mixture(u, center, share)), 0.0)
    groups = [weighted[part == k] for k in range(len(center))]
    p = float(sum(a * g.mean() for a, g in zip(share, groups, strict=True)))
    se = math.sqrt(sum(a**2 * g.var(ddof=1) / len(g) for a, g in zip(share, groups, strict=True)))
    failures = int(np.count_nonzero(weighted))
    effective = float(weighted.sum() ** 2 / (weighted**2).sum()) if failures else 0.0
    if effective < LEAST:
        raise InputError(
            f"only {effective:.1f} effective failures of {samples} samples (estimate {p:.3g} +- {se:.2g}): "
            "that standard error cannot be trusted; use more samples, or plain Monte Carlo if p is large"
        )
    # the logarithm of the estimate is nearer to normal than the estimate, and keeps the ends above 0
    half = float(special.ndtri((1 + LEVEL) / 2)) * se / p
    distance = float(np.linalg.norm(shifts, axis=1).min())
    ends = p * math.exp(-half), min(p * math.exp(half), 1.0)
    return Estimate(p, se, *ends, spent + len(u), failures, effective, distance)


def find_shifts(fails: Fails, dimensions: int, batch: int, rng: np.random.Generator) -> tuple[Array, int]:
    """Means of the failing samples, seen from nominal.

    Parameters
    ----------
    fails : callable
        Standard normals (n, dimensions) -> bool (n,).
    dimensions, batch : int
        Normals behind a sample, and samples of each step.
    rng : numpy.random.Generator

    Returns
    -------
    shifts, evaluations
        One or two shifts, shape (shift, dimension), and how many samples it took.

    Raises
    ------
    InputError
        If no failure lies within 9 sigma, or their region is too small.

    Source: Bucher, Structural Safety 5 (1988), wider normals; Rubinstein & Kroese (2004), ch. 3.
    """
    spent = 0
    for wide in WIDER:
        u = wide * rng.standard_normal((batch, dimensions))
        failing = u[_failures(fails, u)]
        spent += batch
        if len(failing) >= 0.05 * batch:
            break
    else:
        raise InputError(
            f"{len(failing)} of {batch} samples failed at {wide:g} times the spread: failures lie further "
            "than 9 sigma, or are too small a region to be found"
        )
    axis = np.linalg.svd(failing, full_matrices=False)[2][0]
    side = failing @ axis > 0
    sides = [s for s in (side, ~side) if s.sum() >= max(2, 0.1 * len(failing))]
    shifts: list[Array] = []
    for s in sides:
        shift, cost = _walk_back(fails, failing[s].mean(axis=0), batch, rng)
        spent += cost
        if shift is not None and all(np.linalg.norm(shift - other) > 1 for other in shifts):
            shifts.append(shift)
    if not shifts:
        raise InputError("failures were seen but could not be found again: their region is too small")
    return np.stack(shifts), spent


def _walk_back(fails: Fails, shift: Array, batch: int, rng: np.random.Generator) -> tuple[Array | None, int]:
    """From among the failures to the most probable ones, by tempered likelihood ratios."""
    settled: list[Array] = []
    for step in range(1, 25):
        u = shift + rng.standard_normal((batch, len(shift)))
        failing = u[_failures(fails, u)]
        if len(failing) < 5:
            return None, step * batch
        ratio = -failing @ shift
        power = 1.0
        while _effective(power * ratio) < 0.2 * len(failing) and power > 1e-3:
            power *= 0.7
        weight = np.exp(power * (ratio - ratio.max()))
        shift = weight @ failing / weight.sum()
        if power == 1.0:
            settled.append(shift)
        if len(settled) == 2:
            break
    return np.mean(settled or [shift], axis=0), step * batch


def _effective(log_weight: Array) -> float:
    weight = np.exp(log_weight - log_weight.max())
    return float(weight.sum() ** 2 / (weight**2).sum())


def _log_mixture(u: Array, center: Array, share: Array) -> Array:
    """ln(q / phi), shape (n,)."""
    exponent = u @ center.T - 0.5 * (center**2).sum(1)
    return special.logsumexp(exponent, axis=1, b=share)


def _failures(fails: Fails, u: Array) -> np.ndarray:
    failed = np.asarray(fails(u))
    if failed.shape != (len(u),) or failed.dtype != bool:
        raise InputError(
            f"the failure function must return {len(u)} booleans, got {failed.dtype} {failed.shape}"
        )
    return failed
