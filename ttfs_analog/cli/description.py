"""What `describe` does: the statistics of a campaign. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from circuits.errors import InputError
from montecarlo.campaign.schema import MEASURED, open_dataset, package_version, with_units
from montecarlo.extraction.from_spike_times import extract
from montecarlo.mismatch.law import OFFSETS
from montecarlo.statistics.by_dimension import describe
from montecarlo.statistics.goodness_of_fit import Outcome, kolmogorov_smirnov
from montecarlo.statistics.intervals import samples_for_std
from ttfs_analog.cli.console import Result
from ttfs_analog.cli.transistor_report import describe_transistors
from ttfs_analog.noise.noise_model import NoiseModel

DESCRIPTION = "ttfs-analog/description/1"


def describe_campaign(dataset: str, against: str | None, plot: str | None, out: str, seed: int) -> Result:
    """Statistics of the extracted deviations, and of every measured quantity by pattern and stimulus."""
    if plot and Path(plot).exists() and not Path(plot).is_dir():
        raise InputError(f"--plot {plot} is a file; name a folder")
    stored = open_dataset(dataset).load()
    if stored.attrs["extraction"] == "operating_points":
        if against:
            raise InputError("--against compares with a noise model, which does not describe transistors")
        return describe_transistors(stored, dataset, plot, out, seed)
    status = stored["status"].values
    run = stored.isel(sample=status != -1)
    if not run.sizes["sample"]:
        raise InputError(f"{dataset} holds no finished sample; give the same characterize command again")
    terms = _terms(run)
    rows = {name: describe(values, heavy_tails=True) for name, values in terms.items()}
    described = [v.rename({k: f"deviation_{name}_{k}" for k in v.data_vars}) for name, v in rows.items()]
    described += [_by_pattern(run, name) for name in MEASURED]
    whole = xr.merge(described, combine_attrs="override", compat="equals", join="exact")
    keep = ("technology", "operating_point", "entropy", "plan_hash", "ngspice_version", "deck_hash")
    whole.attrs = {"schema": DESCRIPTION, "package_version": package_version()}
    whole.attrs |= {key: stored.attrs[key] for key in keep if key in stored.attrs}
    with_units(whole).to_netcdf(out)
    result: dict[str, Any] = {
        "path": out,
        "n_samples": int(run.sizes["sample"]),
        "n_failed": int(np.sum(status > 0)),
        "n_not_run": int(np.sum(status == -1)),
        "terms": {name: _numbers(row) for name, row in rows.items()},
        "samples_for_sigma_to_10_percent": samples_for_std(0.1),
    }
    if against:
        result["against"] = against
        for name, test in _against(
            NoiseModel.load(against), terms, stored.attrs.get("plan_hash", "")
        ).items():
            result["terms"][name] |= {"ks_distance": test.statistic, "ks_p": test.p}
    if plot:
        result["plots"] = _plot_campaign(dataset, plot)
    return result, _description_text(result)


def _against(model: NoiseModel, terms: dict[str, xr.DataArray], plan_hash: str) -> dict[str, Outcome]:
    """Kolmogorov-Smirnov of every term that the model has too; other chips than those of its fit."""
    if plan_hash and model.provenance.get("plan_hash") == plan_hash:
        raise InputError(
            "--against: this noise model was fitted to these very samples, which would agree too well; "
            "characterize others with another --seed"
        )
    tests = {}
    for name, values in terms.items():
        if (term := model.terms.get(name)) and term.std > 0:
            law = stats.norm(term.mean, term.std)
            tests[name] = kolmogorov_smirnov(values.values[np.isfinite(values.values)], law.cdf)
    return tests


def _terms(run: xr.Dataset) -> dict[str, xr.DataArray]:
    """u of every device kind, as the noise model sees it; one dimension, `sample`."""
    found = extract(run)
    positive = (run["weight"].values > 0).all(0)
    synapse = found["synapse"].values
    columns = {"synapse_source": synapse[:, positive], "synapse_sink": synapse[:, ~positive]}
    columns |= {name: found[name].values for name in ("slope", "threshold", "capacitance")}
    terms = {}
    for name, values in columns.items():
        if not values.size:
            continue  # a neuron with one synapse has no sinks
        offset = name in OFFSETS
        attrs = {"units": "1", "long_name": f"{name} offset" if offset else f"ln(1 + {name})"}
        flat = values.ravel() if offset else np.log1p(values.ravel())
        terms[name] = xr.DataArray(flat, dims="sample", name=name, attrs=attrs)
    return terms


def _by_pattern(run: xr.Dataset, name: str) -> xr.Dataset:
    """One measured quantity, (pattern, stimulus): samples of other weights are another population."""
    pattern = run["sample"].values % run.sizes["pattern"]
    found = [describe(run[name].isel(sample=pattern == k)) for k in range(run.sizes["pattern"])]
    whole = xr.concat(found, "pattern", combine_attrs="override")
    return whole.rename({k: f"{name}_{k}" for k in whole.data_vars})


def _numbers(row: xr.Dataset) -> dict[str, Any]:
    """The scalars of a description, and its quantiles as [value, low, high]."""
    numbers = {str(k): v.item() for k, v in row.data_vars.items() if not v.dims}
    columns = (row[f"quantile_{k}"].values.tolist() for k in ("value", "low", "high"))
    names = (f"{q:g}" for q in row["quantile"].values)
    return {
        **numbers,
        "quantiles": {k: list(v) for k, v in zip(names, zip(*columns, strict=True), strict=True)},
    }


def _description_text(result: dict[str, Any]) -> str:
    rows = [
        f"{result['n_samples']} samples, {result['n_failed']} failed, {result['n_not_run']} not run",
        f"{'term':<15} {'n':>7} {'lost':>5} {'mean':>20} {'std':>20} {'skewness':>16} {'kurtosis':>16} "
        f"{'normal p':>9} {'tail p':>7}",
    ]
    for name, t in result["terms"].items():
        pairs = [f"{t[k]:.3g} +- {t[f'{k}_se']:.2g}" for k in ("mean", "std", "skewness", "kurtosis")]
        rows.append(
            f"{name:<15} {t['n']:>7} {t['n_failed'] + t['n_silent']:>5} {pairs[0]:>20} {pairs[1]:>20} "
            f"{pairs[2]:>16} {pairs[3]:>16} {t['normality_p']:>9.2g} {t['tail_p']:>7.2g}"
        )
    rows.append("95 % of neurons lie in (with 95 % confidence; normal law / any law):")
    for name, t in result["terms"].items():
        ends = [t[f"{k}_{end}"] for k in ("tolerance", "free_tolerance") for end in ("low", "high")]
        rows.append("{:<15} [{:.4g}, {:.4g}] / [{:.4g}, {:.4g}]".format(name, *ends))
    if "against" in result:
        rows.append(f"Kolmogorov-Smirnov against {result['against']}:")
        tested = {k: t for k, t in result["terms"].items() if "ks_p" in t}
        rows += [f"{k:<15} D = {t['ks_distance']:.4f}, p = {t['ks_p']:.2g}" for k, t in tested.items()]
    advice = result["samples_for_sigma_to_10_percent"]
    if result["n_samples"] < advice:
        rows.append(f"few samples: sigmas to +-10 % need about {advice}")
    return "\n".join([*rows, result["path"]])


def _plot_campaign(path: str, folder: str) -> list[str]:
    from montecarlo.plots.distribution_plots import distribution, save_both, strips

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with open_dataset(path) as stored:
        run = stored.load().isel(sample=stored["status"].values != -1)
    made = []
    for name, values in _terms(run).items():
        figure = distribution(values.values, str(values.attrs["long_name"]), name)
        made += save_both(figure, target / name)
    pattern = run["sample"].values % run.sizes["pattern"]
    last = run["spike_time"].isel(stimulus=-1)
    groups = {f"pattern {k}": last.values[pattern == k] for k in range(run.sizes["pattern"])}
    title = f"stimulus {last['stimulus'].item()}, by weight pattern"
    made += save_both(
        strips(groups, "spike time after t_min [tau_c]", title), target / "spike_time_by_pattern"
    )
    return [str(p) for p in made]
