"""The behavioral noise model: what was measured on the circuit, with its intervals, as one file.

Every term has a scope (synapse or neuron), a kind (frozen: one draw per chip), a law and a 95 %
interval. Fitted on some chips and weight patterns, judged on others (`montecarlo.extraction.holdout`).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants
from circuits.model.operating_point import OperatingPoint
from montecarlo.campaign.protocol import T_MIN, WINDOW
from montecarlo.campaign.schema import package_version
from montecarlo.extraction.from_spike_times import complete, extract, weights_of
from montecarlo.extraction.holdout import validate
from montecarlo.mismatch.law import OFFSETS, TERMS, MismatchLaw
from montecarlo.mismatch.seeds import PLAN, generator
from montecarlo.statistics.intervals import (
    correlation_interval,
    mean_interval,
    normality,
    samples_for_std,
    std_interval,
)

if TYPE_CHECKING:
    from ttfs_analog.network.network import TTFSNetwork
    from ttfs_analog.noise.chips import Chips

SCHEMA = "ttfs-analog/noise-model/1"
LEAST_SAMPLES = 20


@dataclass(frozen=True)
class Term:
    """One non-ideality and how it is distributed over chips."""

    scope: str  #: synapse | neuron | layer | chip
    kind: str  #: frozen | trial
    distribution: str  #: lognormal: ln(1 + deviation) is normal; normal: the deviation is
    unit: str  #: "1" or "tau_c"
    std: float
    std_ci: tuple[float, float]  #: 95 %
    mean: float
    mean_ci: tuple[float, float]  #: 95 %
    n: int  #: independent neurons behind the estimate
    normality_p: float | None  #: D'Agostino-Pearson; None where nothing varies


@dataclass(frozen=True)
class NoiseModel:
    """Fitted terms, energy coefficients, where they hold, and how well they predicted."""

    technology: str
    terms: dict[str, Term]
    energy: dict[str, dict[str, Any]]  #: coefficient in units of vdd * i_unit * tau_c, with ci95
    correlations: dict[str, dict[str, Any]]  #: between neuron terms, with ci95
    validity: dict[str, Any]  #: null bounds: no limit, the circuit is linear
    holdout: dict[str, Any]  #: figures on chips, stimuli and weight patterns not used in the fit
    n_samples: int
    n_failed: int
    n_incomplete: int  #: neurons left out because a stimulus they needed was early or silent
    advice: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(cls, dataset: xr.Dataset, seed: int = 0) -> NoiseModel:
        """Fit a characterization.

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
        dataset = dataset.load()
        status = dataset["status"].values
        if np.any(status == -1):
            raise InputError(
                f"the campaign is not complete: {int(np.sum(status == -1))} of {len(status)} samples "
                "are missing; give the same characterize command again to resume it"
            )
        drawn = MismatchLaw.from_dict(json.loads(dataset.attrs["plan"])["law"])
        if drawn.special:
            raise InputError(
                f"the campaign was drawn with {', '.join(drawn.special)}; a noise model draws independent "
                "terms of their usual distributions and would lose that: draw chips from the law itself"
            )
        good = dataset.isel(sample=status == 0)
        if good.sizes["sample"] < LEAST_SAMPLES:
            raise InputError(
                f"{good.sizes['sample']} good samples are too few for a noise model; "
                f"at least {LEAST_SAMPLES}, and about {samples_for_std(0.1)} for sigmas to +-10 %"
            )
        good, incomplete = complete(good)
        held_pattern = good["sample"].values % good.sizes["pattern"] == good.sizes["pattern"] - 1
        fit_set, held = good.isel(sample=~held_pattern), good.isel(sample=held_pattern)
        rng = generator(seed, PLAN, 1)
        found = extract(fit_set)
        terms = _terms(found, weights_of(fit_set), rng)
        point = OperatingPoint.from_json(dataset.attrs["operating_point"])
        law = _law(terms)
        return cls(
            technology=dataset.attrs["technology"],
            terms=terms,
            energy=_energy(fit_set, found, point),
            correlations=_correlations(found),
            validity=_validity(dataset, point),
            holdout=validate(held, law, rng),
            n_samples=int(good.sizes["sample"]),
            n_failed=int(np.sum(status != 0)),
            n_incomplete=incomplete,
            advice={"samples_for_sigma_to_10_percent": samples_for_std(0.1)},
            provenance={
                "plan": json.loads(dataset.attrs["plan"]),
                "plan_hash": dataset.attrs["plan_hash"],
                "ngspice_version": dataset.attrs["ngspice_version"],
                "package_version": package_version(),
                "fit_seed": seed,
            },
        )

    @property
    def law(self) -> MismatchLaw:
        """The frozen terms, ready to draw from."""
        return _law(self.terms)

    @property
    def constants(self) -> Constants:
        """Systematic terms."""
        return IDEAL

    @property
    def jitter(self) -> float:
        """Of spike times, from trial to trial [tau_c]."""
        return 0.0

    def sample(self, net: TTFSNetwork, chips: int, seed: int = 0, first: int = 0) -> Chips:
        """Frozen deviations of `chips` copies of a network.

        Raises
        ------
        InputError
            If the network lies outside the range in which the model was measured.
        """
        from ttfs_analog.noise.chips import Chips  # torch loads only here

        self.check_range(net)
        return Chips.draw(self.law, net, range(first, first + chips), seed, self.constants, self.jitter)

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
                        f"model was measured (up to {limit:g}); characterize that range, or allow it "
                        "with --extrapolate"
                    )

    def silent(self) -> NoiseModel:
        """The same model without any spread: the control of a training with it."""
        quiet: dict[str, Any] = {"std": 0.0, "std_ci": (0.0, 0.0), "mean": 0.0, "mean_ci": (0.0, 0.0)}
        return replace(self, terms={k: replace(t, **quiet) for k, t in self.terms.items()})

    def extrapolated(self) -> NoiseModel:
        """The same model without range limits."""
        validity = {**self.validity, "weight": {"max": None}, "window": {"max": None}}
        return replace(self, validity=validity)

    def summary(self) -> str:
        """A table of the terms, one line each."""
        rows = [f"{'term':<15} {'std':>10} {'95 % interval':>24}  unit   law"]
        for name, t in self.terms.items():
            low, high = t.std_ci
            interval = f"[{low:.4g}, {high:.4g}]"
            rows.append(f"{name:<15} {t.std:>10.4g} {interval:>24}  {t.unit:<6} {t.distribution}")
        return "\n".join(rows)

    def plot(self):
        """Terms with their intervals; a matplotlib Figure."""
        from montecarlo.plots.plotting import intervals

        return intervals({k: (t.std, *t.std_ci) for k, t in self.terms.items()}, "sigma")

    def save(self, path: str | Path) -> Path:
        """Write the JSON file."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, allow_nan=False) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> NoiseModel:
        """Read a noise model.

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
            raise InputError(f"{path} has schema {schema!r}, {SCHEMA!r} was expected")
        try:
            terms = {
                k: Term(**{**t, "std_ci": tuple(t["std_ci"]), "mean_ci": tuple(t["mean_ci"])})
                for k, t in content.pop("terms").items()
            }
            model = cls(terms=terms, **content)
            model.law  # noqa: B018 - refuses sigmas that cannot be drawn
            limits = [model.validity[k]["max"] for k in ("weight", "window")]
            coefficients = [model.energy[k]["value"] for k in ("synapse", "slope")]
            if not all(0 < v < math.inf for v in (*coefficients, *filter(None, limits))):
                raise TypeError("a limit or an energy coefficient is not a number > 0")
            if unknown := sorted(set(terms) - set(TERMS)):
                raise TypeError(f"unknown terms {unknown}")
            for name, t in terms.items():
                if (t.kind, t.distribution) != ("frozen", _usual(name)):
                    raise TypeError(f"{name} is {t.kind} {t.distribution}, which cannot be drawn")
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            what = str(error).replace("Term.__init__() missing 1 required positional argument:", "no")
            raise InputError(f"{path} is not a complete noise model: {what}") from None
        return model


