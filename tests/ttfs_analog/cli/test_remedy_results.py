"""The commands calibrate, remedies and size, and finetune for one chip, as a user types them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from placing import placed

from ttfs_analog.cli.results.remedies import size_network
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips


@pytest.fixture
def folder(tmp_path, monkeypatch, make_noise, net):
    monkeypatch.chdir(tmp_path)
    make_noise(0.08).save("noise.json")
    net.save("net.pt")
    make_noise(0.08).sample(net, 1, 5).save("chip.nc")
    make_noise(0.08).sample(net, 2, 5).save("two.nc")
    return tmp_path


def test_a_chip_is_measured_and_the_network_tuned_for_it(folder, succeed):
    known = succeed("calibrate", "net.pt", "chip.nc", "--noise", "noise.json", "--plan", "plan.csv")
    assert (known["path"], known["intervals"]) == ("chip_known.nc", "chip_known.csv")
    rows = list(csv.DictReader(Path("chip_known.csv").read_text().splitlines()))
    assert len(rows) == 32  # 16 neurons, offset and slope
    assert all(float(r["low"]) < float(r["value"]) < float(r["high"]) for r in rows)
    seen, truth = Chips.load("chip_known.nc"), Chips.load("chip.nc")
    slopes = seen.layers[0].slope[0]
    assert ((slopes - truth.layers[0].slope[0]) ** 2).mean() < (truth.layers[0].slope[0] ** 2).mean()
    before = succeed("evaluate", "net.pt", "--chips-from", "chip.nc")["accuracy"]["mean"]
    line = ("finetune", "net.pt", "--mode", "trim", "--chip", "chip_known.nc", "--bits", 5, "--percentile", 0)
    succeed(*line)
    after = succeed("evaluate", "net_tuned.pt", "--chips-from", "chip.nc")["accuracy"]["mean"]
    assert after > before


def test_a_laboratory_plans_measures_and_reads(folder, succeed, digits, net, make_noise):
    from ttfs_analog.calibration.measurement import measure, write_times
    from ttfs_analog.calibration.patterns import choose

    assert succeed("calibrate", "net.pt", "--noise", "noise.json", "--plan", "plan.csv")["path"] == "plan.csv"
    plans = choose(net, digits.x_train, 16, make_noise(0.08))
    write_times("times.csv", net, measure(net, Chips.load("chip.nc"), plans))
    made = succeed("calibrate", "net.pt", "--noise", "noise.json", "--times", "times.csv", "--error", 1e-4)
    exact = succeed(
        "calibrate", "net.pt", "chip.nc", "--noise", "noise.json", "--error", 1e-4, "--out", "here.nc"
    )
    assert made["layers"][0]["slope_sd"] == pytest.approx(exact["layers"][0]["slope_sd"], rel=0.05)


def test_a_loop_helps_without_knowing_the_chip(folder, succeed):
    before = succeed("evaluate", "net.pt", "--chips-from", "chip.nc")["accuracy"]["mean"]
    line = ("finetune", "net.pt", "--mode", "loop", "--chip", "chip.nc", "--epochs", 8, "--percentile", 0)
    succeed(*line)
    assert succeed("evaluate", "net_tuned.pt", "--chips-from", "chip.nc")["accuracy"]["mean"] > before


def test_all_remedies_in_one_table(folder, succeed, call):
    line = ("remedies", "net.pt", "--noise", "noise.json", "--chips", 3, "--steps", 3, "--images", 60)
    made = succeed(*line, "--remedies", "nothing,trim-4@8,threshold", "--scale", "1,2", "--plot", "r.png")
    assert [(r["scale"], r["remedy"]) for r in made["rows"]] == [
        (s, n) for s in (1.0, 2.0) for n in ("nothing", "trim-4@8", "threshold")
    ]
    assert Path("r.png").stat().st_size > 10_000
    assert len(Path("remedies.csv").read_text().splitlines()) == 1 + 18
    code, out, _ = call(*line, "--remedies", "nothing,trim-4@8,threshold", "--scale", "1,2")
    assert code == 0
    assert "trim-4@8" in out


def test_two_placements_are_sized_together(net, digits, make_noise, tmp_path):
    parts = {"synapses": 4e-9, "neurons": 1e-9, "references": 2e-9, "capacitors": 8e-9}
    noise, nets = make_noise(0.004).extrapolated(), []
    for k in (1, 2):
        nets.append(placed(net, -60.0, 60.0, units=64, most=640))
        for layer in nets[-1].metadata["placement"]["layers"]:
            layer["area_parts_m2"] = {part: k * value for part, value in parts.items()}
    found, text, drawings = size_network(
        [(name, made, digits, noise) for name, made in zip("ab", nets, strict=True)],
        target=None, wanted=0.2, least="silicon", remedies=["windows"], chips=20, steps=1, batch=64,
        patterns=4, error=0.01, plot=str(tmp_path / "front.png"), out=str(tmp_path / "size.json"), seed=0,
        progress=lambda done, total: None,
    )  # fmt: skip
    assert [p["net"] for p in found["points"]] == ["a", "b"]  # twice the silicon comes last
    assert [p["on_front"] for p in found["points"]] == [True, False]
    assert "b: windows" in text
    assert drawings[0].figure().get_axes()[0].get_xlabel() == "silicon [mm2]"


@pytest.mark.parametrize("mode", ["chip", "threshold", "gain", "loop"])
def test_a_mode_for_one_chip_makes_a_network(folder, succeed, mode):
    made = succeed("finetune", "net.pt", "--mode", mode, "--chip", "chip.nc", "--epochs", 1)
    assert made["path"] == "net_tuned.pt"
    assert TTFSNetwork.load("net_tuned.pt").metadata["finetuned"] == mode


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("finetune net.pt --mode chip", "--chip names the chip"),
        ("finetune net.pt --noise noise.json --chip chip.nc", "--chip names the chip"),
        ("finetune net.pt --mode chip --chip chip.nc --control", "--control is the control of mode agnostic"),
        ("finetune net.pt --mode chip --chip chip.nc --known chip.nc", "--known is what mode loop knows"),
        ("finetune net.pt --mode chip --chip two.nc", "one chip, got 2"),
        ("finetune net.pt --mode chip --chip none.nc", "none.nc does not exist"),
        ("calibrate net.pt --noise noise.json", "give CHIP.nc to measure"),
        (
            "calibrate net.pt chip.nc --noise noise.json --times x.csv",
            "give CHIP.nc, which is measured here, or",
        ),
        ("calibrate net.pt --noise noise.json --times x.csv", "cannot read x.csv"),
        ("calibrate net.pt two.nc --noise noise.json", "one chip, got 2"),
        ("calibrate net.pt chip.nc --noise noise.json --patterns 0", "patterns must be 1 to"),
        ("remedies net.pt --noise noise.json --scale a", "--scale takes numbers"),
        ("remedies net.pt --noise noise.json --remedies magic", "unknown remedy 'magic'"),
        ("remedies net.pt --noise noise.json --plot x.xyz", "--plot x.xyz"),
        ("size net.pt --noise noise.json", "place it first"),
        ("size net.pt net.pt --noise noise.json", "2 networks need as many --noise"),
        ("evaluate net.pt --noise noise.json --bits 4", "give --trim, too"),
        ("evaluate net.pt --noise noise.json --trim --most 99", "99 neurons to trim"),
    ],
)
def test_mistakes_are_told_in_one_line(folder, call, line, message):
    code, out, err = call(*line.split())
    assert code == 2, err
    assert out == ""
    assert message in " ".join(err.split())
    assert "bug" not in err
