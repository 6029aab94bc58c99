"""A campaign: the plan of a characterization, and the means to carry it out."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from circuits.errors import Notice
from circuits.pdk.technology import Technology
from montecarlo.campaign import runner
from montecarlo.campaign.conditions import Settings, check_axis
from montecarlo.campaign.neuron_under_test import NeuronUnderTest
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.schema import open_dataset
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.stores import store


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
        technology : Technology
            Ideal sources or transistors.
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
        law = (law or MismatchLaw.of(technology.mismatch)).replace(**(sigma or {}))
        fields = runner.kind_of(technology).fields(technology, synapses, settings, law, design)
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
        """Carry out each run that the store at `path` does not hold yet.

        Parameters
        ----------
        path : path
            zarr store; made if missing, resumed if it belongs to the same plan.
        level : {"ngspice", "closed-form"}
            The closed form needs no simulator; ideal neurons only.
        workers : int
            ngspice processes at a time, here.
        scheduler : str, optional
            Address of a dask.distributed scheduler whose workers simulate instead
            (`montecarlo.campaign.dask_cluster`). The same plan gives the same bits.
        progress : callable, optional
            Called with (runs done, runs in all).

        Raises
        ------
        InputError
            If `path` holds something else, cannot be written, or another process writes there; if the
            scheduler does not answer; for a level that the technology does not have.
        SimulatorError
            If ngspice is missing or the machine has no room for it. A circuit that fails for another reason,
            three times, is data: its samples get status 1.
        """
        neuron, path = self.neuron, Path(path)
        simulator = runner.simulator_for(neuron, level)
        total = sum(part.count for part in neuron.parts)
        with store.locked(path):
            runner.open_store(neuron, path, simulator)
            todo = runner.unfinished(neuron, path)
            done = total - sum(map(len, todo))
            if progress:
                progress(done, total)
            with contextlib.closing(
                runner.carry_out(neuron, todo, workers, scheduler if todo else None, simulator)
            ) as results:
                for k, values in results:
                    store.write(path, (slice(todo[k].first, todo[k].last),), values)
                    done += len(todo[k])
                    if progress:
                        progress(done, total)
        dataset = open_dataset(path)
        if alone := decks_run_alone(dataset):
            warnings.warn(
                f"{path}: {alone} decks were run alone, after a process that ran several had failed: the "
                "numbers hold, but they took up to three times as long",
                Notice,
                stacklevel=2,
            )
        if simulator and simulator.failed:
            where = ", ".join(map(str, simulator.kept)) or "none"
            warnings.warn(
                f"{path}: {simulator.failed} runs of ngspice failed; folders kept: {where}",
                Notice,
                stacklevel=2,
            )
        return dataset


def decks_run_alone(dataset: xr.Dataset) -> int:
    """How many decks of a campaign failed together with others and were run again, each in a process.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization; those of earlier versions do not say, and give 0.
    """
    return int(sum(dataset[v].sum() for v in dataset.data_vars if str(v).endswith("alone")))
