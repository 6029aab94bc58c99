r"""Which device makes a neuron vary: finite differences times sigma, against the Monte Carlo total.

.. math:: \mathrm{Var}(y) \approx \sum_d \left(\frac{\partial y}{\partial u_d}\, \sigma_d\right)^2

with u = ln(1 + e) for currents and capacitors, and the offset itself for the comparator. Derivatives are
central differences about the mean chip; the perturbed copies and the Monte Carlo samples are copies of one
layer, so that they share decks. What the sum leaves open is given twice: against the Monte Carlo variance
(with its sampling error), and as the variance that remains when the linear prediction is subtracted sample
by sample (without it).

Not modeled: correlation between devices.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.netlist import build
from circuits.ideal.stimulus import stimulus
from circuits.model.layer import Array, Layer, LayerMismatch, LayerResponse
from circuits.model.operating_point import OperatingPoint
from circuits.simulation import simulate
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.schema import package_version, with_units
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.mismatch.seeds import generator
from montecarlo.statistics.moments import moments

ATTRIBUTION = "ttfs-analog/attribution/1"
QUANTITIES = {
    "spike_time": ("tau_c", "spike time after t_min"),
    "slope": ("1", "dV/dt in the firing window, per tau_c"),
    "threshold": ("1", "membrane potential at the spike"),
    "energy": ("J", "supply energy"),
}
"""What is attributed: name -> (units, long_name)."""
STEP = 1e-3
"""Of u: truncation is STEP^2 = 1e-6 relative, and the circuit's 1e-12 (slope 1e-8) over STEP less."""
LEAST_SAMPLES = 100
NOTHING = 1e-7
"""A std below this part of the nominal value is rounding: no shares are given."""


@dataclass(frozen=True)
class Contributor:
    """A source of variance: one device of a neuron that deviates."""

    name: str  #: synapse_source_3, slope_source, ...
    term: str  #: its sigma in `MismatchLaw`
    column: int  #: of the deviations: synapses, then slope, threshold, capacitance


def contributors(weights: Array) -> list[Contributor]:
    """The devices of a neuron with `weights` (n_in,); a synapse of weight 0 has none."""
    sign = [(j, "synapse_source" if w > 0 else "synapse_sink") for j, w in enumerate(weights) if w != 0]
    synapses = [Contributor(f"{term}_{j}", term, j) for j, term in sign]
    rest = (("slope_source", "slope"), ("comparator", "threshold"), ("capacitor", "capacitance"))
    return synapses + [Contributor(name, term, len(weights) + k) for k, (name, term) in enumerate(rest)]


