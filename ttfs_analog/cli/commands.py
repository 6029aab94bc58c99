"""What the commands about networks do, between the command line and the library."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from ttfs_analog.cli.chip_command import chips_of
from ttfs_analog.cli.console import Result
from ttfs_analog.constraints.constraints import Constraint
from ttfs_analog.conversion.mapping import agreement, as_seen_by, convert, to_relu
from ttfs_analog.data.datasets import Data, load
from ttfs_analog.evaluation import accuracy as evaluation
from ttfs_analog.evaluation import verification
from ttfs_analog.network.constrain import constrain
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import check_margin, latency, tighten
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.training.architectures import build
from ttfs_analog.training.training import Progress, Recipe, accuracy, least_epochs, train


def describe(net: TTFSNetwork, data: Data, out: str, *, same: float | None = None, **metadata: Any) -> Result:
    """Save a network and say how good it is; `same` is its agreement with the ReLU network if known."""
    x = data.x_test
    if net.constraints is not None:
        net.constraints.restart(net.constraints.seed)
    score = accuracy(net, x, data.y_test)
    net.metadata |= {"data": data.name, "accuracy": score, **metadata}
    net.save(out)
    if same is None:
        same, _ = agreement(net, to_relu(net), x)
    result = {
        "path": out,
        "accuracy": score,
        "agreement": same,
        "spikes_per_neuron": net.spikes_per_neuron(x),
        "windows": net.windows,
        "latency_tau_c": latency(net),
    }
    return result, (
        f"accuracy {100 * score:.2f} % on {len(x)} test images, spikes per neuron "
        f"{result['spikes_per_neuron']:.3f}, windows {[round(w, 3) for w in net.windows]} tau_c "
        f"(latency {latency(net):.3g})\n{out}"
        + (
            "\nwarning: no hidden neuron ever fires"
            if result["spikes_per_neuron"] == 0 and net.windows
            else ""
        )
    )


def make_recipe(name: str, data: str, seed: int, **given: Any) -> Recipe:
    """A named recipe with what the user gave instead."""
    changes = {k: v for k, v in given.items() if v is not None}
    if name == "paper":
        return Recipe.paper(seed=seed, **changes)
    recipe = Recipe(weight_decay=1e-4, seed=seed, **changes)
    if "epochs" in changes:
        return recipe
    return replace(recipe, epochs=least_epochs(recipe, len(load(data).x_train)))


def train_network(
    *,
    arch: str,
    data: str,
    form: str,
    alpha: float,
    delta: float,
    b_low: float,
    recipe: Recipe,
    dtype: str,
    device: str,
    zeta: float,
    percentile: float | None,
    technology: Technology,
    resume: bool,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """Train a TTFS network, or a ReLU network that is mapped afterwards."""
    check_margin(zeta, percentile)
    if resume and not Path(f"{out}.checkpoint").exists():
        raise InputError(f"{out}.checkpoint does not exist: nothing to resume; leave out --resume")
    kind = getattr(torch, dtype)
    sets = load(data, kind)
    model = build(arch, sets.shape, sets.classes, seed, kind).to(place_of(device))
    if form == "auto":
        form = "relu" if arch.endswith("-bn") else "b1"
    elif form != "relu" and arch.endswith("-bn"):
        raise InputError(f"{arch} has batch normalization, which is trained as ReLU: use --form relu")
    metadata = {"arch": arch, "seed": seed}
    file = f"{out}.checkpoint"
    options: dict[str, Any] = {
        "judge": True,
        "checkpoint": file,
        "resume": resume,
        "progress": progress,
    }
    if form == "relu":
        history = train(model, sets, recipe, **options)
        metadata["history"] = history
        windows: dict[str, Any] = {"zeta": zeta, "percentile": percentile}
        found = _map(model.cpu(), sets, out, metadata, technology=technology, **windows)
        Path(file).unlink(missing_ok=True)
        return found
    limits: dict[str, Any] = {"alpha": alpha, "delta": delta, "b_low": b_low}
    net = convert(model, sets, mapping=form, zeta=zeta, technology=technology, metadata=metadata, **limits)
    net.metadata["history"] = train(net, sets, recipe, **options)
    trained = net.windows
    net = tighten(net.cpu(), sets.x_train, percentile, zeta=zeta)
    result, text = describe(net, sets, out, technology=technology.name)
    Path(file).unlink(missing_ok=True)
    return {**result, "training_windows": trained, "history": net.metadata["history"]}, text


def place_of(device: str) -> torch.device:
    """A torch device that is there."""
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} cannot be used ({' '.join(str(error).split())[:100]}); use --device cpu"
        ) from None
    return place


def convert_network(
    *,
    function: str,
    weights: str | None,
    data: str,
    input_range: tuple[float, float],
    out: str,
    seed: int,
    **options: Any,
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
            reason = " ".join(str(error).split())[:240]
            raise InputError(f"{weights} does not fit the model of {function}: {reason}") from None
    sets = load(data)
    metadata = {"arch": function}
    result, text = _map(model.double().eval(), sets, out, metadata, input_range=input_range, **options)
    note = "" if weights else "\nno --weights given: the model is as the function returns it"
    return result, text + note


def _map(
    model: nn.Module,
    data: Data,
    out: str,
    metadata: dict[str, Any],
    *,
    technology: Technology,
    **options: Any,
) -> Result:
    net = convert(model, data, technology=technology, metadata=metadata, **options)
    same, error = agreement(net, model, data.x_test)
    reference = accuracy(as_seen_by(model, net), data.x_test, data.y_test)
    extra = {"technology": technology.name, "reference_accuracy": reference}
    result, text = describe(net, data, out, same=same, **extra)
    result |= {"logits_relative_error": error}
    return result, (
        f"TTFS network = ReLU network on {100 * same:.2f} % of the test images "
        f"(logits differ by {error:.1e})\n{text}"
    )


def constrain_network(
    net: TTFSNetwork,
    data: Data,
    parts: list[Constraint],
    *,
    out: str,
    seed: int,
    progress: Progress | None = None,
) -> Result:
    """Put a network under hardware constraints and say what they cost."""
    before = accuracy(net, data.x_test, data.y_test)
    made = constrain(net, data.x_train, parts, seed, progress)
    result, text = describe(made, data, out)
    return {**result, "accuracy_before": before}, f"accuracy before: {100 * before:.2f} %\n{text}"


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
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(Path(file).resolve().parent))  # its neighbors, as for a script
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result
            spec.loader.exec_module(module)
            if not hasattr(module, name):
                raise InputError(f"{file} has no function {name!r}")
            model = getattr(module, name)()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{function} failed with {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    if not isinstance(model, nn.Module):
        raise InputError(f"{function} returned {type(model).__name__}, an nn.Module was expected")
    return model


def evaluate_chips(
    net: TTFSNetwork,
    data: Data,
    noise: NoiseModel | None,
    *,
    chips: int,
    chips_from: str | None = None,
    target: float | None,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """Accuracy over chips: from a file, or so many drawn from a noise model."""
    if chips_from is not None:
        drawn = chips_of(net, chips_from)
    elif noise is not None:
        drawn = noise.sample(net, chips, seed)
    else:
        raise InputError("chips come from a noise model or from a file")
    chips = len(drawn)
    nominal = accuracy(net, data.x_test, data.y_test)
    reference = float(net.metadata.get("reference_accuracy", nominal))
    target = max(reference - 0.02, 0.0) if target is None else evaluation.check_target(target)
    found = evaluation.evaluate(net, data, drawn, progress=progress)
    found["target"] = ((), target, {"units": "1", "long_name": "yield target"})
    found.to_netcdf(out)
    figures = evaluation.summarize(found, target)
    with torch.no_grad():
        twin = to_relu(net)
        relu = torch.cat([twin(x).argmax(-1) for x in data.x_test.split(500)]).cpu().numpy()
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
    chips_from: str | None = None,
    images: int,
    technology: str,
    tolerance: float,
    workers: int,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """The model against ngspice on fresh chips."""
    if chips_from is None:
        drawn = verification.fresh_chips(net, Technology.load(technology), noise, chips, seed)
    else:
        drawn = chips_of(net, chips_from)
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
