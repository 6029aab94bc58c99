"""What the longer commands do, between the command line and the library."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from circuits.closed_form import trajectory_range
from circuits.errors import InputError
from circuits.layer import Array, Layer, LayerMismatch
from circuits.layer_file import read_layer
from circuits.operating_point import OperatingPoint
from circuits.technology import Technology
from montecarlo.mismatch import TERMS, MismatchLaw, draw_chips
from ttfs_analog import evaluation, verification
from ttfs_analog.coding import decode, encode
from ttfs_analog.console import Result
from ttfs_analog.datasets import Data, load
from ttfs_analog.mapping import agreement, convert, to_relu
from ttfs_analog.network import SWING_MARGIN, TTFSNetwork
from ttfs_analog.noise_model import NoiseModel
from ttfs_analog.training import Progress, accuracy, build, train


def parse_sigmas(items: tuple[str, ...]) -> dict[str, float]:
    """'0.05' for all terms, 'slope=0.1' for one; later items win."""
    sigma: dict[str, float] = {}
    for item in items:
        term, _, text = item.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"--sigma {item!r}: {text!r} is not a number (0.05 = 5 %)") from None
        sigma |= {term: value} if term else dict.fromkeys(TERMS, value)
    return sigma


def _scale(layer: Layer, x: Array, technology: Technology) -> OperatingPoint:
    """An operating point in which this layer's trajectory stays within the swing."""
    low, high = trajectory_range(layer, x[None, :])
    return technology.operating_point.fit_swing(float(low.min()), float(high.max()), SWING_MARGIN)


def _chip(layers: list[Layer], technology: Technology, chip: int | None, seed: int) -> list[LayerMismatch]:
    if chip is None:
        return [LayerMismatch.none(layer) for layer in layers]
    return draw_chips(MismatchLaw.of(technology.mismatch), layers, [chip], seed)


def simulate_layer(
    path: str,
    technology: str,
    chip: int | None,
    level: str,
    plot: str | None,
    out: str | None,
    seed: int,
) -> Result:
    """One layer, one input."""
    from circuits.network import simulate, waveform

    layer, times = read_layer(path)
    tech = Technology.load(technology)
    point = _scale(layer, decode(times, layer.t_min), tech)
    (mismatch,) = _chip([layer], tech, chip, seed)
    found = simulate(layer, times, point, mismatch, level=level)
    spikes = found.spike_times(layer.t_min)[0]
    result = {
        "spike_times": [float(t) if np.isfinite(t) else None for t in spikes],
        "v_t_min": found.v_t_min[0].tolist(),
        "slope": [float(s) if np.isfinite(s) else None for s in found.slope[0]],
        "energy_j": float(found.energy.sum()),
        "energy_per_neuron_j": found.energy[0].tolist(),
        "technology": technology,
        "level": level,
        "chip": chip,
        "operating_point": dataclasses.asdict(point),
    }
    if plot:
        from montecarlo.plotting import save, waveforms

        try:
            save(
                waveforms(*waveform(layer, times, point, mismatch), layer.t_min, layer.t_max, spikes),
                plot,
            )
        except ValueError as error:  # matplotlib's own list of formats
            raise InputError(f"--plot {plot}: {error}") from None
        result["plot"] = plot
    if out:
        Path(out).write_text(json.dumps(result, indent=1) + "\n")
        result["path"] = out
    rows = [
        f"potentials in units of {point.v_unit:.4g} V above the reset level of {point.v_reset:.4g} V",
        f"{'neuron':>6} {'spike [tau_c]':>14} {'V(t_min)':>12} {'energy [J]':>12}",
    ]
    for k, t in enumerate(spikes):
        when = f"{t:.9g}" if np.isfinite(t) else "silent"
        when += " (early)" if found.delay[0, k] == 0 else ""
        rows.append(f"{k:>6} {when:>14} {found.v_t_min[0, k]:>12.6g} {found.energy[0, k]:>12.4g}")
    return result, "\n".join(rows)


