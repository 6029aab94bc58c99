"""A campaign: the plan of a characterization, and the means to carry it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from montecarlo.campaign import runner
from montecarlo.campaign.conditions import Settings, check_axis, law_at, point_at
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.protocol import THETA_HIGH
from montecarlo.campaign.transistor_campaign import TransistorCampaign
from montecarlo.mismatch.law import MismatchLaw

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
        law: MismatchLaw | None = None,
        settings: Settings | None = None,
        design: str = "plain",
    ) -> Campaign | TransistorCampaign:
        """The standard protocol for neurons of a technology; at transistor level where it has transistors.

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
        law : MismatchLaw, optional
            The whole law, where distributions, correlations or common parts are asked for.
        settings : dict, optional
            Conditions by axis of a sweep, see `montecarlo.campaign.conditions`.
        design : {"plain", "latin", "sobol"}
            How the samples fill the space of deviations.
        """
        settings = settings or {}
        for name, value in settings.items():
            check_axis(technology, name, (value,))
        if technology.process:
            if sigma or (law and law != MismatchLaw()) or design != "plain":
                raise InputError(
                    f"the transistors of {technology.name!r} deviate by the matching of their process: no "
                    "sigmas, distributions or designs to set; change their area with the axis size"
                )
            return TransistorCampaign.characterize(
                technology, samples, entropy, synapses=synapses, settings=settings
            )
        law = law or MismatchLaw.of(technology.mismatch)
        law = law_at(settings, law.replace(**(sigma or {})))
        threshold = settings.get("window", THETA_HIGH)
        low, high = V_RANGE
        point = point_at(settings, technology.operating_point, low, high * threshold / THETA_HIGH)
        return cls(
            technology.name,
            law,
            point,
            samples,
            synapses,
            entropy,
            threshold=float(threshold),
            design=design,
        )

    def run(
        self,
        path: str | Path,
        *,
        workers: int = 1,
        scheduler: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """Simulate what is not there yet into a zarr store; see `montecarlo.campaign.runner.run`."""
        return runner.run(self, path, workers=workers, scheduler=scheduler, progress=progress)
