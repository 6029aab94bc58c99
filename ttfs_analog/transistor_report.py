"""The figures of a transistor-level characterization as a table for people."""

from __future__ import annotations

from typing import Any


def table(found: dict[str, Any]) -> str:
    """Text of `montecarlo.transistor_fit.summary`."""
    lines = [f"{found['technology']}, corner {found['corner']}, {found['temperature']:g} C", ""]
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
        "",
        "spike times of transients, against constants and operating points: "
        f"{check['spike_time_rms_tau_c']:.4f} tau_c rms",
        f"  with each neuron's delay known too: {_number(check['spike_time_rms_known_delay_tau_c'])}; "
        f"without a model: {check['spike_time_rms_without_model_tau_c']:.4f}",
        f"energy of a neuron and inference: {1e15 * energy['mean']:.1f} fJ ("
        + ", ".join(f"{d} {1e15 * e:.1f}" for d, e in energy["by_domain"].items())
        + ")",
        f"silent {found['n_silent']}, early {found['n_early']}, run again more exactly {found['n_retried']}",
        "",
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
