"""What the report says of a network on transistors: membranes, whole chips, accuracy, energy."""

from __future__ import annotations

from typing import Any

import xarray as xr

from montecarlo.plots.agreement import predictions
from montecarlo.plots.plotting import data_uri
from ttfs_analog.evaluation import transistor_summary, transistor_verification, verification
from ttfs_analog.evaluation.accuracy import SCHEMA as ACCURACY
from ttfs_analog.evaluation.energy import SCHEMA as ENERGY

WAVEFORM = "ttfs-analog/waveform/1"
Section = dict[str, Any]
Results = dict[str, dict[str, Any]]
"""By schema, then by file."""


def set_apart(results: Results) -> Results:
    """Take what is on transistors out of the results of a folder without one of its own for them.

    Where whole chips of transistors were simulated and none of ideal sources, accuracy, energy and membranes
    are those of the same network.

    Parameters
    ----------
    results : dict
        Is changed.
    """
    schema = transistor_verification.SCHEMA
    if schema not in results:
        return {}
    alone = verification.SCHEMA not in results
    taken = (schema, *(ACCURACY, ENERGY, WAVEFORM) * alone)
    return {name: results.pop(name) for name in taken if name in results}


def section(
    results: Results, *, membranes: Section | None, accuracy: Section | None, energy: Section | None
) -> Section | None:
    """The section of everything on transistors; None: there is nothing.

    Parameters
    ----------
    results : dict
        Those on transistors.
    membranes, accuracy, energy : dict, optional
        Their sections, as of a network of ideal sources.
    """
    if membranes:
        membranes |= {
            "title": "Membranes in ngspice",
            "text": "Hidden neurons of one chip and one image. Dotted: where each neuron's own comparator "
            "trips; dots: the spike that the equation predicts from the chip's devices, later by the "
            "comparator's delay, by which the firing window is longer; faint: how the membrane goes on.",
        }
    parts = [s for s in (membranes, _whole_chips(results), accuracy, energy) if s]
    if not parts:
        return None
    technology = next(
        (ds.attrs["technology"] for sets in results.values() for ds in sets.values() if _names_one(ds)), ""
    )
    return {
        "title": "On transistors",
        "text": f"The network placed on {technology or 'transistors'}: synapses, comparators, references are "
        "made of transistors, and each of them deviates by the matching of the process.",
        "parts": parts,
    }


def _names_one(content: Any) -> bool:
    return isinstance(content, xr.Dataset) and "technology" in content.attrs


def _whole_chips(results: Results) -> Section | None:
    """Predicted against simulated spike times, the equation with each chip's devices and without."""
    if transistor_verification.SCHEMA not in results:
        return None
    name, ds = next(iter(results[transistor_verification.SCHEMA].items()))
    f = transistor_summary.summarize(ds)
    low, high = (100 * v for v in f["class_agreement_ci95"])
    panels = {
        "devices of each chip known": ds["spike_time_model"].values,
        "no device deviates": ds["spike_time_nominal"].values,
    }
    figure = predictions(panels, ds["spike_time_spice"].values, ds["layer"].values)
    supplies = ", ".join(f"{k} {v:.3f}" for k, v in f["energy_ratio_by_supply"].items())
    covered = ""
    if f["coverage_95"] is not None:
        covered = (
            f"{100 * f['coverage_95']:.1f} % of the circuit's spike times fall into the 95 % intervals of "
            "chips that the noise model draws. "
        )
    if "remedy" in ds.attrs:
        covered = f"Every chip was treated with {ds.attrs['remedy']} first. "
    return {
        "title": "Whole chips in ngspice",
        "text": f"{f['chips']} chips drawn device by device, which nothing was fitted on, and {f['images']} "
        f"images, all neurons of all layers. Same chip, same image: spike times agree to "
        f"{f['spike_time_rms_tau_c']:.2g} tau_c rms ({f['spike_time_rms_without_deviations']:.2g} if the "
        f"chip's deviations are left out), with {f['one_sided_spikes']} spikes in one of the two only; "
        f"{covered}Both decide alike on {100 * f['class_agreement']:.1f} % of the images, "
        f"95 % interval {low:.0f} .. {high:.0f} %; accuracy in ngspice {100 * f['accuracy_spice']:.1f} %, "
        f"by the model {100 * f['accuracy_model']:.1f} %. Energy {1e12 * f['energy_spice_j']:.3g} pJ an "
        f"inference; model / ngspice {f['energy_ratio']:.3f} ({supplies}).",
        "figures": [data_uri(figure)],
        "files": [name],
    }
