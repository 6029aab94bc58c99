"""The JSON file of a noise model: one set of contents, or a list of them, one a layer.

Its entry `digest` is that of all else in it: a file that was changed is refused, and accepted without it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from circuits import whole_file
from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.model.shape import checked
from circuits.model.text_file import read_json
from montecarlo.extraction.energy_fit import IDEAL_PARTS, PARTS, READ_OUT, UNITS
from montecarlo.extraction.terms import LINES
from ttfs_analog.network.digest import check_digest, digest_of
from ttfs_analog.noise.terms import REFERENCE, Constant, Contents, Term, check_constant, check_term

SCHEMA = "ttfs-analog/noise-model/2"
EDITED = "to accept what was edited by hand, remove its entry 'digest'; otherwise fit again"
RANGES = ("weight", "window")
Pair = Annotated[list[float], 2]
PointFields = Literal["tau_c", "c_mem", "i_unit", "v_reset", "vdd", "v_low", "v_high"]


class Coefficient(TypedDict):
    """One of the energy."""

    value: float
    ci95: Pair
    unit: str
    mean_tail: NotRequired[float]


class Correlation(TypedDict):
    """Of two terms."""

    value: float
    ci95: Pair | None


class Limit(TypedDict):
    """Of a range."""

    max: float | None
    characterized_max: NotRequired[float]


class Validity(TypedDict):
    """Where a model holds."""

    weight: Limit
    window: Limit
    operating_point: dict[PointFields, float]
    supply: float
    corner: str | None
    temperature: float | None
    area: float | None
    comparator: str | None
    why: NotRequired[str]


class Holdout(TypedDict):
    """Held-out figures, of spike times or of what read-outs sample."""

    n_neurons: int
    n_stimuli: int
    coverage_50: float
    coverage_90: float
    coverage_95: float
    coverage_50_ci: Pair
    coverage_90_ci: Pair
    coverage_95_ci: Pair
    energy_relative_rms: float
    energy_relative_bias: float


class OfSpikes(Holdout):
    """Those of neurons that spike."""

    rms_tau_c: float
    rms_delay_law_tau_c: NotRequired[float]  # later than the others
    rms_known_delay_tau_c: float
    rms_without_model_tau_c: float
    rms_without_term_tau_c: dict[str, float]
    wrongly_silent_or_firing: int
    silent: int
    early: int


class OfSamples(Holdout):
    """Those of read-outs."""

    rms_potential: float
    rms_without_model_potential: float
    rms_without_term_potential: dict[str, float]


class Advice(TypedDict):
    """How many samples would do."""

    samples_for_sigma_to_10_percent: int


class Entries(TypedDict):
    """One set of a file; `holdout` is looked at by the kind of neuron."""

    technology: str
    units: int | None
    constants: dict[str, Constant]
    terms: dict[str, Term]
    reference: dict[str, Term]
    energy: dict[str, dict[str, Coefficient]]
    correlations: dict[str, Correlation]
    validity: Validity
    holdout: dict[str, Any]
    n_samples: int
    n_failed: int
    n_incomplete: int
    advice: Advice
    provenance: NotRequired[dict[str, Any]]
    delay_law: NotRequired[dict[str, float]]


class Layers(TypedDict):
    """A file of one set a layer."""

    layers: list[dict[str, Any]]
    network: NotRequired[str]


def write(path: str | Path, content: dict[str, Any]) -> Path:
    """Write the file; folders that it needs are made.

    Parameters
    ----------
    path : str or Path
    content : dict
        JSON-serializable, without numbers that are not finite.
    """
    plain = json.loads(json.dumps(content, allow_nan=False))
    whole = {"schema": SCHEMA, "digest": digest_of(plain), **plain}
    return whole_file.write(path, json.dumps(whole, indent=1) + "\n")


def read(path: str | Path) -> dict[str, Any]:
    """The content of a file, not yet checked, without its schema.

    Raises
    ------
    InputError
        If the file is missing, is not JSON, or has another schema.
    """
    content = read_json(path, "'fit' makes a noise model")
    schema = content.pop("schema", None)
    if schema != SCHEMA:
        old = "; fit again" if str(schema).startswith("ttfs-analog/noise-model/") else ""
        raise InputError(f"{path} has schema {schema!r}, {SCHEMA!r} was expected{old}")
    return content


def check_unchanged(path: str | Path, content: dict[str, Any]) -> None:
    """Refuse a file that was changed after it was written.

    Parameters
    ----------
    path : str or Path
        For the message.
    content : dict
        From `read`.

    Raises
    ------
    InputError
        If its digest does not fit; without one nothing is known, and nothing refused.
    """
    rest = {k: v for k, v in content.items() if k != "digest"}
    check_digest(path, content.get("digest"), rest, EDITED)


def content_of(model: Contents) -> dict[str, Any]:
    """One set as the file has it."""
    return {"constants" if k == "systematic" else k: v for k, v in asdict(model).items()}


def fields_of(content: dict[str, Any], where: str) -> dict[str, Any]:
    """Fields of `ttfs_analog.noise.terms.Contents` from what `content_of` wrote.

    Parameters
    ----------
    content : dict
        One set.
    where : str
        File, for messages.

    Raises
    ------
    InputError
        Naming what is missing, unknown or of another type.
    """
    fields = checked({k: v for k, v in content.items() if k != "digest"}, Entries, where)
    if fields["holdout"]:
        kind = OfSpikes if "slope" in fields["terms"] else OfSamples
        fields["holdout"] = checked(fields["holdout"], kind, where, "holdout")
    fields["systematic"] = fields.pop("constants")
    return fields


def layers_of(content: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The sets of a file that has one a layer.

    Parameters
    ----------
    content : dict
        From `read`, with `layers`.
    where : str
        File, for messages.

    Raises
    ------
    InputError
        If they are no list of sets, or something else stands beside them.
    """
    layers = checked({k: v for k, v in content.items() if k != "digest"}, Layers, where)["layers"]
    if not layers:
        raise InputError(f"{where}: layers is empty; a noise model needs the set of at least one layer")
    return layers


