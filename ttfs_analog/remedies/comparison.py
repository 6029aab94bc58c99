"""One table of all remedies: the same chips, the same number of steps, at several sizes of the devices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits import whole_file
from circuits.errors import InputError
from montecarlo.campaign.schema import package_version, save_dataset, with_units
from montecarlo.extraction.reading import load_dataset
from ttfs_analog.evaluation.accuracy import table
from ttfs_analog.evaluation.remedy_table import SCHEMA
from ttfs_analog.network.digest import digest_of
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.lot import Lot
from ttfs_analog.remedies.cost import CHIPS, joules, silicon
from ttfs_analog.remedies.remedies import (
    EACH,
    Setting,
    State,
    Tick,
    calibrated,
    follow,
    judge,
    parse,
    shared,
    split,
)

USUAL = (
    "nothing", "windows", "control", "agnostic", "trim-3", "trim-4", "trim-6", "threshold", "gain", "chip",
    "loop", "agnostic+trim-4", "trim-4+chip", "agnostic+trim-4+chip",
)  # fmt: skip
Progress = Callable[[int, int], None]
SAVE = 30.0
"""Seconds after which chips that were trained by themselves are written."""


def run(
    net: TTFSNetwork,
    setting: Setting,
    path: Path,
    *,
    remedies: Sequence[str] = USUAL,
    scales: Sequence[float] = (1.0,),
    chips: int = 200,
    target: float | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Carry out and judge every remedy at every scale; what is in the file already is not run again.

    Parameters
    ----------
    net : TTFSNetwork
        As it was mapped, or placed.
    setting : Setting
        The judging is done on the test part of its data.
    path : Path
        Of the dataset, which is written after every remedy, and every SAVE seconds where each chip is trained
        by itself; a table with one row a chip lies beside it (.csv).
    remedies : sequence of str
        See `ttfs_analog.remedies.remedies`.
    scales : sequence of float
        Factors on the sigmas of transistors.
    chips : int
        Drawn at every scale: the same numbers, so that each is one chip at several sizes.
    target : float, optional
        Yield is the share of chips of at least this accuracy; default: what the network reaches without
        mismatch after `windows`, less a point.
    progress : callable, optional
        (done, total).

    Returns
    -------
    xarray.Dataset
        Dims scale, remedy, chip: `accuracy`; `clean`: without mismatch; `seconds`; of a placed network
        `silicon` [m^2] with gates of 1 / scale^2 of their area, and `energy` of an inference [J].

    Raises
    ------
    InputError
        If a remedy is unknown, or the file holds another comparison.
    """
    for remedy in remedies:
        parse(remedy)
    if not remedies or not scales or len(set(remedies)) < len(remedies) or len(set(scales)) < len(scales):
        raise InputError("name remedies and scales, each once")
    plan = digest_of(
        [net.state_dict(), repr(setting.noise), list(remedies), list(scales), chips, _options(setting)]
    )
    dataset = _begun(path, plan) if path.exists() else _empty(remedies, scales, chips, plan, setting)
    steps = [_ticks(parse(remedy), chips, setting) for remedy in remedies]
    total, done = len(scales) * sum(steps), 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(min(done, total), total)

    for s, scale in enumerate(scales):
        noise = setting.noise.scaled(scale)
        drawn = Lot.of(noise, net, chips, setting.seed)
        at = replace(setting, noise=noise)
        made: dict[tuple[str, ...], State] = {}
        for r, remedy in enumerate(remedies):
            if np.isnan(dataset["accuracy"].values[s, r]).any():
                begun = time.process_time()
                common, own = split(parse(remedy))
                if common not in made:  # several remedies begin with the same training
                    made[common] = follow(common, State((net,), drawn), at, tick)
                if own and made[common].known is None:
                    made[common] = calibrated(made[common], at, tick)
                first = next((k for k, stage in enumerate(own) if stage in EACH), len(own))
                state = follow(own[:first], made[common], at, tick)
                row = dataset.isel(scale=s, remedy=r)  # views
                if own[first:]:
                    _chip_by_chip(own[first:], state, at, row, lambda: save_dataset(dataset, path), tick)
                else:
                    row["accuracy"].values[:], row["clean"].values[()] = judge(state, setting.data, tick)
                    if _placed(net):
                        row["energy"].values[()] = joules(state, at)
                if scale and _placed(net):
                    row["silicon"].values[()] = sum(silicon(net, remedy, scale**-2).values())
                row["seconds"].values[()] = time.process_time() - begun
                save_dataset(dataset, path)
            done = s * sum(steps) + sum(steps[: r + 1])
            if progress:
                progress(done, total)
    if target is None:
        at = replace(setting, noise=setting.noise.scaled(scales[0]))
        target = max(_clean(dataset, net, at) - 0.01, 0.0)
    dataset.attrs["target"] = target
    save_dataset(dataset, path)
    whole_file.write(path.with_suffix(".csv"), table(dataset, ["accuracy"]))
    return dataset


