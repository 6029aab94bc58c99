"""The formats that are read: files as they are written, how each is changed, and a cheap use of each."""

import dataclasses
import gzip
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import torch
import xarray as xr

from circuits.model.closed_form import response
from circuits.model.coding import decode
from circuits.model.layer_file import read_layer
from circuits.pdk import model_cards, technology
from circuits.pdk.technology import Technology
from circuits.simulation import ideal_point
from montecarlo.campaign.campaign import Campaign
from montecarlo.extraction.description import statistics, term_values
from montecarlo.extraction.reading import load_dataset
from montecarlo.sweeps.sweep import Sweep
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.data.datasets import Data, load
from ttfs_analog.data.image_files import read_cifar_python, read_idx_pair
from ttfs_analog.evaluation import energy
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.evaluation.report import render
from ttfs_analog.network.constrain import constrain
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.layered import LayeredNoise
from ttfs_analog.noise.noise_model import NoiseModel
from ttfs_analog.training.architectures import build
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import train

LAYER = {"weights": [[0.5, -0.25], [1.0, 0.5]], "bias": [1.5, 0.2], "spike_times": [0.2, None]}
LAYER |= {"t_min": 1.0, "t_max": 3.0, "slope": [1.0, 1.5], "spiking": True}
SWEEP = """technology = "ideal"
samples = 20
synapses = 4
seed = 3
design = "plain"
extrapolate = false
[axes]
sigma = [0.02, 0.05]
window = [3.0, 4.0]
[distribution]
slope = "student-t:4"
[correlation]
slope.threshold = 0.5
[common]
capacitance = 0.01
"""


class NoMutant(Exception):
    """The change left the file as it was, or cannot be written."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One format."""

    name: str
    folder: Path
    use: Callable[[Path], Any]
    original: Callable[[], Path]
    change: Callable[[Path, random.Random, Path], Path]
    share: float = 1.0


