"""Silicon at one accuracy: crossings, ratios and their intervals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from placing import placed

from circuits.errors import InputError
from montecarlo.campaign.schema import save_dataset, with_units
from ttfs_analog.evaluation.remedy_table import SCHEMA
from ttfs_analog.remedies.comparison import run
from ttfs_analog.remedies.cost import joules
from ttfs_analog.remedies.iso_accuracy import iso_accuracy
from ttfs_analog.remedies.remedies import Setting, apply

CHIPS = 200
SILICON = (16.0, 4.0, 1.0)


def comparison(silicon: float, means: dict[str, float], spread: float = 0.0, seed: int = 0) -> xr.Dataset:
    """One area: accuracies of chips around a mean of every remedy."""
    common = np.random.default_rng(seed).normal(size=CHIPS)
    rows = np.array([[m + spread * (common - common.mean()) for m in means.values()]])
    dims = ("scale", "remedy")
    one = (1, len(means))
    table = {
        "accuracy": ((*dims, "chip"), rows, "1"),
        "clean": (dims, np.full(one, 0.9), "1"),
        "silicon": (dims, np.full(one, silicon), "m2"),
        "energy": (dims, np.full(one, 2.0 * silicon), "J"),
    }
    data = {k: (d, v, {"units": u, "long_name": k}) for k, (d, v, u) in table.items()}
    coords = {"scale": [1.0], "remedy": list(means), "chip": np.arange(CHIPS)}
    return with_units(xr.Dataset(data, coords, {"schema": SCHEMA, "target": 0.8, "images": 100}))


def three(spread: float = 0.0) -> list[xr.Dataset]:
    """Remedy b falls by 0.1 a factor of four, a at four times the silicon, c stays, d is never good."""
    levels = {"control": (0.9, 0.8, 0.7), "b": (1.0, 0.9, 0.8), "c": (0.9,) * 3, "d": (0.5, 0.4, 0.3)}
    return [
        comparison(area, {k: v[n] for k, v in levels.items()}, spread, n) for n, area in enumerate(SILICON)
    ]


def test_crossings_lie_between_points():
    rows, accuracy = iso_accuracy(three(), 0.85)
    found = {row.remedy: row for row in rows}
    assert accuracy == 0.85
    assert found["control"].silicon_m2 == pytest.approx((8.0,) * 3)  # half way from 16 to 4
    assert found["b"].silicon_m2 == pytest.approx((2.0,) * 3)
    assert found["b"].energy_j == pytest.approx((4.0,) * 3)
    assert found["b"].times_less == pytest.approx((4.0,) * 3)
    assert found["c"].at_most
    assert found["c"].silicon_m2[0] == 1.0
    assert found["d"].out_of_reach
    assert np.isinf(found["d"].silicon_m2[0])
    assert [row.remedy for row in rows] == ["c", "b", "control", "d"]


def test_the_accuracy_is_that_without_mismatch_less_half_a_point():
    assert iso_accuracy(three())[1] == pytest.approx(0.895)


def test_intervals_come_from_the_chips():
    rows = {row.remedy: row for row in iso_accuracy(three(0.05), 0.85)[0]}
    value, low, high = rows["control"].silicon_m2
    assert low < value < high
    wide = {row.remedy: row for row in iso_accuracy(three(0.2), 0.85)[0]}["control"].silicon_m2
    assert wide[2] / wide[1] > high / low
    # the standard error of a mean is 0.05 / sqrt(200), of a slope of 0.1 a factor of four
    half = 1.96 * 0.05 / np.sqrt(CHIPS) / 0.1 * np.log(4.0)
    assert np.log(high / low) / 2 == pytest.approx(half, rel=0.35)  # two points share it: somewhat less
    assert iso_accuracy(three(0.05), 0.85)[0] == iso_accuracy(three(0.05), 0.85)[0]


def test_what_is_no_curve_is_refused():
    with pytest.raises(InputError, match="one area"):
        iso_accuracy(three()[:1])
    with pytest.raises(InputError, match="'windows' is not in all"):
        iso_accuracy(three(), against="windows")
    with pytest.raises(InputError, match="placed network"):
        iso_accuracy([d.drop_vars("silicon") for d in three()])
    hole = three()
    hole[1]["accuracy"].values[0, 0, 3] = np.nan
    with pytest.raises(InputError, match="stopped before its end"):
        iso_accuracy(hole)


def test_the_command_reads_comparisons(tmp_path, monkeypatch, call, succeed):
    monkeypatch.chdir(tmp_path)
    for n, dataset in enumerate(three(0.05)):
        save_dataset(dataset, f"r{n}.nc")
    files = ("r0.nc", "r1.nc", "r2.nc")
    said = succeed("iso", *files, "--accuracy", 0.85, "--plot", "iso.png")
    assert json.loads(Path("iso.json").read_text())["rows"] == said["rows"]
    rows = {row["remedy"]: row for row in said["rows"]}
    assert rows["b"]["silicon_m2"][0] == pytest.approx(2.0)
    assert rows["d"]["silicon_m2"] == [None] * 3
    assert Path("iso.png").stat().st_size > 5000
    code, _, error = call("iso", "none.nc")
    assert code == 2
    assert "none.nc" in error


def test_a_comparison_of_a_placed_network_knows_silicon_and_energy(net, digits, transistor_noise, tmp_path):
    made = placed(net, -60.0, 60.0, units=64, most=640)
    for layer in made.metadata["placement"]["layers"]:
        layer["area_parts_m2"] = {"synapses": 4e-9, "capacitors": 8e-9}
    setting = Setting(digits, transistor_noise.extrapolated(), steps=1, patterns=4)
    found = run(
        made, setting, tmp_path / "r.nc", remedies=("nothing", "trim-4", "chip"), scales=(1.0, 2.0), chips=3
    )
    layers = len(made.layers)
    assert found["silicon"].sel(scale=2.0, remedy="nothing") == pytest.approx(layers * 9e-9)
    assert (found["silicon"].sel(remedy="trim-4") > found["silicon"].sel(remedy="nothing")).all()
    assert (found["energy"] > 0).all()
    state = apply("chip", made, setting.noise.sample(made, 3), setting, lambda: None)
    alone = joules(state, setting)  # trained chip by chip, or all of them
    assert float(found["energy"].sel(scale=1.0, remedy="chip")) == pytest.approx(alone, rel=1e-9, abs=0)