def attribute(
    layer: Layer,
    spike_times: Array,
    point: OperatingPoint,
    law: MismatchLaw,
    *,
    neuron: int = 0,
    samples: int = 4000,
    entropy: int = 0,
    level: str = "ngspice",
    workers: int = 1,
) -> xr.Dataset:
    """Parts of a neuron's variance, device by device.

    Parameters
    ----------
    layer : Layer
        Spiking; only `neuron` is simulated.
    spike_times : array, shape (n_in,)
        Input spike times [tau_c]; inf = silent.
    point : OperatingPoint
        Sets volts and joules.
    law : MismatchLaw
        Sigma of every device.
    neuron : int
        Its row of the weights.
    samples : int
        Monte Carlo samples; 4000 give the variance to +-4.5 % (95 %).
    entropy : int
        Seed of the samples.
    level : {"ngspice", "closed-form"}
    workers : int
        ngspice processes at a time.

    Returns
    -------
    xarray.Dataset
        For each q of `QUANTITIES`: `q_nominal`, `q_sensitivity` (device) per unit of u, `q_part` (device),
        `q_total_variance` with `_se`; over (quantity, device): `share`, the part over the Monte Carlo
        variance; over (quantity): `sum_of_parts_ratio` with `_se`, `remainder` = 1 - ratio, `interactions`
        (variance that no sum over devices explains, same draws), `n`. Also `n_silent`, `n_early`.

    Raises
    ------
    InputError
        If the mean chip's neuron is silent or fires at t_min (no derivative there), or nothing varies.

    Source: JCGM 100:2008 (GUM), sec. 5.1.2, eq. 10: first order, independent devices.
    """
    one = _single(layer, neuron)
    if samples < LEAST_SAMPLES:
        raise InputError(f"attribution needs at least {LEAST_SAMPLES} samples, got {samples}")
    parts, mean = contributors(one.weights[0]), dict(law.mean)
    sigma = np.array([getattr(law, d.term) for d in parts])
    if not sigma.any():
        raise InputError("every sigma is 0: there is no variance to attribute")
    center = np.zeros(one.n_in + 3)
    for d in parts:
        center[d.column] = mean.get(d.term, 0.0)
    columns = [d.column for d in parts]
    steps = STEP * np.eye(len(center))[columns]
    drawn = _draw(law, one, samples, entropy)
    copies = np.vstack([center, center + steps, center - steps, drawn])
    response = simulate(one, spike_times, point, _mismatch(copies), level=level, workers=workers)
    values, n_dev = _quantities(response), len(parts)
    _require_spikes(values["spike_time"][: 2 * n_dev + 1], neuron)

    dataset = _frame(parts, sigma, values["spike_time"][2 * n_dev + 1 :])
    rows = []
    for name, (units, long_name) in QUANTITIES.items():
        y = values[name]
        plus, minus, total = y[1 : n_dev + 1], y[n_dev + 1 : 2 * n_dev + 1], y[2 * n_dev + 1 :]
        sensitivity = (plus - minus) / (2 * STEP)
        good = np.isfinite(total)
        if good.sum() < LEAST_SAMPLES:
            raise InputError(f"only {good.sum()} of {samples} samples have a {name}; widen the window")
        m = moments(total[good])
        linear = (drawn[good][:, columns] - center[columns]) @ sensitivity
        rest = float((total[good] - linear).var(ddof=1))
        rows.append((sensitivity * sigma, m.std, m.std_se, rest, int(good.sum()), abs(float(y[0]))))
        square = units if units == "1" else f"{units}^2"
        for key, value, unit, what in (
            ("nominal", y[0], units, "of the mean chip"),
            (
                "sensitivity",
                ("device", sensitivity),
                units,
                "change per unit of ln(device), or of the offset",
            ),
            ("part", ("device", (sensitivity * sigma) ** 2), square, "variance from one device"),
            ("total_variance", m.std**2, square, "Monte Carlo variance"),
            ("total_variance_se", 2 * m.std * m.std_se, square, "its standard error"),
        ):
            dataset[f"{name}_{key}"] = value
            dataset[f"{name}_{key}"].attrs = {"units": unit, "long_name": f"{long_name}: {what}"}
    _close(dataset, rows)
    dataset.attrs = {
        "schema": ATTRIBUTION,
        "neuron": neuron,
        "samples": samples,
        "entropy": entropy,
        "level": level,
        "law": json.dumps(dataclasses.asdict(law), sort_keys=True),
        "operating_point": point.to_json(),
        "ngspice_version": Ngspice().version if level == "ngspice" else "",
        "package_version": package_version(),
        "deck_hash": _deck_hash(one, spike_times, point, center),
    }
    return with_units(dataset)


def _single(layer: Layer, neuron: int) -> Layer:
    if not layer.spiking:
        raise InputError("read-out neurons do not fire; attribution needs a spiking layer")
    if not 0 <= neuron < layer.n_out:
        raise InputError(f"neuron {neuron} does not exist: the layer has {layer.n_out} (0 is the first)")
    k = slice(neuron, neuron + 1)
    return dataclasses.replace(layer, weights=layer.weights[k], bias=layer.bias[k], slope=layer.slope[k])


