"""The JSON file of a noise model: one set of contents, or a list of them, one a layer.

Its entry `digest` is that of all else in it: a file that was changed is refused, and accepted without it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from circuits import whole_file
from circuits.errors import InputError
from montecarlo.extraction.energy_fit import IDEAL_PARTS, PARTS, READ_OUT, UNITS
from montecarlo.extraction.terms import LINES
from ttfs_analog.network.digest import check_digest, digest_of
from ttfs_analog.noise.terms import REFERENCE, Constant, Contents, Term, check_constant, check_term

SCHEMA = "ttfs-analog/noise-model/2"
EDITED = "to accept what was edited by hand, remove its entry 'digest'; otherwise fit again"
RANGES = ("weight", "window")
KINDS = ("Term", "Constant", "NoiseModel")


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
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; 'fit' makes a noise model") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a noise model: {error}") from None
    schema = content.pop("schema", None) if isinstance(content, dict) else None
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


def fields_of(content: dict[str, Any]) -> dict[str, Any]:
    """Fields of `ttfs_analog.noise.terms.Contents` from what `content_of` wrote."""
    terms, reference = ({k: _term(t) for k, t in content[part].items()} for part in ("terms", "reference"))
    systematic = {k: Constant(**c) for k, c in content["constants"].items()}
    rest = {k: v for k, v in content.items() if k not in ("constants", "digest")}
    return {**rest, "terms": terms, "reference": reference, "systematic": systematic}


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
    layers, network = content["layers"], content.get("network", "")
    whole = isinstance(layers, list) and layers and all(isinstance(entry, dict) for entry in layers)
    if not whole or not isinstance(network, str) or set(content) - {"layers", "network", "digest"}:
        raise InputError(
            f"{where} is not a complete noise model: 'layers' is a list of one set a layer, 'network' the "
            "fingerprint of their network, and there is nothing else"
        )
    return layers


def complaint(error: Exception) -> str:
    """What an error of reading says, in words of the file."""
    what = f"no {error}" if isinstance(error, KeyError) else str(error)
    for name in KINDS:
        what = what.replace(f"{name}.__init__() missing 1 required positional argument:", "no")
    return what


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
            if not math.isfinite(entry["value"]) or not all(map(math.isfinite, entry["ci95"])):
                raise ValueError(f"energy coefficient of {supply} {part} is not a number")
    sources = IDEAL_PARTS if "slope" in model.terms else READ_OUT  # read-outs have no slope source
    if not all(model.energy[supply][part]["value"] > 0 for supply, part in sources):
        raise ValueError("an energy coefficient of the sources is not a number > 0")
    if not all(0 < v < math.inf for what in RANGES if (v := model.validity[what]["max"]) is not None):
        raise ValueError("a limit is not a number > 0")


def _term(entry: dict[str, Any]) -> Term:
    return Term(**{**entry, "std_ci": tuple(entry["std_ci"]), "mean_ci": tuple(entry["mean_ci"])})
