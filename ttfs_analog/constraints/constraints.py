"""What hardware does to an ideal network, as training-time transforms that compose.

Weights are quantized before they meet the spikes; a spike leaves its neuron with jitter, then meets the
clock, then the window: early spikes count from t_min, late ones are lost. The order is the circuit's, not
that of the list. Gradients pass through a rounding or a jitter as if it were not there; they are zero for
weights that are clipped, and for activations that the window clips before any jitter.

Source: Stanojevic et al., Nat. Commun. 2024, Methods, "Simulation details for fine-tuning for hardware",
(i) to (iv); scopes and kinds of jitter: ibid., Discussion. There they are used one at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypedDict

import torch
from torch import Tensor

from circuits.errors import InputError
from circuits.model.shape import checked
from ttfs_analog.constraints.spike_times import send
from ttfs_analog.constraints.weight_grid import Grid, rounded, whole_units
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.neuron.seeding import folded, seeded

SAMPLE = 1_000_000
"""Weights from which percentiles are taken."""
TRIALS, FROZEN = 1, 2
"""Streams of a seed."""


NONZERO, ALL = "nonzero", "all"
PERCENTILES_OF = (NONZERO, ALL)
"""Activations that percentiles of windows are taken of."""


def check_population(percentile_of: str) -> None:
    """InputError unless it is one of PERCENTILES_OF."""
    if percentile_of not in PERCENTILES_OF:
        raise InputError(
            f"percentiles are of {' or '.join(PERCENTILES_OF)} activations, got {percentile_of!r}"
        )


@dataclass(frozen=True)
class Jitter:
    """Gaussian error of every spike time, inputs included.

    std [tau_c]; scope "neuron" (each its own) or "layer" (one shift for all); kind "trial" (new for every
    image and pass) or "frozen" (fixed with the seed).
    """

    std: float
    scope: str = "neuron"
    kind: str = "trial"

    def __post_init__(self) -> None:
        if not 0 <= self.std < float("inf"):
            raise InputError(f"jitter must be >= 0 tau_c, got {self.std}")
        if self.scope not in ("neuron", "layer") or self.kind not in ("trial", "frozen"):
            raise InputError(
                f"jitter is per 'neuron' or 'layer' and of kind 'trial' or 'frozen', got {self.scope!r}, "
                f"{self.kind!r}"
            )


@dataclass(frozen=True)
class TimeSteps:
    """Spike times on a grid of so many steps a window; a silent neuron is step 0.

    Windows hold `percentile` of the activations, unless a Latency constraint sets them.
    """

    steps: int
    percentile: float = 99.0
    percentile_of: str = NONZERO  #: activations, or ALL

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"time steps must be >= 1, got {self.steps}")
        if not 0 < self.percentile <= 100:
            raise InputError(f"the percentile of time steps must lie in (0, 100], got {self.percentile}")
        check_population(self.percentile_of)


@dataclass(frozen=True)
class WeightBits:
    """Weights as whole multiples of a unit current, -2^(bits-1) .. 2^(bits-1) - 1.

    The unit of each layer covers its weights without `clip` percent on either side (default 1, and 4 for
    4 bits or fewer); it is fixed when the constraint is applied.
    """

    bits: int
    clip: float | None = None
    units: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 24:
            raise InputError(f"weight bits must lie in 2..24, got {self.bits}")
        if self.clip is not None and not 0 <= self.clip < 50:
            raise InputError(f"clip must lie in [0, 50) percent, got {self.clip}")

    def fitted(self, weights: Iterable[Tensor]) -> WeightBits:
        """With units for the weights of every layer."""
        clip = self.clip if self.clip is not None else (4.0 if self.bits <= 4 else 1.0)
        top = 2 ** (self.bits - 1)
        units = []
        for weight in weights:
            flat = weight.detach().flatten()
            flat = flat[:: -(-len(flat) // SAMPLE)]
            ends = torch.quantile(flat.double(), flat.new_tensor([clip / 100, 1 - clip / 100]).double())
            unit = max(-float(ends[0]) / top, float(ends[1]) / (top - 1))
            unit = unit if unit > 0 else (float(flat.abs().max()) or 1.0) / (top - 1)
            units.append(float(torch.tensor(unit, dtype=torch.float32)))  # the same for all dtypes
        return replace(self, units=tuple(units))

    def grid(self, n: int) -> Grid:
        """Of the weights of layer n."""
        if n >= len(self.units):
            raise InputError(
                "weight bits have no units yet: apply them with ttfs_analog.network.constrain.constrain"
            )
        return Grid(self.units[n], 2 ** (self.bits - 1))

    def quantize(self, n: int, weight: Tensor) -> Tensor:
        """Weights on their grid.

        Parameters
        ----------
        n : int
            Number of the layer.
        weight : Tensor
        """
        return rounded(weight, self.grid(n))


@dataclass(frozen=True)
class WeightUnits:
    """Weights as whole unit devices: rint(W n) / n, clipped to +- m / n.

    units: n of every layer, devices of W = 1; most: m, the most devices of one synapse.
    """

    units: tuple[int, ...]
    most: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = all(isinstance(v, int) and v >= 1 for v in (*self.units, *self.most))
        if not whole or not self.units or len(self.units) != len(self.most):
            raise InputError(
                "weight units and most units are whole numbers >= 1, one of each a layer, got "
                f"{self.units} and {self.most}"
            )

    def quantize(self, n: int, weight: Tensor) -> Tensor:
        """Weights of whole units.

        Parameters
        ----------
        n : int
            Number of the layer.
        weight : Tensor
        """
        if n >= len(self.units):
            raise InputError(f"weight units are those of {len(self.units)} layers: layer {n} has none")
        return whole_units(weight, self.units[n], self.most[n])


@dataclass(frozen=True)
class Latency:
    """Windows that hold only `percentile` of the activations: less time, early spikes wait for t_min."""

    percentile: float
    percentile_of: str = NONZERO  #: activations, or ALL, with those of silent neurons

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise InputError(f"latency percentile must lie in (0, 100], got {self.percentile}")
        check_population(self.percentile_of)


class Stored(TypedDict):
    """Constraints in a file."""

    seed: int
    parts: list[dict[str, Any]]


Constraint = Jitter | TimeSteps | WeightBits | WeightUnits | Latency
KINDS: dict[str, type] = {k.__name__: k for k in (Jitter, TimeSteps, WeightBits, WeightUnits, Latency)}


class Constraints:
    """At most one constraint of each kind, and the random numbers of the jitter.

    Parameters
    ----------
    parts : iterable of Jitter, TimeSteps, WeightBits or WeightUnits, Latency
    seed : int
        Of frozen shifts, and of the trials after `restart`.
    """

    def __init__(self, parts: Iterable[Constraint], seed: int = 0) -> None:
        self.parts = tuple(parts)
        kinds = [type(p).__name__ for p in self.parts]
        if len(set(kinds)) < len(kinds):
            raise InputError(f"each kind of constraint may appear once, got {', '.join(kinds)}")
        by_kind = {type(p): p for p in self.parts}
        self.jitter: Jitter | None = by_kind.get(Jitter)  # type: ignore[assignment]
        self.steps: TimeSteps | None = by_kind.get(TimeSteps)  # type: ignore[assignment]
        self.bits: WeightBits | None = by_kind.get(WeightBits)  # type: ignore[assignment]
        self.units: WeightUnits | None = by_kind.get(WeightUnits)  # type: ignore[assignment]
        self.latency: Latency | None = by_kind.get(Latency)  # type: ignore[assignment]
        if self.bits and self.units:
            raise InputError("weight bits and weight units both round the weights: take one of them")
        folded(seed)  # refuses what is no seed before a trial needs it
        self.seed = seed
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Start the trials again: the same seed gives the same jitter."""
        self._frozen: dict[tuple[Any, ...], Tensor] = {}
        self._trials: torch.Generator | None = None  # made on the device of the first spikes
        self._trial_seed = seed
        self._state: Tensor | None = None

    def trial_state(self) -> Tensor | None:
        """Where the trials' random numbers are: for a checkpoint; None: at their start."""
        return self._trials.get_state() if self._trials else self._state

    def set_trial_state(self, state: Tensor | None) -> None:
        """Go on from `trial_state`."""
        self._trials, self._state = None, state

    def __deepcopy__(self, memo: dict[int, Any]) -> Constraints:
        return Constraints(copy.deepcopy(self.parts, memo), self.seed)

    @property
    def percentile(self) -> float | None:
        """Of the windows that the constraints ask for; None: any windows."""
        if self.latency:
            return self.latency.percentile
        return self.steps.percentile if self.steps else None

    @property
    def percentile_of(self) -> str:
        """Of which activations `percentile` is one: NONZERO or ALL."""
        part = self.latency or self.steps
        return part.percentile_of if part else NONZERO

    def to_dict(self) -> dict[str, Any]:
        """JSON-serializable."""
        return {"seed": self.seed, "parts": [{"part": type(p).__name__, **asdict(p)} for p in self.parts]}

    @classmethod
    def from_dict(cls, fields: Any, where: str = "constraints") -> Constraints:
        """The inverse of `to_dict`.

        Parameters
        ----------
        fields
            Of a file.
        where : str
            The file, for messages.

        Raises
        ------
        InputError
            Naming key, value and what is expected.
        """
        about, parts = checked(fields, Stored, where, "constraints"), []
        for k, values in enumerate(about["parts"]):
            name, key = values.pop("part", None), f"constraints.parts[{k}]"
            if not isinstance(name, str) or name not in KINDS:
                raise InputError(f"{where}: {key}.part must be one of {', '.join(KINDS)}, got {name!r}")
            parts.append(checked(values, KINDS[name], where, key))
        if about["seed"] < 0:
            raise InputError(f"{where}: constraints.seed must be >= 0, got {about['seed']}")
        return cls(parts, about["seed"])

    def check_layers(self, layers: int) -> None:
        """Refuse grids of weights that are not those of so many layers."""
        grid = self.bits or self.units
        if grid and len(grid.units) != layers:
            raise InputError(f"constraints: units of weights of {len(grid.units)} layers for {layers} layers")

    def input(self, x: Tensor) -> Tensor:
        """The input spikes, as activations in [0, 1]."""
        return self._times(-1, x, 1.0)

    def weight(self, n: int, layer: TTFSLayer) -> Tensor:
        """The weights of a layer as the hardware holds them.

        Parameters
        ----------
        n : int
            Number of the layer.
        layer : TTFSLayer
        """
        grid = self.bits or self.units
        return grid.quantize(n, layer.weight) if grid else layer.weight

    def spikes(self, n: int, x: Tensor, layer: TTFSLayer) -> Tensor:
        """The spikes of layer n as the hardware sends them.

        Parameters
        ----------
        n : int
            Number of the layer.
        x : Tensor
            Activations of the layer [tau_c].
        layer : TTFSLayer
        """
        return self._times(n, x, layer.window_length)

    def _times(self, n: int, x: Tensor, window: float) -> Tensor:
        jitter, step = self.jitter, window / self.steps.steps if self.steps else 0.0
        if jitter is None or jitter.std == 0:
            return send(x, None, window, step) if step else x
        return send(x, jitter.std * self._errors(n, x, jitter), window, step)

    @torch.compiler.disable  # random numbers of its own for every call
    def _errors(self, n: int, x: Tensor, jitter: Jitter) -> Tensor:
        """Errors of spike times in units of their std; frozen ones are those of the neurons."""
        place = x.shape[1:] if x.dim() in (2, 4) else x.shape[2:]
        if jitter.kind == "frozen":
            key = (n, place, x.dtype, x.device)
            if key not in self._frozen:
                shape = place if jitter.scope == "neuron" else (1,)
                drawn = torch.randn(shape, generator=seeded(self.seed, FROZEN, n + 1), dtype=torch.float64)
                self._frozen[key] = drawn.to(x)
            return self._frozen[key]
        if self._trials is None:
            self._trials = seeded(self._trial_seed, TRIALS, device=x.device)
            if self._state is not None:
                self._trials.set_state(self._state)
        trials = x.shape[: x.dim() - len(place)]
        shape = x.shape if jitter.scope == "neuron" else (*trials, *([1] * len(place)))
        return torch.randn(shape, generator=self._trials, dtype=x.dtype, device=x.device)