class Code:
    """Pickled, it is a call that makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def of_text(
    name: str, folder: Path, source: Path, use: Callable[[Path], Any], share: float = 1.0, text: bool = False
) -> Format:
    """A text file: JSON, or lines of `key = value`."""

    def change(place: Path, rng: random.Random, marker: Path) -> Path:
        path, raw = place / source.name, source.read_bytes()
        if rng.random() < 0.4:
            changed = mutations.bytes_of(raw, rng)
        elif source.suffix != ".json" or text:
            changed = mutations.lines(raw.decode("latin-1"), rng).encode("utf-8", "replace")
        elif rng.random() < 0.15:
            changed = mutations.doubled(raw.decode(), rng).encode()
        else:
            content = mutations.tree(json.loads(raw), rng)
            content.pop("digest", None)  # edited by hand, and said so
            changed = json.dumps(content, indent=1).encode(
                rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
            )
        if changed == raw:
            raise NoMutant
        path.write_bytes(changed)
        return path

    return Format(name, folder, use, lambda: source, change, share)


def of_torch(name: str, folder: Path, source: Path, use: Callable[[Path], Any], share: float) -> Format:
    """A file of torch.save: of its entries the JSON text `metadata` is changed inside."""

    def change(place: Path, rng: random.Random, marker: Path) -> Path:
        path, dice = place / source.name, rng.random()
        if dice < 0.4:
            path.write_bytes(mutations.bytes_of(source.read_bytes(), rng))
        elif dice < 0.5:
            _with_code(source, path, rng, marker)
        else:
            content = torch.load(source, weights_only=True)
            content.pop("digest", None)
            if "metadata" in content and rng.random() < 0.7:
                about = json.loads(content["metadata"])
                content["metadata"] = json.dumps(mutations.tree(about, rng))
            else:
                content = mutations.tree(content, rng)
            try:
                torch.save(content, path)
            except Exception:
                raise NoMutant from None
        return path

    return Format(name, folder, use, lambda: source, change, share)


def _with_code(source: Path, path: Path, rng: random.Random, marker: Path) -> None:
    """The archive with a pickle that calls, whole, before or in place of its own."""
    calls = pickle.dumps(Code(marker), protocol=rng.choice((0, 2, 4)))
    if rng.random() < 0.3:
        path.write_bytes(calls)
        return
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for item in old.namelist():
            own = old.read(item)
            if item.endswith("data.pkl"):
                own = rng.choice((calls, calls[:-1] + b"0" + own[2:], own[:-1] + calls[2:]))
            new.writestr(item, own)


def of_netcdf(name: str, folder: Path, source: Path, use: Callable[[Path], Any], share: float) -> Format:
    """A netCDF file: variables, their arrays, and attributes, of which some are JSON."""

    def change(place: Path, rng: random.Random, marker: Path) -> Path:
        path = place / source.name
        if rng.random() < 0.5:
            path.write_bytes(mutations.bytes_of(source.read_bytes(), rng))
            return path
        with xr.open_dataset(source) as stored:
            dataset = stored.load().drop_attrs(deep=False).assign_attrs(_attributes(stored.attrs, rng))
        try:
            _arrays(dataset, rng).to_netcdf(path)
        except Exception:
            raise NoMutant from None
        return path

    return Format(name, folder, use, lambda: source, change, share)


def _attributes(attrs: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    attrs = {k: v for k, v in attrs.items() if k != "digest"}
    if rng.random() < 0.5:
        return attrs
    text = [k for k, v in attrs.items() if isinstance(v, str) and v[:1] in ("{", "[")]
    if text and rng.random() < 0.6:
        key = rng.choice(text)
        return attrs | {key: json.dumps(mutations.tree(json.loads(attrs[key]), rng))}
    return mutations.tree(attrs, rng)


def _arrays(dataset: xr.Dataset, rng: random.Random) -> xr.Dataset:
    if rng.random() < 0.3:
        return dataset
    key = rng.choice(list(dataset.variables))
    values = dataset[key]
    kind = rng.randrange(4)
    if kind == 0:
        return dataset.drop_vars(key)
    if kind == 1:
        return dataset.rename({key: f"{key}x"})
    if kind == 2 and values.ndim:
        return dataset.isel({rng.choice(values.dims): slice(0, rng.randrange(2))})
    return dataset.assign({str(key): (values.dims, mutations.array(values.values, rng), values.attrs)})


def of_store(name: str, folder: Path, source: Path, use: Callable[[Path], Any], share: float) -> Format:
    """A zarr store: the bytes of one of its files, one that is gone, or entries of its JSON."""

    def change(place: Path, rng: random.Random, marker: Path) -> Path:
        path = place / source.name
        shutil.copytree(source, path)
        files = sorted(p for p in path.rglob("*") if p.is_file())
        chosen = rng.choice(files)
        dice = rng.random()
        if dice < 0.1:
            chosen.unlink()
        elif dice < 0.5 or not chosen.name.startswith(".z"):
            chosen.write_bytes(mutations.bytes_of(chosen.read_bytes(), rng))
        elif chosen == path / ".zattrs":
            chosen.write_text(json.dumps(_attributes(json.loads(chosen.read_text()), rng)))
        else:
            chosen.write_text(json.dumps(mutations.tree(json.loads(chosen.read_text() or "{}"), rng)))
        return path

    return Format(name, folder, use, lambda: source, change, share)


def of_folder(name: str, folder: Path, source: Path, use: Callable[[Path], Any], share: float) -> Format:
    """A folder of files of which one has other bytes; a pickle may call."""

    def change(place: Path, rng: random.Random, marker: Path) -> Path:
        path = place / source.name
        shutil.copytree(source, path)
        chosen = rng.choice(sorted(p for p in path.rglob("*") if p.is_file()))
        raw = chosen.read_bytes()
        unpacked = gzip.decompress(raw) if chosen.suffix == ".gz" else raw
        if "batch" in chosen.name and rng.random() < 0.2:
            chosen.write_bytes(pickle.dumps(Code(marker)))
        elif chosen.suffix == ".gz" and rng.random() < 0.5:  # damage that its checksum does not show
            head = bytearray(unpacked[:16])
            head[rng.randrange(len(head))] = rng.choice((0, 1, 2, 3, 127, 255))
            changed = mutations.bytes_of(unpacked, rng) if rng.random() < 0.5 else bytes(head) + unpacked[16:]
            chosen.write_bytes(gzip.compress(changed, 1))
        else:
            chosen.write_bytes(mutations.bytes_of(raw, rng))
        return path

    return Format(name, folder, use, lambda: source, change, share)


def make(folder: Path) -> list[Format]:
    """All formats, with their files under `folder`."""
    files, scratch = folder / "files", folder / "mutants"
    files.mkdir()
    scratch.mkdir()
    data = load("digits")
    few = Data("digits", data.x_train[:64], data.y_train[:64], data.x_test[:20], data.y_test[:20], data.shape)
    relu = build("fc-8", data.features, data.classes, 0, torch.float64)
    net = convert(relu, few, metadata={"data": "digits", "reference_accuracy": 0.9})
    net.save(files / "net.pt")
    constrain(net, few.x_train, [*_constraints()]).save(files / "constrained.pt")
    net = TTFSNetwork.load(files / "net.pt")
    store = files / "c.zarr"
    dataset = Campaign.characterize(Technology.load("ideal"), 40, 0, synapses=4).run(
        store, level="closed-form"
    )
    noise = NoiseModel.fit(dataset.load())
    noise.save(files / "noise.json")
    LayeredNoise((noise, noise)).save(files / "layered.json")
    noise.sample(net, 2).save(files / "chip.nc")
    (files / "layer.json").write_text(json.dumps(LAYER, indent=1))
    (files / "SWEEP.toml").write_text(SWEEP)
    recipe = Recipe(epochs=1, batch=32)
    train(net.clone(), few, recipe, checkpoint=files / "run.checkpoint")

    def images(net: TTFSNetwork, chips: Chips) -> Any:
        return evaluate(net, few, chips)["accuracy"].values.tolist()

    def layer(path: Path) -> Any:
        read, times = read_layer(path)
        point = ideal_point(read, decode(times, read.t_min)[None, :], Technology.load("ideal"))
        answer = response(read, times, point)
        return answer.delay.tolist(), answer.v_t_min.tolist(), answer.energy.tolist()

    def noises(path: Path) -> Any:
        model = NoiseModel.load(path)
        chips = model.sample(net, 2)
        joules = energy.summarize(energy.energy(net, (few.x_test, few.y_test), model, chips=2))
        return model.summary(), images(net, chips), joules

    def network(path: Path) -> Any:
        read = TTFSNetwork.load(path)
        return read(few.x_test.to(read.like)).tolist(), images(read, noise.sample(read, 2)), read.provenance()

    def chip(path: Path) -> Any:
        from ttfs_analog.cli.results.chips import chips_of, contents

        chips = chips_of(net, path)
        return contents(chips)[1], images(net, chips)

    def campaign(path: Path) -> Any:
        stored = load_dataset(path)
        run = stored.isel(sample=stored["status"].values != -1)
        return {name: values.values.tolist() for name, values in term_values(run).items()}

    def fitted(path: Path) -> Any:  # a second of bootstrap
        stored = load_dataset(path)
        run = stored.isel(sample=stored["status"].values != -1)
        statistics(run, term_values(run))
        return NoiseModel.fit(stored).summary()

    def checkpoint(path: Path) -> Any:
        return train(net.clone(), few, Recipe(epochs=1, batch=32), checkpoint=path, resume=True)

    def sweep(path: Path) -> Any:
        plan = Sweep.from_toml(path)
        return plan.hash, len(list(plan.points()))

    def page(path: Path) -> Any:
        return sorted(render(path)[1])

    return [
        of_text("layer JSON", scratch, files / "layer.json", layer),
        of_text("sweep TOML", scratch, files / "SWEEP.toml", sweep),
        of_text("noise model", scratch, files / "noise.json", noises, 1.2),
        of_text("noise by layer", scratch, files / "layered.json", noises, 0.6),
        of_torch("network", scratch, files / "net.pt", network, 1.2),
        of_torch("constrained net", scratch, files / "constrained.pt", network, 0.6),
        of_netcdf("chips", scratch, files / "chip.nc", chip, 0.8),
        of_store("campaign", scratch, store, campaign, 0.8),
        of_store("campaign, fitted", scratch, store, fitted, 0.1),
        of_torch("checkpoint", scratch, files / "run.checkpoint", checkpoint, 0.8),
        *_kits(files, scratch),
        *_image_files(files, scratch),
        *_reports(files, scratch, page, evaluate(net, few, noise.sample(net, 2))),
    ]


def _constraints() -> tuple[Any, ...]:
    from ttfs_analog.constraints.constraints import Jitter, TimeSteps, WeightBits

    return Jitter(0.01), TimeSteps(32), WeightBits(6)


def _cards(table: Technology) -> Any:
    sizes = table.transistors().sizes.values()
    made = [model_cards.card(table, size, corner) for corner in table.corners[:2] for size in sizes]
    return [(c.text, c.sigma_vth, c.sigma_beta) for c in made]


def _kits(files: Path, scratch: Path) -> list[Format]:
    """Technology files, model cards and kit files."""
    folder, usual = files / "technologies", technology.FOLDER
    shutil.copytree(usual, folder)

    def description(path: Path) -> Any:
        technology.FOLDER = path.parent
        try:
            read = Technology.load(path.stem)
            return repr(read), _cards(read)
        finally:
            technology.FOLDER = usual

    def cards(path: Path) -> Any:
        read = Technology.load("generic130")
        kit = {**read.transistors().kit, "file": str(path)}
        return _cards(dataclasses.replace(read, process=dataclasses.replace(read.transistors(), kit=kit)))

    def kit(path: Path) -> Any:
        before = os.environ.get("PDK_ROOT", "")
        os.environ["PDK_ROOT"] = str(path.parent)
        try:
            return _cards(Technology.load("gf180mcu"))
        finally:
            os.environ["PDK_ROOT"] = before

    made = [
        of_text("technology TOML", scratch, folder / "generic130.toml", description, 0.8),
        of_text("model cards", scratch, folder / "generic130.cards", cards, 0.8),
    ]
    root = Path(os.environ.get("PDK_ROOT", "nowhere"))
    for place in Technology.load("gf180mcu").transistors().kit["places"]:
        if (root / place).is_file():
            alone = files / "sm141064.ngspice"
            alone.write_bytes((root / place).read_bytes())
            return [*made, of_text("kit file", scratch, alone, kit, 0.3)]
    return made


def _image_files(files: Path, scratch: Path) -> list[Format]:
    """A few images as IDX and as CIFAR-10 batches."""
    rng = np.random.default_rng(0)
    idx, batches = files / "idx", files / "batches"
    idx.mkdir()
    batches.mkdir()
    pixels = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, 5, dtype=np.uint8)
    for name, array in (("images", pixels), ("labels", labels)):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (idx / f"{name}.gz").write_bytes(gzip.compress(head + array.tobytes()))
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        batch = {b"data": rng.integers(0, 256, (2, 3072), dtype=np.uint8), b"labels": [3, 7]}
        (batches / name).write_bytes(pickle.dumps(batch, protocol=4))

    def read_idx(path: Path) -> Any:
        return [a.tolist() for a in read_idx_pair(path / "images.gz", path / "labels.gz", (28, 28))]

    def read_batches(path: Path) -> Any:
        return [a.tolist() for part in read_cifar_python(path) for a in part]

    return [
        of_folder("IDX images", scratch, idx, read_idx, 0.8),
        of_folder("CIFAR batches", scratch, batches, read_batches, 0.6),
    ]


def _reports(files: Path, scratch: Path, use: Callable[[Path], Any], evaluation: xr.Dataset) -> list[Format]:
    """A folder of results."""
    folder = files / "results"
    folder.mkdir()
    evaluation["target"] = ((), 0.5)
    evaluation.to_netcdf(folder / "evaluation_1.nc")
    evaluation.to_netcdf(folder / "evaluation_2.nc")
    shutil.copy(files / "noise.json", folder)
    figures = {"accuracy": {"value": 0.5, "unit": "1", "file": "a.nc", "recompute": "ds"}}
    (folder / "summary.json").write_text(json.dumps(figures))
    return [of_folder("results folder", scratch, folder, use, 0.15)]
