"""One set of a noise model: terms, constants, energies and range of one layer, or of all that are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Self

import numpy as np

from circuits.errors import InputError
from circuits.model.closed_form import Constants
from circuits.model.layer import Layer
from montecarlo.extraction.terms import FROZEN, LINES, Spread, law_of
from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.noise import summary
from ttfs_analog.noise.noise_file import RANGES
from ttfs_analog.noise.terms import TRIALS, Contents, Term


def chip_numbers(first: int, chips: int) -> range:
    """Numbers of so many chips.

    Parameters
    ----------
    first, chips : int
        Number of the first one; how many there are.

    Raises
    ------
    InputError
        If they are no whole numbers, or there is no chip.
    """
    for name, value, least in (("first", first, 0), ("chips", chips, 1)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} must be a whole number >= {least}, got {value!r}")
    return range(first, first + chips)


@dataclass(frozen=True)
class NoiseSet(Contents):
    """What a layer is drawn from and counted with."""

    @property
    def sets(self) -> tuple[Self, ...]:
        """The sets there are: this one."""
        return (self,)

    def of(self, n: int) -> Self:
        """The set of layer number n: the same for all."""
        return self

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
        """Standard deviation of a spike time from one inference to the next [tau_c], of a read-out of what is
        sampled [1]."""
        return next((self.terms[name].std for name in TRIALS if name in self.terms), 0.0)

    @property
    def spiking(self) -> bool:
        """Whether the neurons that were measured spike; False: read-outs."""
        return "slope" in self.terms

    def of_layer(self, spiking: bool) -> tuple[MismatchLaw, Constants, float]:
        """Law, constants and jitter of a layer.

        Parameters
        ----------
        spiking : bool
            Of the layer. Neurons that spike stand for read-outs, too, where there is nothing better: those
            have no comparator that takes charge from the membrane, and no spike that jitters.
        """
        if spiking == self.spiking:
            return self.law, self.constants, self.jitter
        return self.law, replace(self.constants, kick=0.0), 0.0

    def check_layer(self, n: int, layer: Layer) -> None:
        """Refuse layer number n where it lies outside the validity range."""
        needed = {"slope", "threshold", "capacitance"} if layer.spiking else {"capacitance"}
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

    def silent(self) -> Self:
        """The same model without any spread: the control of a training with it."""
        quiet: dict[str, Any] = {"std": 0.0, "std_ci": (0.0, 0.0), "mean": 0.0, "mean_ci": (0.0, 0.0)}
        terms, reference = (
            {k: replace(t, **quiet) for k, t in part.items()} for part in (self.terms, self.reference)
        )
        return replace(self, terms=terms, reference=reference)

    def scaled(self, factor: float) -> Self:
        """The same model with this factor on every sigma of transistors, those of capacitors excepted.

        Parameters
        ----------
        factor : float
            4 stands for devices of a sixteenth of the gate area (Pelgrom).
        """
        if not 0 <= factor < np.inf:
            raise InputError(f"a factor of sigmas must be finite and >= 0, got {factor}")

        def larger(part: dict[str, Term]) -> dict[str, Term]:
            fixed = (*TRIALS, "capacitance")
            grown = {
                k: replace(t, std=factor * t.std, std_ci=(factor * t.std_ci[0], factor * t.std_ci[1]))
                for k, t in part.items()
                if k not in fixed
            }
            return part | grown

        return replace(self, terms=larger(self.terms), reference=larger(self.reference))

    def with_references(self, sigmas: Mapping[str, float]) -> Self:
        """The same model with other spreads of what a layer shares.

        Parameters
        ----------
        sigmas : mapping
            By bias line (source, sink, slope, tail): of ln(1 + deviation) of its currents.

        Raises
        ------
        InputError
            If there is no such line, or a sigma lies outside [0, 1].
        """
        lines = [line for line, term in LINES.items() if term]
        for line, sigma in sigmas.items():
            if line not in lines or not 0 <= sigma <= 1:
                raise InputError(
                    f"spread of a reference {line}={sigma:g}: name one of {', '.join(lines)}, and a sigma in "
                    "[0, 1] (0.1 = 10 %)"
                )
        made = {
            k: Term("layer", "frozen", "lognormal", "1", s, (s, s), 0.0, (0.0, 0.0), 0, None)
            for k, s in sigmas.items()
        }
        return replace(self, reference=self.reference | made)

    def extrapolated(self) -> Self:
        """The same model without range limits."""
        return replace(self, validity={**self.validity, **{what: {"max": None} for what in RANGES}})

    def summary(self) -> str:
        """Constants, terms, held-out figures and energies as text."""
        return summary.text(self)