def check_fitted(model: Contents) -> None:
    """Refuse a model that its own file could not hold: the samples have values that cannot be.

    Raises
    ------
    InputError
        Naming the entry.
    """
    try:
        fields_of(content_of(model), "the fit")
        check(model)
    except ValueError as error:
        raise InputError(f"the campaign's values cannot be fitted: {error}; characterize again") from None


def check(model: Contents) -> None:
    """Refuse what cannot be drawn or counted.

    Raises
    ------
    ValueError
        Naming the entry.
    """
    for name, term in model.terms.items():
        check_term(name, term)
    for line, term in model.reference.items():
        if line not in LINES:
            raise ValueError(f"unknown bias line {line!r}; known: {', '.join(LINES)}")
        check_term(REFERENCE, term)
    for name, constant in model.systematic.items():
        check_constant(name, constant)
    for supply, parts in model.energy.items():
        for part, entry in parts.items():
            if (supply, part) not in PARTS or entry["unit"] != UNITS[part]:
                raise ValueError(f"energy of {supply} {part} in {entry['unit']!r} is not known")
            low, high = entry["ci95"]
            if not low <= entry["value"] <= high or entry.get("mean_tail", 1.0) <= 0:
                raise ValueError(
                    f"energy of {supply} {part} must lie in its interval [{low!r}, {high!r}], got "
                    f"{entry['value']!r}, and its mean tail must be > 0"
                )
    sources = IDEAL_PARTS if "slope" in model.terms else READ_OUT  # read-outs have no slope source
    for supply, part in sources:
        if not model.energy.get(supply, {}).get(part, {"value": 0.0})["value"] > 0:
            raise ValueError(f"energy of {supply} {part} must be there, and > 0")
    if not all(v > 0 for what in RANGES if (v := model.validity[what]["max"]) is not None):
        raise ValueError("a limit is not a number > 0")
    OperatingPoint(**model.validity["operating_point"])
    if min(model.n_samples, model.n_failed, model.n_incomplete) < 0:
        raise ValueError("a number of samples is negative")
