r"""How the delay of a comparator comes about from its own transistors and currents.

.. math:: \ln \frac{d_i}{d} = a_0 + a_I \ln(1 + r_i) + a_B \ln(1 + \beta_i)
          + \sum_k \left( a_k \Delta V_{th,k} + b_k \ln \mu_k \right)

with r the deviation of the tail current, beta that of the slope current, and the threshold shifts and current
factors of all other transistors of comparator and latch: linear in the logarithm, to half a per cent. So the
delays of a chip's neurons are known from its devices, without a transient. Ridge regression over the samples
of a campaign, on features of unit variance: there are nearly as many of them as samples.

Source: Hoerl and Kennard, Technometrics 12(1), 55-67 (1970).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from circuits.model.layer import Array

TAIL, SLOPE, INTERCEPT = "tail", "slope", "intercept"
FACTOR = ":factor"
"""Ends the name of a feature that is ln of a device's current factor; others are its threshold shift [V]."""
TAIL_DEVICE = "n_cmp_m5"
"""What it deviates by is in the tail's current."""
RIDGE = 1.0
"""Weight of the squares of coefficients, in samples."""
LEAST = 20
"""Samples without which there is no law."""
Law = Mapping[str, float]


def features(
    tail: Array, slope: Array, devices: Sequence[str], shift: Array, factor: Array
) -> dict[str, Array]:
    """Columns by name, shape (neuron,).

    Parameters
    ----------
    tail, slope : array, shape (neuron,)
        Deviations of tail and slope currents.
    devices : sequence of str
        Paths of the transistors.
    shift, factor : array, shape (neuron, device)
        Threshold shifts [V] and current factors.
    """
    columns = {TAIL: np.log1p(tail), SLOPE: np.log1p(slope)}
    for k, path in enumerate(devices):
        if path != TAIL_DEVICE:
            columns |= {path: shift[:, k], path + FACTOR: np.log(factor[:, k])}
    return columns


def of_samples(dataset: xr.Dataset) -> dict[str, Array] | None:
    """The same of the samples of a campaign; None: it did not note them."""
    if "shift" not in dataset or not np.isfinite(dataset["deviation_tail"].values).all():
        return None
    return features(
        dataset["deviation_tail"].values,
        dataset["deviation_slope"].values,
        [str(d) for d in dataset["device"].values],
        dataset["shift"].values,
        dataset["factor"].values,
    )


def fit(dataset: xr.Dataset, late: Array, delay: float) -> dict[str, float]:
    """Coefficients by feature; empty where the campaign cannot tell.

    Parameters
    ----------
    dataset : xarray.Dataset
        Good samples.
    late : array, shape (sample,)
        Deviations of their delays [tau_c]; NaN = not known.
    delay : float
        Of the nominal comparator [tau_c].
    """
    columns = of_samples(dataset)
    known = np.isfinite(late) & (late > -delay)
    if columns is None or known.sum() < LEAST or not delay > 0:
        return {}
    names = [name for name, column in columns.items() if column[known].std() > 0]
    matrix = np.stack([columns[name][known] for name in names], axis=1)
    scale = matrix.std(axis=0)
    centered = (matrix - matrix.mean(axis=0)) / scale
    y = np.log1p(late[known] / delay)
    normal = centered.T @ centered + RIDGE * np.eye(len(names))
    value = np.linalg.solve(normal, centered.T @ (y - y.mean())) / scale
    intercept = float(y.mean() - matrix.mean(axis=0) @ value)
    return {INTERCEPT: intercept, **dict(zip(names, value.tolist(), strict=True))}


def late_by(law: Law, columns: Mapping[str, Array], delay: float) -> Array:
    """Deviations of delays from the nominal one, shape (neuron,) [tau_c]; zeros without a law.

    Parameters
    ----------
    law : mapping
        Of `fit`.
    columns : mapping
        Of `features`.
    delay : float
        Of the nominal comparator [tau_c].
    """
    total = np.zeros_like(columns[TAIL])
    for name, value in law.items():
        total = total + (value if name == INTERCEPT else value * columns[name])
    return delay * np.expm1(total)
