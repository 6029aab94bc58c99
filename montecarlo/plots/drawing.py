"""Figures that are yet to be drawn, with their files: numbers come first, and a figure cannot cost them.

matplotlib loads when the first of them is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from circuits.errors import InputError
from circuits.whole_file import local

if TYPE_CHECKING:
    from montecarlo.plots.style import Figure

SUFFIXES = (".png", ".svg")


@dataclass(frozen=True)
class Drawing:
    """One figure in one or more files, whose suffixes choose the format."""

    files: tuple[Path, ...]
    figure: Callable[[], Figure]  #: draws it

    @property
    def names(self) -> list[str]:
        """The files, as text."""
        return [str(file) for file in self.files]

    def make(self) -> None:
        """Draw it, and write its files.

        Raises
        ------
        InputError
            If a file cannot be written.
        """
        from montecarlo.plots.plotting import save

        figure = self.figure()
        for file in self.files:
            save(figure, file)


def both(stem: str | Path) -> tuple[Path, ...]:
    """STEM.png and STEM.svg.

    Parameters
    ----------
    stem : str or Path
        Path without suffix.
    """
    stem = Path(stem)
    return tuple(stem.with_name(stem.name + suffix) for suffix in SUFFIXES)


def check(path: str) -> Path:
    """Refuse a file that no figure can be written to, before there are numbers.

    Parameters
    ----------
    path : str
        A name without suffix is good: it gets each of SUFFIXES, or is taken as PNG.

    Raises
    ------
    InputError
        If it is an address or a folder, or its format is not known.
    """
    file = local(path)
    if file.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    try:
        from montecarlo.plots.style import formats

        known = formats()
    except Exception:  # matplotlib does not load: the numbers are to be had all the same
        return file
    if file.suffix and file.suffix[1:].lower() not in known:
        raise InputError(f"{path}: the format {file.suffix} is not known; take one of {', '.join(known)}")
    return file
