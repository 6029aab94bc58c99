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

_asked = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
import matplotlib  # noqa: E402 - a backend that there is not stops it

if _asked is not None:
    os.environ["MPLBACKEND"] = _asked
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
