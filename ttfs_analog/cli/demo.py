"""What `demo` does: the whole loop on handwritten digits in one folder, its figures, and its page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from circuits.spice.ngspice import Ngspice
from ttfs_analog.cli.console import err, progress
from ttfs_analog.cli.layers import write_decks
from ttfs_analog.demonstration import ideal, transistors
from ttfs_analog.evaluation import figures_of_record as summary
from ttfs_analog.evaluation.report import TRANSISTORS, write


def run_demo(
    folder: Path, *, samples: int, chips: int, workers: int, seed: int
) -> tuple[dict[str, Any], str]:
    """Run every stage; files go into `folder`, those on transistors into one in it.

    Parameters
    ----------
    folder : Path
        Made if missing.
    samples : int
        Neurons of the campaign with ideal sources.
    chips : int
        That networks are judged on.
    workers : int
        ngspice processes at a time.
    seed : int
        Of everything that is drawn.

    Returns
    -------
    summary, text
        The figures of record, and a few lines for people.
    """
    started = time.perf_counter()
    inner = folder / TRANSISTORS
    inner.mkdir(parents=True, exist_ok=True)
    Ngspice()  # before any work: a missing program is known at once
    options: dict[str, Any] = {
        "chips": chips, "workers": workers, "seed": seed, "stage": progress, "say": _say,
    }  # fmt: skip
    net, data = ideal.run_ideal(folder, samples=samples, **options)
    x = data.x_test[:1].double().numpy()
    write_decks(
        "net.pt", net.to_circuit(), x, points=net.points, technology="ideal", chip=0,
        out=str(folder / "netlist"), seed=seed,
    )  # fmt: skip
    transistors.run_transistors(net, data, inner, **options)
    figures = summary.write(folder)
    page = write(folder, folder / "report.html")
    spent = time.perf_counter() - started
    lines = [ideal.text(figures), transistors.text(figures), f"report               {page}   ({spent:.0f} s)"]
    return figures, "\n".join(lines)


def _say(text: str) -> None:
    err.print(text, markup=False)
