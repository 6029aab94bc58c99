"""One self-contained HTML page of whatever results a folder holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import jinja2
import numpy as np

from circuits import whole_file
from circuits.errors import InputError
from circuits.model.shape import checked
from circuits.model.text_file import read_json
from montecarlo.campaign.schema import CHARACTERIZATION, package_version
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.reading import layer_stores, load_dataset, schema_of
from montecarlo.extraction.terms import columns as deviation_columns
from montecarlo.mismatch.law import OFFSETS, UNIT
from montecarlo.plots import plotting
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.evaluation import energy as ledger
from ttfs_analog.evaluation import remedy_table, transistor_report, transistor_verification, verification
from ttfs_analog.evaluation.transistor_report import WAVEFORM, Results, Section
from ttfs_analog.noise.noise_model import SCHEMA as NOISE
from ttfs_analog.noise.noise_model import NoiseModel

TRANSISTORS = "transistors"
"""Folder, in that of the results, of those on transistors."""
SCHEMAS = (
    CHARACTERIZATION,
    WAVEFORM,
    evaluation.SCHEMA,
    ledger.SCHEMA,
    verification.SCHEMA,
    transistor_verification.SCHEMA,
    remedy_table.SCHEMA,
)
"""Of datasets that the page shows."""
FAULTS = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
"""What comes of a dataset that lacks what its schema promises."""
Build = Callable[[Results], Section | None]


class Figure(TypedDict):
    """A figure of record."""

    value: Any
    unit: str
    file: str
    recompute: str


def write(folder: Path, out: Path) -> Path:
    """Write the page of `render`.

    Parameters
    ----------
    folder : Path
        Of the results.
    out : Path
        The HTML file.
    """
    return whole_file.write(out, render(folder)[0])


def render(folder: Path) -> tuple[str, list[str]]:
    """The page.

    Parameters
    ----------
    folder : Path
        Of the results: datasets (.zarr, .nc), a noise model and a summary (.json); those on transistors lie
        in the folder `transistors` in it, or are all that there is.

    Returns
    -------
    page, left_out
        HTML; files that could not be read or shown, each with the reason, which the page names too.

    Raises
    ------
    InputError
        If the folder is missing or holds no results.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    left_out: list[str] = []
    results = _collect(folder, left_out)
    inner = folder / TRANSISTORS
    if inner.is_dir():
        circuit = _collect(inner, left_out, f"{TRANSISTORS}/")
    else:
        circuit = transistor_report.set_apart(results)
    built = [_built(build, results, left_out) for build in SECTIONS]
    sections = [s for s in (*built, _built(_on_transistors, circuit, left_out)) if s]
    summary = _summary(folder / "summary.json", left_out)
    if not sections:
        raise InputError(
            f"{folder} holds no results of ttfs-analog (datasets .zarr or .nc, or a noise model .json)"
            + (f"; left out: {'; '.join(left_out)}" if left_out else "")
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ttfs_analog"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        title=folder.resolve().name,
        sections=sections,
        summary=summary,
        left_out=left_out,
        version=package_version(),
    )
    return page, left_out


def _collect(folder: Path, left_out: list[str], prefix: str = "") -> Results:
    """Results by schema, then by file name, with a prefix; what cannot be read is added to `left_out`."""
    results: Results = {}
    for path in sorted(folder.iterdir()):
        try:
            if layer_stores(path)[0] or path.name == "summary.json":
                continue  # campaigns on the layers of a network, which its noise model is fitted on
            schema, content = _read(path)
        except InputError as error:
            left_out.append(prefix + str(error).removeprefix(f"{folder}/").splitlines()[0])
            continue
        if content is not None:
            results.setdefault(schema, {})[prefix + path.name] = content
    return results


def _read(path: Path) -> tuple[str, Any]:
    """Schema and content of one file; None: it is none of ours."""
    if path.suffix == ".json":
        schema = str(read_json(path).get("schema"))
        return schema, NoiseModel.load(path) if schema == NOISE else None
    if path.suffix not in (".zarr", ".nc"):
        return "", None
    schema = schema_of(path)
    return schema, load_dataset(path, schema) if schema in SCHEMAS else None


def _summary(path: Path, left_out: list[str]) -> dict[str, Any]:
    """Figures of record, if they are there."""
    if not path.exists():
        return {}
    try:
        return checked(read_json(path), dict[str, Figure], str(path))
    except InputError as error:
        left_out.append(str(error).removeprefix(f"{path.parent}/").splitlines()[0])
        return {}


