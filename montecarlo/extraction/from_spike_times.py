r"""Spike times of a campaign -> the deviation of every device, neuron by neuron.

With the slope under the test current, r = 1/(1+c), the spike times t_low, t_high of the two thresholds and
t_j of the input j alone, `circuits.model.closed_form` gives

.. math:: 1+c = 1/r, \quad K = \frac{\theta_h - \theta_l}{t_h - t_l}, \quad 1+\beta = K (1+c),
          \quad o = (1+c)(K t_h - \theta_h)

.. math:: W_j (1+e_j)\, x_j = \theta_h (1+c) + o - (1+\beta)\, t_j

K is the potential per time of the ramp on the real capacitor. Nothing is assumed about the size of any
deviation; the injected ones are not looked at. A delay that is the same under all stimuli acts as an offset
and is counted as one. Of wide neurons, j is a sum of synapses; each of them is given the deviation of the
sum, and the coordinate SUM says which one that is.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from montecarlo.extraction.prediction import SUM, Extraction, activations, weights_of


def extract(dataset: xr.Dataset) -> Extraction:
    """Device deviations of every sample of an ideal circuit.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization (see `montecarlo.campaign.schema`).

    Returns
    -------
    Extraction
        NaN where a stimulus that is needed did not fire inside the window.
    """
    time, theta = dataset["spike_time"], dataset["theta"]
    inside = time.where((time > 0) & np.isfinite(time))
    capacitance = 1.0 / dataset["slope"].sel(stimulus="reference", drop=True)
    low, high = (inside.sel(stimulus=s, drop=True) for s in ("ramp_low", "ramp_high"))
    theta_low, theta_high = (float(theta.sel(stimulus=s)) for s in ("ramp_low", "ramp_high"))
    rate = (theta_high - theta_low) / (high - low)
    slope = rate * capacitance
    offset = capacitance * (rate * high - theta_high)
    some = [s for s in dataset["stimulus"].values if str(s).startswith(("synapse_", "sum_"))]
    charge = theta_high * capacitance + offset - slope * inside.sel(stimulus=some)
    x = activations(dataset.sel(stimulus=some))
    nominal = xr.DataArray(weights_of(dataset) @ x.T, dims=("sample", "stimulus"))
    asked = xr.DataArray(np.argmax(x > 0, axis=0), dims="synapse", coords={"synapse": dataset["synapse"]})
    synapse = (charge / nominal - 1.0).drop_vars("stimulus").isel(stimulus=asked)
    if len(some) < dataset.sizes["synapse"]:
        synapse = synapse.assign_coords({SUM: asked})
    deviations = xr.Dataset(
        {
            "synapse": synapse,
            "slope": slope - 1.0,
            "threshold": offset,
            "capacitance": capacitance - 1.0,
        }
    )
    return Extraction(deviations.transpose("sample", "synapse").compute())
