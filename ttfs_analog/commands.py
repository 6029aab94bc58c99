"""What the commands about networks do, between the command line and the library."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

from circuits.errors import InputError
from circuits.technology import Technology
from ttfs_analog import evaluation, verification
from ttfs_analog.console import Result
from ttfs_analog.datasets import Data, load
from ttfs_analog.mapping import agreement, convert, to_relu
from ttfs_analog.network import TTFSNetwork
from ttfs_analog.noise_model import NoiseModel
from ttfs_analog.training import Progress, accuracy, build, train


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
    *,
    arch: str,
    data: str,
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
    sets = load(data)
    model = build(arch, sets.features, sets.classes, seed, torch.float64)
    train(model, sets, epochs=epochs, lr=lr, seed=seed, progress=progress)
    metadata = {"arch": arch, "seed": seed}
    return _map(model, sets, zeta, percentile, technology, out, metadata)


def convert_network(
    *,
    function: str,
    weights: str | None,
    data: str,
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
    sets = load(data)
    metadata = {"arch": function}
    result, text = _map(model.double().eval(), sets, zeta, percentile, technology, out, metadata)
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
    *,
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
