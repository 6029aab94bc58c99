"""A feed-forward TTFS network: its layers, windows, operating points, and its one-file checkpoint."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuits.closed_form import trajectory_range
from circuits.errors import InputError
from circuits.layer import Layer
from circuits.operating_point import SWING_MARGIN, OperatingPoint
from ttfs_analog.functional import Deviations
from ttfs_analog.layers import TTFSLinear

SCHEMA = "ttfs-analog/network/1"
CALIBRATION = 256
"""Images whose trajectories set the swing."""


class TTFSNetwork(nn.Module):
    """Layers of TTFS neurons, the last one a non-spiking read-out.

    Parameters
    ----------
    layers : sequence of TTFSLinear
    metadata : dict
        JSON-serialisable: dataset, architecture, accuracy ... Kept in the checkpoint.
    """

    def __init__(self, layers: Sequence[TTFSLinear], metadata: dict[str, Any] | None = None) -> None:
        super().__init__()
        if not layers or layers[-1].spiking or not all(layer.spiking for layer in layers[:-1]):
            raise InputError("a network is spiking layers followed by one read-out layer")
        self.blocks = nn.ModuleList(layers)
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.points: list[OperatingPoint] = []

    @property
    def layers(self) -> list[TTFSLinear]:
        """The layers in order; the last is the read-out."""
        return list(self.blocks)  # type: ignore[arg-type]

    @property
    def like(self) -> Tensor:
        """A tensor of the network's dtype and device, for `Tensor.to`."""
        return self.layers[0].weight

    @property
    def n_in(self) -> int:
        """Inputs."""
        return self.layers[0].weight.shape[1]

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
        if len(self.points) != len(self.blocks):
            raise InputError("the network has no operating points; make it with 'train' or 'convert'")

    def forward(self, x: Tensor, chips: Sequence[Deviations] | None = None) -> Tensor:
        """Logits.

        Parameters
        ----------
        x : Tensor, shape (batch, in)
            Inputs in [0, 1].
        chips : sequence of Deviations, optional
            One per layer, each with a leading chip dimension.

        Returns
        -------
        Tensor, shape (batch, class), or (chip, batch, class) with chips
        """
        return self.trace(x, chips)[-1]

    def trace(self, x: Tensor, chips: Sequence[Deviations] | None = None) -> list[Tensor]:
        """Activations of every layer; the last entry holds the logits."""
        result = []
        for n, layer in enumerate(self.layers):
            x = layer(x, chips[n] if chips is not None else None)
            result.append(x)
        return result

    @property
    def windows(self) -> list[float]:
        """t_max - t_min of every spiking layer [tau_c]."""
        return [float(layer.window) for layer in self.layers if layer.spiking]

    def set_windows(self, windows: Sequence[float]) -> None:
        """Change the firing windows. The ideal function changes only where activations are clipped."""
        spiking = [layer for layer in self.layers if layer.spiking]
        if len(windows) != len(spiking) or not all(0 < w < math.inf for w in windows):
            raise InputError(f"{len(spiking)} windows > 0 are needed, got {list(windows)}")
        for k, (layer, window) in enumerate(zip(spiking, windows, strict=True)):
            layer.window.fill_(window)
            self.layers[k + 1].input_window.fill_(window)

    @torch.no_grad()
    def spikes_per_neuron(self, x: Tensor) -> float:
        """Mean number of spikes per hidden neuron and input."""
        hidden = self.trace(x)[:-1]
        if not hidden:
            return 0.0
        return float(sum((h > 0).sum() for h in hidden)) / sum(h.numel() for h in hidden)

    def to_circuit(self) -> list[Layer]:
        """The layers as circuits."""
        return [
            Layer(
                weights=layer.weight.detach().double().cpu().numpy(),
                bias=layer.bias.detach().double().cpu().numpy(),
                t_min=float(layer.input_window),
                t_max=float(layer.input_window) + float(layer.window),
                slope=layer.slope.double().cpu().numpy(),
                spiking=layer.spiking,
            )
            for layer in self.layers
        ]

    @torch.no_grad()
    def choose_points(self, x: Tensor, technology_point: OperatingPoint) -> None:
        """Choose each layer's operating point so that every trajectory stays in the swing.

        Parameters
        ----------
        x : Tensor, shape (image, in)
            Calibration inputs; partial sums of the first images set the range.
        """
        inputs = x[:CALIBRATION]
        self.points = []
        for module, layer in zip(self.layers, self.to_circuit(), strict=True):
            low, high = trajectory_range(layer, inputs.double().cpu().numpy())
            self.points.append(technology_point.fit_swing(float(low.min()), float(high.max()), SWING_MARGIN))
            inputs = module(inputs)

    def rescale(self, x: Tensor) -> None:
        """Choose the operating points again after weights or windows have changed."""
        if self.points:
            self.choose_points(x, self.points[0])

    def clone(self) -> TTFSNetwork:
        """An independent copy."""
        return copy.deepcopy(self)

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint that `torch.load(weights_only=True)` reads."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {
            **self.metadata,
            "schema": SCHEMA,
            "layers": [
                {"out": m.weight.shape[0], "in": m.weight.shape[1], "spiking": m.spiking} for m in self.layers
            ],
            "dtype": str(self.like.dtype).removeprefix("torch."),
            "operating_points": [json.loads(p.to_json()) for p in self.points],
        }
        with open(path, "wb") as file:
            torch.save({"state_dict": self.state_dict(), "metadata": json.dumps(metadata)}, file)
        return path

    @classmethod
    def load(cls, path: str | Path) -> TTFSNetwork:
        """Read a checkpoint.

        Raises
        ------
        InputError
            If the file is missing, is not a network, or holds values that are not finite.
        """
        try:
            content = torch.load(path, weights_only=True, map_location="cpu")
            metadata = json.loads(content["metadata"])
        except FileNotFoundError:
            raise InputError(f"{path} does not exist; 'train' or 'convert' makes a network") from None
        except IsADirectoryError:
            raise InputError(f"{path} is a folder, not a network file") from None
        except Exception:  # torch, zipfile and pickle raise many kinds
            raise InputError(f"{path} is not a ttfs-analog network file, or is damaged") from None
        if not isinstance(metadata, dict) or metadata.get("schema") != SCHEMA:
            raise InputError(f"{path} does not have schema {SCHEMA!r}")
        try:
            net = _rebuild(metadata, content["state_dict"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise InputError(f"{path} is not complete: {' '.join(str(error).split())[:200]}") from None
        return net


def _rebuild(metadata: dict[str, Any], state: dict[str, Tensor]) -> TTFSNetwork:
    """A network from its description and its tensors."""
    dtype = getattr(torch, metadata["dtype"])
    layers = [
        TTFSLinear(
            torch.zeros(spec["out"], spec["in"], dtype=dtype),
            torch.zeros(spec["out"], dtype=dtype),
            input_window=1.0,
            spiking=spec["spiking"],
        )
        for spec in metadata["layers"]
    ]
    own = ("schema", "dtype", "layers", "operating_points")
    net = TTFSNetwork(layers, {k: v for k, v in metadata.items() if k not in own})
    net.load_state_dict(state)
    for key, value in net.state_dict().items():
        if not torch.isfinite(value).all():
            raise InputError(f"{key} holds values that are not finite")
    net.points = [OperatingPoint(**p) for p in metadata["operating_points"]]
    if net.points and len(net.points) != len(layers):
        raise InputError(f"{len(net.points)} operating points for {len(layers)} layers")
    net.to_circuit()  # refuses slopes and windows that are not > 0
    return net
