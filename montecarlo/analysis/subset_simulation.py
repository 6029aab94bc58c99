r"""Subset simulation: a rare failure as a chain of common ones, wherever and however many failures are.

.. math:: p = \prod_l P(g < b_l \mid g < b_{l-1}), \qquad b_0 = \infty, \; b_{last} = 0

A first run chooses levels b of the margin g, each passed by a tenth of the samples before it. Then runs that
share nothing repeat them with the levels fixed: samples that pass are drawn again and moved by a Markov
chain, u' = sqrt(1 - s^2) u + s z, kept where its margin is below the level. With fixed levels the product is
unbiased at any number of samples, and the runs' spread gives the standard error, correlations included.

It takes some hundred thousand samples, and a margin with steps between common and rare: one that only says
yes or no is refused. A region that is met by few of the samples of a level differs between the runs, which
shows in the interval; one that none of them meets does not.

Source: Au & Beck, Prob. Eng. Mech. 16 (2001), 263-277; the chain: Papaioannou et al., Prob. Eng. Mech. 41
(2015), 89-103; fixed levels: Cerou et al., Stat. Comput. 22 (2012), 795-808.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from circuits.errors import InputError
from circuits.model.layer import Array
from montecarlo.analysis.limit_state import Estimate, LimitState
from montecarlo.statistics.intervals import proportion_interval
from montecarlo.statistics.moments import LEVEL

SHARE = 0.1
"""Of the samples that pass a level."""
RUNS = 10
MOVES = 4
"""Steps of every chain between two levels."""
LEVELS = 40
"""Beyond which a failure is not looked for: its probability is 1e-40."""
ACCEPTED = 0.4
"""Share of moves to keep, which steps are made for."""
LARGEST = 0.5
"""Relative standard error beyond which an interval is refused."""


def subset_simulation(state: LimitState, samples: int, rng: np.random.Generator) -> Estimate:
    """Probability of a failure by runs of their own.

    Parameters
    ----------
    state : LimitState
    samples : int
        Of a level of one run.
    rng : numpy.random.Generator

    Raises
    ------
    InputError
        If the margin does not lead to failures, or the runs differ too much.
    """
    levels, steps = _levels(state, samples, rng)
    found = np.array([_run(state, levels, steps, samples, rng) for _ in range(RUNS)])
    p, se = float(found.mean()), float(found.std(ddof=1) / math.sqrt(RUNS))
    if len(levels) == 1:  # failures are common: this was plain Monte Carlo
        many = RUNS * samples
        ends = proportion_interval(round(p * many), many)
        return Estimate(p, math.sqrt(p * (1 - p) / many), *ends, state.evaluations, "subset")
    if not se < LARGEST * p:
        raise InputError(
            f"{RUNS} runs of subset simulation differ too much (estimate {p:.3g} +- {se:.2g}): "
            "use more samples"
        )
    half = float(stats.t.ppf((1 + LEVEL) / 2, RUNS - 1)) * se / p
    ends = p * math.exp(-half), min(p * math.exp(half), 1.0)
    return Estimate(p, se, *ends, state.evaluations, "subset")


def _levels(state: LimitState, samples: int, rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """Levels of the margin, the last one 0, and a step of the chain behind each but the last."""
    u = rng.standard_normal((samples, state.dimensions))
    g = state(u)
    levels: list[float] = []
    steps: list[float] = []
    while len(levels) < LEVELS:
        level = float(np.quantile(g, SHARE))
        if level <= 0:
            return [*levels, 0.0], steps
        passed = g < level
        if passed.sum() < SHARE * samples / 4 or (levels and level >= levels[-1]):
            raise InputError(
                f"the margin does not lead to failures: {int((g == level).sum())} of {samples} samples have "
                f"the same one, {level:.4g}; give one that grows with the distance from failing"
            )
        step = steps[-1] if steps else 0.6
        u, g = _drawn_again(u[passed], g[passed], samples, rng)
        for _ in range(2 * MOVES):
            u, g, share = _moved(state, u, g, level, step, rng)
            step = float(np.clip(step * math.exp(share - ACCEPTED), 0.02, 0.95))
        levels, steps = [*levels, level], [*steps, step]
    raise InputError(f"no failure within {LEVELS} levels: its probability is below 1e-{LEVELS}")


def _run(
    state: LimitState, levels: list[float], steps: list[float], samples: int, rng: np.random.Generator
) -> float:
    u = rng.standard_normal((samples, state.dimensions))
    g, p = state(u), 1.0
    for k, level in enumerate(levels):
        passed = g < level
        p *= passed.mean()
        if p == 0 or k == len(levels) - 1:
            break
        u, g = _drawn_again(u[passed], g[passed], samples, rng)
        for _ in range(MOVES):
            u, g, _ = _moved(state, u, g, level, steps[k], rng)
    return float(p)


def _drawn_again(u: Array, g: Array, samples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Every survivor as often as any other, but for a rest that is drawn."""
    whole = np.repeat(np.arange(len(u)), samples // len(u))
    rest = rng.permutation(len(u))[: samples - len(whole)]
    chosen = np.concatenate([whole, rest])
    return u[chosen], g[chosen]


def _moved(
    state: LimitState, u: Array, g: Array, level: float, step: float, rng: np.random.Generator
) -> tuple[Array, Array, float]:
    """Samples after one step of their chains, which leaves normals below a level as they are distributed."""
    proposed = math.sqrt(1 - step**2) * u + step * rng.standard_normal(u.shape)
    margin = state(proposed)
    kept = margin < level
    return np.where(kept[:, None], proposed, u), np.where(kept, margin, g), float(kept.mean())
