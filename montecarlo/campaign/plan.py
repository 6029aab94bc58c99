"""A frozen plan of which neurons to draw and what to ask of them, for every technology."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from circuits.benches.neuron import COMPARATORS
from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from montecarlo.campaign.conditions import CORNER, TEMPERATURE, check_axis
from montecarlo.campaign.protocol import LEAST, MOST, ONE_BY_ONE, WIDEST
from montecarlo.campaign.rows import Rows
from montecarlo.mismatch.law import NEURON, MismatchLaw
from montecarlo.mismatch.space_filling import check_design

VERSION = 3
"""Of the meaning of a plan's fields: plans of another version give other datasets."""
WHOLE = {"samples": 1, "synapses": 1, "entropy": 0, "patterns": 1, "random": 1, "batch": 1, "nominal": 0}
WHOLE |= {"trials": 0}
"""Fields that are whole numbers, and their least values."""
IDEAL_ONLY = ("law", "design")
TRANSISTORS_ONLY = ("corner", "temperature", "area", "comparator", "nominal", "trials", "rows")
AREAS = (1 / 4, 4.0)


@dataclass(frozen=True)
class Plan:
    """Plan of a characterization. Two plans with the same hash give the same dataset, bit for bit."""

    technology: str
    point: OperatingPoint
    samples: int
    synapses: int = 8
    entropy: int = 0
    patterns: int = 5  #: weight patterns; sample k carries pattern k modulo this
    random: int = 8  #: stimuli with random input times
    threshold: float = 1.0  #: in units of potential
    batch: int = 256  #: samples written at a time: what an interruption can lose
    law: MismatchLaw | None = None  #: of ideal neurons; transistors deviate by the matching of their process
    design: str = "plain"  #: how samples fill the space of deviations: `montecarlo.mismatch.space_filling`
    corner: str | None = None  #: this and all below: of transistors
    temperature: float | None = None  #: [degrees C]
    area: float | None = None  #: gate area of all matched transistors, as a multiple of the technology's
    comparator: str | None = None
    nominal: int = 0  #: runs without mismatch, for the systematic constants
    trials: int = 0  #: runs with device noise, for the jitter
    rows: Rows | None = None  #: neurons of a layer of a network; None: a test neuron
    version: int = VERSION

    def __post_init__(self) -> None:
        for name, least in WHOLE.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"campaign: {name} must be a whole number >= {least}, got {value!r}")
        if self.version != VERSION:
            raise InputError(
                f"campaign: a plan of version {self.version!r}, {VERSION} is known; make a new one"
            )
        technology = Technology.load(self.technology)
        usual = {f.name: f.default for f in dataclasses.fields(self)}
        foreign, kind = (
            (IDEAL_ONLY, "transistors") if technology.process else (TRANSISTORS_ONLY, "ideal sources")
        )
        for name in foreign:
            if getattr(self, name) != usual[name]:
                raise InputError(
                    f"campaign: {name} {getattr(self, name)!r:.60}: {self.technology} has {kind}, which have "
                    f"no such thing; leave it out, or choose another technology"
                )
        if technology.process:
            self._check_transistors(technology)
        else:
            self._check_ideal()

    def _check_ideal(self) -> None:
        if self.law is None:
            raise InputError(
                "campaign: law None: ideal neurons deviate by a law; give MismatchLaw() for none"
            )
        if not LEAST <= self.threshold <= MOST:
            raise InputError(
                f"campaign: the threshold (window) must lie in [{LEAST:g}, {MOST:g}] tau_c, got "
                f"{self.threshold!r}"
            )
        if self.synapses > WIDEST:
            raise InputError(
                f"campaign: {self.synapses} synapses are more than the {WIDEST} of the widest neuron; sigmas "
                "do not depend on their number: ask for fewer"
            )
        if self.synapses > ONE_BY_ONE and self.law.special:
            raise InputError(
                f"campaign: {self.synapses} synapses are asked for their sums, which show independent "
                f"deviations of the usual distributions only, not {', '.join(self.law.special)}; ask for at "
                f"most {ONE_BY_ONE}"
            )
        check_design(self.design, self.samples, self.synapses + len(NEURON))

    def _check_transistors(self, technology: Technology) -> None:
        if self.threshold != 1.0:
            raise InputError(
                f"campaign: threshold {self.threshold!r}: the cells of {self.technology} are made for 1"
            )
        check_axis(technology, CORNER, (self.corner,))
        check_axis(technology, TEMPERATURE, (self.temperature,))
        if self.area is None or not (AREAS[0] <= self.area <= AREAS[1] or self.rows):
            raise InputError(
                f"campaign: the area (size) must lie in 1/4..4, got {self.area!r}: beyond that the matched "
                "transistors load the membrane and the comparator too much, and the cells want another design"
            )
        if self.rows and not self.rows.spiking:
            if self.comparator is not None:
                raise InputError(
                    f"campaign: read-outs have no comparator, got {self.comparator!r}; leave it out"
                )
        elif self.comparator not in COMPARATORS:
            raise InputError(f"campaign: comparator is one of {COMPARATORS}, got {self.comparator!r}")

    def to_json(self) -> str:
        """All fields, as the dataset keeps them."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def hash(self) -> str:
        """Identifies the plan and so the dataset."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]
