"""What costs least of two things: points, and the front of those that no other one beats in both."""

from __future__ import annotations

from collections.abc import Mapping

from montecarlo.plots.plotting import COLORS, GRAY, canvas
from montecarlo.plots.style import Figure, house_style


@house_style()
def front(points: Mapping[str, tuple[float, float, bool]], across: str, up: str) -> Figure:
    """Two costs of every point; those on the front are joined.

    Parameters
    ----------
    points : mapping
        Name -> (first cost, second cost, whether it lies on the front).
    across, up : str
        What the costs are.
    """
    figure, (ax,) = canvas(width=6.4, height=4.0)
    best = sorted((x, y) for x, y, on in points.values() if on)
    ax.step([x for x, _ in best], [y for _, y in best], where="post", color=GRAY, lw=1, ls="--")
    for k, (name, (x, y, on)) in enumerate(points.items()):
        color = COLORS[k % len(COLORS)]
        ax.plot([x], [y], marker="o", ls="", ms=6, mec=color, mfc=color if on else "none", label=name)
    ax.margins(0.15)
    ax.set(xlabel=across, ylabel=up)
    ax.legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
