"""A characterization -> the contents of a noise model.

Terms, constants and energies are those of all good samples; the held-out figures come from fits to parts of
them (`montecarlo.extraction.holdout`).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr

from circuits.benches.bias_lines import reference_current
from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from montecarlo.campaign.schema import package_version
from montecarlo.extraction import delay_law, energy_fit
from montecarlo.extraction import terms as extracted
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.holdout import validate
from montecarlo.extraction.prediction import Extraction, only_complete, spiking, weights_of
from montecarlo.mismatch.law import OFFSETS, UNIT, MismatchLaw
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.statistics.intervals import (
    correlation_interval,
    mean_interval,
    normality,
    samples_for_std,
    std_interval,
)
from ttfs_analog.noise.terms import JITTER, REFERENCE, SAMPLING, Constant, Term, nature

LEAST_SAMPLES = 20
LINEAR = "ideal sources and capacitors are linear; relative errors hold at any weight, window and current"
MEASURED = "constants and spreads are those of the test neuron, in its swing and at its operating point"
CORRELATED = ("slope", "threshold", "capacitance", "delay")


def fit(dataset: xr.Dataset, seed: int) -> dict[str, Any]:
    """Fields of `ttfs_analog.noise.noise_model.NoiseModel`.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization.
    seed : int
        Of the bootstrap and of the prediction intervals.

    Raises
    ------
    InputError
        If the campaign is not complete, too small, or drawn with a law that a noise model cannot draw.
    """
    dataset = dataset.load()
    check_complete(dataset)
    plan = extracted.plan_of(dataset)
    if plan.get("law") and (special := MismatchLaw.from_dict(plan["law"]).special):
        raise InputError(
            f"the campaign was drawn with {', '.join(special)}; a noise model draws independent "
            "terms of their usual distributions and would lose that: draw chips from the law itself"
        )
    good = dataset.isel(sample=dataset["status"].values == 0)
    if good.sizes["sample"] < LEAST_SAMPLES:
        raise InputError(
            f"{good.sizes['sample']} good samples are too few for a noise model; "
            f"at least {LEAST_SAMPLES}, and about {samples_for_std(0.1)} for sigmas to +-10 %"
        )
    _check_measured(good)
    good, devices, incomplete = only_complete(good, extract(good))
    rng = generator(seed, PLAN, 1)
    terms, reference = _terms(good, devices, rng)
    return {
        "technology": dataset.attrs["technology"],
        "units": extracted.unit_devices(dataset),
        "systematic": {
            name: Constant(float(getattr(devices.constants, name)), se, UNIT.get(name, "1"))
            for name, se in devices.errors.items()
        },
        "terms": terms,
        "reference": reference,
        "energy": _energy(good, devices),
        "correlations": _correlations(extracted.columns(good, devices)),
        "validity": _validity(dataset, plan),
        "holdout": validate(good, rng),
        "n_samples": int(good.sizes["sample"]),
        "n_failed": int(np.sum(dataset["status"].values != 0)),
        "n_incomplete": incomplete,
        "advice": {"samples_for_sigma_to_10_percent": samples_for_std(0.1)},
        "delay_law": _delay_law(good, devices),
        "provenance": {
            "plan": _without_inputs(plan),
            "plan_hash": dataset.attrs["plan_hash"],
            "level": dataset.attrs["level"],
            "ngspice_version": dataset.attrs["ngspice_version"],
            "package_version": package_version(),
            "fit_seed": seed,
        },
    }


def _delay_law(dataset: xr.Dataset, devices: Extraction) -> dict[str, float]:
    if "delay" not in devices.deviations:
        return {}
    return delay_law.fit(dataset, devices.deviations["delay"].values, float(devices.constants.delay))


def _without_inputs(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without the numbers of a layer's neurons, which its dataset has."""
    rows = plan.get("rows")
    names = ("layer", "neurons", "units", "network")
    return plan | ({"rows": {k: rows[k] for k in names}} if rows else {})


def check_complete(dataset: xr.Dataset) -> None:
    """Refuse a campaign that is still to be resumed."""
    for part, name in (("sample", "status"), ("nominal", "nominal_status"), ("trial", "trial_status")):
        if name in dataset and (missing := int(np.sum(dataset[name].values == -1))):
            raise InputError(
                f"the campaign is not complete: {missing} of {dataset.sizes[part]} {part}s are missing; give "
                "the same characterize command again to resume it"
            )


