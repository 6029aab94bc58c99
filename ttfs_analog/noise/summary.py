"""A noise model in words: constants, terms, held-out figures, energies; for every technology the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from circuits.model.operating_point import OperatingPoint
from montecarlo.extraction.energy_fit import scale
from ttfs_analog.noise.terms import Constant, Contents, Term


class Figures(Protocol):
    """What `figures` takes of a noise model of either kind."""

    @property
    def technology(self) -> str: ...
    @property
    def terms(self) -> dict[str, Term]: ...
    @property
    def reference(self) -> dict[str, Term]: ...
    @property
    def systematic(self) -> dict[str, Constant]: ...
    @property
    def holdout(self) -> dict[str, Any]: ...
    @property
    def energy(self) -> dict[str, dict[str, dict[str, Any]]]: ...


def text(model: Contents) -> str:
    """All that a designer asks first, some 30 lines."""
    return "\n".join(
        [*_heading(model), "", *_terms(model), "", *_constants(model), *_holdout(model), *_energy(model)]
    )


def figures(model: Figures) -> dict[str, Any]:
    """The same for `--json`; where layers have a set each, names are by layer, as "layer0.slope"."""
    terms = {k: {"std": t.std, "std_ci": list(t.std_ci), "unit": t.unit} for k, t in model.terms.items()}
    lines = {k: {"std": t.std, "std_ci": list(t.std_ci)} for k, t in model.reference.items()}
    constants = {k: {"value": c.value, "se": c.se, "unit": c.unit} for k, c in model.systematic.items()}
    counts = {name: getattr(model, name) for name in ("n_samples", "n_failed", "n_incomplete")}
    return {
        "technology": model.technology,
        "terms": terms,
        "reference": lines,
        "constants": constants,
        "holdout": model.holdout,
        "energy": model.energy,
        **counts,
    }


def _heading(model: Contents) -> Iterator[str]:
    at = model.validity
    where = (
        f", corner {at['corner']}, {at['temperature']:g} C, size {at['area']:g}" if at.get("corner") else ""
    )
    yield f"{model.technology}{where}, {at['supply']:g} V: {model.n_samples} neurons, {model.n_failed} failed"
    advice = model.advice["samples_for_sigma_to_10_percent"]
    if model.n_samples < advice:
        yield f"few samples: sigmas are not known to 10 %; about {advice} are needed for that"


def _terms(model: Contents) -> Iterator[str]:
    yield f"{'term':<18} {'std':>10} {'95 % interval':>24}  unit   kind"
    rows = [*model.terms.items(), *((f"reference {line}", t) for line, t in model.reference.items())]
    for name, t in rows:
        interval = f"[{t.std_ci[0]:.4g}, {t.std_ci[1]:.4g}]"
        yield f"{name:<18} {t.std:>10.4g} {interval:>24}  {t.unit:<6} {t.kind}, {t.distribution}, a {t.scope}"
    if model.units:
        yield f"synapses: at W = 1, which is {model.units} unit devices; sigma grows as 1/sqrt(|W|)"


def _constants(model: Contents) -> Iterator[str]:
    if not model.systematic:
        return
    yield f"{'constant':<20} {'value':>10} {'standard error':>16}  unit"
    for name, c in model.systematic.items():
        yield f"{name:<20} {c.value:>10.5f} {c.se:>16.5f}  {c.unit}"
    yield ""


def _holdout(model: Contents) -> Iterator[str]:
    h = model.holdout
    if not h:
        return
    coverage = " ".join(f"{h[f'coverage_{level}']:.3f}" for level in (50, 90, 95))
    low, high = h["coverage_95_ci"]
    yield f"held-out chips, stimuli, weight patterns ({h['n_neurons']} neurons x {h['n_stimuli']} stimuli):"
    if "rms_potential" in h:
        yield (
            f"  samples from each neuron's own deviations: {h['rms_potential']:.3g} units of potential rms "
            f"(without model {h['rms_without_model_potential']:.3g})"
        )
        yield f"  coverage of the law's 50/90/95 % intervals: {coverage} (the last: {low:.3f} to {high:.3f})"
        yield f"  energy of a neuron to {_energy_error(h)}"
        return
    yield (
        f"  spike times from each neuron's own deviations: {h['rms_tau_c']:.3g} tau_c rms, with its delay "
        f"{h['rms_known_delay_tau_c']:.3g} (without model {h['rms_without_model_tau_c']:.3g})"
    )
    yield f"  coverage of the law's 50/90/95 % intervals: {coverage} (the last: {low:.3f} to {high:.3f})"
    yield (
        f"  silent {h['silent']}, early {h['early']}, silence wrongly predicted "
        f"{h['wrongly_silent_or_firing']}; energy of a neuron to {_energy_error(h)}"
    )


def _energy_error(h: dict[str, Any]) -> str:
    return f"{100 * h['energy_relative_rms']:.2g} % rms, of all {100 * h['energy_relative_bias']:+.2g} %"


def _energy(model: Contents) -> Iterator[str]:
    point = OperatingPoint(**model.validity["operating_point"])
    yield f"{'energy':<22} {'coefficient':>12} {'95 % interval':>24}  {'at its point [J]':>16}"
    for supply, parts in model.energy.items():
        for part, entry in parts.items():
            interval = "[{:.4g}, {:.4g}]".format(*entry["ci95"])
            joules = entry["value"] * scale(part, point)
            yield f"{supply + ', ' + part:<22} {entry['value']:>12.4g} {interval:>24}  {joules:>16.4g}"
