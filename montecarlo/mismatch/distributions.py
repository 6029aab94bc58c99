r"""Distributions and correlations made from the same standard normals z.

============  ======================================================================
name          deviation e of a term with sigma and mean mu
============  ======================================================================
lognormal     ln(1 + e) = mu + sigma z: the rule for currents and capacitors
normal        e = mu + sigma z: the rule for offsets; linear also for the others
student-t:DF  as the rule, with z replaced by a Student-t of DF > 2 of the same sigma
============  ======================================================================

.. math:: t = F_\nu^{-1}(\Phi(z)) \sqrt{(\nu - 2) / \nu}

is a rising function of z, so that a chip keeps its good and bad devices under another distribution.
Correlations are those of the z (a Gaussian copula): with Student-t terms, of their normal scores.

Source: Nelsen, An Introduction to Copulas (2006), sec. 2.3 (the invariance under rising functions).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from circuits.errors import InputError
from circuits.model.layer import Array

LARGEST = 30.0
"""|ln(1 + e)| of heavy-tailed devices ends here (13 decades): no device is exactly 0 or infinite."""
SAFE = 8.0
"""Sigmas that a linear normal must lie away from a device of no current: 6e-16 of the draws reach it."""


def _freedom(name: str | None) -> float | None:
    """Degrees of freedom of a `student-t:DF`; None for any other name."""
    if name is None or not name.startswith("student-t"):
        return None
    try:
        value = float(name.removeprefix("student-t:"))
    except ValueError:
        value = math.nan
    if not 2 < value < math.inf:
        raise InputError(f"{name!r}: write student-t:DF with DF > 2, else there is no sigma")
    return value


def check_distribution(term: str, name: str, sigma: float, mean: float, *, offset: bool) -> None:
    """Refuse a distribution that cannot be drawn.

    Parameters
    ----------
    term, name : str
        The term, and its distribution.
    sigma : float
        Of everything that varies in the term, its common part too.
    mean : float
        Of the term.
    offset : bool
        Whether the term adds instead of multiplying.

    Raises
    ------
    InputError
    """
    if name not in ("lognormal", "normal") and _freedom(name) is None:
        raise InputError(f"unknown distribution {name!r} of {term}; known: lognormal, normal, student-t:DF")
    if offset and name == "lognormal":
        raise InputError(f"{term} is an offset of either sign: it cannot be lognormal")
    if not offset and name == "normal" and 1 + mean < SAFE * sigma:
        raise InputError(
            f"a linear normal {term} of sigma {sigma:g} could change a device's sign (it takes sigma <= "
            f"{max(1 + mean, 0) / SAFE:g}); use lognormal"
        )


def shaped(z: Array, name: str | None) -> Array:
    """Standard normals as draws of mean 0 and std 1 of the named distribution.

    Parameters
    ----------
    z : array
        Standard normals; the result has its shape.
    name : str, optional
        None: the term's rule.
    """
    df = _freedom(name)
    if df is None:
        return z
    # from the lower tail, where probabilities keep their digits
    t = -special.stdtrit(df, special.ndtr(-np.abs(z))) * math.sqrt((df - 2) / df)
    return np.copysign(t, z)


def multiplied(value: Array, name: str | None) -> Array:
    """Deviation e of a term that multiplies.

    Parameters
    ----------
    value : array
        mu + sigma z; the result has its shape.
    name : str, optional
        Distribution; None: lognormal.
    """
    if name == "normal":
        return value
    return np.expm1(value if _freedom(name) is None else np.clip(value, -LARGEST, LARGEST))


def cholesky(names: Sequence[str], pairs: Sequence[tuple[str, str, float]]) -> Array:
    """Lower root of a correlation matrix, shape (name, name).

    Parameters
    ----------
    names : sequence of str
        Of rows and columns.
    pairs : sequence of (str, str, float)
        Two names and their correlation in (-1, 1); all others are 0.

    Raises
    ------
    InputError
        If a name is unknown, a pair comes twice, or no such correlations can exist together.
    """
    matrix = np.eye(len(names))
    seen = set()
    for a, b, rho in pairs:
        if a not in names or b not in names or a == b or frozenset((a, b)) in seen:
            raise InputError(f"correlation of {a!r} and {b!r}: give each pair of {', '.join(names)} once")
        if not -1 < rho < 1:
            raise InputError(f"correlation of {a} and {b} must lie between -1 and 1, got {rho!r}")
        seen.add(frozenset((a, b)))
        i, j = names.index(a), names.index(b)
        matrix[i, j] = matrix[j, i] = rho
    try:
        return np.linalg.cholesky(matrix).astype(np.float64)
    except np.linalg.LinAlgError:
        raise InputError(
            f"correlations {list(pairs)} cannot exist together: the matrix is not positive definite"
        ) from None
