"""ngspice binary raw file -> arrays. Trusts nothing: sizes, names and counts must agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.errors import SimulatorError
from circuits.model.layer import Array

MARK = b"Binary:\n"


@dataclass(frozen=True)
class Plot:
    """One analysis of a raw file."""

    name: str
    variables: tuple[str, ...]  #: as ngspice wrote them: time, v(m0), i(vdd0) ...
    values: Array  #: (point, variable)

    def __getitem__(self, variable: str) -> Array:
        return self.values[:, self.variables.index(variable)]

    def columns(self, names: tuple[str, ...] | list[str]) -> Array:
        """Several variables at once, shape (point, len(names))."""
        index = {v: k for k, v in enumerate(self.variables)}
        return self.values[:, [index[n] for n in names]]


def parse(raw: bytes) -> list[Plot]:
    """All plots of a raw file.

    Raises
    ------
    SimulatorError
        On a header that does not match its data, no points (ngspice writes that when it was cut short
        or the disk was full), or values that are not finite.
    """
    plots: list[Plot] = []
    at = 0
    while at < len(raw):
        mark = raw.find(MARK, at)
        if mark < 0:
            raise SimulatorError("raw file: text without a data block (cut short?)")
        header = raw[at:mark].decode("latin-1").split("\n")
        fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in header)}
        try:
            n_vars, points = int(fields["No. Variables"]), int(fields["No. Points"])
        except (KeyError, ValueError):
            raise SimulatorError("raw file: header without counts") from None
        if "complex" in fields.get("Flags", ""):
            raise SimulatorError("raw file: complex data where real data were expected")
        if points <= 0:
            raise SimulatorError("raw file: header says 0 points (run cut short, or disk full)")
        first = header.index("Variables:") + 1 if "Variables:" in header else len(header)
        words = [line.split() for line in header[first : first + n_vars]]
        names = tuple(w[1] for w in words if len(w) > 1)
        if len(names) != n_vars:
            raise SimulatorError(f"raw file: {n_vars} variables announced, {len(names)} named")
        start, size = mark + len(MARK), 8 * n_vars * points
        if len(raw) < start + size:
            raise SimulatorError(f"raw file: {len(raw) - start} data bytes, {size} expected")
        values = np.frombuffer(raw, "<f8", n_vars * points, start).reshape(points, n_vars)
        if not np.all(np.isfinite(values)):
            raise SimulatorError("raw file: values that are not finite")
        plots.append(Plot(fields.get("Plotname", ""), names, values))
        at = start + size
    if not plots:
        raise SimulatorError("raw file: empty")
    return plots
