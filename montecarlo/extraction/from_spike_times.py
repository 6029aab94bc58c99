r"""Spike times of a campaign -> the deviation of every device, neuron by neuron.

With the slope under the test current, r = 1/(1+c), and the spike times t_low, t_high of the two
thresholds,

.. math:: 1+c = 1/r, \quad k = \frac{\theta_h - \theta_l}{t_h - t_l}, \quad 1+\beta = k (1+c),
          \quad o = (k\,t_h - \theta_h)(1+c), \quad
          1+e_j = \frac{k (t_h - t_j)(1+c)}{W_j x_j}

Nothing is assumed about the size of any deviation; the injected ones are not looked at.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.layer import LayerMismatch
from montecarlo.campaign.protocol import T_MIN

LARGEST_LOSS = 0.01
"""Share of neurons that may be left out of a fit."""
DIMS = {
    "synapse": ("sample", "synapse"),
    "slope": ("sample",),
    "threshold": ("sample",),
    "capacitance": ("sample",),
}


def weights_of(dataset: xr.Dataset) -> np.ndarray:
    """Nominal weights of every sample, shape (sample, synapse)."""
    pattern = dataset["sample"].values % dataset.sizes["pattern"]
    return dataset["weight"].values[pattern]


def extract(dataset: xr.Dataset) -> xr.Dataset:
    """Device deviations of every sample.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization (see `montecarlo.campaign.schema`).

    Returns
    -------
    xarray.Dataset
        `synapse` (sample, synapse), `slope`, `threshold`, `capacitance` (sample): relative
        deviations, the threshold offset in units of potential. NaN where a stimulus that is
        needed did not fire inside the window.
    """
    time, theta = dataset["spike_time"], dataset["theta"]
    inside = time.where((time > 0) & np.isfinite(time))
    c = 1.0 / dataset["slope"].sel(stimulus="reference", drop=True) - 1.0
    low, high = inside.sel(stimulus="ramp_low", drop=True), inside.sel(stimulus="ramp_high", drop=True)
    theta_low, theta_high = (float(theta.sel(stimulus=s)) for s in ("ramp_low", "ramp_high"))
    k = (theta_high - theta_low) / (high - low)
    single = [s for s in dataset["stimulus"].values if str(s).startswith("synapse_")]
    t = inside.sel(stimulus=single).rename(stimulus="synapse").assign_coords(synapse=dataset["synapse"])
    x = T_MIN - np.diagonal(dataset["input_time"].sel(stimulus=single).values)
    charge = k * (high - t) * (1.0 + c)
    weight = xr.DataArray(weights_of(dataset), dims=("sample", "synapse"))
    found = xr.Dataset(
        {
            "synapse": charge / (weight * xr.DataArray(x, dims="synapse")) - 1.0,
            "slope": k * (1.0 + c) - 1.0,
            "threshold": (k * high - theta_high) * (1.0 + c),
            "capacitance": c,
        }
    )
    return found.transpose("sample", "synapse").compute()


def as_mismatch(found: xr.Dataset) -> LayerMismatch:
    """Extracted samples as the neurons of one layer: arrays (1, sample[, synapse])."""
    return LayerMismatch(**{name: found[name].transpose(*dims).values[None] for name, dims in DIMS.items()})


def complete(good: xr.Dataset) -> tuple[xr.Dataset, int]:
    """Neurons all of whose devices could be extracted, and how many could not.

    Those that could not are the extreme ones: leaving out many would bias every sigma.
    """
    found = extract(good)
    whole = np.isfinite(found["synapse"].values).all(1)
    for name in ("slope", "threshold", "capacitance"):
        whole &= np.isfinite(found[name].values)
    lost = int(np.sum(~whole))
    if lost > LARGEST_LOSS * len(whole):
        raise InputError(
            f"{lost} of {len(whole)} neurons spiked too early or not at all where the protocol needs them; "
            "sigmas from the rest would be biased: the mismatch is too large for this protocol"
        )
    return good.isel(sample=whole), lost
