"""A campaign: a frozen plan of which circuits to draw and what to ask of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from circuits.errors import InputError
from circuits.operating_point import OperatingPoint
from circuits.technology import Technology
from montecarlo.mismatch import MismatchLaw
from montecarlo.protocol import THETA_HIGH, WINDOW, Stimuli, stimuli

V_RANGE = (-2.5, WINDOW + THETA_HIGH)
"""Potentials that the protocol reaches; sets the volts per unit."""


@dataclass(frozen=True)
class Campaign:
    """Plan of a characterisation. Two plans with the same hash give the same dataset, bit for bit."""

    technology: str
    law: MismatchLaw
    point: OperatingPoint
    samples: int
    synapses: int = 8
    entropy: int = 0
    patterns: int = 5  #: weight patterns; the last is held out of the fit
    random: int = 8  #: held-out random stimuli
    batch: int = 256  #: samples written at a time: what an interruption can lose

    def __post_init__(self) -> None:
        for item, least in (("samples", 1), ("synapses", 1), ("entropy", 0), ("batch", 1)):
            value = getattr(self, item)
            if not isinstance(value, int) or value < least:
                raise InputError(f"campaign: {item} must be a whole number >= {least}, got {value!r}")

    @classmethod
    def characterize(
        cls,
        technology: Technology,
        samples: int,
        entropy: int = 0,
        *,
        synapses: int = 8,
        sigma: dict[str, float] | None = None,
    ) -> Campaign:
        """The standard protocol for neurons of a technology.

        Parameters
        ----------
        samples : int
            Neurons to draw; 200 give sigmas to about +-10 %.
        entropy : int
            Seed of the campaign.
        synapses : int
            Synapses per neuron.
        sigma : dict, optional
            Sigmas by term that replace the technology's own.
        """
        law = MismatchLaw.of({**technology.mismatch, **(sigma or {})})
        point = technology.operating_point.fit_swing(*V_RANGE)
        return cls(technology.name, law, point, samples, synapses, entropy)

    @property
    def stimuli(self) -> Stimuli:
        return stimuli(self.synapses, self.patterns, self.random, self.entropy)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def hash(self) -> str:
        """Identifies the plan and so the dataset."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def run(
        self,
        path: str | Path,
        *,
        workers: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """Simulate what is not there yet into a zarr store; see `montecarlo.runner.run`."""
        from montecarlo.runner import run  # the runner needs the plan

        return run(self, path, workers=workers, progress=progress)