def _usual(name: str) -> str:
    return "normal" if name in OFFSETS else "lognormal"


def _law(terms: dict[str, Term]) -> MismatchLaw:
    mean = tuple((k, t.mean) for k, t in terms.items() if not t.mean_ci[0] <= 0 <= t.mean_ci[1])
    law = MismatchLaw.of({k: t.std for k, t in terms.items() if k in TERMS})
    return replace(law, mean=mean)


def _terms(found: xr.Dataset, weights: np.ndarray, rng: np.random.Generator) -> dict[str, Term]:
    synapse = found["synapse"].values
    columns = {
        "synapse_source": np.where(weights > 0, synapse, np.nan),
        "synapse_sink": np.where(weights < 0, synapse, np.nan),
        **{k: found[k].values for k in ("slope", "threshold", "capacitance")},
    }
    terms = {}
    for name, values in columns.items():
        if not np.isfinite(values).any():
            continue  # a neuron with one synapse has no sinks
        value = values if name in OFFSETS else np.log1p(values)
        std, low, high = std_interval(value, rng)
        mean, mean_low, mean_high = mean_interval(value)
        p = normality(value)
        terms[name] = Term(
            scope="synapse" if name.startswith("synapse") else "neuron",
            kind="frozen",
            distribution=_usual(name),
            unit="tau_c" if name in OFFSETS else "1",
            std=std,
            std_ci=(low, high),
            mean=mean,
            mean_ci=(mean_low, mean_high),
            n=int(np.isfinite(value.reshape(len(value), -1)).any(1).sum()),
            normality_p=None if math.isnan(p) else p,
        )
    return terms