def _chip_by_chip(
    stages: Sequence[str],
    state: State,
    setting: Setting,
    row: xr.Dataset,
    save: Callable[[], object],
    tick: Tick,
) -> None:
    """Stages that train every chip: done, judged and saved one after the other."""
    assert state.known is not None
    accuracy, energy, saved = row["accuracy"].values, row["energy"].values, time.monotonic()
    for k, (chip, known) in enumerate(zip(state.chips, state.known, strict=True)):
        if not np.isnan(accuracy[k]):
            continue
        one = follow(stages, State((state.net(0),), chip, known), setting, tick)
        accuracy[k] = judge(one, setting.data, tick)[0][0]
        if k < CHIPS and _placed(state.net(0)):
            energy[()] = (k * np.nan_to_num(energy[()]) + joules(one, setting)) / (k + 1)
        if time.monotonic() - saved > SAVE:
            save()
            saved = time.monotonic()


def _clean(dataset: xr.Dataset, net: TTFSNetwork, setting: Setting) -> float:
    """Accuracy without mismatch, after `windows` if that is known."""
    known = dataset["clean"].sel(remedy="windows") if "windows" in dataset["remedy"] else dataset["clean"]
    if not np.isnan(known).all():
        return float(known.max())
    one = State((net,), Lot.of(setting.noise, net, 1, setting.seed))  # every chip has a network of its own
    return judge(follow(["windows"], one, setting, lambda: None), setting.data, lambda: None)[1]


def _placed(net: TTFSNetwork) -> bool:
    return "placement" in net.metadata


def _ticks(stages: list[str], chips: int, setting: Setting) -> int:
    """How often a remedy tells of its progress."""
    count, known = chips, not setting.patterns
    for stage in stages:
        count += (shared(stage)) + chips * (stage in EACH)
        if not shared(stage) and stage != "nothing" and not known:
            count, known = count + chips, True
        if stage.startswith("trim"):
            count += chips * (1 if stage == "trim" else 2)
    return count


def _options(setting: Setting) -> dict[str, Any]:
    plain = {k: v for k, v in vars(setting).items() if k not in ("data", "noise")}
    return {**plain, "data": setting.data.name, "images": len(setting.data.x_test)}


def _empty(
    remedies: Sequence[str], scales: Sequence[float], chips: int, plan: str, setting: Setting
) -> xr.Dataset:
    shape = (len(scales), len(remedies))
    dims = ("scale", "remedy")
    columns = {
        "accuracy": ((*dims, "chip"), np.full((*shape, chips), np.nan), "1", "share of right classes"),
        "clean": (dims, np.full(shape, np.nan), "1", "accuracy without mismatch"),
        "silicon": (dims, np.full(shape, np.nan), "m2", "silicon of gates, capacitors and trim DACs"),
        "energy": (dims, np.full(shape, np.nan), "J", "energy per inference"),
        "seconds": (dims, np.full(shape, np.nan), "s", "CPU time, but for what was done before"),
    }
    return with_units(
        xr.Dataset(
            {k: (d, v, {"units": u, "long_name": n}) for k, (d, v, u, n) in columns.items()},
            {"scale": list(map(float, scales)), "remedy": list(remedies), "chip": np.arange(chips)},
            {
                "schema": SCHEMA,
                "plan": plan,
                "images": len(setting.data.x_test),
                "options": json.dumps(_options(setting)),
                "package_version": package_version(),
            },
        )
    )


def _begun(path: Path, plan: str) -> xr.Dataset:
    dataset = load_dataset(path, SCHEMA)
    if dataset.attrs.get("plan") != plan:
        raise InputError(f"{path} holds another comparison; choose another --out, or remove it")
    return dataset
