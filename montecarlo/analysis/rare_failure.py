"""How likely a rare failure is: lines through its design points, or subset simulation where those do not do.

Lines cost some hundred samples and need failures in a few half spaces, more or less; the search for their
design points tells where it doubts that. Subset simulation needs nothing but a margin, and some hundred
thousand samples.
"""

from __future__ import annotations

import numpy as np

from circuits.errors import InputError
from montecarlo.analysis.design_points import design_points
from montecarlo.analysis.limit_state import Estimate, LimitState, Margin
from montecarlo.analysis.line_sampling import Uneven, line_sampling
from montecarlo.analysis.subset_simulation import subset_simulation

METHODS = ("auto", "lines", "subset")


def failure_probability(
    margin: Margin,
    dimensions: int,
    rng: np.random.Generator,
    *,
    error: float = 0.05,
    samples: int = 1000,
    method: str = "auto",
) -> Estimate:
    """Probability that a margin is below 0.

    Parameters
    ----------
    margin : callable
        Standard normals (n, dimensions) -> margin (n,); below 0: a failure.
    dimensions : int
        Normals behind a sample.
    rng : numpy.random.Generator
    error : float
        Relative standard error at which lines stop.
    samples : int
        Lines at most; samples of a level of subset simulation.
    method : {"auto", "lines", "subset"}
        "auto" takes lines, and subset simulation where the search for design points is in doubt.

    Raises
    ------
    InputError
        For an unknown method; if lines are asked for and in doubt, with the reason; if no failure is found.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    if samples < 100:
        raise InputError(f"a rare failure needs at least 100 samples, got {samples}")
    if not 0 < error < 1:
        raise InputError(f"a relative standard error lies between 0 and 1, got {error!r}")
    state = LimitState(margin, dimensions)
    if method != "subset":
        regions = design_points(state, rng)
        doubt = regions.doubt
        if not doubt:
            try:
                return line_sampling(state, regions, samples, rng, error=error)
            except Uneven as uneven:
                doubt = str(uneven)
        if method == "lines":
            raise InputError(f"{doubt}: lines would give a wrong probability; use method 'subset'")
    return subset_simulation(state, samples, rng)
