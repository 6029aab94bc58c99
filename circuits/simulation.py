"""The front door of the circuits: a layer, its input, a kind of neuron, a chip -> the layer's response.

A kind of neuron is ideal sources at an operating point, or transistors with their biasing, corner,
temperature and supply. Each runs at two levels of fidelity: the equation (`circuits.model.closed_form`), or
its netlist in ngspice. Feed-forward networks are simulated layer by layer: a neuron depends only on the
spikes that arrive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from circuits.biasing.cell_figures import figures
from circuits.biasing.choose import choose
from circuits.biasing.layer_demand import propagate
from circuits.biasing.transistor_layer import TransistorNeuron
from circuits.errors import InputError
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.model.closed_form import Constants, response, trajectory_range
from circuits.model.coding import encode
from circuits.model.layer import Array, Layer, LayerMismatch, LayerResponse, join
from circuits.model.operating_point import SWING_MARGIN, OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.deck import Deck
from circuits.spice.ngspice import Ngspice, parallel

LEVELS = ("closed-form", "ngspice")


class Neuron(Protocol):
    """What a kind of neuron can do for one layer. Spike times in tau_c; `mismatch` is one chip's, or several."""

    @property
    def point(self) -> OperatingPoint: ...
    @property
    def constants(self) -> Constants: ...
    def built(self, layer: Layer) -> Layer: ...
    def simulate(
        self, layer: Layer, spike_times: Array, mismatch: Any, *, simulator: Ngspice, workers: int = 1
    ) -> LayerResponse: ...
    def simulate_each(
        self, layer: Layer, spike_times: Array, mismatch: Any, *, simulator: Ngspice
    ) -> LayerResponse: ...
    def decks(
        self, layer: Layer, spike_times: Array, mismatch: Any = None, *, prefix: str = "t"
    ) -> dict[str, Deck]: ...
    def waveforms(
        self, layer: Layer, spike_times: Array, mismatch: Any, *, simulator: Ngspice, workers: int = 1
    ) -> tuple[Array, Array, Array]: ...
    def describe(self) -> dict[str, Any]: ...


def neurons(
    layers: Sequence[Layer],
    x: Array,
    technology: Technology,
    *,
    objective: str = "spread",
    corner: str | None = None,
    temperature: float | None = None,
    supply: float | None = None,
) -> list[Neuron]:
    """Neurons of a technology, with an operating point for each layer.

    Parameters
    ----------
    x : array, shape (image, n_in)
        Calibration inputs: activations t_min - t [tau_c]; 0 = silent. No trajectory of them leaves the swing.
    objective : {"spread", "energy", "speed"}
        Of transistors, see `circuits.biasing.choose`. They are biased for the typical corner, 27 C and the
        nominal supply.
    corner, temperature, supply : optional
        Where transistors are operated; [degrees C], [V].

    Raises
    ------
    InputError
        If ideal sources are asked for a corner, temperature or supply; if a layer does not fit the technology.
    """
    if technology.process is None:
        conditions = {"corner": corner, "temperature": temperature, "supply": supply}
        for name in (k for k, v in conditions.items() if v is not None):
            raise InputError(
                f"--{name}: {technology.name} has ideal sources, which know none; choose a --technology with "
                "transistors"
            )
        ranges = [trajectory_range(*pair) for pair in zip(layers, propagate(layers, x), strict=True)]
        point = technology.operating_point
        return [
            IdealNeuron(point.fit_swing(float(low.min()), float(high.max()), SWING_MARGIN))
            for low, high in ranges
        ]
    biased = choose(layers, x, technology, figures(technology), objective=objective)
    operated = {} if temperature is None else {"temperature": temperature}
    return [TransistorNeuron(b, corner, supply=supply, **operated) for b in biased]


def as_neuron(neuron: Neuron | OperatingPoint) -> Neuron:
    """An operating point alone stands for ideal sources."""
    return IdealNeuron(neuron) if isinstance(neuron, OperatingPoint) else neuron


def simulate(
    layer: Layer,
    spike_times: Array,
    neuron: Neuron | OperatingPoint,
    mismatch: Any = None,
    *,
    level: str = "ngspice",
    workers: int = 1,
    simulator: Ngspice | None = None,
) -> LayerResponse:
    """Response of a layer to one input pattern.

    Parameters
    ----------
    layer : Layer
    spike_times : array, shape (n_in,)
        Input spike times [tau_c] in [0, t_min]; inf = silent.
    neuron : Neuron, or OperatingPoint of ideal sources
        IdealNeuron, or TransistorNeuron that is biased for this layer.
    mismatch : optional
        LayerMismatch of `sample` copies; in ngspice transistors take the LayerDevices of a chip, or a sequence
        of them. None = one perfect copy.
    level : {"closed-form", "ngspice"}
    workers : int
        ngspice processes at a time.

    Returns
    -------
    LayerResponse
        The same for all kinds and levels; times count from t_min plus the neuron's expected delay.

    Raises
    ------
    InputError
        For an unknown level, or deviations that the level does not take.
    SimulatorError
        If ngspice is missing, fails, or gives a result that cannot be trusted.
    """
    kind = as_neuron(neuron)
    if level not in LEVELS:
        raise InputError(f"unknown level {level!r}; choose from {', '.join(LEVELS)}")
    if level == "ngspice":
        simulator = simulator or Ngspice()
        return kind.simulate(layer, spike_times, mismatch, simulator=simulator, workers=workers)
    if not isinstance(mismatch, LayerMismatch | None):
        raise InputError("the closed form takes deviations of currents and thresholds (LayerMismatch), not devices")
    return response(kind.built(layer), spike_times, kind.point, mismatch, kind.constants)


def feed_forward(
    layers: Sequence[Layer],
    kinds: Sequence[Neuron | OperatingPoint],
    x: Array,
    mismatch: Sequence[LayerMismatch],
    *,
    level: str = "ngspice",
    workers: int = 1,
    simulator: Ngspice | None = None,
) -> Iterator[tuple[int, list[LayerResponse]]]:
    """Images through whole chips, layer by layer.

    Parameters
    ----------
    kinds : sequence of Neuron or OperatingPoint
        One per layer.
    x : array, shape (image, n_in)
        Input activations in [0, t_min] [tau_c]; 0 = silent.
    mismatch : sequence of LayerMismatch
        One per layer, with the same number of chips (samples).

    Yields
    ------
    image, responses
        In order of completion; responses[n] holds layer n, arrays (chip, neuron).
    """
    if level == "ngspice":
        simulator = simulator or Ngspice()

    def one(image: Array) -> list[LayerResponse]:
        responses: list[LayerResponse] = []
        active: Array = image[None, :]
        for layer, kind, deviation in zip(layers, map(as_neuron, kinds), mismatch, strict=True):
            times = encode(active, layer.t_min)
            if len(times) == 1:  # all chips see the same input
                step = simulate(layer, times[0], kind, deviation, level=level, simulator=simulator)
            elif simulator is not None and level == "ngspice":
                step = kind.simulate_each(layer, times, deviation, simulator=simulator)
            else:
                chips = range(deviation.samples)
                step = join([simulate(layer, times[c], kind, deviation[c], level=level) for c in chips])
            responses.append(step)
            active = step.activation(layer.window)
        return responses

    if level == "ngspice":
        assert simulator is not None
        yield from parallel((partial(one, image) for image in x), workers, simulator)
    else:
        yield from enumerate(map(one, x))