def _check_measured(good: xr.Dataset) -> None:
    """Refuse samples that count as good and were not measured: a mean would be NaN, or without them."""
    for name in ("spike_time" if spiking(good) else "v_t_min", "energy"):
        missing = good[name].isnull()
        lost = good["sample"].values[missing.any([d for d in missing.dims if d != "sample"]).values]
        if len(lost):
            raise InputError(
                f"sample {lost[0]} has status 0, which is good, and no {name} under some stimulus "
                f"({len(lost)} such samples): give them status 1, or characterize again"
            )


def _terms(
    dataset: xr.Dataset, devices: Extraction, rng: np.random.Generator
) -> tuple[dict[str, Term], dict[str, Term]]:
    """Terms by name, and the reference errors by bias line."""
    weights, units = weights_of(dataset), extracted.unit_devices(dataset)
    terms = {
        name: _term(nature(name), values, extracted.per_unit(values, weights, units), rng)
        for name, values in extracted.columns(dataset, devices).items()
    }
    lines = extracted.reference_columns(dataset)
    currents = [v for line, v in lines.items() if extracted.LINES[line] not in OFFSETS]
    if currents:
        together = np.stack(currents, axis=1)
        terms[REFERENCE] = _term(nature(REFERENCE), together, together, rng)
    jitter = extracted.jitter_column(dataset)
    if len(jitter) >= 3:
        name = JITTER if spiking(dataset) else SAMPLING
        terms[name] = _term(nature(name), jitter - jitter.mean(), jitter - jitter.mean(), rng)
    return terms, {line: _term(nature(REFERENCE), values, values, rng) for line, values in lines.items()}


def _term(kind: dict[str, str], values: np.ndarray, per_unit: np.ndarray, rng: np.random.Generator) -> Term:
    std, low, high = std_interval(per_unit, rng)
    mean, mean_low, mean_high = mean_interval(values)
    p = normality(per_unit)
    return Term(
        **kind,
        std=std,
        std_ci=(low, high),
        mean=mean,
        mean_ci=(mean_low, mean_high),
        n=int(np.isfinite(values.reshape(len(values), -1)).any(1).sum()),
        normality_p=None if math.isnan(p) else p,
    )


def _correlations(columns: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    result = {}
    for a, b in itertools.combinations([name for name in CORRELATED if name in columns], 2):
        both = np.isfinite(columns[a]) & np.isfinite(columns[b])
        r, low, high = correlation_interval(columns[a][both], columns[b][both])
        varies = not math.isnan(r)
        result[f"{a}-{b}"] = {"value": r if varies else 0.0, "ci95": [low, high] if varies else None}
    return result


def _energy(dataset: xr.Dataset, devices: Extraction) -> dict[str, dict[str, dict[str, Any]]]:
    """Coefficients by supply and part; that of the references is known."""
    energy: dict[str, dict[str, dict[str, Any]]] = {}
    for (supply, part), c in energy_fit.fit(dataset, devices).items():
        entry = {"value": c.value, "ci95": [c.low, c.high], "unit": energy_fit.UNITS[part]}
        energy.setdefault(supply, {})[part] = entry
    process = Technology.load(dataset.attrs["technology"]).process
    if process is not None:
        point = OperatingPoint.from_json(dataset.attrs["operating_point"])
        amps = reference_current(process, point, spiking(dataset))
        supply, part = energy_fit.REFERENCE
        energy[supply] = {part: {"value": amps, "ci95": [amps, amps], "unit": energy_fit.UNITS[part]}}
    bias = energy.get("comparator", {}).get("bias")
    if bias and "deviation_tail" in dataset and np.isfinite(dataset["deviation_tail"]).all():
        # the coefficient is that of the mean neuron, whose tail is not the nominal one
        bias["mean_tail"] = 1.0 + float(dataset["deviation_tail"].mean())
    return energy


def _validity(dataset: xr.Dataset, plan: dict[str, Any]) -> dict[str, Any]:
    """Ideal sources are linear at any weight and window; transistors hold where they were measured."""
    weight = float(np.abs(dataset["weight"].values).max())
    window = float(dataset.attrs["window" if spiking(dataset) else "t_min"])
    point = OperatingPoint.from_json(dataset.attrs["operating_point"])
    ideal = Technology.load(dataset.attrs["technology"]).process is None
    room = float((plan.get("rows") or {}).get("most", weight))  # unit devices up to what a switch carries
    return {
        "weight": {"max": None if ideal else room, "characterized_max": weight},
        "window": {"max": None if ideal else window, "characterized_max": window},
        "operating_point": asdict(point),
        "supply": point.vdd,
        **{name: plan.get(name) for name in ("corner", "temperature", "area", "comparator")},
        "why": LINEAR if ideal else MEASURED,
    }
