"""The devices of a campaign's neurons, by whichever measurement its technology has."""

from __future__ import annotations

import xarray as xr

from circuits.errors import InputError
from montecarlo.extraction import from_operating_points, from_samples, from_spike_times
from montecarlo.extraction.prediction import Extraction

EXTRACTIONS = {
    "spike_times": from_spike_times.extract,
    "operating_points": from_operating_points.extract,
    "samples": from_samples.extract,
}


def extract(dataset: xr.Dataset) -> Extraction:
    """Deviations of every sample, and constants of the circuit, of any characterization.

    Raises
    ------
    InputError
        If the dataset names an extraction that is not known.
    """
    name = dataset.attrs.get("extraction")
    if name not in EXTRACTIONS:
        raise InputError(f"extraction {name!r} is not known; known: {', '.join(EXTRACTIONS)}")
    return EXTRACTIONS[name](dataset)
