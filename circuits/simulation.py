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

from circuits.biasing.bounds import Bounds
from circuits.biasing.cell_figures import figures
from circuits.biasing.choose import choose
from circuits.biasing.layer_demand import propagate
from circuits.biasing.transistor_layer import TransistorNeuron
from circuits.errors import InputError
from circuits.ideal.ideal_layer import IdealNeuron
from circuits.model.closed_form import Constants, response, trajectory_range
from circuits.model.coding import encode, relative
from circuits.model.layer import Array, Layer, LayerMismatch, LayerResponse, join
from circuits.model.operating_point import SWING_MARGIN, OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.deck import Deck
from circuits.spice.ngspice import Ngspice, parallel

LEVELS = ("closed-form", "ngspice")
KICK = 0.03
"""Least charges would be off the closed form by up to 0.1 tau_c: charges at turn-on are measured at the
technology's own point, and weigh more the smaller Q is. With this bound it is 0.03 tau_c."""


class Neuron(Protocol):
    """What a kind of neuron does for one layer.

    Its methods share these parameters, and raise a SimulatorError if ngspice is missing, fails, or gives a
    result that cannot be trusted, an InputError for a layer or deviations that do not fit the neurons.

    Parameters
    ----------
    spike_times : array, shape (n_in,), of `simulate_each` (sample, n_in)
        Input spike times [tau_c] in [0, t_min]; inf = silent.
    mismatch : LayerMismatch of ideal sources; TransistorMismatch of a chip, or a sequence, of transistors
        None = one perfect copy.
    workers : ngspice processes at a time
    prefix : start of the names of a deck's tables, if it has any
    """

    @property
    def point(self) -> OperatingPoint:
        """Where the neurons are operated."""

    @property
    def constants(self) -> Constants:
        """Systematic terms of the equation."""

    @property
    def nominal(self) -> bool:
        """Whether the closed form holds."""

    def built(self, layer: Layer) -> Layer:
        """The layer as it is built."""

    def simulate(
        self, layer: Layer, spike_times: Array, mismatch: Any, *, simulator: Ngspice, workers: int = 1
    ) -> LayerResponse:
        """Response of all samples to one input. Parameters: see the class."""

    def simulate_each(
        self, layer: Layer, spike_times: Array, mismatch: Any, *, simulator: Ngspice
    ) -> LayerResponse:
        """Response of every sample to an input of its own. Parameters: see the class."""

    def decks(
        self, layer: Layer, spike_times: Array, mismatch: Any = None, *, prefix: str = "t"
    ) -> dict[str, Deck]:
        """Name -> readable deck, of one sample. Parameters: see the class."""

    def waveforms(
        self, layer: Layer, spike_times: Array, mismatch: Any, *, simulator: Ngspice, workers: int = 1
    ) -> tuple[Array, Array, Array]:
        """Time [tau_c], membranes (time, neuron) and thresholds (neuron,) [V]. Parameters: see the class."""

    def electrical(self) -> dict[str, Any]:
        """Electrical numbers of the layer beside its operating point."""


def ideal_point(layer: Layer, x: Array, technology: Technology) -> OperatingPoint:
    """Operating point of ideal sources in which no trajectory of a layer leaves the swing.

    Parameters
    ----------
    x : array, shape (image, n_in)
        Activations t_min - t [tau_c]; 0 = silent.

    Raises
    ------
    InputError
        If the technology has transistors.
    """
    if technology.process:
        raise InputError(
            f"{technology.name} has transistors: their operating point is that of a biased layer"
        )
    low, high = trajectory_range(layer, x)
    return technology.operating_point.fit_swing(float(low.min()), float(high.max()), SWING_MARGIN)


