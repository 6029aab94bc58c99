"""A campaign: the plan of a characterization, and the means to carry it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from circuits.technology import Technology
from montecarlo import runner
from montecarlo.mismatch import MismatchLaw
from montecarlo.plan import Plan
from montecarlo.protocol import THETA_HIGH
from montecarlo.sweep import Settings, law_at, point_at

V_RANGE = (-2.5, 2.0 * THETA_HIGH)
"""Potentials that the protocol reaches at its usual threshold; sets the volts per unit."""


@dataclass(frozen=True)
class Campaign(Plan):
    """A plan that can be run."""

    @classmethod
    def characterize(
        cls,
        technology: Technology,
        samples: int,
        entropy: int = 0,
        *,
        synapses: int = 8,
        sigma: dict[str, float] | None = None,
        settings: Settings | None = None,
        design: str = "plain",
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
        settings : dict, optional
            Conditions by axis of a sweep, see `montecarlo.sweep`.
        design : {"plain", "latin", "sobol"}
            How the samples fill the space of deviations.
        """
        settings = settings or {}
        law = law_at(settings, MismatchLaw.of({**technology.mismatch, **(sigma or {})}))
        threshold = settings.get("window", THETA_HIGH)
        low, high = V_RANGE
        point = point_at(settings, technology.operating_point, low, high * threshold / THETA_HIGH)
        return cls(
            technology.name, law, point, samples, synapses, entropy, threshold=float(threshold), design=design
        )

    def run(
        self,
        path: str | Path,
        *,
        workers: int = 1,
        scheduler: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """Simulate what is not there yet into a zarr store; see `montecarlo.runner.run`."""
        return runner.run(self, path, workers=workers, scheduler=scheduler, progress=progress)
