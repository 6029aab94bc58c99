"""What `train`, `convert`, `constrain` and `finetune` do: make a network, save it, say how good it is."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from circuits.errors import InputError
from circuits.pdk.technology import Technology
from ttfs_analog.cli.console import Result
from ttfs_analog.constraints.constraints import Constraint
from ttfs_analog.conversion.mapping import agreement, as_seen_by, convert, to_relu
from ttfs_analog.conversion.saved_weights import load_weights
from ttfs_analog.data.datasets import Data, load
from ttfs_analog.network.constrain import constrain
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import check_margin, latency, tighten
from ttfs_analog.neuron.seeding import folded
from ttfs_analog.noise.chips import perfect
from ttfs_analog.noise.noise_model import Noise
from ttfs_analog.placement.place import place
from ttfs_analog.placement.summary import table
from ttfs_analog.training.architectures import build
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import Progress, accuracy, least_epochs, train

LOSS = 0.005
"""Accuracy that a placement may cost without a word."""


def save(
    net: TTFSNetwork,
    data: Data,
    out: str,
    *,
    same: float | None = None,
    noise: Noise | None = None,
    **metadata: Any,
) -> Result:
    """Save a network and say how good it is.

    Parameters
    ----------
    net : TTFSNetwork
    data : Data
        Its test part counts.
    out : str
        File of the network.
    same : float, optional
        Agreement with the ReLU network if known; default: that of `to_relu`.
    noise : NoiseModel or LayeredNoise, optional
        Whose systematic constants the network was tuned for: it is judged on a circuit with these.
    **metadata
        For the file, JSON-serializable.
    """
    x = data.x_test
    if net.constraints is not None:
        net.constraints.restart(net.constraints.seed)
    score = accuracy(net if noise is None else _circuit(net, noise), x, data.y_test)
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


def _circuit(net: TTFSNetwork, noise: Noise) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network on a chip whose devices do not deviate."""
    devices = perfect(net, [noise.of(n).constants for n in range(len(net.layers))])

    def logits(x: torch.Tensor) -> torch.Tensor:
        return net(x.to(net.like), devices)

    logits.read_out = net.read_out  # type: ignore[attr-defined]
    return logits