def _built(build: Build, results: Results, left_out: list[str]) -> Section | None:
    """A section; files that it cannot be made of, of our schema but without its content, are left out."""
    with contextlib.suppress(*FAULTS):
        return build(results)
    for schema, files in results.items():
        for name in list(files):
            try:
                build({schema: {name: files[name]}})
            except FAULTS as error:
                del files[name]
                left_out.append(f"{name} cannot be shown ({type(error).__name__}: {error})".splitlines()[0])
    return build({schema: files for schema, files in results.items() if files})


def _on_transistors(circuit: Results) -> Section | None:
    parts = {"membranes": _waveforms(circuit), "accuracy": _accuracy(circuit), "energy": _energy(circuit)}
    return transistor_report.section(circuit, **parts)


def _waveforms(results: Results) -> Section | None:
    if WAVEFORM not in results:
        return None
    name, ds = next(iter(results[WAVEFORM].items()))
    figure = plotting.waveforms(
        ds["time"].values,
        ds["volts"].values,
        ds["threshold"].values,
        ds.attrs["t_min"],
        ds.attrs["t_max"],
        ds["spike_time"].values,
    )
    return {
        "title": "Membranes in ngspice",
        "text": "Hidden neurons of one mismatched chip and one image. Phase 1 adds up synapse currents, "
        "phase 2 ramps; dotted: each neuron's own threshold; dots: the spike that the model "
        "predicts; faint: how the membrane would go on after the spike.",
        "figures": [plotting.data_uri(figure)],
        "files": [name],
    }


def _mismatch(results: Results) -> Section | None:
    if CHARACTERIZATION not in results:
        return None
    name, ds = next(iter(results[CHARACTERIZATION].items()))
    good = ds.isel(sample=np.flatnonzero(ds["status"].values == 0))
    if not good.sizes["sample"]:
        return None
    columns = {}
    for term, values in deviation_columns(good, extract(good)).items():
        finite = values[np.isfinite(values)]
        label = f"offset [{UNIT[term]}]" if term in OFFSETS else f"ln(1 + {term} deviation)"
        columns[term] = (finite, float(finite.mean()), float(finite.std(ddof=1)), label)
    figures = [plotting.data_uri(plotting.histograms(columns))]
    files = [name]
    rows: list[list[str]] = []
    text = f"Deviations of the devices of {good.sizes['sample']} neurons, measured in ngspice."
    if NOISE in results and "rms_tau_c" in next(iter(results[NOISE].values())).holdout:
        file, model = next(iter(results[NOISE].items()))
        files.append(file)
        holdout = model.holdout
        text += (
            f" On {holdout['n_neurons']} neurons and {holdout['n_stimuli']} stimuli, of weight patterns "
            f"that their fit has not seen, spike times are predicted from each neuron's own deviations to "
            f"{holdout['rms_tau_c']:.2g} tau_c rms "
            f"(without the model {holdout['rms_without_model_tau_c']:.3g}); the 50, 90 and 95 % prediction "
            f"intervals of the fitted law cover {100 * holdout['coverage_50']:.1f}, "
            f"{100 * holdout['coverage_90']:.1f} and "
            f"{100 * holdout['coverage_95']:.1f} % of them. Last figure: what is lost when one term is left "
            "out."
        )
        rows = [
            [
                k,
                t.scope,
                t.distribution,
                f"{t.std:.4g}",
                f"{t.std_ci[0]:.4g} .. {t.std_ci[1]:.4g}",
                t.unit,
            ]
            for k, t in model.terms.items()
        ]
        lost = {"delay known too": holdout["rms_known_delay_tau_c"], "all terms": holdout["rms_tau_c"]}
        lost |= {f"without {k}": v for k, v in holdout["rms_without_term_tau_c"].items()}
        lost["no model"] = holdout["rms_without_model_tau_c"]
        figures.append(plotting.data_uri(plotting.log_bars(lost, "held-out spike-time rms [tau_c]")))
    return {
        "title": "Noise model",
        "text": text,
        "head": ["term", "scope", "law", "sigma", "95 % interval", "unit"],
        "rows": rows,
        "figures": figures,
        "files": files,
    }


