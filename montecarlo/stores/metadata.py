"""Small files of a store that say what it holds: shapes, dtypes, attributes. Each is there twice.

zarr keeps them beside the arrays they describe, and all together in `.zmetadata`, from when the store was
made; they never change after that. So one that is lost or no JSON is known, and can be written again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from circuits import whole_file

ALL = ".zmetadata"
PLACE = re.compile(r"(\w+/)?\.z(array|attrs|group)")
"""Of such a file in a store."""


def damaged(path: Path) -> dict[str, Any]:
    """Files that are missing, empty or no JSON, by their place in the store, with what they should hold.

    Parameters
    ----------
    path : Path
        Of a store; one without `.zmetadata` has none.
    """
    whole = _object(path / ALL).get("metadata")
    if not isinstance(whole, dict):
        return {}
    inside = {name: value for name, value in whole.items() if PLACE.fullmatch(name)}  # nowhere else
    return {name: value for name, value in inside.items() if value and not _object(path / name)}


def restore(path: Path, files: dict[str, Any]) -> None:
    """Write such files again.

    Parameters
    ----------
    path : Path
    files : dict
        Of `damaged`.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    for name, value in files.items():
        whole_file.write(path / name, json.dumps(value, indent=4))


def _object(file: Path) -> dict[str, Any]:
    """A JSON object; {}: there is none."""
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
