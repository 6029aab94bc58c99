"""Readers that go away, streams that are full, names of files that cannot be: exit codes mean one thing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from circuits.one_writer import locked
from ttfs_analog.cli.app import main

EXAMPLE = """
import sys, click
from circuits.errors import InputError
from ttfs_analog.cli.console import common, run
from ttfs_analog.cli.streams import progress

@click.command()
@common()
def example(out, seed):
    with progress("work") as tick:
        for k in range(20):
            tick(k, 20)
    if seed == 2:
        raise InputError("bad")
    return {"passed": seed != 1}, "text " * 30_000

sys.exit(run(example, sys.argv[1:]))
"""
LAYER = {"weights": [[1.0]], "bias": [0.5], "spike_times": [0.5], "t_min": 1.0, "t_max": 4.0}


def closed_pipe():
    """The end to write to of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


def python(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=stdout,
        stderr=stderr,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(("seed", "code"), [(0, 0), (1, 1), (2, 2)])
def test_a_reader_that_goes_away_changes_no_exit_code(form, seed, code):
    """1 says that a check did not hold, and nothing else does."""
    done = python("-c", EXAMPLE, "--seed", seed, *form, stdout=closed_pipe())
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.parametrize(
    "line", [["--help"], ["technologies"], ["simulate", "--help"], ["technologies", "--json"]]
)
def test_a_reader_of_a_command_that_goes_away_is_no_fault(line):
    done = python("-m", "ttfs_analog", *line, stdout=closed_pipe())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", [["--help"], ["technologies"], ["technologies", "--json"]])
def test_a_full_disk_under_stdout_is_one_message(line):
    with open("/dev/full", "w") as full:
        done = python("-m", "ttfs_analog", *line, stdout=full)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("seed", "code"), [(0, 0), (1, 1), (2, 2)])
@pytest.mark.parametrize("where", ["closed", "full"])
def test_work_goes_on_when_nobody_reads_the_progress(seed, code, where):
    if where == "closed":
        done = python("-c", EXAMPLE, "--seed", seed, "--json", stderr=closed_pipe())
    else:
        with open("/dev/full", "w") as full:
            done = python("-c", EXAMPLE, "--seed", seed, "--json", stderr=full)
    assert done.returncode == code
    assert json.loads(done.stdout) == (
        {"error": "bad", "exit_code": 2} if code == 2 else {"passed": code == 0}
    )


@pytest.fixture
def layer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("layer.json").write_text(json.dumps(LAYER))
    return ["simulate", "layer.json", "--level", "closed-form"]


COMMANDS = [
    "technologies", "simulate layer.json", "netlist layer.json", "attribute layer.json", "rare layer.json",
    "describe x.zarr", "characterize", "sweep x.toml", "fit x.zarr", "train", "convert x.py:f",
    "constrain x.pt", "place x.pt --technology generic130", "finetune x.pt", "chip x.pt", "evaluate x.pt",
    "energy x.pt --noise n", "verify x.pt --noise n", "report x", "demo",
]  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize(
    "address", ["s3://bucket/run", "gs://bucket/run", "https://host/run", "file:///tmp/run"]
)
def test_an_address_is_refused_by_every_command(layer, tmp_path, capsys, line, address):
    assert main([*line.split(), "--out", address]) == 2
    assert f"--out {address} is an address; name a file or folder of this machine" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["layer.json"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", "--out . is a folder; name a file in it"),
        ("layer.json/x.json", "the folder layer.json cannot be made"),
        ("layer.json/a/x.json", "the folder layer.json/a cannot be made"),
        ("/proc/none/x.json", "the folder /proc/none cannot be made"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_the_work(layer, capsys, out, message):
    assert main([*layer, "--out", out]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


@pytest.mark.parametrize("line", ["characterize", "demo", "sweep x.toml"])
def test_a_file_where_a_folder_is_made_is_refused(layer, capsys, line):
    assert main([*line.split(), "--out", "layer.json"]) == 2
    assert "--out layer.json is a file; name a folder" in capsys.readouterr().err
    assert json.loads(Path("layer.json").read_text()) == LAYER


def test_the_device_that_forgets_may_be_written(layer):
    assert main([*layer, "--out", "/dev/null"]) == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("line", ["train --epochs 1", "finetune x.pt", "fit x.zarr", "simulate layer.json"])
def test_two_commands_do_not_write_one_out_at_a_time(layer, capsys, line):
    with locked(Path("net.pt"), "command"):
        assert main([*line.split(), "--out", "net.pt"]) == 2
    wanted = (
        f"another command (process {os.getpid()}) is writing net.pt: wait for it, or choose another --out"
    )
    assert wanted in capsys.readouterr().err


def test_an_out_is_free_again_after_the_command(layer, tmp_path):
    for _ in range(2):
        assert main([*layer, "--out", "found.json"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"layer.json", "found.json"}


@pytest.mark.ngspice
def test_a_figure_that_fails_costs_no_number(layer, tmp_path):
    """matplotlib does not even load here; the numbers are printed and written before that is known."""
    (tmp_path / "matplotlibrc").write_bytes(b"# \xff\xfe\n")
    line = ["-m", "ttfs_analog", "simulate", "layer.json", "--json", "--out", "found.json", "--plot", "p.png"]
    done = python(*line)
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert found["spike_times"][0] > 0
    assert json.loads(Path("found.json").read_text())["spike_times"] == found["spike_times"]
    assert "error: the numbers are whole, p.png is not: matplotlib does not load: " in done.stderr
    assert "mend or move the file matplotlibrc" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        ("p.xyz", "--plot p.xyz: the format .xyz is not known; take one of"),
        ("s3://b/p.png", "--plot s3://b/p.png is an address"),
        (".", "--plot . is a folder; name a file in it"),
    ],
)
def test_a_figure_that_cannot_be_is_refused_before_the_work(layer, capsys, plot, message):
    assert main([*layer, "--plot", plot]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_load_is_an_interruption(stop):
    command = [sys.executable, "-X", "importtime", "-m", "ttfs_analog", "technologies"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr is not None
        for line in job.stderr:
            if line.endswith(" click\n"):  # one of many that the commands load
                break
        job.send_signal(stop)
        rest = job.stderr.read()
        assert job.wait(20) == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
