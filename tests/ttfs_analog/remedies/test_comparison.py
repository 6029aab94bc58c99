"""The table of all remedies: complete, resumable, the same chips in every row."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from circuits.errors import InputError
from montecarlo.extraction.reading import load_dataset
from ttfs_analog.evaluation.accuracy import evaluate
from ttfs_analog.evaluation.remedy_table import SCHEMA, summarize
from ttfs_analog.evaluation.report import render
from ttfs_analog.remedies import comparison
from ttfs_analog.remedies.comparison import USUAL, run
from ttfs_analog.remedies.remedies import Setting, apply, judge, parse

NAMES = ("nothing", "windows", "trim-4", "agnostic+trim-3", "chip")


@pytest.fixture(scope="module")
def setting(digits, make_noise):
    few = replace(digits, x_test=digits.x_test[:100], y_test=digits.y_test[:100])
    return Setting(few, make_noise(0.05), steps=20, patterns=4)


@pytest.fixture(scope="module")
def table(net, setting, tmp_path_factory):
    path = tmp_path_factory.mktemp("r") / "remedies.nc"
    seen = []
    made = run(
        net, setting, path, remedies=NAMES, scales=(1.0, 3.0), chips=4,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    return made, path


def test_every_cell_is_filled(table):
    made, path = table
    assert made["accuracy"].shape == (2, 5, 4)
    assert not np.isnan(made["accuracy"].values).any()
    assert np.isnan(made["clean"].sel(remedy="chip").values).all()  # a network a chip has none
    rows = list(csv.DictReader(path.with_suffix(".csv").read_text().splitlines()))
    assert len(rows) == 40
    assert float(rows[-1]["accuracy"]) == float(made["accuracy"].values[-1, -1, -1])


def test_nothing_is_the_network_on_the_chips_of_the_noise_model(table, net, setting):
    made, _ = table
    for scale in (1.0, 3.0):
        chips = setting.noise.scaled(scale).sample(net, 4, 0)
        expected = evaluate(net, setting.data, chips)["accuracy"].values
        assert np.array_equal(made["accuracy"].sel(scale=scale, remedy="nothing").values, expected)


def test_the_same_call_again_runs_nothing(table, net, setting, monkeypatch):
    made, path = table

    def never(*args):
        raise AssertionError("it ran again")

    monkeypatch.setattr(comparison, "follow", never)
    again = run(net, setting, path, remedies=NAMES, scales=(1.0, 3.0), chips=4)
    assert again.equals(made)


def test_another_comparison_in_the_same_file_is_refused(table, net, setting):
    with pytest.raises(InputError, match="holds another comparison"):
        run(net, setting, table[1], remedies=NAMES, scales=(1.0,), chips=4)


def test_rows_hold_means_and_yields(table):
    made, _ = table
    rows = summarize(made)
    assert [(r["scale"], r["remedy"]) for r in rows] == [(s, n) for s in (1.0, 3.0) for n in NAMES]
    one = next(r for r in rows if r["scale"] == 3.0 and r["remedy"] == "trim-4")
    values = made["accuracy"].sel(scale=3.0, remedy="trim-4").values
    assert one["mean"] == pytest.approx(values.mean())
    assert one["min"] == values.min()
    assert one["yield"] == np.mean(values >= made.attrs["target"] - 1e-9)
    assert one["area"] == pytest.approx(1 / 9)


def test_the_report_shows_the_table(table):
    page, left_out = render(table[1].parent)
    assert not left_out
    assert "What helps" in page
    assert "agnostic+trim-3" in page


def test_scaled_noise_is_the_same_chip_with_larger_deviations(net, setting):
    a, b = (setting.noise.scaled(s).sample(net, 1, 7).layers[0] for s in (1.0, 2.0))
    assert np.allclose(np.log1p(b.slope), 2 * np.log1p(a.slope))
    assert np.allclose(b.threshold, 2 * a.threshold)
    assert np.array_equal(b.capacitance, a.capacitance)


@pytest.mark.parametrize("name", ["magic", "trim-", "trim-x", "chip+windows", "nothing+chip", "", "a+b"])
def test_what_is_no_remedy_is_refused(name):
    with pytest.raises(InputError, match="remed"):
        parse(name)


def test_the_usual_ones_are_some():
    assert all(parse(name) for name in USUAL)


def test_a_training_may_see_more_than_there_is(net, setting):
    assert parse("agnostic-1.5+trim-4") == ["agnostic-1.5", "trim-4"]
    chips = setting.noise.sample(net, 2)
    wide = apply("agnostic-1.5", net, chips, setting, lambda: None).net(0)
    scaled = replace(setting, noise=setting.noise.scaled(1.5))
    same = apply("agnostic", net, chips, scaled, lambda: None).net(0)
    assert torch.equal(wide.layers[0].weight, same.layers[0].weight)


def test_remedies_that_begin_alike_are_trained_once(net, setting, tmp_path, monkeypatch):
    asked = []
    real = comparison.follow

    def counted(stages, *rest):
        asked.append(tuple(stages))
        return real(stages, *rest)

    monkeypatch.setattr(comparison, "follow", counted)
    names = ("agnostic", "agnostic+trim-4")
    made = run(net, setting, tmp_path / "r.nc", remedies=names, chips=2)
    assert asked.count(("agnostic",)) == 1
    state = apply("agnostic+trim-4", net, setting.noise.sample(net, 2), setting, lambda: None)
    assert np.array_equal(made["accuracy"].sel(remedy=names[1]).values[0], judge(state, setting.data, int)[0])


def test_yields_of_trained_chips_alone_have_a_target(net, setting, tmp_path):
    """No remedy of the table has a network without mismatch: that of windows counts."""
    one = replace(setting, steps=1)
    alone = run(net, one, tmp_path / "a.nc", remedies=("threshold",), chips=2)
    beside = run(net, one, tmp_path / "b.nc", remedies=("windows", "threshold"), chips=2)
    assert alone.attrs["target"] == beside.attrs["target"] > 0.5


def test_a_comparison_that_was_stopped_goes_on_at_the_next_chip(net, setting, tmp_path, monkeypatch):
    """Every chip is trained once, and the result is that of a comparison without a break."""
    names, path, trained = ("trim-3+chip+trim-4",), tmp_path / "r.nc", []
    monkeypatch.setattr(comparison, "SAVE", 0.0)
    real = comparison.judge

    def stopped(state, *rest):
        if len(trained) == 2:
            trained.append(None)
            raise KeyboardInterrupt
        trained.append(state.chips.numbers)
        return real(state, *rest)

    monkeypatch.setattr(comparison, "judge", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(net, setting, path, remedies=names, chips=4)
    with pytest.raises(InputError, match="stopped before its end"):
        summarize(load_dataset(path, SCHEMA))
    made = run(net, setting, path, remedies=names, chips=4, target=0.9)
    assert trained == [(0,), (1,), None, (2,), (3,)]
    state = apply(names[0], net, setting.noise.sample(net, 4), setting, lambda: None)
    assert np.array_equal(made["accuracy"].values[0, 0], judge(state, setting.data, lambda: None)[0])


@torch.no_grad()
def test_a_scale_that_is_none_is_refused(setting):
    with pytest.raises(InputError, match="factor of sigmas"):
        setting.noise.scaled(-1.0)