def _accuracy(results: Results) -> Section | None:
    if evaluation.SCHEMA not in results:
        return None
    sets = results[evaluation.SCHEMA]
    first = next(iter(sets.values()))
    target = float(first["target"]) if "target" in first else None
    relu = float(first["relu_accuracy"]) if "relu_accuracy" in first else None
    groups = {_label(name): ds["accuracy"].values for name, ds in sets.items()}
    rows = []
    for name, ds in sets.items():
        figures = evaluation.summarize(ds, target if target is not None else 0.0)
        a, y = figures["accuracy"], figures["yield"]
        rows.append(
            [
                _label(name),
                str(ds.sizes["chip"]),
                f"{100 * a['mean']:.2f} %",
                f"{100 * a['ci95'][0]:.2f} .. {100 * a['ci95'][1]:.2f} %",
                f"{100 * a['min']:.2f} %",
                f"{100 * y['value']:.1f} %" if target is not None else "",
                f"{100 * y['ci95'][0]:.1f} .. {100 * y['ci95'][1]:.1f} %" if target is not None else "",
            ]
        )
    return {
        "title": "Accuracy over chips",
        "text": "Every dot is one chip with its own frozen deviations, drawn from the noise model"
        + (f"; yield is the share of chips at or above {100 * target:.2f} %." if target is not None else "."),
        "head": ["network", "chips", "mean", "95 % interval", "worst", "yield", "95 % interval"],
        "rows": rows,
        "figures": [plotting.data_uri(plotting.accuracies(groups, relu, target))],
        "files": list(sets),
    }


def _label(file: str) -> str:
    return Path(file).stem.removeprefix("evaluation_").replace("_", " ")


def _verification(results: Results) -> Section | None:
    if verification.SCHEMA not in results:
        return None
    name, ds = next(iter(results[verification.SCHEMA].items()))
    f = verification.summarize(ds)
    times = ds["spike_time_spice"].values
    width = float(times[np.isfinite(times)].max()) if np.isfinite(times).any() else 1.0
    figure = plotting.model_against_circuit(
        times,
        ds["spike_time_model"].values,
        ds["interval_low"].values,
        ds["interval_high"].values,
        width,
    )
    coverage = f["interval_coverage_95"]
    joules = {
        f"layer {int(n)}, {who}": {
            str(p): float(ds[f"energy_{key}"].mean(("chip", "image")).sel(layer=n, part=p))
            for p in ds["part"].values
        }
        for n in ds["layer"].values
        for who, key in (("ngspice", "spice"), ("model", "model"))
    }
    energies = plotting.bars(joules, "energy per inference [pJ]", 1e12)
    return {
        "title": "Back to ngspice",
        "text": f"{f['chips']} chips drawn from the technology, which nothing was fitted on, and "
        f"{f['images']} images, simulated layer by layer in ngspice {ds.attrs['ngspice_version']}. "
        f"Same chip, same image: spike times agree to {f['spike_time_rms_tau_c']:.2g} tau_c rms over "
        f"{f['spikes_compared']} spikes ({f['spikes_in_one_only']} in one of the two only), classes on "
        f"{100 * f['class_agreement']:.1f} %, energy ratio {f['energy_ratio']:.4f} (the circuit's energy is "
        "kept as an account of charge; where the supply current itself was integrated, the account is "
        f"{f['energy_account_ratio']:.6f} of it). Accuracy: ngspice "
        f"{100 * f['accuracy_spice']:.1f} %, model {100 * f['accuracy_model']:.1f} %."
        + (
            f" {100 * coverage:.1f} % of the circuit's spike times fall into the 95 % intervals that the "
            "fitted noise model predicts for chips it has not met."
            if coverage is not None
            else ""
        ),
        "figures": [plotting.data_uri(figure), plotting.data_uri(energies)],
        "files": [name],
    }


def _energy(results: Results) -> Section | None:
    if ledger.SCHEMA not in results:
        return None
    name, ds = next(iter(results[ledger.SCHEMA].items()))
    f = ledger.summarize(ds)
    mean = ds["energy"].mean("chip")
    groups = {
        f"layer {int(n)}": {str(p): float(mean.sel(layer=n, part=p)) for p in ds["part"].values}
        for n in ds["layer"].values
    }
    low, high = f["energy_per_inference_j"]["ci95"]
    return {
        "title": "Energy per inference",
        "text": f"{1e12 * f['energy_per_inference_j']['mean']:.4g} pJ, 95 % interval over chips "
        f"{1e12 * low:.4g} .. {1e12 * high:.4g} pJ; {f['spikes_per_neuron']:.3f} spikes per hidden "
        "neuron. Not in the account: "
        f"{', '.join(f['not_included'])}. For comparison, charging the capacitors alone: "
        f"{1e12 * f['capacitor_estimate_j']:.3g} pJ.",
        "figures": [plotting.data_uri(plotting.bars(groups, "energy [pJ]", 1e12))],
        "files": [name],
    }


SECTIONS: tuple[Build, ...] = (_waveforms, _mismatch, _accuracy, remedy_table.section, _verification, _energy)