def make_recipe(name: str, data: str, seed: int, **options: Any) -> Recipe:
    """A named recipe with some fields changed.

    Parameters
    ----------
    name : str
        "default" or "paper".
    data : str
        Dataset: small ones take more epochs by default.
    seed : int
    **options
        Fields of `Recipe`; None: as the recipe has it.
    """
    changes = {k: v for k, v in options.items() if v is not None}
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
    percentile_of: str,
    technology: Technology,
    resume: bool,
    out: str,
    seed: int,
    progress: Progress,
) -> Result:
    """Train a TTFS network, or a ReLU network that is mapped afterwards.

    Parameters
    ----------
    arch : str
        See `ttfs_analog.training.architectures.build`.
    data : str
        Name of a dataset.
    form : str
        A form of `ttfs_analog.neuron.layers.FORMS`, "relu", or "auto": b1, but relu under normalization.
    alpha, delta, b_low, zeta, percentile, percentile_of
        See `ttfs_analog.conversion.mapping.convert`.
    recipe : Recipe
    dtype, device : str
        Of torch.
    technology : Technology
        Of the operating points.
    resume : bool
        Go on from `out`.checkpoint.
    out : str
        File of the network.
    seed : int
        Of the weights.
    progress : callable
        (done, total) of the steps.
    """
    check_margin(zeta, percentile, percentile_of)
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
        "options": {
            "--arch": arch, "--data": data, "--form": form, "--alpha": alpha, "--delta": delta,
            "--b-low": b_low, "--dtype": dtype, "--zeta": zeta, "--percentile": percentile,
            "--technology": technology.name, "--seed": seed,
        },
        "progress": progress,
    }  # fmt: skip
    if form == "relu":
        history = train(model, sets, recipe, **options)
        metadata["history"] = history
        windows: dict[str, Any] = {"zeta": zeta, "percentile": percentile, "percentile_of": percentile_of}
        mapped = _map(model.cpu(), sets, out, metadata, technology=technology, **windows)
        Path(file).unlink(missing_ok=True)
        return mapped
    limits: dict[str, Any] = {"alpha": alpha, "delta": delta, "b_low": b_low}
    net = convert(model, sets, mapping=form, zeta=zeta, technology=technology, metadata=metadata, **limits)
    net.metadata["history"] = train(net, sets, recipe, **options)
    trained = net.windows
    net = tighten(net.cpu(), sets.x_train, percentile, zeta=zeta, percentile_of=percentile_of)
    result, text = save(net, sets, out, technology=technology.name)
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
    least_agreement: float,
    out: str,
    seed: int,
    **options: Any,
) -> Result:
    """Map a network that a function of the user builds.

    Parameters
    ----------
    function : str
        FILE.py:FUNCTION, which returns an nn.Module.
    weights : str or None
        File of a state_dict to load.
    data : str
        Dataset that sets the windows.
    input_range : (float, float)
        What the model sees for data of 0 and 1.
    least_agreement : float
        Share of test images that network and model must decide alike; `passed` says whether they do.
    out : str
        File of the network.
    seed : int
        Of torch, while the function runs.
    **options
        Of `ttfs_analog.conversion.mapping.convert`.
    """
    torch.manual_seed(folded(seed))
    model = _build_from(function)
    note = "no --weights: the model is as the function returns it"
    if weights is not None:
        note = load_weights(model, weights)
    sets = load(data)
    metadata = {"arch": function}
    result, text = _map(model.double().eval(), sets, out, metadata, input_range=input_range, **options)
    lines = [text, note] if note else [text]
    passed = result["agreement"] >= least_agreement
    if not passed:
        lines.append(
            f"agreement {100 * result['agreement']:.2f} % is below {100 * least_agreement:g} %: windows clip "
            "activations that calibration has not seen (raise --zeta or --percentile, or give more like the "
            "test images), or classes tie; --least-agreement accepts less"
        )
    return {**result, "note": note, "passed": passed}, "\n".join(lines)


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
    extra: dict[str, Any] = {"technology": technology.name, "reference_accuracy": reference}
    result, text = save(net, data, out, same=same, **extra)
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
    """Put a network under hardware constraints and say what they cost.

    Parameters
    ----------
    net : TTFSNetwork
    data : Data
        Its training part sets windows and weight units, its test part the accuracy.
    parts : list of Jitter, TimeSteps, WeightBits or WeightUnits, Latency
    out : str
        File of the network.
    seed : int
        Of the jitter.
    progress : callable, optional
        (done, total) of the batches that set the windows.
    """
    before = accuracy(net, data.x_test, data.y_test)
    made = constrain(net, data.x_train, parts, seed, progress)
    result, text = save(made, data, out)
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


def place_network(
    net: TTFSNetwork, data: Data, technology: Technology, *, out: str, progress: Progress, **options: Any
) -> Result:
    """Put a network on transistors, save it, and say what that costs.

    Parameters
    ----------
    net : TTFSNetwork
    data : Data
    technology : Technology
    out : str
        File of the placed network.
    progress : callable
        (done, total) of the placements that are tried.
    **options
        Of `ttfs_analog.placement.place.place`.
    """
    before = accuracy(net, data.x_test, data.y_test)
    placed = place(net, technology, data, progress=progress, **options)
    after = accuracy(placed, data.x_test, data.y_test)
    placed.metadata |= {"data": data.name, "accuracy": after}
    placed.save(out)
    about = placed.metadata["placement"]
    seconds = latency(placed) * about["layers"][0]["tau_c_s"]
    result = {
        "path": out, "technology": technology.name, "read_out": about["read_out"], "layers": about["layers"],
        "accuracy_before": before, "accuracy_placed": after, "latency_s": seconds,
    }  # fmt: skip
    lines = [
        f"accuracy {100 * before:.2f} % before, {100 * after:.2f} % placed; latency {1e6 * seconds:.3g} us",
    ]
    lines += table(about["layers"])
    if before - after > LOSS and not options.get("retrain"):
        lines.append(
            f"placing costs {100 * (before - after):.1f} points; --retrain 20 trains in unit devices, and "
            "is kept where it helps"
        )
    return result, "\n".join([*lines, out])