def neurons(
    layers: Sequence[Layer],
    x: Array,
    technology: Technology,
    *,
    points: Sequence[OperatingPoint] | None = None,
    form: str | None = None,
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
    points : sequence of OperatingPoint, optional
        Of ideal sources; None: chosen for `x`.
    form : {"pulse", "table", "pwl"}, optional
        Of decks with ideal sources.
    objective : {"spread", "energy", "speed"}
        Of transistors, see `circuits.biasing.choose`; the last two also hold KICK. They are biased for the
        typical corner, 27 C and the nominal supply.
    corner, temperature, supply : optional
        Where transistors are operated; [degrees C], [V].

    Raises
    ------
    InputError
        If ideal sources are asked for a corner, temperature or supply, or transistors for a form; if a layer
        does not fit the technology.
    """
    if technology.process is None:
        conditions = {"corner": corner, "temperature": temperature, "supply": supply}
        for name in (k for k, v in conditions.items() if v is not None):
            raise InputError(
                f"{technology.name} has ideal sources, which know no {name}; choose a technology with "
                "transistors"
            )
        inputs = propagate(layers, x)
        points = points or [ideal_point(*pair, technology) for pair in zip(layers, inputs, strict=True)]
        return [IdealNeuron(point, form) for point in points]
    if form is not None:
        raise InputError(f"form {form!r} is one of ideal sources; transistors have one form")
    bounds = Bounds() if objective == "spread" else Bounds(kick=KICK)
    biased = choose(layers, x, technology, figures(technology), objective=objective, bounds=bounds)
    return [TransistorNeuron(b, corner, temperature, supply) for b in biased]


def _as_neuron(neuron: Neuron | OperatingPoint) -> Neuron:
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
        LayerMismatch of `sample` copies; in ngspice transistors take the TransistorMismatch of a chip, or a
        sequence of them. None = one perfect copy.
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
    kind = _as_neuron(neuron)
    if level not in LEVELS:
        raise InputError(f"unknown level {level!r}; choose from {', '.join(LEVELS)}")
    if level == "ngspice":
        simulator = simulator or Ngspice()
        return kind.simulate(layer, spike_times, mismatch, simulator=simulator, workers=workers)
    if not isinstance(mismatch, LayerMismatch | None):
        raise InputError("the closed form knows no transistors: it has no chip of theirs; use level ngspice")
    if not kind.nominal:
        raise InputError(
            "the closed form holds at the typical corner, temperature and supply that a layer is biased "
            "for; use level ngspice"
        )
    return expected_response(layer, spike_times, kind, mismatch)


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
        for layer, kind, deviation in zip(layers, map(_as_neuron, kinds), mismatch, strict=True):
            times = encode(active, layer.t_min)
            if len(times) == 1:  # all chips see the same input
                step = simulate(layer, times[0], kind, deviation, level=level, simulator=simulator)
            elif simulator is not None and level == "ngspice":
                step = kind.simulate_each(layer, times, deviation, simulator=simulator)
            else:
                chips = range(deviation.samples)
                step = join([simulate(layer, times[c], kind, deviation[c], level=level) for c in chips])
            responses.append(step)
            active = relative(step.activation(layer.window), layer.dummies)
        return responses

    if level == "ngspice":
        assert simulator is not None
        yield from parallel((partial(one, image) for image in x), workers, simulator)
    else:
        yield from enumerate(map(one, x))


def expected_response(
    layer: Layer, spike_times: Array, neuron: Neuron, mismatch: LayerMismatch | None = None
) -> LayerResponse:
    """What the closed form expects of a layer where it is biased for.

    Parameters
    ----------
    spike_times : array, shape (n_in,), input spike times [tau_c]; inf = silent
    mismatch : None = one perfect copy
    """
    return response(neuron.built(layer), spike_times, neuron.point, mismatch, neuron.constants)


def expected_inputs(
    layers: Sequence[Layer], kinds: Sequence[Neuron], x: Array, mismatch: Sequence[LayerMismatch | None]
) -> list[Array]:
    """Spike times [tau_c] that arrive at each layer for one input, as the closed form expects them.

    Parameters
    ----------
    kinds : sequence of Neuron
        One per layer.
    x : array, shape (n_in,)
        Activations; 0 = silent.
    mismatch : sequence of LayerMismatch or None
        One per layer: of one chip.
    """
    inputs = []
    for layer, kind, deviation in zip(layers, kinds, mismatch, strict=True):
        inputs.append(encode(x, layer.t_min))
        active = expected_response(layer, inputs[-1], kind, deviation).activation(layer.window)[0]
        x = relative(active, layer.dummies)
    return inputs