def _correlations(found: xr.Dataset) -> dict[str, dict[str, Any]]:
    pairs = [("slope", "threshold"), ("slope", "capacitance"), ("threshold", "capacitance")]
    result = {}
    for a, b in pairs:
        r, low, high = correlation_interval(found[a].values, found[b].values)
        varies = not math.isnan(r)
        result[f"{a}-{b}"] = {"value": r if varies else 0.0, "ci95": [low, high] if varies else None}
    return result


def _energy(dataset: xr.Dataset, found: xr.Dataset, point: OperatingPoint) -> dict[str, dict[str, Any]]:
    """Joules per unit charge of the synapses and of the slope source.

    Regression through the origin of each neuron's measured energy on the charge that its own currents
    (extracted deviations included) moved; the spread over neurons gives the interval.
    """
    weights = weights_of(dataset)
    times = dataset["input_time"].values
    x = np.where(np.isfinite(times), T_MIN - times, 0.0)
    events = np.maximum(weights * (1.0 + found["synapse"].values), 0.0) @ x.T
    on = np.minimum(dataset["spike_time"].values, WINDOW) * (1.0 + found["slope"].values[:, None])
    keep = dataset["stimulus"].values != "reference"  # the test current has its own supply
    result = {}
    for name, phase, charge in (("synapse", "input", events), ("slope", "firing", on)):
        joules = dataset["energy"].sel(phase=phase).sum("supply").values
        energy, charge = joules[:, keep], charge[:, keep]
        square = (charge**2).sum(1)
        per_neuron = (energy * charge).sum(1)[square > 0] / square[square > 0]
        mean, low, high = mean_interval(per_neuron / point.unit_energy)
        result[name] = {
            "value": mean,
            "ci95": [low, high],
            "unit": "vdd * i_unit * tau_c per unit charge",
            "joule_at_characterized_point": mean * point.unit_energy,
        }
    return result


def _validity(dataset: xr.Dataset, point: OperatingPoint) -> dict[str, Any]:
    """Ideal sources are linear at any weight and window: no limit, and the file says why."""
    return {
        "weight": {"max": None, "characterized_max": float(np.abs(dataset["weight"].values).max())},
        "window": {"max": None, "characterized_max": WINDOW},
        "operating_point": asdict(point),
        "why": "ideal sources and capacitors are linear; their relative errors hold at any weight, "
        "window and current",
    }
