"""A frozen plan of which circuits to draw and what to ask of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from montecarlo.campaign.protocol import LEAST, MOST, THETA_HIGH, Stimuli, stimuli
from montecarlo.mismatch.law import NEURON, MismatchLaw
from montecarlo.mismatch.space_filling import check_design


@dataclass(frozen=True)
class Plan:
    """Plan of a characterization. Two plans with the same hash give the same dataset, bit for bit."""

    technology: str
    law: MismatchLaw
    point: OperatingPoint
    samples: int
    synapses: int = 8
    entropy: int = 0
    patterns: int = 5  #: weight patterns; the last is held out of the fit
    random: int = 8  #: held-out random stimuli
    threshold: float = THETA_HIGH  #: in units of potential: the firing time of the protocol [tau_c]
    batch: int = 256  #: samples written at a time: what an interruption can lose
    design: str = (
        "plain"  #: how samples fill the space of deviations, see `montecarlo.mismatch.space_filling`
    )

    def __post_init__(self) -> None:
        for item, least in (("samples", 1), ("synapses", 1), ("entropy", 0), ("batch", 1)):
            value = getattr(self, item)
            if not isinstance(value, int) or value < least:
                raise InputError(f"campaign: {item} must be a whole number >= {least}, got {value!r}")
        if not LEAST <= self.threshold <= MOST:
            raise InputError(
                f"campaign: the threshold (window) must lie in [{LEAST:g}, {MOST:g}] tau_c, got "
                f"{self.threshold!r}"
            )
        check_design(self.design, self.samples, self.synapses + len(NEURON))

    @property
    def stimuli(self) -> Stimuli:
        return stimuli(self.synapses, self.patterns, self.random, self.entropy, self.threshold)

    def to_json(self) -> str:
        fields = dataclasses.asdict(self) | {"law": self.law.to_dict()}
        # what a plan does not ask for is not written: plans from before it could be asked keep their hashes
        usual = {f.name: f.default for f in dataclasses.fields(self)}
        for name in ("design", "threshold"):
            if fields[name] == usual[name]:
                del fields[name]
        return json.dumps(fields, sort_keys=True)

    @property
    def hash(self) -> str:
        """Identifies the plan and so the dataset."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]
