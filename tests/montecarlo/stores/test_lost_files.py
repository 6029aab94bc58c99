"""What a copy of a store has lost is known, runs again, and is never read as a number."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from circuits.errors import InputError, Notice
from circuits.pdk.technology import Technology
from montecarlo.campaign.campaign import Campaign
from montecarlo.campaign.schema import open_dataset
from montecarlo.extraction.reading import load_dataset
from montecarlo.stores import metadata
from montecarlo.stores.store import EVERY_FILE
from montecarlo.sweeps import neuron_sweep
from montecarlo.sweeps.sweep import SCHEMA, Sweep, run
from ttfs_analog.noise.noise_model import NoiseModel

PLAN = dataclasses.replace(
    Campaign.characterize(Technology.load("ideal"), 50, 5, synapses=2), patterns=2, random=1, batch=20
)
"""Three batches, the last of ten."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished campaign, by the closed form."""
    path = tmp_path_factory.mktemp("whole") / "s.zarr"
    PLAN.run(path, level="closed-form")
    return path


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "s.zarr"))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def resumed(path: Path) -> list[int]:
    """What was done when the campaign went on, step by step."""
    steps: list[int] = []
    PLAN.run(path, level="closed-form", progress=lambda done, total: steps.append(done))
    return steps


def as_before(path: Path) -> None:
    """The store as earlier versions wrote it: no files of fill values, and that of `status` is none, or 0."""
    status = zarr.open_group(path, mode="r")["status"][:]
    for name in (".zarray", "../.zmetadata"):
        file = path / "status" / name
        text = json.loads(file.read_text())
        about = text if name == ".zarray" else text["metadata"]["status/.zarray"]
        about["fill_value"] = None
        file.write_text(json.dumps(text))
    (path / "status" / EVERY_FILE).unlink()
    zarr.open_group(path, mode="r+")["status"][:] = status  # those that are 0 go
    for name, array in zarr.open_group(path, mode="r+").arrays():
        if array.dtype.kind in "iU" and name != "stimulus":
            array[...] = array[...]


def test_a_finished_store_is_whole_and_nothing_runs_again(copy):
    before = bytes_of(copy)
    assert resumed(copy) == [50]
    assert bytes_of(copy) == before


def test_a_part_that_xarray_wrote_is_whole(copy, tmp_path, recwarn):
    part = tmp_path / "part.zarr"
    open_dataset(copy).isel(sample=slice(0, 30)).to_zarr(part, consolidated=False, zarr_format=2)
    assert open_dataset(part)["status"].values.tolist() == [0] * 30
    assert not [w for w in recwarn if w.category is Notice]


def test_status_that_is_absent_is_not_run(copy, whole):
    for k in (0, 2):
        (copy / "status" / f"{k}").unlink()
    status = open_dataset(copy)["status"].values
    assert status.tolist() == [-1] * 20 + [0] * 20 + [-1] * 10
    with pytest.raises(InputError, match="not complete: 30 of 50 samples are missing"):
        NoiseModel.fit(open_dataset(copy), 0)
    assert resumed(copy) == [20, 40, 50]
    assert bytes_of(copy) == bytes_of(whole)


@pytest.mark.parametrize("name", ["spike_time/1.0", "energy/1.0.0.0", "deviation_slope/1", "reason/1"])
def test_a_file_that_is_lost_is_named_and_its_batch_runs_again(copy, whole, name):
    (copy / name).unlink()
    with pytest.warns(Notice, match=rf"s\.zarr has lost {name}: their runs count as not run"):
        assert open_dataset(copy)["status"].values.tolist() == [0] * 20 + [-1] * 20 + [0] * 10
    with pytest.warns(Notice, match=name):
        assert resumed(copy) == [30, 50]
    assert bytes_of(copy) == bytes_of(whole)


@pytest.mark.parametrize("name", ["spike_time/2.0", "status/2"])
@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_file_that_is_cut_short_is_not_read(copy, whole, name, keep):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:keep])
    with pytest.raises(InputError, match=rf"cut short \({name}\); give the command that made it once more"):
        open_dataset(copy)
    assert resumed(copy) == [40, 50]
    assert bytes_of(copy) == bytes_of(whole)


@pytest.mark.parametrize("name", ["spike_time/1.0", "deviation_slope/0", "weight/0.0", "stimulus/0"])
def test_a_flipped_bit_is_refused(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[-5] ^= 1  # of the values: a codec alone would give another number
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=r"s\.zarr cannot be read \(.*checksum.*\): take a copy"):
        load_dataset(copy)


def test_a_status_that_cannot_be_unpacked_is_run_again(copy, whole):
    content = (copy / "status/1").read_bytes()
    (copy / "status/1").write_bytes(content[:16] + bytes(len(content) - 16))
    with pytest.raises(InputError, match=r"cut short \(status/1\); give the command"):
        open_dataset(copy)
    assert resumed(copy) == [30, 50]
    assert bytes_of(copy) == bytes_of(whole)


