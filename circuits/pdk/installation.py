"""Where a kit's files are: under the folder that the environment variable PDK_ROOT names.

The same files lie at different paths in a kit's own repository and in an installation of open_pdks; a
technology lists the paths it knows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from circuits.errors import InputError

VARIABLE = "PDK_ROOT"


def locate(what: str, layouts: Sequence[Sequence[str]]) -> list[Path]:
    """The files of the first layout that is there in full.

    Parameters
    ----------
    what : the technology, for messages
    layouts : paths below the folder, by layout

    Raises
    ------
    InputError
        Saying which variable to set, and which paths were looked for.
    """
    set_to = os.environ.get(VARIABLE, "")
    root = Path(set_to)
    if set_to:
        for layout in layouts:
            paths = [root / part for part in layout]
            if all(path.is_file() for path in paths):
                return paths
    listed = "".join(f"\n  {' with '.join(layout)}" for layout in layouts)
    state = (
        f"it is {set_to}, which holds none of these" if set_to else "it is not set; under it belongs one of"
    )
    raise InputError(
        f"{what} needs the kit's model files: set {VARIABLE} to the folder that holds the kit "
        f"({state}):{listed}"
    )
