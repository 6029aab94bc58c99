"""Curves of `reproduce.py` as figures, from what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from montecarlo.plots.plotting import save
from montecarlo.plots.style import Figure, NullFormatter, house_style


def draw_fig5(out: Path, found: dict[str, Any]) -> None:
    """P Fig. 5."""
    plot(
        out,
        "fig5",
        [
            (
                k,
                c["label"],
                [p["value"] for p in c["points"]],
                {
                    "before": [p["before"] for p in c["points"]],
                    "fine-tuned": [p["after"] for p in c["points"]],
                },
            )
            for k, c in found["curves"].items()
        ],
        found["reference"],
    )


def draw_fig25(out: Path, found: dict[str, Any]) -> None:
    """T Fig. 2.5."""

    def values(curve: str) -> list[float]:
        return [p["value"] for p in found[curve]]

    plot(
        out,
        "fig25",
        [
            ("zeta", "zeta", values("zeta"), {"accuracy": [p["accuracy"] for p in found["zeta"]]}),
            (
                "jitter",
                "std of spike times [tau_c]",
                values("jitter"),
                {"accuracy": [p["mean"] for p in found["jitter"]]},
            ),
            (
                "slope",
                "std of slopes",
                values("slope_b1"),
                {f"form {f}": [p["mean"] for p in found[f"slope_{f}"]] for f in ("alpha", "b1")},
            ),
        ],
        found["reference"],
    )


@house_style()
def plot(
    out: Path,
    name: str,
    panels: list[tuple[str, str, list[float], dict[str, list[float]]]],
    reference: float,
) -> None:
    """Panels (name, axis label, values, curves) side by side."""
    figure = Figure(figsize=(3.2 * len(panels), 3), layout="constrained")
    for k, (title, label, values, curves) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), k + 1)
        axes.axhline(reference, color="0.6", lw=1, label="no constraint")
        for color, (what, points) in zip(("C0", "C4"), curves.items(), strict=False):
            axes.plot(values, points, marker="o" if color == "C0" else "s", color=color, label=what)
        if title in ("jitter", "steps", "slope"):
            axes.set_xscale("log", base=2 if title == "steps" else 10)
            axes.xaxis.set_minor_formatter(NullFormatter())
        if title == "latency":
            axes.invert_xaxis()
        axes.set(xlabel=label, ylabel="test accuracy [%]" if k == 0 else None, title=title)
        axes.legend(fontsize=7)
    for suffix in ("png", "svg"):
        save(figure, out / f"{name}.{suffix}")
