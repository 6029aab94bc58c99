"""Back to ngspice: is the behavioral model true on chips that nothing was fitted on?

The chips are drawn from the technology itself, not from the fitted model. Three questions:

* the same chip, the same image: do model and circuit spike at the same time, decide the same class and
  take the same energy?
* the population: do the circuit's spike times fall into the intervals that the *fitted* noise model
  predicts for chips it has never met?
* the task: what accuracy has each?
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.errors import InputError
from circuits.ideal.ideal_layer import sense_supply
from circuits.model.closed_form import trajectory_range
from circuits.model.coding import encode, relative
from circuits.model.layer import Layer, LayerMismatch, LayerResponse
from circuits.pdk.technology import Technology
from circuits.simulation import feed_forward
from circuits.spice.ngspice import Ngspice
from montecarlo.campaign.schema import package_version, with_units
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.statistics.intervals import proportion_interval
from ttfs_analog.data.inputs import pair_for
from ttfs_analog.evaluation.energy import labels, layer_energies
from ttfs_analog.evaluation.transistor_verification import verify_transistors
from ttfs_analog.network.decision import classes
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.training.training import Progress

SCHEMA = "ttfs-analog/verification/1"
FRESH = 1_000_000
"""Chip numbers from here on are reserved for verification: nothing else draws them."""
SENSED = 32
"""Neurons of each layer whose supply current is integrated, on the first chip and image."""
POPULATION = 400
"""Chips drawn from the noise model for the prediction intervals."""


def fresh_chips(net: TTFSNetwork, technology: Technology, noise: Noise, chips: int, seed: int) -> Chips:
    """Chips drawn from the technology's own law, at the sigmas of the noise model's campaign.

    Their numbers start at FRESH, so that even with the seed of an evaluation they are other chips.

    Parameters
    ----------
    net : TTFSNetwork
    technology : Technology
        Its law counts where the noise model's campaign names none.
    noise : NoiseModel or LayeredNoise
    chips, seed : int
        How many, and their entropy.
    """
    plans = [noise.of(n).provenance.get("plan", {}) for n in range(len(net.layers))]
    usual = MismatchLaw.of(technology.mismatch)
    laws = [MismatchLaw.from_dict(plan["law"]) if plan.get("law") else usual for plan in plans]
    return Chips.draw(laws, net, range(FRESH, FRESH + chips), seed)


@torch.no_grad()
def verify(
    net: TTFSNetwork,
    data: Any,
    chips: Chips,
    *,
    noise: Noise | None = None,
    technology: str = "ideal",
    images: int | None = None,
    workers: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Whole chips in ngspice, layer by layer, beside the behavioral model.

    Of a network that is placed on transistors: `verify_transistors` of as many chips, which are drawn device
    by device from the entropy of these.

    Parameters
    ----------
    data : Data, loader, or (x, y)
    chips : Chips
        See `fresh_chips`; with many images this is the expensive argument.
    noise : NoiseModel or LayeredNoise, optional
        Judged: its energy coefficients and its prediction intervals. Without it energies are those
        of ideal sources, and there are no intervals.
    technology : str
        Where the circuit is simulated.
    images : int, optional
        The first so many inputs only.
    workers : int
        ngspice processes at a time.
    seed : int
        Entropy of the chips of the prediction intervals.
    progress : callable, optional
        (done, total) of the images.

    Returns
    -------
    xarray.Dataset
        Dims chip, image, neuron (hidden neurons of all layers): `spike_time_spice` and
        `spike_time_model` [tau_c] after t_min, inf = silent; `interval_low`, `interval_high`
        (image, neuron); `energy_spice`, `energy_model` [J] (chip, image, layer,
        part); `predicted_spice`, `predicted_model` (chip, image); `logits_spice`,
        `logits_model` (chip, image, class).
    """
    if "placement" in net.metadata:
        if noise is None:
            raise InputError("a placed network is verified beside the noise model of its layers: give noise=")
        return verify_transistors(
            net, data, noise, chips=len(chips), images=images, workers=workers, seed=chips.entropy,
            progress=progress,
        )  # fmt: skip
    x, y = pair_for(net, data, images=images)
    net.require_points()
    chips.require_fit(net)
    if Technology.load(technology).process:
        raise InputError(
            f"--technology {technology}: this runs networks on ideal sources; on transistors those that "
            "'place' has put there"
        )
    if not all(c.ideal for c in chips.constants) or any(chips.jitter):
        raise InputError("these chips have constants or jitter of transistors, which ideal sources have not")
    if noise is not None and noise.technology != technology:
        raise InputError(f"the noise model was measured on {noise.technology!r}, not on {technology!r}")
    deviations = chips.deviations(x)
    model = net.trace(x, deviations)
    model_energy = layer_energies(net, x, noise, deviations)
    low, high = _intervals(net, x, noise, seed)

    circuit = net.to_circuit()
    _check_swing(net, circuit, x)
    hidden = sum(layer.n_out for layer in circuit[:-1])
    shape = (len(chips), len(x))
    times = np.full((*shape, hidden), np.nan)
    logits = np.full((*shape, circuit[-1].n_out), np.nan)
    joules = np.full((*shape, len(circuit), len(labels(noise))), np.nan)
    if progress:
        progress(0, len(x))
    simulator = Ngspice()
    inputs = x.double().cpu().numpy()
    runs = feed_forward(circuit, net.points, inputs, list(chips.layers), workers=workers, simulator=simulator)
    for done, (image, responses) in enumerate(runs, start=1):
        if hidden:
            times[:, image] = np.concatenate([r.delay for r in responses[:-1]], axis=1)
        last = responses[-1]
        logits[:, image] = last.activation(circuit[-1].window) if circuit[-1].spiking else last.v_t_min
        for n, response in enumerate(responses):
            joules[:, image, n] = response.energy_by_supply[:, :, 0].sum(1)
        if image == 0:
            sensed, account = _supply(circuit, net, x, chips, responses, simulator)
        if progress:
            progress(done, len(x))

    dims, parts = ("chip", "image", "neuron"), ("chip", "image", "layer", "part")
    model_times = _delays(net, model)
    decided = [classes(v, net.read_out).cpu().numpy() for v in (torch.as_tensor(logits), model[-1])]
    table = {
        "spike_time_spice": (dims, times, "tau_c", "ngspice spike time after t_min; inf = silent"),
        "spike_time_model": (dims, model_times, "tau_c", "predicted spike time of the same chip"),
        "interval_low": (dims[1:], low, "tau_c", "lower end of the 95 % prediction interval"),
        "interval_high": (dims[1:], high, "tau_c", "upper end of the 95 % prediction interval"),
        "logits_spice": (("chip", "image", "class"), logits, "1", "read out in ngspice"),
        "logits_model": (("chip", "image", "class"), model[-1].cpu().numpy(), "1", "predicted"),
        "predicted_spice": (dims[:2], decided[0], "1", "class decided by ngspice"),
        "predicted_model": (dims[:2], decided[1], "1", "predicted class"),
        "energy_spice": (parts, joules, "J", "supply energy in ngspice"),
        "energy_model": (parts, model_energy.cpu().numpy(), "J", "predicted supply energy"),
        "energy_sensed": ("sensed", sensed, "J", "integral of vdd * i(vdd), first chip and image"),
        "energy_account": ("sensed", account, "J", "the same neurons in the account above"),
        "label": ("image", y.cpu().numpy(), "1", "true class"),
    }
    return with_units(
        xr.Dataset(
            {k: (d, v, {"units": u, "long_name": n}) for k, (d, v, u, n) in table.items()},
            {"chip": list(chips.numbers), "layer": range(len(circuit)), "part": labels(noise)},
            {
                "schema": SCHEMA,
                "entropy": chips.entropy,
                "law": chips.law,
                **net.provenance(),
                "technology": technology,
                "ngspice_version": simulator.version,
                "package_version": package_version(),
            },
        )
    )


