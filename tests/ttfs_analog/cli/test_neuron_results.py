"""`attribute` and `describe` through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from montecarlo.analysis.attribution import ATTRIBUTION
from montecarlo.campaign.schema import open_dataset
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.description import DESCRIPTION
from montecarlo.statistics.moments import moments

LAYER = {
    "weights": [[1.0, -0.5], [-3.0, -3.0]],
    "bias": [0.5, -3.0],
    "spike_times": [0.25, 0.5],
    "t_min": 1.0,
    "t_max": 4.0,
}
FAST = ("--level", "closed-form", "--samples", 500)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layer.json").write_text(json.dumps(LAYER))


@pytest.mark.ngspice
def test_attribute_gives_shares_that_close(succeed, tmp_path):
    found = succeed("attribute", "layer.json", "--plot", "shares")
    assert found["path"] == "attribution.nc"
    assert set(found["parts"]) == {
        "synapse_source_0",
        "synapse_sink_1",
        "slope_source",
        "comparator",
        "capacitor",
    }
    assert sum(found["parts"].values()) == pytest.approx(found["sum_of_parts_ratio"], rel=1e-9)
    assert abs(found["sum_of_parts_ratio"] - 1) < 0.1
    assert sum(found["terms"].values()) == pytest.approx(found["sum_of_parts_ratio"], rel=1e-9)
    assert found["terms"]["synapse_sink"] == pytest.approx(found["parts"]["synapse_sink_1"], rel=1e-9)
    assert found["plot"] == ["shares.png", "shares.svg"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in found["plot"])
    with open_dataset("attribution.nc", ATTRIBUTION) as stored:
        assert stored.attrs["technology"] == "ideal"
        assert float(stored["spike_time_total_variance"]) == found["total_variance"]


def test_attribute_takes_quantity_sigma_and_seed(succeed, call):
    line = ("attribute", "layer.json", *FAST)
    plain = succeed(*line)
    assert succeed(*line) == plain
    assert succeed(*line, "--seed", 1) != plain
    small = succeed(*line, "--sigma", 0.01, "--sigma", "slope=0.05", "--quantity", "slope")
    assert small["quantity"] == "slope"
    assert small["parts"]["slope_source"] == pytest.approx(25 * small["parts"]["capacitor"], rel=1e-6)
    assert small["quantities"]["spike_time"]["nominal"] == plain["nominal"]
    alone = (*line, "--sigma", 0, "--sigma", "slope=0.05")
    assert succeed(*alone)["quantities"]["threshold"]["sum_of_parts_ratio"] is None
    code, out, _ = call(*alone, "--quantity", "threshold")
    assert code == 0
    assert "threshold does not vary under these sigmas" in out
    assert "nan" not in out


def test_attribute_answers_what_a_larger_device_buys(succeed, call):
    line = ("attribute", "layer.json", *FAST, "--target", 0.12)
    found = succeed(*line, "--enlarge", "slope_source=4", "--enlarge", "capacitance=2")
    share = found["parts"]
    left = 1 - (share["slope_source"] * 3 / 4 + share["capacitor"] / 2) / sum(share.values())
    assert found["enlarged"]["variance"] == pytest.approx(left * found["total_variance"], rel=1e-9)
    assert found["area_for_target"]["all"] > 1
    assert found["area_for_target"]["synapse_sink"] is None  # cannot alone
    code, out, _ = call(*line, "--enlarge", "all=2")
    assert code == 0
    assert "all 2 x larger: sigma" in out
    assert "synapse_sink cannot" in out
    assert "capacitor" in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("attribute none.json", "none.json does not exist"),
        ("attribute layer.json --neuron 7", "neuron 7 does not exist"),
        ("attribute layer.json --neuron 1", "neuron 1 is silent"),
        ("attribute layer.json --samples 5", "at least 100 samples"),
        ("attribute layer.json --sigma 0", "every sigma is 0"),
        ("attribute layer.json --enlarge slope", "not a number"),
        ("attribute layer.json --enlarge 3", "not of the form DEVICE=X"),
        ("attribute layer.json --enlarge diode=2", "unknown device 'diode'"),
        ("attribute layer.json --enlarge slope=0", "area of slope must be > 0"),
        ("attribute layer.json --target -1", "target sigma must be > 0"),
        ("attribute layer.json --plot a.xyz", "--plot a.xyz"),
        ("attribute layer.json --technology magic", "unknown technology"),
        ("describe none.zarr", "none.zarr does not exist"),
        ("describe {files}/characterization.zarr --plot layer.json", "is a file; name a folder"),
        ("describe {files}/characterization.zarr --out /proc/x/d.nc", "/proc/x"),
        ("describe layer.json", "layer.json cannot be read ("),
    ],
)
def test_mistakes_are_told_in_one_line(call, files, line, message):
    words = line.format(files=files).split()
    if words[0] == "attribute" and "--level" not in words:
        words += ["--level", "closed-form"]
    code, out, err = call(*words)
    assert code == 2
    assert out == ""
    assert message in err
    assert "this is a bug" not in err


def test_describe_says_what_the_campaign_holds(succeed, files, dataset, tmp_path):
    found = succeed("describe", files / "characterization.zarr", "--plot", "plots")
    assert (found["n_samples"], found["n_failed"], found["n_not_run"]) == (300, 0, 0)
    slope = moments(np.log1p(extract(dataset).deviations["slope"].values))
    assert found["terms"]["slope"]["std"] == pytest.approx(slope.std, rel=1e-12)
    assert found["terms"]["slope"]["std_se"] == pytest.approx(slope.std_se, rel=1e-12)
    assert found["terms"]["synapse_source"]["n"] == 300 * 4
    value, low, high = found["terms"]["slope"]["quantiles"]["0.5"]
    assert low < value < high
    names = {"synapse_source", "synapse_sink", "slope", "threshold", "capacitance"}
    names |= {"spike_time_by_pattern", "overview"}
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {
        f"{n}.{s}" for n in names for s in ("png", "svg")
    }
    with open_dataset("description.nc", DESCRIPTION) as stored:
        assert stored["spike_time_mean"].dims == ("pattern", "stimulus")
        third = dataset["spike_time"].sel(stimulus="random_0").values[2::5]
        mean = stored["spike_time_mean"].sel(stimulus="random_0").isel(pattern=2)
        assert float(mean) == pytest.approx(third.mean(), rel=1e-12)
        assert float(stored["deviation_slope_std"]) == found["terms"]["slope"]["std"]
        assert stored["spike_time_std"].attrs["units"] == "tau_c"
        assert all(v.attrs["units"] for v in stored.variables.values())


def test_failed_silent_and_missing_samples_are_counted(succeed, make_dataset):
    dataset = make_dataset(40)
    measured = [k for k, v in dataset.data_vars.items() if v.dims == ("sample", "stimulus")]
    for k, status in ((0, 1), (1, -1), (2, -1)):
        dataset["status"].values[k] = status
        for name in measured:
            dataset[name].values[k] = np.nan
    dataset["spike_time"].loc[{"sample": 5, "stimulus": "random_0"}] = np.inf
    dataset.to_zarr("part.zarr", consolidated=False, zarr_format=2)
    found = succeed("describe", "part.zarr", "--out", "d.nc")
    assert (found["n_samples"], found["n_failed"], found["n_not_run"]) == (38, 1, 2)
    assert (found["terms"]["slope"]["n"], found["terms"]["slope"]["n_failed"]) == (37, 1)
    with xr.open_dataset("d.nc") as stored:
        assert int(stored["spike_time_n_silent"].sum()) == 1
        assert int(stored["spike_time_n_failed"].sel(stimulus="random_0").sum()) == 1


def test_describe_of_nothing_yet_is_refused(call, make_dataset):
    dataset = make_dataset(10)
    dataset["status"].values[:] = -1
    dataset.to_zarr("none_done.zarr", consolidated=False, zarr_format=2)
    code, _, err = call("describe", "none_done.zarr")
    assert code == 2
    assert "holds no finished sample" in err


def test_a_neuron_of_one_synapse_has_no_sinks(succeed, make_dataset):
    make_dataset(20, synapses=1).to_zarr("one.zarr", consolidated=False, zarr_format=2)
    assert "synapse_sink" not in succeed("describe", "one.zarr")["terms"]


def test_samples_are_tested_against_a_noise_model_of_others(succeed, call, files, make_dataset):
    """300 neurons against the model of 300 others; a sigma of a half is refused beyond doubt."""
    model = json.loads((files / "noise_model.json").read_text())
    model["provenance"]["plan_hash"] = "another"
    model["terms"]["slope"]["std"] *= 0.5
    del model["digest"]
    Path("other.json").write_text(json.dumps(model))
    found = succeed("describe", files / "characterization.zarr", "--against", "other.json")["terms"]
    assert found["slope"]["ks_p"] < 1e-6
    assert found["capacitance"]["ks_p"] > 1e-3
    assert 0 < found["capacitance"]["ks_distance"] < found["slope"]["ks_distance"] < 1
    code, out, _ = call("describe", files / "characterization.zarr", "--against", "other.json")
    assert code == 0
    assert "300 samples, 0 failed, 0 not run" in out
    assert out.rstrip().endswith("description.nc")
    assert "Kolmogorov-Smirnov against other.json" in out


def test_a_noise_model_is_not_tested_against_its_own_samples(succeed, call, make_dataset):
    dataset = make_dataset(40).assign_attrs(plan_hash="one")
    dataset.to_zarr("own.zarr", consolidated=False, zarr_format=2)
    succeed("fit", "own.zarr", "--out", "own.json")
    code, _, err = call("describe", "own.zarr", "--against", "own.json")
    assert code == 2
    assert "fitted to these very samples" in err
