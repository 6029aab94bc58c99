"""The command rare: a known probability, at both levels, and what cannot be asked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from scipy import stats

DEADLINE = math.exp(4 * math.hypot(0.05, 0.03))
"""ln of the spike time of a ramp of 1 tau_c is normal of that sigma."""
LAYER = {"weights": [[0.5, -0.5]], "bias": [19.0], "spike_times": [None, None], "t_min": 1.0, "t_max": 21.0}
LINE = ("rare", "layer.json", "--sigma", 0, "--sigma", "slope=0.05", "--sigma", "capacitance=0.03")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layer.json").write_text(json.dumps(LAYER))


@pytest.mark.ngspice
def test_four_sigma_in_ngspice(succeed):
    found = succeed(*LINE, "--latest", repr(DEADLINE))
    low, high = found["ci95"]
    assert low <= stats.norm.sf(4) <= high
    assert found["gain"] >= 20
    assert found["evaluations"] < 500
    assert (found["method"], found["regions"]) == ("lines", 1)
    assert found["distance_sigma"] == pytest.approx(4, abs=0.01)
    assert found["plain_evaluations_needed"] == pytest.approx(found["gain"] * found["evaluations"])
    assert json.loads(Path("rare.json").read_text())["probability"] == found["probability"]


def test_plain_sampling_agrees_where_it_can_see(succeed):
    early = 1 / math.exp(2 * math.hypot(0.05, 0.03))
    line = (*LINE, "--earliest", repr(early), "--level", "closed-form", "--plain", 20000)
    found = succeed(*line)
    exact = stats.norm.sf(2)
    for estimate in (found, found["plain"]):
        assert estimate["ci95"][0] <= exact <= estimate["ci95"][1]
    assert found["plain"]["evaluations"] == 20000
    assert succeed(*line) == found
    assert succeed(*line, "--seed", 1)["probability"] != found["probability"]
    common = succeed(*line, "--common", "slope=0.1")
    assert common["probability"] > 3 * exact


def test_any_neuron_of_a_layer(succeed):
    """Three neurons that are alike, one of them never late: 1 - (1 - p)^2."""
    both = LAYER | {"weights": [[0.5, -0.5]] * 3, "bias": [19.0, 19.5, 19.0]}
    Path("layer.json").write_text(json.dumps(both))
    line = (*LINE, "--latest", repr(DEADLINE), "--level", "closed-form")
    found = succeed(*line, "--any")
    low, high = found["ci95"]
    assert low <= 1 - (1 - stats.norm.sf(4)) ** 2 <= high
    assert (found["neuron"], found["regions"]) == (None, 2)
    subset = succeed(*line, "--any", "--method", "subset")
    assert (subset["method"], subset["distance_sigma"]) == ("subset", None)
    assert subset["ci95"][0] <= high
    assert low <= subset["ci95"][1]


def test_the_text_has_both_estimates(call):
    code, out, _ = call(*LINE, "--latest", 1.1, "--level", "closed-form", "--plain", 1000)
    assert code == 0
    assert "line sampling        " in out
    assert "plain Monte Carlo    " in out
    assert out.rstrip().endswith("rare.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "give --latest, --earliest or both"),
        ("--latest 1 --earliest 2", "no spike can lie between 2 and 1"),
        ("--latest 1 --neuron 3", "neuron 3 does not exist"),
        ("--latest 1 --samples 10", "at least 100 samples"),
        ("--latest 1000", "no failure within 40 levels"),
        ("--latest 1000 --method lines", "no failure was met within 6 times the spread"),
        ("--latest 1.2 --error 1", "--error"),
        ("--latest 1.2 --distribution slope=cauchy", "unknown distribution 'cauchy'"),
        ("--latest 1.2 --technology magic", "unknown technology"),
    ],
)
def test_mistakes_are_told_in_one_line(call, options, message):
    code, out, err = call(*LINE, "--level", "closed-form", *options.split())
    assert code == 2
    assert out == ""
    assert message in err
    assert "this is a bug" not in err
