"""Stores on disk: made without holding them in memory, one writer at a time, regions of whole chunks."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import xarray as xr

from circuits.errors import InputError
from montecarlo.campaign.schema import VARIABLES, blank, empty, open_dataset
from montecarlo.stores import store

COORDS = {"stimulus": [f"s{k}" for k in range(75)], "synapse": np.arange(64)}
COORDS |= {"supply": ["source"], "phase": ["input", "firing"]}


def template() -> xr.Dataset:
    return empty({"sample": 1}, COORDS, {}, {})


def test_a_large_store_is_made_in_little_memory(tmp_path):
    """100,000 samples, 64 synapses, 75 stimuli would be 400 MB."""
    tracemalloc.start()
    store.create(template(), tmp_path / "s", {"sample": 100_000}, {"sample": 256})
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    dataset = open_dataset(tmp_path / "s")
    assert dataset.sizes["sample"] == 100_000
    assert np.all(dataset["status"] == -1)
    assert np.array_equal(dataset["sample"], np.arange(100_000))
    for name, variable in dataset.data_vars.items():
        assert (variable.dims, variable.attrs["units"]) == VARIABLES[name][:2]
    last = dataset.isel(sample=slice(-3, None))
    assert np.all(np.isnan(last["spike_time"]))
    assert list(last["reason"].values) == [""] * 3
    assert xr.open_zarr(tmp_path / "s").sizes["sample"] == 100_000  # by its consolidated metadata too


def test_a_region_is_read_back_and_nothing_else_changes(tmp_path):
    store.create(template(), tmp_path / "s", {"sample": 10}, {"sample": 4})
    time = np.random.default_rng(0).normal(size=(4, 75))
    time[0, 0] = np.inf
    values = blank({k: len(v) for k, v in COORDS.items()} | {"sample": 4})
    values |= {"status": np.zeros(4, np.int8), "spike_time": time, "reason": np.full(4, "why" * 40)}
    before = {p for p in (tmp_path / "s").rglob("*") if p.is_file()}
    store.write(tmp_path / "s", (slice(4, 8),), values)
    dataset = open_dataset(tmp_path / "s").load()
    assert dataset["status"].values.tolist() == [-1] * 4 + [0] * 4 + [-1] * 2
    assert np.array_equal(dataset["spike_time"][4:8], time)
    assert str(dataset["reason"].values[5]) == "why" * 40
    made = {p.name for p in (tmp_path / "s").rglob("*") if p.is_file()} - {p.name for p in before}
    assert made == {"1", "1.0", "1.0.0.0"} - {p.name for p in before}


def test_two_writers_and_the_first_ends(tmp_path):
    path = tmp_path / "s"
    with store.locked(path):
        with pytest.raises(InputError, match=rf"process {os.getpid()}\) is writing"), store.locked(path):
            pass
        assert (tmp_path / "s.lock").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / "s.lock").exists()
    with store.locked(path):
        pass


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from montecarlo.stores.store import locked;"
        "lock = locked(Path(sys.argv[1])); lock.__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], check=False)
    assert (tmp_path / "s.lock").exists()
    with store.locked(tmp_path / "s"):
        assert (tmp_path / "s.lock").read_text() == f"{os.getpid()}\n"


def test_an_error_inside_frees_the_lock(tmp_path):
    with pytest.raises(KeyError), store.locked(tmp_path / "s"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_half_written_files_are_cleared(tmp_path):
    (tmp_path / "s" / "x").mkdir(parents=True)
    (tmp_path / "s" / "x" / "0.0.abc.partial").touch()
    (tmp_path / "s" / "x" / "0.0").touch()
    store.clear(tmp_path / "s")
    assert [p.name for p in (tmp_path / "s" / "x").iterdir()] == ["0.0"]
