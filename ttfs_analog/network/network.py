"""A feed-forward TTFS network: its layers, windows, operating points, and its one-file checkpoint."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from circuits.model.closed_form import trajectory_range
from circuits.model.layer import Layer
from circuits.model.operating_point import SWING_MARGIN, OperatingPoint
from ttfs_analog.constraints.constraints import Constraints
from ttfs_analog.network import checkpoint as network_file
from ttfs_analog.network.decision import FIRST_SPIKE, SAMPLED
from ttfs_analog.network.inputs import check_unit, flat
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.neuron.relative import Relative

CALIBRATION = 256
"""Images whose trajectories set the swing."""
ChipModel = Sequence[Deviations] | Callable[[int, TTFSLayer, Tensor, Tensor], Tensor]
"""A chip of a network: frozen deviations, one entry per layer; or what gives the activations or logits of
(number of a layer, the layer, its input, its weights)."""


class TTFSNetwork(nn.Module):
    """Layers of TTFS neurons, pooling and flattening between them; a new network is in evaluation mode.

    The last layer is a read-out that does not spike, or spikes itself: then its first spike decides.

    Parameters
    ----------
    blocks : sequence of TTFSLinear, TTFSConv2d, Pool, Relative and nn.Flatten
    metadata : dict
        JSON-serializable: dataset, architecture, accuracy ... Saved in the checkpoint.
    input_shape : tuple of int, optional
        Of one input, such as (1, 28, 28); default (features,). Inputs may be given flat.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        metadata: dict[str, Any] | None = None,
        input_shape: Sequence[int] = (),
    ) -> None:
        super().__init__()
        spiking = [block.spiking for block in blocks if isinstance(block, TTFSLayer)]
        if not spiking or not all(spiking[:-1]):
            raise InputError(
                "a network is spiking layers; only the last may be a read-out that does not spike"
            )
        self.blocks = nn.ModuleList(blocks)
        self._layers = tuple(block for block in blocks if isinstance(block, TTFSLayer))
        self._places = [k for k, block in enumerate(blocks) if isinstance(block, TTFSLayer)]
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.points: list[OperatingPoint] = []
        self.input_shape = tuple(input_shape) or (self.layers[0].weight.shape[1],)
        self.constraints: Constraints | None = None
        for layer in self._layers:
            layer.last = layer is self._layers[-1]
        self.eval()

    @property
    def layers(self) -> list[TTFSLayer]:
        """The layers of neurons in order; the last gives the logits."""
        return list(self._layers)

    @property
    def read_out(self) -> str:
        """What decides: the first spike of the last layer, or its potentials if it does not spike."""
        return FIRST_SPIKE if self._layers[-1].spiking else SAMPLED

    @property
    def like(self) -> Tensor:
        """A tensor of the network's dtype and device, for `Tensor.to`."""
        return self.layers[0].weight

    @property
    def n_in(self) -> int:
        """Inputs."""
        return math.prod(self.input_shape)

    def provenance(self) -> dict[str, str]:
        """What a result says about the network: a fingerprint of its values, technology, scales."""
        digest = hashlib.sha256()
        for key, value in sorted(self.state_dict().items()):
            digest.update(key.encode() + value.detach().cpu().numpy().tobytes())
        return {
            "network": digest.hexdigest()[:16],
            "technology": str(self.metadata.get("technology", "ideal")),
            "operating_point": json.dumps([json.loads(p.to_json()) for p in self.points]),
        }

    def require_points(self) -> None:
        """Refuse a network whose layers have no operating points."""
        if any(layer.form != "b1" for layer in self._layers):
            raise InputError(
                "operating points and energies are those of form b1; convert with mapping b1 for them"
            )
        if len(self.points) != len(self.layers):
            raise InputError("the network has no operating points; make it with 'train' or 'convert'")

    def forward(self, x: Tensor, chips: ChipModel | None = None) -> Tensor:
        """Logits: potentials of the read-out, or activations of a last layer that spikes.

        While training, the latter are scores that silent neurons have, too, with a gradient.

        Parameters
        ----------
        x : Tensor, shape (batch, in) or (batch, channel, height, width)
            Inputs in [0, 1], of the network's dtype; functions that take data check their values.
        chips : sequence of Deviations, optional
            One per layer, each with a leading chip dimension; or another model of a chip, see `ChipModel`.

        Returns
        -------
        Tensor, shape (batch, class), or (chip, batch, class) with chips
        """
        logits = self._run(x, chips)[-1]
        return logits if logits.dim() < 4 else logits.flatten(-3)

    def trace(self, x: Tensor, chips: ChipModel | None = None) -> list[Tensor]:
        """Activations of every layer of neurons [tau_c], shape (..., batch, neuron); the last are logits.

        Parameters
        ----------
        x, chips
            As of `forward`.
        """
        values = self._run(x, chips)
        return [self._after(n, values) for n in range(len(self._layers))]

    def inputs(self, x: Tensor, chips: ChipModel | None = None) -> list[Tensor]:
        """Input activations of every layer of neurons, shaped as the layer takes them.

        Parameters
        ----------
        x, chips
            As of `forward`.
        """
        return [before for before, _ in self.signals(x, chips)]

    def signals(self, x: Tensor, chips: ChipModel | None = None) -> list[tuple[Tensor, Tensor]]:
        """Inputs of every layer of neurons as in `inputs`, and its activations as in `trace`.

        Parameters
        ----------
        x, chips
            As of `forward`.
        """
        values = self._run(x, chips)
        return [(values[k], self._after(n, values)) for n, k in enumerate(self._places)]

    def _after(self, n: int, values: Sequence[Tensor]) -> Tensor:
        """Activations of layer n, shape (..., batch, neuron), out of the values of `_run`."""
        after = values[self._places[n] + 1]
        return after.flatten(-3) if self._layers[n].inside and after.dim() > 3 else after

    def _run(self, x: Tensor, chips: ChipModel | None) -> list[Tensor]:
        """Inputs as they meet the first block, and what every block makes of them."""
        x, limits = self.shaped(x), self.constraints
        if chips is not None and not callable(chips):
            self._require_fit(chips)
        if limits is not None:
            x = limits.input(x)
        n, values = 0, [x]
        for block in self.blocks:
            if isinstance(block, TTFSLayer):
                weight = block.weight if limits is None else limits.weight(n, block)
                if chips is None:
                    x = block(x, None, weight)
                elif callable(chips):
                    x = chips(n, block, x, weight)
                else:
                    x = block(x, chips[n], weight)
                if limits is not None and block.spiking:
                    x = limits.spikes(n, x, block)
                n += 1
            else:
                x = x.flatten(-3) if isinstance(block, nn.Flatten) else block(x)
            values.append(x)
        return values

    def _require_fit(self, chips: Sequence[Deviations]) -> None:
        """Refuse deviations of another network: more or fewer layers or neurons."""
        neurons, own = [int(d.threshold.shape[-1]) for d in chips], [layer.n_out for layer in self._layers]
        if neurons != own:
            raise InputError(
                f"these are chips of a network with {neurons} neurons by layer, this one has {own}; draw "
                "chips for it (NoiseModel.sample)"
            )

    def shaped(self, x: Tensor) -> Tensor:
        """Inputs (..., in) as the first layer takes them.

        Raises
        ------
        InputError
            If they have another shape, dtype or device than the network takes. Their values are not looked
            at here, see `ttfs_analog.network.inputs`.
        """
        shape, like = self.input_shape, self.like
        if not isinstance(x, Tensor):
            raise InputError(f"a network takes a tensor (image, ...), got {type(x).__name__}")
        if x.dtype != like.dtype or x.device != like.device:
            raise InputError(
                f"the inputs are {x.dtype} on {x.device}, the network is {like.dtype} on {like.device}; give "
                "x.to(net.like)"
            )
        if tuple(x.shape[-len(shape) :]) == shape and not (len(shape) == 1 and x.shape[1:3] == (1, 1)):
            return x
        if len(shape) == 1 and x.dim() > 2:
            return flat(x, shape)
        if x.shape[-1:] != (self.n_in,):
            return flat(x, shape).unflatten(-1, shape)
        return x.unflatten(-1, shape) if len(shape) > 1 else x

    def constrained(self, constraints: Constraints | None) -> TTFSNetwork:
        """A copy under hardware constraints, which stay with it in training, evaluation and its file."""
        net = self.clone()
        net.constraints = constraints
        return net

    @property
    def windows(self) -> list[float]:
        """t_max - t_min of every spiking layer [tau_c]."""
        return [layer.window_length for layer in self.layers if layer.spiking]

    def set_windows(self, windows: Sequence[float]) -> None:
        """Change the firing windows of all spiking layers.

        The ideal function changes only where activations are clipped.

        Parameters
        ----------
        windows : sequence of float
            t_max - t_min [tau_c].
        """
        spiking = [layer for layer in self.layers if layer.spiking]
        if len(windows) != len(spiking) or not all(0 < w < math.inf for w in windows):
            raise InputError(f"{len(spiking)} windows > 0 are needed, got {list(windows)}")
        for k, (layer, window) in enumerate(zip(spiking, windows, strict=True)):
            layer.set_windows(window=window)
            if k + 1 < len(self._layers):
                self._layers[k + 1].set_windows(input_window=window)

    @torch.no_grad()
    def spikes_per_neuron(self, x: Tensor) -> float:
        """Mean number of spikes per hidden neuron and input."""
        spikes = neurons = 0
        for part in check_unit(flat(x, self.input_shape)).split(CALIBRATION):
            for h in self.trace(part.to(self.like))[:-1]:
                spikes += int((h > 0).sum())
                neurons += h.numel()
        return spikes / (neurons or 1)

    @property
    def products(self) -> int:
        """Multiply-accumulates of one input: what a forward pass costs."""
        return sum(layer.n_out * layer.weight[0].numel() for layer in self._layers)

    def to_circuit(self) -> list[Layer]:
        """The layers as circuits.

        Raises
        ------
        InputError
            If the network has convolutions or another form than b1: those circuits are not written yet.
        """
        for n, layer in enumerate(self.layers):
            if layer.inside:
                raise InputError(
                    f"layer {n} is a convolution: netlists and ngspice runs take fully connected layers; "
                    "evaluate, finetune and energy take both"
                )
            if self.constraints and (self.constraints.jitter or self.constraints.steps):
                raise InputError(
                    "netlists and ngspice runs know no jitter and no clock: take a network without these "
                    "constraints (weight bits and latency may stay)"
                )
            if layer.form != "b1":
                raise InputError(
                    f"layer {n} has form {layer.form!r}: whole networks run in ngspice in form b1; "
                    "convert with mapping b1, or see circuits/ideal/alpha.py for single layers"
                )
        return self.neurons()

    def neurons(self) -> list[Layer]:
        """Every neuron of every layer with synapses of its own: what mismatch is drawn for."""
        circuits = [layer.neurons(weight) for layer, weight in zip(self._layers, self.weights(), strict=True)]
        return [replace(c, dummies=k) for c, k in zip(circuits, self.dummies, strict=True)]

    @property
    def dummies(self) -> list[int]:
        """Last neurons of every layer that only close its window; 0: absolute coding."""
        after = [self.blocks[k + 1] if k + 1 < len(self.blocks) else None for k in self._places]
        return [block.dummies if isinstance(block, Relative) else 0 for block in after]

    def hold_dummies(self) -> None:
        """Take the gradients of dummies away: they have no synapses, and training does not move them."""
        for layer, count in zip(self._layers, self.dummies, strict=True):
            for parameter in (layer.weight, layer.bias):
                if count and parameter.grad is not None:
                    parameter.grad[-count:] = 0.0

    def weights(self) -> list[Tensor]:
        """Weights as the hardware holds them: on their grid under WeightBits and WeightUnits."""
        limits = self.constraints
        return [
            layer.weight if limits is None else limits.weight(n, layer)
            for n, layer in enumerate(self._layers)
        ]

    @torch.no_grad()
    def choose_points(self, x: Tensor, technology_point: OperatingPoint) -> None:
        """Choose each layer's operating point so that every trajectory stays in the swing (form b1 only).

        Parameters
        ----------
        x : Tensor, shape (image, in)
            Calibration inputs; partial sums of the first images set the range (of convolutions: at as
            many places as time allows).
        technology_point : OperatingPoint
            Of the technology; its unit of potential is scaled to the swing.
        """
        self.points = []
        if any(layer.form != "b1" for layer in self._layers):
            return
        x, weights = self.shaped(x[:CALIBRATION].to(self.like)), self.weights()
        for block in self.blocks:
            if isinstance(block, TTFSLayer):
                low, high = 0.0, 0.0
                for layer, inputs in block.swing_samples(x, weights[len(self.points)]):
                    lowest, highest = trajectory_range(layer, inputs)
                    low, high = min(low, float(lowest.min())), max(high, float(highest.max()))
                self.points.append(technology_point.fit_swing(low, high, SWING_MARGIN))
                x = block(x, None, weights[len(self.points) - 1])
            else:
                x = x.flatten(-3) if isinstance(block, nn.Flatten) else block(x)

    def rescale(self, x: Tensor) -> None:
        """Choose the operating points again after weights or windows have changed."""
        if self.points:
            self.choose_points(x, self.points[0])

    def clone(self) -> TTFSNetwork:
        """An independent copy."""
        return copy.deepcopy(self)

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint that `torch.load(weights_only=True)` reads."""
        return network_file.write(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> TTFSNetwork:
        """Read a checkpoint.

        Raises
        ------
        InputError
            If the file is missing, is not a network, or holds values that are not finite.
        """
        return network_file.read(cls, path)
