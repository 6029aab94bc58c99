"""The behavioral noise model: what was measured on the circuit, with its intervals, as one file.

The same file for every technology: systematic constants of the one equation (`circuits.model.closed_form`),
terms with a scope, a kind (frozen: one draw a chip; trial: one draw an inference), a law and a 95 % interval,
energy coefficients by supply and part, the range in which all that holds, and how well it predicted what it
had not seen (`montecarlo.extraction.holdout`).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.closed_form import Constants
from montecarlo.extraction.energy_fit import IDEAL_PARTS, PARTS, UNITS
from montecarlo.extraction.terms import FROZEN, LINES, Spread, law_of
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.noise import fitting, summary
from ttfs_analog.noise.terms import (
    JITTER,
    REFERENCE,
    Constant,
    Contents,
    Term,
    check_constant,
    check_term,
)

if TYPE_CHECKING:
    from ttfs_analog.network.network import TTFSNetwork
    from ttfs_analog.noise.chips import Chips

SCHEMA = "ttfs-analog/noise-model/2"
RANGES = ("weight", "window")


@dataclass(frozen=True)
class NoiseModel(Contents):
    """Fitted terms, energy coefficients, where they hold, and how well they predicted."""

    @classmethod
    def fit(cls, dataset: xr.Dataset, seed: int = 0) -> NoiseModel:
        """Fit a characterization of any technology.

        Parameters
        ----------
        dataset : xarray.Dataset
            From `montecarlo.Campaign.run`, complete.
        seed : int
            Of the bootstrap and of the prediction intervals.

        Raises
        ------
        InputError
            If the campaign is not complete or too small.
        """
        return cls(**fitting.fit(dataset, seed))

    @property
    def law(self) -> MismatchLaw:
        """The frozen terms, ready to draw from."""
        frozen = {k: t for k, t in self.terms.items() if k in FROZEN}
        terms, reference = (
            {k: Spread(t.std, t.mean, *t.mean_ci) for k, t in part.items()}
            for part in (frozen, self.reference)
        )
        tail = self.validity.get("comparator") != "zero_idle"  # that one has no tail
        return law_of(terms, self.units, reference, float(self.constants.delay) if tail else 0.0)

    @property
    def constants(self) -> Constants:
        """Systematic terms of the circuit."""
        return Constants(**{name: c.value for name, c in self.systematic.items()})

    @property
    def jitter(self) -> float:
        """Standard deviation of a spike time from one inference to the next [tau_c]."""
        return self.terms[JITTER].std if JITTER in self.terms else 0.0

    def sample(self, net: TTFSNetwork, chips: int, seed: int = 0, first: int = 0) -> Chips:
        """Frozen deviations of `chips` copies of a network.

        Parameters
        ----------
        seed, first : int
            Entropy, and number of the first chip.

        Raises
        ------
        InputError
            If the network lies outside the range in which the model was measured.
        """
        from ttfs_analog.noise.chips import Chips  # torch loads only here

        self.check_range(net)
        numbers = range(first, first + chips)
        return Chips.draw(self.law, net, numbers, seed, self.constants, self.jitter)

    def check_range(self, net: TTFSNetwork) -> None:
        """Refuse a network outside the validity range (weights, window)."""
        for n, layer in enumerate(net.neurons()):
            needed = {"slope", "threshold", "capacitance"}
            needed |= {"synapse_source"} if (layer.weights > 0).any() else set()
            needed |= {"synapse_sink"} if (layer.weights < 0).any() else set()
            if missing := sorted(needed - set(self.terms)):
                raise InputError(
                    f"layer {n}: the noise model has no term {', '.join(missing)}; characterize neurons that "
                    "have these devices (--synapses 2 or more)"
                )
            for what, value in (
                ("weight", float(np.abs(layer.weights).max())),
                ("window", layer.window if layer.spiking else layer.t_min),
            ):
                limit = self.validity[what]["max"]
                if limit is not None and value > limit:
                    raise InputError(
                        f"layer {n}: {what} {value:.4g} lies outside the range in which this noise "
                        f"model was measured (up to {limit:g}); allow it with --extrapolate (in SWEEP.toml: "
                        "extrapolate = true)"
                    )

    def silent(self) -> NoiseModel:
        """The same model without any spread: the control of a training with it."""
        quiet: dict[str, Any] = {"std": 0.0, "std_ci": (0.0, 0.0), "mean": 0.0, "mean_ci": (0.0, 0.0)}
        terms, reference = (
            {k: replace(t, **quiet) for k, t in part.items()} for part in (self.terms, self.reference)
        )
        return replace(self, terms=terms, reference=reference)

    def extrapolated(self) -> NoiseModel:
        """The same model without range limits."""
        return replace(self, validity={**self.validity, **{what: {"max": None} for what in RANGES}})

    def summary(self) -> str:
        """Constants, terms, held-out figures and energies as text."""
        return summary.text(self)

    def plot(self):
        """Terms with their intervals; a matplotlib Figure."""
        from montecarlo.plots.plotting import intervals

        return intervals({k: (t.std, *t.std_ci) for k, t in self.terms.items()}, "sigma")

    def save(self, path: str | Path) -> Path:
        """Write the JSON file."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = asdict(self)
        content = {"constants" if k == "systematic" else k: v for k, v in content.items()}
        path.write_text(json.dumps({"schema": SCHEMA, **content}, indent=1, allow_nan=False) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> NoiseModel:
        """Read a noise model.

        Raises
        ------
        InputError
            If the file is missing, is not JSON, has another schema, or is not complete.
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
        try:
            terms, reference = (
                {k: _term(t) for k, t in content.pop(part).items()} for part in ("terms", "reference")
            )
            systematic = {k: Constant(**c) for k, c in content.pop("constants").items()}
            model = cls(terms=terms, reference=reference, systematic=systematic, **content)
            model._check()
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            for name in ("Term", "Constant", "NoiseModel"):
                what = what.replace(f"{name}.__init__() missing 1 required positional argument:", "no")
            raise InputError(f"{path} is not a complete noise model: {what}") from None
        return model

    def _check(self) -> None:
        """Refuse what cannot be drawn or counted."""
        for name, term in self.terms.items():
            check_term(name, term)
        for line, term in self.reference.items():
            if line not in LINES:
                raise ValueError(f"unknown bias line {line!r}; known: {', '.join(LINES)}")
            check_term(REFERENCE, term)
        for name, constant in self.systematic.items():
            check_constant(name, constant)
        for supply, parts in self.energy.items():
            for part, entry in parts.items():
                if (supply, part) not in PARTS or entry["unit"] != UNITS[part]:
                    raise ValueError(f"energy of {supply} {part} in {entry['unit']!r} is not known")
                if not math.isfinite(entry["value"]) or not all(map(math.isfinite, entry["ci95"])):
                    raise ValueError(f"energy coefficient of {supply} {part} is not a number")
        if not all(self.energy[supply][part]["value"] > 0 for supply, part in IDEAL_PARTS):
            raise ValueError("an energy coefficient of the sources is not a number > 0")
        if not all(0 < v < math.inf for what in RANGES if (v := self.validity[what]["max"]) is not None):
            raise ValueError("a limit is not a number > 0")
        self.law  # noqa: B018 - refuses sigmas that cannot be drawn


def _term(entry: dict[str, Any]) -> Term:
    return Term(**{**entry, "std_ci": tuple(entry["std_ci"]), "mean_ci": tuple(entry["mean_ci"])})
