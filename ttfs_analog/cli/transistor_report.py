"""What `characterize` and `describe` say of a characterization at transistor level."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from montecarlo.extraction.from_operating_points import summary
from ttfs_analog.cli.console import Result

NOMINAL = 0.01
"""Residual of the nominal runs above which the constants mean nothing [tau_c]."""


def describe_transistors(stored: xr.Dataset, dataset: str, plot: str | None, out: str, seed: int) -> Result:
    """Constants, spreads, prediction and energy of a campaign, as JSON at `out`; figures in folder `plot`."""
    missing = sum(int(np.sum(stored[n].values == -1)) for n in stored if str(n).endswith("status"))
    if missing:
        raise InputError(f"{dataset}: {missing} runs are not done; give the same characterize command again")
    found: dict[str, Any] = {"path": str(Path(out).with_suffix(".json")), **summary(stored, seed)}
    Path(found["path"]).write_text(json.dumps(found, indent=1) + "\n")
    if plot:
        from montecarlo.plots.plotting import save
        from montecarlo.plots.transistor_plots import overview

        Path(plot).mkdir(parents=True, exist_ok=True)
        figure = overview(stored, found)
        found["plots"] = [str(save(figure, Path(plot) / f"overview.{kind}")) for kind in ("png", "svg")]
    return found, f"{table(found)}\n{found['path']}"


def table(found: dict[str, Any]) -> str:
    """Text of `montecarlo.extraction.from_operating_points.summary`."""
    lines = [
        f"{found['technology']}, corner {found['corner']}, {found['temperature']:g} C, "
        f"{found['supply']:g} V, size {found['size']:g}",
        "",
    ]
    lines.append("frozen, one neuron to the next        std         95 % interval")
    for name, term in found["terms"].items():
        unit = "tau_c" if name in ("delay", "jitter") else "1"
        if term["std"] is None:
            continue
        low, high = term["std_ci"]
        lines.append(f"  {name:<18} {unit:<8} {term['std']:>12.5f}   {low:.5f} .. {high:.5f}")
    lines += ["  (synapses: of ln(1 + e) at W = 1; it grows as 1/sqrt(|W|). jitter: per trial)", ""]
    lines.append("systematic                          value       standard error")
    for name, constant in found["systematic"].items():
        lines.append(f"  {name:<18} {constant['unit']:<8} {constant['value']:>12.5f}   {constant['se']:.5f}")
    check, energy = found["check"], found["energy_j"]
    lines += [
        f"  the nominal runs against them: {found['nominal_rms_tau_c']:.5f} tau_c rms",
        "",
        "spike times of transients, against constants and operating points: "
        f"{check['spike_time_rms_tau_c']:.4f} tau_c rms",
        f"  with each neuron's delay known too: {_number(check['spike_time_rms_known_delay_tau_c'])}; "
        f"without a model: {check['spike_time_rms_without_model_tau_c']:.4f}",
        f"energy of a neuron and inference: {1e15 * energy['mean']:.1f} fJ ("
        + ", ".join(f"{d} {1e15 * e:.1f}" for d, e in energy["by_supply"].items())
        + ")",
        f"silent {found['n_silent']}, early {found['n_early']}, run again more exactly {found['n_retried']}",
        "",
    ]
    if found["nominal_rms_tau_c"] > NOMINAL:
        lines.append(
            "warning: the constants do not describe this circuit; it is outside its operating range\n"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
