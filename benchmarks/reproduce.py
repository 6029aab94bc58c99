"""The papers' tables and curves, by name; figures into a folder as JSON, PNG and SVG.

    table1     fc-340 trained on spike times, the papers' recipe, 50 epochs     (P Table 1)
    base       the network that the curves start from: lenet5, the same recipe
    sparsity   fc-600 with L1 activity regularization                           (T Table 2.1)
    fig5       jitter, time steps, weight bits, latency; before and after fine-tuning (P Fig. 5)
    together   the constraints combined, which the papers leave open
    fig25      zeta, jitter, slope noise in forms alpha and b1                  (T Fig. 2.5)
    curves     base, fig5, together and fig25, one after the other

P: Stanojevic et al., Nat. Commun. 2024. T: thesis of A. Stanojevic, EPFL 2023. The same on VGG16 and
CIFAR-10, on a GPU: curves --arch vgg16-bn --data cifar10 --device cuda --epochs 10 (of fine-tuning).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from reproduction_plots import draw_fig5, draw_fig25

from circuits.errors import InputError
from ttfs_analog.constraints.constraints import Constraint, Jitter, Latency, TimeSteps, WeightBits
from ttfs_analog.conversion.mapping import convert, to_relu
from ttfs_analog.data.datasets import Data, load
from ttfs_analog.network.constrain import constrain, slope_noise
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import choose_windows, latency, tighten
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.training.architectures import build
from ttfs_analog.training.finetuning import finetune
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import accuracy, train

KINDS: dict[str, tuple[Callable[[Any], Constraint], list[Any], str]] = {
    "jitter": (Jitter, [0.02, 0.05, 0.1, 0.2, 0.5], "std of spike times [tau_c]"),
    "steps": (TimeSteps, [2, 4, 8, 16, 32, 64], "time steps a layer"),
    "bits": (WeightBits, [2, 3, 4, 5, 6, 8], "weight bits"),
    "latency": (Latency, [100.0, 99.0, 95.0, 92.0, 90.0], "percentile of activations in the window"),
}
ZETA = [-0.7, -0.6, -0.5, -0.4, -0.3, 0.0, 0.5]
SPIKE_JITTER = [5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 3e-2, 5e-2, 0.1, 0.2]
SLOPES = [1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2]


def say(*parts: object) -> None:
    print(*parts, flush=True)


def score(net: TTFSNetwork, data: Data) -> float:
    """Accuracy in percent on the test part."""
    return 100 * accuracy(net, data.x_test, data.y_test)


def images(o: argparse.Namespace) -> Data:
    """The data, or the first of them: a quick run."""
    data, n = load(o.data, torch.float32), o.images
    if n is None:
        return data
    return Data(data.name, data.x_train[:n], data.y_train[:n], data.x_test[:n], data.y_test[:n], data.shape)


def on_chip(net: TTFSNetwork, chip: list[Deviations], data: Data) -> float:
    """Accuracy in percent of one chip."""
    return 100 * accuracy(lambda x: net(x.to(net.like), chip)[0], data.x_test, data.y_test)


def trained(o: argparse.Namespace, arch: str, seed: int, recipe: Recipe) -> tuple[TTFSNetwork, Data]:
    """A network trained on spike times in form b1 (with batch normalization: its ReLU twin, then mapped)."""
    data = images(o)
    relu = build(arch, data.shape, data.classes, seed, torch.float32).to(o.device)
    file = o.out / f"{arch}_{o.data}_{seed}_l1_{recipe.l1:g}_{recipe.epochs}.checkpoint"
    options: dict[str, Any] = {"judge": True, "checkpoint": file, "resume": True}
    if arch.endswith("-bn"):
        history = train(relu, data, recipe, **options)
        net = convert(relu, data)
    else:
        net = convert(relu, data)
        history = train(net, data, recipe, **options)
    net = tighten(net, data.x_train, zeta=0.5)
    net.metadata |= {"data": data.name, "arch": arch, "history": history}
    return net, data


def table1(o: argparse.Namespace) -> dict[str, Any]:
    found = []
    for seed in range(o.trials or 1):
        start = time.perf_counter()
        recipe = Recipe.paper(epochs=o.epochs or 50, seed=seed)
        if (o.arch or "").endswith("-bn"):  # the papers start from a network that others have trained
            recipe = Recipe(o.epochs or 50, 128, 1e-3, weight_decay=5e-4, seed=seed)
        net, data = trained(o, o.arch or "fc-340", seed, recipe)
        net.save(o.out / f"{net.metadata['arch']}_{o.data}_{seed}.pt")
        spikes = net.spikes_per_neuron(data.x_test.to(net.like))
        found.append({"seed": seed, "accuracy": score(net, data), "spikes_per_neuron": spikes})
        say(found[-1], f"{time.perf_counter() - start:.0f} s")
    return {"arch": o.arch or "fc-340", "data": o.data, "epochs": o.epochs or 50, "trials": found}


def base(o: argparse.Namespace) -> dict[str, Any]:
    o.arch = o.arch or "lenet5"
    return table1(o)


def start_from(o: argparse.Namespace) -> tuple[TTFSNetwork, Data]:
    """The network that `base` made."""
    file = o.out / f"{o.arch or 'lenet5'}_{o.data}_0.pt"
    if not file.exists():
        raise SystemExit(f"{file} is missing: run 'base' first")
    return TTFSNetwork.load(file).to(o.device), images(o)


def sparsity(o: argparse.Namespace) -> dict[str, Any]:
    found = []
    for l1 in o.l1:
        recipe = Recipe.paper(epochs=o.epochs or 50, l1=l1)
        net, data = trained(o, "fc-600", 0, recipe)
        spikes = net.spikes_per_neuron(data.x_test.to(net.like))
        found.append({"l1": l1, "accuracy": score(net, data), "spikes_per_neuron": spikes})
        say(found[-1])
    return {"arch": "fc-600", "data": o.data, "epochs": o.epochs or 50, "points": found}


def tuned(o: argparse.Namespace, net: TTFSNetwork, data: Data, parts: Iterable[Constraint]) -> dict[str, Any]:
    """Accuracy under constraints before and after fine-tuning."""
    limited = constrain(net, data.x_train.to(net.like), parts)
    before = score(limited, data)
    start = time.perf_counter()
    better = finetune(limited, data, epochs=o.epochs or 5, batch=o.batch, lr=o.lr, percentile=None)
    return {
        "before": before,
        "after": score(better, data),
        "latency_tau_c": latency(better),
        "seconds": round(time.perf_counter() - start, 1),
    }


def fig5(o: argparse.Namespace) -> dict[str, Any]:
    net, data = start_from(o)
    reference = score(net, data)
    control = finetune(
        constrain(net, data.x_train.to(net.like), [Jitter(0.0)]),
        data,
        epochs=o.epochs or 5,
        batch=o.batch,
        lr=o.lr,
        percentile=None,
    )
    found: dict[str, Any] = {
        "arch": net.metadata["arch"],
        "data": o.data,
        "reference": reference,
        "control": score(control, data),
        "latency_tau_c": latency(net),
        "epochs": o.epochs or 5,
        "curves": {},
    }
    say({k: v for k, v in found.items() if k != "curves"})
    for kind in o.only or KINDS:
        make, values, label = KINDS[kind]
        curve = found["curves"][kind] = {"label": label, "points": []}
        for value in values:
            curve["points"].append({"value": value, **tuned(o, net, data, [make(value)])})
            say(kind, curve["points"][-1])
        keep(o, "fig5", found)
    draw_fig5(o.out, found)
    return found


def together(o: argparse.Namespace) -> dict[str, Any]:
    net, data = start_from(o)
    sets = {
        "jitter 0.05, 16 steps, 4 bits": [Jitter(0.05), TimeSteps(16), WeightBits(4)],
        "jitter 0.05, 16 steps, 4 bits, latency 95": [
            Jitter(0.05),
            TimeSteps(16),
            WeightBits(4),
            Latency(95.0),
        ],
        "jitter 0.05 frozen, 16 steps, 6 bits": [Jitter(0.05, kind="frozen"), TimeSteps(16), WeightBits(6)],
        "jitter 0.05 of whole layers": [Jitter(0.05, scope="layer")],
        "jitter 0.2 frozen": [Jitter(0.2, kind="frozen")],
        "jitter 0.2 of whole layers": [Jitter(0.2, scope="layer")],
    }
    found: dict[str, Any] = {"reference": score(net, data), "sets": {}}
    for name, parts in sets.items():
        found["sets"][name] = tuned(o, net, data, parts)
        say(name, found["sets"][name])
    return found


def fig25(o: argparse.Namespace) -> dict[str, Any]:
    net, data = start_from(o)
    x = data.x_train.to(net.like)
    reference, trials = score(net, data), o.trials or 16
    found: dict[str, Any] = {"arch": net.metadata["arch"], "data": o.data, "reference": reference}

    def spread(values: list[float]) -> dict[str, float]:
        v = torch.tensor(values)
        return {"mean": float(v.mean()), "std": float(v.std()) if len(v) > 1 else 0.0, "min": float(v.min())}

    curve = []
    for zeta in ZETA:
        short = net.clone()
        short.set_windows(choose_windows(net, x, zeta=zeta))
        curve.append({"value": zeta, "accuracy": score(short, data), "latency_tau_c": latency(short)})
        say("zeta", curve[-1])
    found["zeta"] = curve
    curve = []
    for std in SPIKE_JITTER:
        noisy = constrain(net, x, [Jitter(std)])
        curve.append({"value": std, **spread([score(noisy, data) for _ in range(trials)])})
        say("jitter", curve[-1])
    found["jitter"] = curve
    relu = to_relu(net)
    for form in ("alpha", "b1"):
        curve = found[f"slope_{form}"] = []
        mapped = convert(relu, data, mapping=form).to(o.device)
        for std in SLOPES:
            generator = torch.Generator().manual_seed(7)
            values = []
            for _ in range(trials):
                chip = slope_noise(mapped, std, generator)
                values.append(on_chip(mapped, chip, data))
            curve.append({"value": std, **spread(values)})
            say(f"slope noise, {form}", curve[-1])
        keep(o, "fig25", found)
    draw_fig25(o.out, found)
    return found


def curves(o: argparse.Namespace) -> dict[str, Any]:
    epochs, trials, o.epochs, o.trials = o.epochs, o.trials, o.base_epochs, 1
    found = {"base": base(o)}
    o.epochs, o.trials = epochs, trials
    for task in (fig5, together, fig25):
        found[task.__name__] = task(o)
    return found


def keep(o: argparse.Namespace, name: str, found: dict[str, Any]) -> None:
    (o.out / f"{name}_{o.arch or ''}_{o.data}.json").write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    tasks = {f.__name__: f for f in (table1, base, sparsity, fig5, together, fig25, curves)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=tasks)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--arch", default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=None, help="of training 50, of fine-tuning 5")
    parser.add_argument("--base-epochs", type=int, default=None, help="of the first training in curves")
    parser.add_argument("--images", type=int, default=None, help="so many only: a quick run")
    parser.add_argument("--trials", type=int, default=None)
    parser.add_argument("--l1", type=float, nargs="+", default=[4.5e-4])
    parser.add_argument("--lr", type=float, default=5e-4, help="of fine-tuning")
    parser.add_argument("--batch", type=int, default=64, help="of fine-tuning")
    parser.add_argument("--only", choices=KINDS, nargs="+", default=None, help="curves of fig5")
    parser.add_argument("--out", type=Path, default=Path("reproduction"))
    parser.add_argument("--redraw", type=Path, default=None, help="JSON of fig5 or fig25: draw it again")
    parser.add_argument("--threads", type=int, default=1)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    o.out.mkdir(parents=True, exist_ok=True)
    if o.redraw:
        found = json.loads(o.redraw.read_text())
        return draw_fig5(o.out, found) if o.what == "fig5" else draw_fig25(o.out, found)
    try:
        keep(o, o.what, tasks[o.what](o))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
