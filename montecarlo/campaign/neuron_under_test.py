"""What a campaign takes from a kind of neuron: what to draw, what to simulate, what it measures.

A campaign has parts (samples; where there are transistors, runs without mismatch and trials with noise), and
a part has batches. A batch is the unit of what can be lost or handed out; its numbers depend on the plan and
its place only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from circuits.errors import SimulatorError
from circuits.spice.ngspice import Canceled, HostError, Ngspice
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.protocol import Stimuli
from montecarlo.campaign.schema import PHASES, Values, blank

RETRIES = 2
"""How often a simulation that failed is tried again before its failure is data."""
NOMINAL, SAMPLE, TRIAL = "nominal", "sample", "trial"
T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Runs of one sort, along a dimension of the dataset."""

    name: str  #: of the dimension
    count: int
    batch: int  #: runs in a batch; the last one may have fewer

    @property
    def status(self) -> str:
        """The variable that says which runs are done."""
        return "status" if self.name == SAMPLE else f"{self.name}_status"

    def batches(self) -> list[Batch]:
        """All of them, in order."""
        firsts = range(0, self.count, self.batch)
        return [Batch(self.name, k, min(k + self.batch, self.count)) for k in firsts]


@dataclass(frozen=True)
class Batch:
    """Some runs of a part."""

    part: str
    first: int
    last: int  #: one behind the last run

    def __len__(self) -> int:
        return self.last - self.first


@dataclass(frozen=True)
class Work:
    """How a batch is carried out."""

    steps: Sequence[Callable[[], Any]]  #: independent simulations
    collect: Callable[
        [Sequence[Any]], Values
    ]  #: their results, in the order of `steps` -> the batch's values


class NeuronUnderTest(Protocol):
    """A kind of neuron under the plan of a campaign."""

    supplies: ClassVar[tuple[str, ...]]
    """What hangs on each supply, whose energies are measured apart."""
    lines: ClassVar[tuple[str, ...]]
    """Bias lines that the neurons of a layer share; ideal sources have none."""

    @property
    def extraction(self) -> str:
        """Where a model takes its devices from: spike_times, operating_points or, of read-outs, samples."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Transistors of comparator and latch, whose deviations are noted; ideal neurons have none."""

    @property
    def plan(self) -> Plan: ...
    @property
    def stimuli(self) -> Stimuli: ...
    @property
    def parts(self) -> Sequence[Part]: ...
    def check_level(self, level: str) -> None:
        """Refuse a level of fidelity at which this kind cannot be characterized."""

    def origin(self, simulator: Ngspice) -> dict[str, str]:
        """Form and fingerprint of its decks: a campaign is finished with those that it was begun with."""

    def work(self, batch: Batch, simulator: Ngspice | None) -> Work:
        """What to simulate for one batch.

        Parameters
        ----------
        batch : Batch
        simulator : Ngspice, optional
            None: the closed form.
        """


def coordinates(neuron: NeuronUnderTest) -> dict[str, Any]:
    """Coordinates of the dimensions that are not divided into batches."""
    own = {"line": list(neuron.lines), "device": list(neuron.devices)}
    return {
        "stimulus": list(neuron.stimuli.label),
        "synapse": np.arange(neuron.plan.synapses),
        "pattern": np.arange(neuron.plan.patterns),
        "supply": list(neuron.supplies),
        "phase": list(PHASES),
        **{name: values for name, values in own.items() if values},
    }


def unmeasured(neuron: NeuronUnderTest, part: str, runs: int) -> Values:
    """Values of some runs of a part, to be filled in.

    Parameters
    ----------
    neuron : NeuronUnderTest
    part : str
        Name of its dimension.
    runs : int
        Length of this dimension.
    """
    return blank({part: runs, **{k: len(v) for k, v in coordinates(neuron).items()}})


def attempt(simulate: Callable[[], T]) -> T | SimulatorError:
    """A failure of the circuit is a result, one of the machine is not.

    Raises
    ------
    HostError, Canceled
        If the machine is at fault, or the run was stopped.
    """
    try:
        return simulate()
    except (HostError, Canceled):
        raise
    except SimulatorError as error:
        return error


def reason(error: SimulatorError) -> str:
    """First line of an error, as the dataset keeps it."""
    return str(error).split("\n")[0][:160]
