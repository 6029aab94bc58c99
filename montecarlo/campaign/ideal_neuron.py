"""Neurons of ideal sources under test: one deck holds a whole batch of samples under one stimulus."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from circuits.errors import SimulatorError
from circuits.ideal.crossings import fast_form
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.netlist import build
from circuits.ideal.stimulus import stimulus
from circuits.model.layer import LayerMismatch, LayerResponse
from circuits.pdk.technology import Technology
from circuits.simulation import simulate
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.conditions import Settings, law_at, point_at
from montecarlo.campaign.neuron_under_test import SAMPLE, Batch, Part, Work, attempt, reason, unmeasured
from montecarlo.campaign.plan import Plan
from montecarlo.campaign.protocol import THETA_HIGH, Stimuli, stimuli
from montecarlo.campaign.schema import Values
from montecarlo.mismatch.law import NEURON, REFERENCED, TERMS, MismatchLaw
from montecarlo.mismatch.seeds import COMMON, DELAY, REFERENCE, generator
from montecarlo.mismatch.space_filling import normals

V_RANGE = (-2.5, 2.0 * THETA_HIGH)
"""Potentials that the protocol reaches at its usual threshold; sets the volts per unit."""


@dataclass(frozen=True)
class IdealUnderTest:
    """Ideal sources, with deviations injected by the law of the plan."""

    plan: Plan
    extraction: ClassVar[str] = "spike_times"
    supplies: ClassVar[tuple[str, ...]] = ("source",)
    lines: ClassVar[tuple[str, ...]] = ()
    devices: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def fields(
        technology: Technology, synapses: int, settings: Settings, law: MismatchLaw, design: str
    ) -> dict[str, Any]:
        """Fields of the standard plan.

        Parameters
        ----------
        technology, synapses, settings, law, design
            As in `montecarlo.campaign.campaign.Campaign.characterize`.
        """
        threshold = float(settings.get("window", THETA_HIGH))
        reach = V_RANGE[0], V_RANGE[1] * threshold / THETA_HIGH
        return {
            "law": law_at(settings, law),
            "point": point_at(settings, technology.operating_point, reach=reach),
            "threshold": threshold,
            "design": design,
        }

    @cached_property
    def stimuli(self) -> Stimuli:
        """The protocol."""
        plan = self.plan
        return stimuli(plan.synapses, plan.patterns, plan.random, plan.entropy, plan.threshold)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Samples only."""
        return (Part(SAMPLE, self.plan.samples, self.plan.batch),)

    def check_level(self, level: str) -> None:
        """Both levels will do."""

    def origin(self, simulator: Ngspice) -> dict[str, str]:
        """Form of the decks, and the deck of sample 0 under the last stimulus."""
        stim, first = self.stimuli, np.array([0])
        layer = stim.layer(len(stim.label) - 1, first)
        placed = stimulus(layer, stim.input_time[-1], self.plan.point)
        deck = build(layer_cell(layer, placed, self.plan.point, draw_samples(self.plan, first)))
        files = "".join(f"{k}\n{v}" for k, v in sorted(deck.files.items()))
        return {"deck_form": fast_form(simulator.program), "deck": deck.text + files}

    def work(self, batch: Batch, simulator: Ngspice | None) -> Work:
        """One simulation a stimulus.

        A deck is always full, so that a sample's numbers do not depend on how many there are.

        Parameters
        ----------
        batch : Batch
        simulator : Ngspice, optional
            None: the closed form.
        """
        samples = np.arange(batch.first, batch.first + self.plan.batch)
        mismatch, stim = draw_samples(self.plan, samples), self.stimuli
        kind = IdealNeuron(self.plan.point, fast_form(simulator.program) if simulator else None)
        level = "ngspice" if simulator else "closed-form"
        steps = []
        for s, label in enumerate(stim.label):
            devices = mismatch
            if label == "reference":  # the test current is perfect
                devices = dataclasses.replace(mismatch, slope=np.zeros_like(mismatch.slope))
            run = partial(
                simulate, stim.layer(s, samples), stim.input_time[s], kind, devices,
                level=level, simulator=simulator,
            )  # fmt: skip
            steps.append(partial(attempt, run))
        return Work(steps, partial(self._collect, len(batch), mismatch))

    def _collect(
        self, n: int, mismatch: LayerMismatch, responses: Sequence[LayerResponse | SimulatorError]
    ) -> Values:
        values = unmeasured(self, SAMPLE, n)
        failures = [reason(r) for r in responses if isinstance(r, SimulatorError)]
        for s, response in enumerate(responses):
            if isinstance(response, SimulatorError):
                continue
            time = response.delay[0, :n]
            values["spike_time"][:, s] = time
            values["v_t_min"][:, s] = response.v_t_min[0, :n]
            values["slope"][:, s] = response.slope[0, :n]
            values["delay"][:, s] = np.where(np.isfinite(time), 0.0, np.nan)
            values["energy"][:, s] = response.energy_by_supply[0, :n]
        for field in dataclasses.fields(LayerMismatch):
            values[f"deviation_{field.name}"] = getattr(mismatch, field.name)[0, :n]
        values["status"][:] = 1 if failures else 0
        values["reason"][:] = failures[0] if failures else ""
        return values


def draw_samples(plan: Plan, samples: np.ndarray) -> LayerMismatch:
    """Deviations of some samples of a campaign, as one layer whose neurons are the samples.

    Parameters
    ----------
    plan : Plan
    samples : array of int, shape (n,)

    Returns
    -------
    LayerMismatch
        Arrays (1, n[, synapse]).
    """
    law, weights = plan.law or MismatchLaw(), IdealUnderTest(plan).stimuli.weights
    z = normals(plan.design, plan.entropy, samples, plan.samples, len(NEURON) + plan.synapses)
    drawn = []
    for k, row in zip(samples.tolist(), z, strict=True):
        # one by one: a sample's bits do not depend on its neighbors. Every sample is from a chip of its own
        common = generator(plan.entropy, COMMON, k).standard_normal(len(TERMS)) if law.common else None
        shared = None
        if law.reference:
            shared = generator(plan.entropy, REFERENCE, k).standard_normal(len(REFERENCED))
        late = generator(plan.entropy, DELAY, k).standard_normal(1) if law.delay else None
        neuron, synapse = row[: len(NEURON), None], row[None, len(NEURON) :]
        drawn.append(law.deviations(weights[[k % len(weights)]], neuron, synapse, common, shared, late))
    fields = [f.name for f in dataclasses.fields(LayerMismatch)]
    return LayerMismatch(**{f: np.concatenate([d[f] for d in drawn])[None] for f in fields})