def _check_swing(net: TTFSNetwork, circuit: list[Layer], x: torch.Tensor) -> None:
    """Refuse images whose trajectories leave the swing, naming layer and neuron."""
    active = x.double().cpu().numpy()
    for n, (layer, point) in enumerate(zip(circuit, net.points, strict=True)):
        low, high = trajectory_range(layer, active)
        for i in {int(low.min(0).argmin()), int(high.max(0).argmax())}:
            lowest, highest = float(low[:, i].min()), float(high[:, i].max())
            point.check_swing(lowest, highest, f"layer {n}, neuron {i}")
        sent = net.layers[n](torch.as_tensor(active).to(net.like)).double().cpu().numpy()
        active = relative(sent, layer.dummies)


def _supply(
    circuit: list[Layer],
    net: TTFSNetwork,
    x: torch.Tensor,
    chips: Chips,
    responses: list[LayerResponse],
    simulator: Ngspice,
) -> tuple[np.ndarray, np.ndarray]:
    """Supply current integrated in ngspice, and the charge account, of some neurons of every layer."""
    sensed, account = [], []
    active = x[0].double().cpu().numpy()
    for layer, point, deviation, response in zip(circuit, net.points, chips.layers, responses, strict=True):
        times = encode(active, layer.t_min)
        pick = slice(0, SENSED)
        part = replace(layer, weights=layer.weights[pick], bias=layer.bias[pick], slope=layer.slope[pick])
        mismatch = LayerMismatch(*(getattr(deviation, f.name)[:1, pick] for f in fields(deviation)))
        sensed.append(sense_supply(part, times, point, mismatch, response.delay[0, pick], simulator))
        account.append(response.energy[0, pick])
        active = relative(response.activation(layer.window)[0], layer.dummies)
    return np.concatenate(sensed), np.concatenate(account)


