"""The numbers of a noise model, each with its unit and its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from circuits.model.closed_form import Constants
from montecarlo.extraction.terms import FROZEN
from montecarlo.mismatch.law import OFFSETS, UNIT

REFERENCE, JITTER, SAMPLING = "reference", "jitter", "sampling"
TRIALS = (JITTER, SAMPLING)
"""Of spike times; of what is sampled of a read-out."""
NAMES = (*FROZEN, REFERENCE, *TRIALS)
CONSTANTS = {f.name: f.default for f in fields(Constants)}
"""By name: those of the ideal neuron."""


@dataclass(frozen=True)
class Term:
    """One non-ideality and how it is distributed over chips, or over trials."""

    scope: str  #: synapse | neuron | layer
    kind: str  #: frozen: one draw a chip | trial: one draw an inference
    distribution: str  #: lognormal: ln(1 + deviation) is normal; normal: the deviation is
    unit: str  #: "1" or "tau_c"
    std: float  #: of a synapse made of unit devices: at W = 1
    std_ci: tuple[float, float]  #: 95 %
    mean: float
    mean_ci: tuple[float, float]  #: 95 %
    n: int  #: independent neurons, or trials, behind the estimate
    normality_p: float | None  #: D'Agostino-Pearson; None where nothing varies


@dataclass(frozen=True)
class Constant:
    """One systematic constant of the circuit, see `circuits.model.closed_form.Constants`."""

    value: float
    se: float  #: standard error
    unit: str


@dataclass(frozen=True)
class Contents:
    """All that a noise model holds."""

    technology: str
    units: int | None  #: unit devices of a synapse with W = 1; None: sigma does not depend on W
    systematic: dict[str, Constant]  #: `constants` in the file; those left out are those of the ideal neuron
    terms: dict[str, Term]  #: by the names of NAMES, those there are
    reference: dict[str, Term]
    """By bias line, see `montecarlo.extraction.terms.LINES`: ln(1 + deviation) of its currents."""
    energy: dict[
        str, dict[str, dict[str, Any]]
    ]  #: by supply and part, see `montecarlo.extraction.energy_fit`
    correlations: dict[str, dict[str, Any]]  #: between neuron terms, with ci95
    validity: dict[str, Any]  #: range and condition; max None: no limit
    holdout: dict[str, Any]  #: figures on chips, stimuli and weight patterns not used in their fits
    n_samples: int
    n_failed: int
    n_incomplete: int  #: neurons left out because a stimulus they needed was early or silent
    advice: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    delay_law: dict[str, float] = field(default_factory=dict)
    """Of a comparator's delay, over its own devices: `montecarlo.extraction.delay_law`."""


def nature(name: str) -> dict[str, str]:
    """Scope, kind, distribution and unit of a term."""
    scope = "synapse" if name.startswith("synapse") else "layer" if name == REFERENCE else "neuron"
    normal = name in OFFSETS or name in TRIALS
    return {
        "scope": scope,
        "kind": "trial" if name in TRIALS else "frozen",
        "distribution": "normal" if normal else "lognormal",
        "unit": UNIT.get(name, "1"),
    }


def check_term(name: str, term: Term) -> None:
    """Refuse what cannot be drawn.

    Parameters
    ----------
    name : str
        One of NAMES.
    term : Term

    Raises
    ------
    ValueError
        Naming the term.
    """
    if name not in NAMES:
        raise ValueError(f"unknown term {name!r}; known: {', '.join(NAMES)}")
    expected = nature(name)
    if (term.kind, term.distribution) != (expected["kind"], expected["distribution"]):
        raise ValueError(f"{name} is {term.kind} {term.distribution}, which cannot be drawn")
    if term.unit != expected["unit"]:
        raise ValueError(f"{name} has unit {term.unit!r}, {expected['unit']!r} was expected")
    if not (math.isfinite(term.std) and term.std >= 0):
        raise ValueError(f"sigma of {name} must be finite and >= 0, got {term.std!r}")
    if not term.std_ci[0] <= term.std_ci[1] or term.n < 0:
        raise ValueError(f"sigma of {name} has the interval {term.std_ci!r} and n = {term.n!r}")
    low, high = term.mean_ci
    if not (low <= term.mean <= high and max(abs(low), abs(high)) < math.inf):
        raise ValueError(f"mean of {name} must lie in its interval [{low!r}, {high!r}], got {term.mean!r}")
    if expected["distribution"] == "lognormal" and abs(term.mean) > 1:
        raise ValueError(f"mean of {name} must lie in [-1, 1], got {term.mean!r}")


def check_constant(name: str, constant: Constant) -> None:
    """Refuse what is no constant of the circuit, or has another unit.

    Parameters
    ----------
    name : str
        A field of `circuits.model.closed_form.Constants`.
    constant : Constant

    Raises
    ------
    ValueError
        Naming the constant.
    """
    if name not in CONSTANTS:
        raise ValueError(f"unknown constant {name!r}; known: {', '.join(CONSTANTS)}")
    if constant.unit != UNIT.get(name, "1"):
        raise ValueError(f"{name} has unit {constant.unit!r}, {UNIT.get(name, '1')!r} was expected")
    if not math.isfinite(constant.value):
        raise ValueError(f"{name} is {constant.value!r}")
    if CONSTANTS[name] == 1.0 and constant.value <= 0:
        raise ValueError(f"{name} must be > 0, got {constant.value!r}")
