"""How figures look: like matplotlib's own defaults, whatever the user's settings are.

A matplotlibrc, a style or MPLBACKEND is for the user's own figures. One that asks for LaTeX, for fonts or for
a display must not decide whether a figure of results can be drawn. Figures are made of the object interface:
no global state, no display; their file is drawn by the canvas of its format (Agg for PNG).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from circuits.errors import InputError

_asked = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
try:
    import matplotlib  # a backend that there is not would stop it
except (ValueError, OSError) as error:  # so does a matplotlibrc that is not text
    raise InputError(f"matplotlib does not load: {error}; mend or move the file matplotlibrc") from None
finally:
    if _asked is not None:
        os.environ["MPLBACKEND"] = _asked
if _asked is not None:
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _asked  # for the user's own figures, as if nothing had been
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator  # noqa: E402

__all__ = ["Axes", "Figure", "FixedLocator", "NullFormatter", "NullLocator", "formats", "house_style"]

USERS = ("backend", "interactive", "toolbar")
"""Settings that say nothing about how a figure looks."""
OWN: dict[Any, Any] = {"svg.hashsalt": "ttfs-analog"}  # the same figure is the same file


@contextmanager
def house_style() -> Iterator[None]:
    """Around everything that makes, fills or writes a figure; a decorator, too."""
    plain: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith(USERS)}
    with matplotlib.rc_context({**plain, **OWN}):
        yield


def formats() -> list[str]:
    """Suffixes, without the dot, of files that a figure can be written to."""
    return sorted(Figure().canvas.get_supported_filetypes())
