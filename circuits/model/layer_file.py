"""LAYER.json: one layer and one input, as a file.

`{"weights": [[...]], "bias": [...], "spike_times": [... or null], "t_min": 1.0, "t_max": 3.0,
"slope": 1.0}`; times in tau_c from the start of the input window, null = silent. Optional:
`"spiking": false` for read-out neurons (no bias window, t_max ignored).
"""

from __future__ import annotations

import json
from pathlib import Path

from circuits.errors import InputError
from circuits.model.layer import Array, Layer

NEEDED = ("weights", "bias", "spike_times", "t_min", "t_max")
OPTIONAL = ("slope", "spiking")


def read_layer(path: str | Path) -> tuple[Layer, Array]:
    """Layer and input spike times of a file.

    Raises
    ------
    InputError
        Naming the file, the value and the remedy.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold one JSON object with {', '.join(NEEDED)}")
    missing = [k for k in NEEDED if k not in content]
    unknown = sorted(set(content) - {*NEEDED, *OPTIONAL})
    if missing or unknown:
        what = f"lacks {missing}" if missing else f"has unknown keys {unknown}"
        raise InputError(f"{path} {what}; known keys: {', '.join((*NEEDED, *OPTIONAL))}")
    times = content.pop("spike_times")
    if not isinstance(content.get("spiking", True), bool):
        raise InputError(f"{path}: spiking must be true or false, got {content['spiking']!r}")
    if not isinstance(times, list):
        raise InputError(f"{path}: spike_times must be a list of numbers or null")
    try:
        layer = Layer(**content)
        return layer, layer.inputs(times)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