def write_netlists(
    source: str,
    pair: tuple[TTFSNetwork, Data] | None,
    technology: str,
    chip: int | None,
    form: str,
    image: int,
    out: str | None,
    seed: int,
) -> Result:
    """Decks of one layer (a file) or of a network's layers (a folder)."""
    from circuits.closed_form import respond

    tech = Technology.load(technology)
    if pair is None:
        layer, times = read_layer(source)
        layers, inputs = [layer], [times]
        points = [_scale(layer, decode(times, layer.t_min), tech)]
        mismatch = _chip(layers, tech, chip, seed)
    else:
        net, data = pair
        net.require_points()
        if image >= len(data.x_test):
            raise InputError(f"--image {image}: {data.name} has {len(data.x_test)} test images")
        layers, points = net.to_circuit(), net.points
        mismatch = _chip(layers, tech, chip, seed)
        x, inputs = data.x_test[image].double().numpy(), []
        for layer, point, deviation in zip(layers, points, mismatch, strict=True):
            inputs.append(encode(x, layer.t_min))
            x = respond(layer, inputs[-1], point, deviation).activation(layer.window)[0]
    target = Path(out or (Path(source).stem + (".cir" if pair is None else "_netlist")))
    folder = target.parent if pair is None else target
    folder.mkdir(parents=True, exist_ok=True)
    devices = 0
    for n, layer in enumerate(layers):
        path = target if pair is None else folder / f"layer{n}.cir"
        devices += _write_deck(path, layer, inputs[n], points[n], mismatch[n], form)
    result = {"path": str(target), "n_devices": devices, "n_decks": len(layers), "form": form}
    return result, f"{target}: {devices} devices in {len(layers)} deck{'s' * (len(layers) > 1)}"


def _write_deck(
    path: Path, layer: Layer, times: Array, point: OperatingPoint, mismatch: LayerMismatch, form: str
) -> int:
    from circuits.layer_cell import layer_cell
    from circuits.netlist import build
    from circuits.stimulus import stimulus

    cell = layer_cell(layer, stimulus(layer, times, point), point, mismatch)
    options: dict[str, dict[str, Any]] = {
        "table": {"prefix": f"{path.stem}_t"},
        "pulse": {"vdd": point.vdd},
        "pwl": {},
    }
    deck = build(cell, form, waveform=True, **options[form])
    path.write_text(deck.text)
    for name, text in deck.files.items():
        (path.parent / name).write_text(text)
    return deck.n_devices


def describe(net: TTFSNetwork, data: Data, out: str, **metadata: Any) -> Result:
    """Save a network and say how good it is."""
    x = data.x_test
    score = accuracy(net, x, data.y_test)
    net.metadata |= {"data": data.name, "accuracy": score, **metadata}
    net.save(out)
    same, _ = agreement(net, to_relu(net), x)
    result = {
        "path": out,
        "accuracy": score,
        "agreement": same,
        "spikes_per_neuron": net.spikes_per_neuron(x),
        "windows": net.windows,
    }
    return result, (
        f"accuracy {100 * score:.2f} % on {len(x)} test images, spikes per neuron "
        f"{result['spikes_per_neuron']:.3f}, windows {[round(w, 3) for w in net.windows]} tau_c\n{out}"
    )


