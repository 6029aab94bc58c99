"""A campaign: the plan of a characterization, and the means to carry it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from circuits.pdk.technology import Technology
from montecarlo.campaign import runner
from montecarlo.campaign.conditions import Settings, check_axis
from montecarlo.campaign.neuron_under_test import NeuronUnderTest
from montecarlo.campaign.plan import Plan
from montecarlo.mismatch.law import MismatchLaw


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
    ) -> Campaign:
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

        Raises
        ------
        InputError
            For what the technology does not have: transistors have no sigmas to set, ideal sources no corner.
        """
        settings = settings or {}
        for name, value in settings.items():
            check_axis(technology, name, (value,))
        kind = runner.kind_of(technology)
        fields = kind.fields(technology, synapses, settings, sigma=sigma, law=law, design=design)
        return cls(technology.name, samples=samples, synapses=synapses, entropy=entropy, **fields)

    @property
    def neuron(self) -> NeuronUnderTest:
        """What is under test."""
        return runner.neuron_of(self)

    def run(
        self,
        path: str | Path,
        *,
        level: str = "ngspice",
        workers: int = 1,
        scheduler: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """Carry out what is not there yet into a zarr store; see `montecarlo.campaign.runner.run`."""
        return runner.run(self, path, level=level, workers=workers, scheduler=scheduler, progress=progress)
