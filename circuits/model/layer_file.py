"""LAYER.json: one layer and one input, as a file.

`{"weights": [[...]], "bias": [...], "spike_times": [... or null], "t_min": 1.0, "t_max": 3.0,
"slope": 1.0}`; times in tau_c from the start of the input window, null = silent. Optional:
`"spiking": false` for read-out neurons (no bias window, t_max ignored).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from circuits.errors import InputError
from circuits.model.layer import Array, Layer
from circuits.model.shape import checked
from circuits.model.text_file import read_json


class LayerFile(TypedDict):
    """What such a file holds."""

    weights: list[list[float]]
    bias: list[float]
    spike_times: list[float | None]
    t_min: float
    t_max: float
    slope: NotRequired[float | list[float]]
    spiking: NotRequired[bool]


def read_layer(path: str | Path) -> tuple[Layer, Array]:
    """Layer and input spike times of a file.

    Raises
    ------
    InputError
        Naming the file, the value and the remedy.
    """
    content: dict[str, Any] = checked(read_json(path), LayerFile, str(path))
    times = content.pop("spike_times")
    try:
        layer = Layer(**content)
        return layer, layer.inputs(times)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