def train_network(
    arch: str,
    data_name: str,
    epochs: int | None,
    lr: float,
    zeta: float,
    percentile: float | None,
    technology: Technology,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """Train a ReLU network and map it."""
    data = load(data_name)
    model = build(arch, data.features, data.classes, seed, torch.float64)
    train(model, data, epochs=epochs, lr=lr, seed=seed, progress=progress)
    metadata = {"arch": arch, "seed": seed}
    return _map(model, data, zeta, percentile, technology, out, metadata)


def convert_network(
    function: str,
    weights: str | None,
    data_name: str,
    zeta: float,
    percentile: float | None,
    technology: Technology,
    out: str,
    seed: int,
) -> Result:
    """Map a network that the user's own function builds."""
    torch.manual_seed(seed)
    model = _build_from(function)
    if weights is not None:
        try:
            state = torch.load(weights, weights_only=True, map_location="cpu")
            model.load_state_dict(state)
        except FileNotFoundError:
            raise InputError(f"{weights} does not exist") from None
        except Exception as error:
            first = str(error).strip().splitlines()[0]
            raise InputError(f"{weights} does not fit the model of {function}: {first}") from None
    data = load(data_name)
    metadata = {"arch": function}
    result, text = _map(model.double().eval(), data, zeta, percentile, technology, out, metadata)
    note = "" if weights else "\nno --weights given: the model is as the function returns it"
    return result, text + note


def _map(
    model: nn.Module,
    data: Data,
    zeta: float,
    percentile: float | None,
    technology: Technology,
    out: str,
    metadata: dict[str, Any],
) -> Result:
    net = convert(model, data, zeta=zeta, percentile=percentile, technology=technology, metadata=metadata)
    same, error = agreement(net, model, data.x_test)
    reference = accuracy(model, data.x_test, data.y_test)
    extra = {"technology": technology.name, "reference_accuracy": reference}
    result, text = describe(net, data, out, **extra)
    result |= {"agreement": same, "logits_relative_error": error}
    return result, (
        f"TTFS network = ReLU network on {100 * same:.2f} % of the test images "
        f"(logits differ by {error:.1e})\n{text}"
    )


def _build_from(function: str) -> nn.Module:
    file, _, name = function.rpartition(":")
    if not file or not name:
        raise InputError(f"{function!r} is not of the form FILE.py:FUNCTION")
    if not Path(file).is_file():
        raise InputError(f"{file} does not exist")
    spec = importlib.util.spec_from_file_location("ttfs_analog_user_model", file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, name):
            raise InputError(f"{file} has no function {name!r}")
        model = getattr(module, name)()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{function} failed with {type(error).__name__}: {error}") from None
    if not isinstance(model, nn.Module):
        raise InputError(f"{function} returned {type(model).__name__}, an nn.Module was expected")
    return model


def evaluate_chips(
    net: TTFSNetwork,
    data: Data,
    noise: NoiseModel,
    chips: int,
    target: float | None,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """Accuracy over chips."""
    nominal = accuracy(net, data.x_test, data.y_test)
    reference = float(net.metadata.get("reference_accuracy", nominal))
    target = max(reference - 0.02, 0.0) if target is None else evaluation.check_target(target)
    found = evaluation.evaluate(net, data, noise.sample(net, chips, seed), progress=progress)
    found["target"] = ((), target, {"units": "1", "long_name": "yield target"})
    found.to_netcdf(out)
    figures = evaluation.summarize(found, target)
    with torch.no_grad():
        relu = to_relu(net)(data.x_test).argmax(-1).cpu().numpy()
    same = float((found["predicted"].values == relu).mean())
    result = {"path": out, **figures, "nominal_accuracy": nominal, "agreement_with_relu": same}
    a, y = figures["accuracy"], figures["yield"]
    low, high = (100 * v for v in y["ci95"])
    return result, (
        f"accuracy {100 * a['mean']:.2f} %, std {100 * a['std']:.2f}, over {chips} chip{'s' * (chips > 1)} "
        f"(worst {100 * a['min']:.2f}, without mismatch {100 * nominal:.2f})\n"
        f"yield at {100 * target:.1f} %: {100 * y['value']:.1f} % [{low:.1f}, {high:.1f}]\n{out}"
    )


def verify_chips(
    net: TTFSNetwork,
    data: Data,
    noise: NoiseModel,
    *,
    chips: int,
    images: int,
    technology: str,
    tolerance: float,
    workers: int,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """The model against ngspice on fresh chips."""
    drawn = verification.fresh_chips(net, Technology.load(technology), noise, chips, seed)
    found = verification.verify(
        net,
        data,
        drawn,
        noise=noise,
        technology=technology,
        images=images,
        workers=workers,
        seed=seed,
        progress=progress,
    )
    found.to_netcdf(out)
    figures = verification.summarize(found, tolerance=tolerance)
    text = "\n".join(f"{k:<24} {v}" for k, v in figures.items())
    return {"path": out, **figures}, f"{text}\n{out}"
