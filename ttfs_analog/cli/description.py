"""What `describe` and `fit` do: statistics of a campaign, its noise model. No torch here."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy import stats

from circuits.errors import InputError
from circuits.whole_file import local
from montecarlo.campaign.schema import save_dataset
from montecarlo.extraction.description import statistics, term_values
from montecarlo.extraction.reading import layer_stores, load_dataset
from montecarlo.plots.drawing import Drawing, both
from montecarlo.statistics.goodness_of_fit import Outcome, kolmogorov_smirnov
from montecarlo.statistics.intervals import samples_for_std
from ttfs_analog.cli.console import Drawn, Result
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_model import Noise, NoiseModel
from ttfs_analog.noise.noise_set import NoiseSet
from ttfs_analog.noise.summary import figures

if TYPE_CHECKING:
    from montecarlo.plots.style import Figure


def fit_campaign(dataset: str, out: str, seed: int) -> Result:
    """The noise model of a campaign, or of those on all layers of a network.

    Parameters
    ----------
    dataset : str
        Path of the campaign, or of the folder with one a layer.
    out : str
        File of the noise model.
    seed : int
        Of the bootstrap.
    """
    stores, others = layer_stores(Path(dataset))
    model: Noise
    if not stores:
        others = []  # a folder of no layers is refused as a whole
    if stores:
        fitted = tuple(NoiseModel.fit(load_dataset(store), seed) for store in stores)
        rows = fitted[0].provenance["plan"].get("rows") or {}
        model = LayeredNoise(fitted, str(rows.get("network", "")))
    else:
        model = NoiseModel.fit(load_dataset(dataset), seed)
    model.save(out)
    text = "".join(f"left out: {Path(dataset) / name}\n" for name in others)
    return {"path": out, **figures(model), "left_out": others}, f"{text}{model.summary()}\n{out}"


def describe_campaign(dataset: str, against: str | None, plot: str | None, out: str, seed: int) -> Drawn:
    """Statistics of a campaign of any technology, and what its noise model says where it is complete.

    Parameters
    ----------
    dataset : str
        Path of the campaign.
    against : str or None
        File of a noise model to test the samples against.
    plot : str or None
        Folder for figures.
    out : str
        File of the statistics.
    seed : int
        Of the bootstrap.
    """
    if plot and local(plot).exists() and not Path(plot).is_dir():
        raise InputError(f"--plot {plot} is a file; name a folder")
    stored = load_dataset(dataset)
    status = stored["status"].values
    run = stored.isel(sample=status != -1)
    if not run.sizes["sample"]:
        raise InputError(f"{dataset} holds no finished sample; give the same characterize command again")
    terms = term_values(run)
    description = statistics(run, terms)
    save_dataset(description, out)
    result: dict[str, Any] = {
        "path": out,
        "n_samples": int(run.sizes["sample"]),
        "n_failed": int(np.sum(status > 0)),
        "n_not_run": int(np.sum(status == -1)),
        "n_retried": int(np.sum(run["retried"].values)),
        "terms": {name: _numbers(description, f"deviation_{name}_") for name in terms},
        "samples_for_sigma_to_10_percent": samples_for_std(0.1),
    }
    if against:
        result["against"] = against
        tests = _against(_alone(against), terms, stored.attrs.get("plan_hash", ""))
        for name, test in tests.items():
            result["terms"][name] |= {"ks_distance": test.statistic, "ks_p": test.p}
    model, summary = _model(stored, seed)
    if model:
        result |= {k: v for k, v in figures(model).items() if k not in result}
    drawings = _drawings(run, terms, model, Path(plot)) if plot else []
    if plot:
        result["plots"] = [name for drawing in drawings for name in drawing.names]
    return result, f"{_text(result)}\n\n{summary}\n{out}", drawings


def _model(stored: xr.Dataset, seed: int) -> tuple[NoiseModel | None, str]:
    """The noise model and its summary; None, and why, of a campaign that is not complete or too small."""
    try:
        model = NoiseModel.fit(stored, seed)
    except InputError as error:
        return None, f"no noise model: {error}"
    return model, model.summary()


def _alone(path: str) -> NoiseSet:
    """The noise model of one campaign."""
    model = NoiseModel.load(path)
    if len(model.sets) > 1:
        raise InputError(
            f"--against {path} holds {len(model.sets)} layers; take the noise model that was fitted to the "
            "campaign of one layer"
        )
    return model.of(0)


def _against(model: NoiseSet, terms: dict[str, xr.DataArray], plan_hash: str) -> dict[str, Outcome]:
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


def _numbers(description: xr.Dataset, prefix: str) -> dict[str, Any]:
    """The scalars of one term, and its quantiles as [value, low, high]."""
    row = {
        str(k).removeprefix(prefix): v for k, v in description.data_vars.items() if str(k).startswith(prefix)
    }
    numbers = {k: v.item() for k, v in row.items() if not v.dims}
    columns = (row[f"quantile_{k}"].values.tolist() for k in ("value", "low", "high"))
    names = (f"{q:g}" for q in description["quantile"].values)
    return {
        **numbers,
        "quantiles": {k: list(v) for k, v in zip(names, zip(*columns, strict=True), strict=True)},
    }


def _text(result: dict[str, Any]) -> str:
    rows = [
        f"{result['n_samples']} samples, {result['n_failed']} failed, {result['n_not_run']} not run, "
        f"{result['n_retried']} transients run again more exactly",
        f"{'term':<17} {'n':>7} {'lost':>5} {'mean':>20} {'std':>20} {'skewness':>16} {'kurtosis':>16} "
        f"{'normal p':>9} {'tail p':>7}",
    ]
    for name, t in result["terms"].items():
        pairs = [f"{t[k]:.3g} +- {t[f'{k}_se']:.2g}" for k in ("mean", "std", "skewness", "kurtosis")]
        rows.append(
            f"{name:<17} {t['n']:>7} {t['n_failed'] + t['n_silent']:>5} {pairs[0]:>20} {pairs[1]:>20} "
            f"{pairs[2]:>16} {pairs[3]:>16} {t['normality_p']:>9.2g} {t['tail_p']:>7.2g}"
        )
    rows.append("95 % of neurons lie in (with 95 % confidence; normal law / any law):")
    for name, t in result["terms"].items():
        ends = [t[f"{k}_{end}"] for k in ("tolerance", "free_tolerance") for end in ("low", "high")]
        rows.append("{:<17} [{:.4g}, {:.4g}] / [{:.4g}, {:.4g}]".format(name, *ends))
    if "against" in result:
        rows.append(f"Kolmogorov-Smirnov against {result['against']}:")
        tested = {k: t for k, t in result["terms"].items() if "ks_p" in t}
        rows += [f"{k:<17} D = {t['ks_distance']:.4f}, p = {t['ks_p']:.2g}" for k, t in tested.items()]
    return "\n".join(rows)


def _drawings(
    run: xr.Dataset, terms: dict[str, xr.DataArray], model: NoiseModel | None, folder: Path
) -> list[Drawing]:
    def of_term(name: str) -> Figure:
        from montecarlo.plots.distribution_plots import distribution

        return distribution(terms[name].values, str(terms[name].attrs["long_name"]), name)

    def by_pattern() -> Figure:
        from montecarlo.plots.distribution_plots import strips

        pattern = run["sample"].values % run.sizes["pattern"]
        last = run["spike_time"].isel(stimulus=-1)
        groups = {f"pattern {k}": last.values[pattern == k] for k in range(run.sizes["pattern"])}
        title = f"stimulus {last['stimulus'].item()}, by weight pattern"
        return strips(groups, "spike time after t_min [tau_c]", title)

    def of_all(model: NoiseModel) -> Figure:
        from montecarlo.plots.overview import overview

        return overview(run, {name: (t.std, *t.std_ci) for name, t in model.terms.items()})

    made = [Drawing(both(folder / name), partial(of_term, name)) for name in terms]
    made.append(Drawing(both(folder / "spike_time_by_pattern"), by_pattern))
    if model:
        made.append(Drawing(both(folder / "overview"), partial(of_all, model)))
    return made
