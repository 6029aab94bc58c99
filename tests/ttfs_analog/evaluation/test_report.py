"""The report: one page of what a folder holds."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import xarray as xr

from circuits.errors import InputError
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.evaluation.energy import energy
from ttfs_analog.evaluation.report import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory, net, digits, noise, dataset):
    folder = tmp_path_factory.mktemp("run")
    evaluation = evaluate(net, digits, noise.sample(net, 5))
    evaluation.attrs["target"] = 0.5
    evaluation.to_netcdf(folder / "evaluation_1_first.nc")
    energy(net, (digits.x_test[:10], digits.y_test[:10]), noise, chips=2).to_netcdf(folder / "energy.nc")
    noise.save(folder / "noise_model.json")
    dataset.to_zarr(folder / "characterization.zarr", consolidated=False, zarr_format=2)
    (folder / "notes.txt").write_text("not a result")
    (folder / "net.json").write_text(json.dumps({"accuracy": 1.0}))
    return folder


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    return write(folder, tmp_path_factory.mktemp("page") / "deep" / "report.html").read_text()


def test_every_result_has_its_section(page):
    for title in ("Noise model", "Accuracy over chips", "Energy per inference"):
        assert title in page
    assert "Back to ngspice" not in page  # there is no verification in the folder


def test_the_page_needs_nothing_but_itself(page):
    assert page.count("data:image/") >= 3
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "<script" not in page


def test_figures_on_the_page_are_those_of_the_files(page, noise, folder):
    assert f"{noise.terms['slope'].std:.4g}" in page
    with xr.open_dataset(folder / "evaluation_1_first.nc") as ds:
        assert f"{100 * float(ds['accuracy'].mean()):.2f} %" in page


def test_a_folder_with_one_result_gives_a_page(folder, tmp_path):
    (tmp_path / "energy.nc").write_bytes((folder / "energy.nc").read_bytes())
    text = write(tmp_path, tmp_path / "report.html").read_text()
    assert "Energy per inference" in text
    assert "Accuracy over chips" not in text


def test_text_from_the_folder_is_escaped(folder, tmp_path):
    odd = tmp_path / "<b>run"
    odd.mkdir()
    (odd / "energy.nc").write_bytes((folder / "energy.nc").read_bytes())
    assert "<b>run" not in write(odd, tmp_path / "report.html").read_text()


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        write(tmp_path, tmp_path / "report.html")
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="holds no results"):
        write(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        write(tmp_path / "none", tmp_path / "report.html")


def test_a_broken_result_is_named(tmp_path):
    (tmp_path / "energy.nc").write_text("not netCDF")
    with pytest.raises(InputError, match=r"energy\.nc cannot be read"):
        write(tmp_path, tmp_path / "report.html")


def test_a_campaign_in_which_everything_failed_has_no_section(dataset, tmp_path):
    failed = dataset.copy(deep=True)
    failed["status"].values[:] = 1
    failed["spike_time"].values[:] = np.nan
    failed.to_zarr(tmp_path / "characterization.zarr", consolidated=False, zarr_format=2)
    with pytest.raises(InputError, match="holds no results"):
        write(tmp_path, tmp_path / "report.html")


@pytest.mark.parametrize("content", [[1, 2, 3], [], "text", 7, None, {"schema": "other/1"}])
def test_unrelated_json_in_the_folder_is_passed_over(folder, tmp_path, content):
    (tmp_path / "energy.nc").write_bytes((folder / "energy.nc").read_bytes())
    (tmp_path / "unrelated.json").write_text(json.dumps(content))
    assert "Energy per inference" in write(tmp_path, tmp_path / "report.html").read_text()


def test_files_that_cannot_be_read_are_named_and_left_out(folder, tmp_path, call):
    energy_file, accuracy_file = (folder / f for f in ("energy.nc", "evaluation_1_first.nc"))
    (tmp_path / "energy.nc").write_bytes(energy_file.read_bytes())
    (tmp_path / "cut.nc").write_bytes(accuracy_file.read_bytes()[:3000])
    (tmp_path / "text.nc").write_text("no dataset")
    (tmp_path / "list.json").write_text("[1, 2")
    (tmp_path / "summary.json").write_text('{"accuracy": 0.9}')
    (tmp_path / "noise.json").write_text('{"schema": "ttfs-analog/noise-model/2"}')
    (tmp_path / "empty.zarr").mkdir()
    with xr.open_dataset(accuracy_file) as ds:
        ds.drop_vars("accuracy").to_netcdf(tmp_path / "evaluation_2.nc")
    code, out, err = call("report", tmp_path, "--json")
    assert code == 0, err
    left_out = json.loads(out)["left_out"]
    page = (tmp_path / "report.html").read_text()
    assert "Energy per inference" in page
    names = ("cut.nc", "text.nc", "list.json", "summary.json", "noise.json", "empty.zarr", "evaluation_2.nc")
    for name in names:
        assert sum(line.startswith(name) for line in left_out) == 1, (name, left_out)
        assert f"Left out: {name}" in page