@pytest.mark.parametrize("name", [".zattrs", ".zgroup", "energy/.zarray", "status/.zattrs"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x00" * 40, b'{"shape": [3'])
def test_metadata_that_is_damaged_is_named_and_written_again(copy, whole, name, content):
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"has lost {name}, or they are damaged; give the command"):
        open_dataset(copy)
    assert resumed(copy) == [50]
    assert open_dataset(copy).load().identical(open_dataset(whole).load())


@pytest.mark.parametrize("name", ["spike_time", "status"])
def test_a_variable_that_is_lost_is_measured_again(copy, whole, name):
    shutil.rmtree(copy / name)
    with pytest.raises(InputError, match=rf"has lost {name}/.zarray, {name}/.zattrs"):
        open_dataset(copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        assert resumed(copy) == [0, 20, 40, 50]
    assert open_dataset(copy).load().identical(open_dataset(whole).load())


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside/.zattrs", "../.zattrs"])
def test_a_crafted_store_writes_nothing_outside(copy, name):
    file = copy / ".zmetadata"
    content = json.loads(file.read_text())
    content["metadata"][name] = {"units": "1"}
    file.write_text(json.dumps(content))
    assert metadata.damaged(copy) == {}


@pytest.mark.parametrize("dims", [None, 3, "sample", {}])
def test_dims_that_are_no_list_are_refused(copy, dims):
    file = copy / "energy" / ".zattrs"
    file.write_text(json.dumps({**json.loads(file.read_text()), "_ARRAY_DIMENSIONS": dims}))
    with pytest.raises(InputError, match=r"s\.zarr cannot be read"):
        open_dataset(copy)


@pytest.mark.parametrize("name", ["weight/0.0", "stimulus/0", "sample/0"])
def test_what_no_run_makes_is_refused_with_the_remedy(copy, name):
    (copy / name).unlink()
    for use in (open_dataset, resumed):
        with pytest.raises(InputError, match=rf"lost its files of {name.split('/')[0]},.*copy it once more"):
            use(copy)


def test_a_batch_of_failures_is_done(tmp_path, copy):
    """All of its spike times are NaN, and that is no loss."""
    group = zarr.open_group(copy, mode="r+")
    group["status"][20:40] = 1
    with zarr.config.set({"array.write_empty_chunks": True}):
        zarr.open_group(copy, mode="r+")["spike_time"][20:40] = np.nan
    assert (open_dataset(copy)["status"].values == 1).sum() == 20
    assert resumed(copy) == [50]


def test_stores_of_earlier_versions_open_and_go_on(copy, whole):
    as_before(copy)
    assert not (copy / "status" / "1").exists()
    assert not (copy / "reason" / "1").exists()
    assert open_dataset(copy).load().identical(open_dataset(whole).load())
    assert resumed(copy) == [50]
    for lost in ("deviation_slope/1", "spike_time/1.0"):
        (copy / lost).unlink()
    with pytest.warns(Notice, match="lost deviation_slope/1, spike_time/1.0"):
        assert resumed(copy) == [30, 50]
    assert open_dataset(copy).load().identical(open_dataset(whole).load())


def test_an_interrupted_store_of_an_earlier_version_that_lost_its_status(copy, whole):
    """Nothing was measured there: the fill value 0 of its status is not believed."""
    as_before(copy)
    for file in copy.rglob("1*"):
        file.unlink()
    with pytest.warns(Notice, match="and 8 more"):
        assert resumed(copy) == [30, 50]
    assert open_dataset(copy).load().identical(open_dataset(whole).load())


@pytest.mark.parametrize("lost", ["status/0.1", "energy_mean/0.1", "spike_time/0.1.0"])
def test_points_of_a_sweep_that_are_lost_are_measured_again(tmp_path, lost):
    plan = Sweep("ideal", (("sigma", (0.01, 0.02)), ("window", (2.0, 4.0))), samples=3)
    coords = {"sample": np.arange(3), "bound": ["low", "high"]}
    asked: list[int] = []

    def measure(number, settings):
        asked.append(number)
        sizes = {
            name: [len(coords[d]) for d in dims] for name, (dims, _, _) in neuron_sweep.VARIABLES.items()
        }
        return {name: np.full(size, float(number)) for name, size in sizes.items()}

    first = run(plan, tmp_path, neuron_sweep.VARIABLES, coords, measure).load()
    (tmp_path / "sweep.zarr" / lost).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        assert open_dataset(tmp_path / "sweep.zarr", SCHEMA)["status"].values.tolist() == [[0, -1], [0, 0]]
        again = run(plan, tmp_path, neuron_sweep.VARIABLES, coords, measure).load()
    assert asked == [0, 1, 2, 3, 1]
    assert again.identical(first)