def _delays(net: TTFSNetwork, trace: list[torch.Tensor]) -> np.ndarray:
    parts = [
        torch.where(h > 0, window - h, torch.inf)
        for h, window in zip(trace[:-1], net.windows[: len(trace) - 1], strict=True)
    ]
    if not parts:
        return np.empty((*trace[-1].shape[:-1], 0))
    return torch.cat(parts, -1).double().cpu().numpy()


def _intervals(
    net: TTFSNetwork, x: torch.Tensor, noise: Noise | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """95 % prediction intervals of hidden spike times from chips drawn from the noise model."""
    if noise is None:
        nothing = np.full_like(_delays(net, net.trace(x)), np.nan)
        return nothing, nothing
    drawn = noise.sample(net, POPULATION, seed=seed + 1)
    ranked = np.sort(_delays(net, net.trace(x, drawn.deviations(x))), axis=0)
    last = len(ranked) - 1
    return ranked[int(np.floor(0.025 * last))], ranked[int(np.ceil(0.975 * last))]


def summarize(
    result: xr.Dataset, *, tolerance: float = 0.01, least_agreement: float = 0.99, energy: float = 0.05
) -> dict[str, Any]:
    """The figures of a verification, and whether they pass.

    Parameters
    ----------
    result : Dataset
        Of `verify`.
    tolerance : float
        Largest spike-time RMS [tau_c].
    least_agreement : float
        Smallest share of (chip, image) pairs with the same class.
    energy : float
        Largest relative error of the energy.
    """
    if not all(0 <= limit < np.inf for limit in (tolerance, least_agreement, energy)):
        raise InputError(f"limits must be >= 0, got {tolerance}, {least_agreement}, {energy}")
    spice, model = result["spike_time_spice"].values, result["spike_time_model"].values
    both = np.isfinite(spice) & np.isfinite(model)
    residual = spice[both] - model[both]
    rms = float(np.sqrt(np.mean(residual**2))) if residual.size else 0.0
    same = (result["predicted_spice"] == result["predicted_model"]).values
    ratio = float(result["energy_model"].sum() / result["energy_spice"].sum())
    closes = float(result["energy_account"].sum() / result["energy_sensed"].sum())
    low, high = result["interval_low"].values, result["interval_high"].values
    known = ~np.isnan(low).any()
    inside = (spice >= low - 1e-9) & (spice <= high + 1e-9)
    label = result["label"]
    agreement = float(same.mean())
    lonely = int((np.isfinite(spice) != np.isfinite(model)).sum())
    failed = [
        what
        for what, holds in (
            (f"spike_time_rms_tau_c > {tolerance:g}", rms <= tolerance),
            ("spikes_in_one_only > 1 % of spikes_compared", lonely <= 0.01 * both.sum()),
            (f"class_agreement < {least_agreement:g}", agreement >= least_agreement),
            (f"energy_ratio further than {energy:g} from 1", abs(ratio - 1) <= energy),
            (f"energy_account_ratio further than {energy:g} from 1", abs(closes - 1) <= energy),
        )
        if not holds
    ]
    return {
        "spike_time_rms_tau_c": rms,
        "spikes_compared": int(both.sum()),
        "spikes_in_one_only": lonely,
        "interval_coverage_95": float(inside.mean()) if known and inside.size else None,
        "class_agreement": agreement,
        "class_agreement_ci95": list(proportion_interval(int(same.sum()), same.size)),
        "accuracy_spice": float((result["predicted_spice"] == label).mean()),
        "accuracy_model": float((result["predicted_model"] == label).mean()),
        "energy_ratio": ratio,
        "energy_account_ratio": closes,
        "chips": int(result.sizes["chip"]),
        "images": int(result.sizes["image"]),
        "failed_checks": failed,
        "passed": not failed,
    }