def _draw(law: MismatchLaw, one: Layer, samples: int, entropy: int) -> Array:
    """u of every device (sample, synapse + 3); sample k is the campaign's stream k."""
    copies = [law.draw(one.weights, generator(entropy, k)) for k in range(samples)]
    terms = ("synapse", "slope", "threshold", "capacitance")
    synapse, slope, threshold, capacitance = (np.stack([c[t][0] for c in copies]) for t in terms)
    return np.column_stack([np.log1p(synapse), np.log1p(slope), threshold, np.log1p(capacitance)])


def _mismatch(u: Array) -> LayerMismatch:
    slope, threshold, capacitance = u[:, -3:, None].transpose(1, 0, 2)
    return LayerMismatch(np.expm1(u[:, None, :-3]), np.expm1(slope), threshold, np.expm1(capacitance))


def _quantities(r: LayerResponse) -> dict[str, Array]:
    """(copy,) arrays; the threshold is where the ramp was when it fired, unknown if early or silent."""
    with np.errstate(invalid="ignore"):
        at_spike = r.v_t_min + r.slope * r.delay
    at_spike = np.where((r.delay > 0) & np.isfinite(r.delay), at_spike, np.nan)
    values = {"spike_time": r.delay, "slope": r.slope, "threshold": at_spike, "energy": r.energy}
    return {name: value[:, 0] for name, value in values.items()}


def _require_spikes(times: Array, neuron: int) -> None:
    if np.all(np.isfinite(times) & (times > 0)):
        return
    what = "is silent" if np.any(np.isinf(times)) else "fires at t_min (early)"
    raise InputError(
        f"neuron {neuron} {what} without mismatch, or a change of {STEP:g} makes it so: its spike time has "
        "no derivative there; choose another neuron, input or t_max"
    )


def _frame(parts: list[Contributor], sigma: Array, spikes: Array) -> xr.Dataset:
    dataset = xr.Dataset(
        coords={
            "quantity": list(QUANTITIES),
            "device": [d.name for d in parts],
            "term": ("device", [d.term for d in parts]),
        }
    )
    dataset["sigma"] = ("device", sigma, {"units": "1", "long_name": "std of u"})
    for name, count in (("silent", np.isinf(spikes)), ("early", spikes == 0)):
        dataset[f"n_{name}"] = int(count.sum())
        dataset[f"n_{name}"].attrs = {"units": "1", "long_name": f"Monte Carlo samples that were {name}"}
    return dataset


def _close(dataset: xr.Dataset, rows: list[tuple[Array, float, float, float, int, float]]) -> None:
    """Shares of the Monte Carlo variance, and what is left of it."""
    single, std, std_se, rest, n, size = (np.array(v) for v in zip(*rows, strict=True))
    total = np.where(std > NOTHING * size, std**2, np.nan)
    ratio = (single**2).sum(1) / total
    for name, value, what in (
        ("share", single**2 / total[:, None], "variance from one device over the Monte Carlo variance"),
        ("sum_of_parts_ratio", ratio, "sum of all parts over the Monte Carlo variance"),
        ("sum_of_parts_ratio_se", ratio * 2 * std_se / np.sqrt(total), "its standard error"),
        ("remainder", 1 - ratio, "part of the variance outside the sum: interactions and sampling"),
        ("interactions", rest / total, "part of the variance that no sum over devices explains"),
        ("n", n, "samples behind the Monte Carlo variance"),
    ):
        dims = ("quantity", "device") if value.ndim == 2 else ("quantity",)
        dataset[name] = (dims, value, {"units": "1", "long_name": what})


def _deck_hash(one: Layer, times: Array, point: OperatingPoint, center: Array) -> str:
    """Fingerprint of the mean chip's deck."""
    deck = build(layer_cell(one, stimulus(one, times, point), point, _mismatch(center[None])))
    text = deck.text + "".join(f"{k}\n{v}" for k, v in sorted(deck.files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
