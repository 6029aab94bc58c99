"""Inputs that never end, or never begin, are refused before anything waits for them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from circuits import input_file
from circuits.errors import InputError
from circuits.input_file import read_bytes, regular
from circuits.model.text_file import read_text
from montecarlo.extraction.reading import load_dataset
from ttfs_analog.network.network import TTFSNetwork


@pytest.mark.parametrize("read", [read_text, load_dataset, TTFSNetwork.load, regular])
def test_devices_and_sockets_are_refused(tmp_path, read):
    for path in ("/dev/zero", "/dev/null"):
        with pytest.raises(InputError, match=f"{path} is a device, not a file"):
            read(path)
    with socket.socket(socket.AF_UNIX) as made:
        place = os.path.relpath(tmp_path / "s")  # names of sockets are short
        made.bind(place if len(place) < 100 else str(tmp_path / "s"))
        with pytest.raises(InputError, match="is a socket, not a file"):
            read(tmp_path / "s")


@pytest.mark.parametrize("read", [load_dataset, TTFSNetwork.load])
def test_pipes_hold_text_alone(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is a pipe, not a file"):
        read(tmp_path / "pipe")


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(input_file, "PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is a pipe that nobody writes to"):
        read_text(tmp_path / "pipe")


def test_text_comes_through_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("x" * 200_000))
    writer.start()
    assert read_bytes(tmp_path / "pipe") == b"x" * 200_000
    writer.join()


def test_a_text_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr(input_file, "LARGEST", 1 << 20)
    (tmp_path / "f").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(InputError, match="holds more than 1 MiB"):
        read_bytes(tmp_path / "f")


def test_memory_that_runs_out_is_said_in_one_line(tmp_path):
    """In a process that may have 600 MB more than it needs to start."""
    code = (
        "import resource, click\n"
        "from ttfs_analog.cli.console import run\n"
        "@click.command()\n"
        "def hungry():\n"
        "    bytearray(1 << 42)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "raise SystemExit(run(hungry, []))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not enough memory" in done.stderr
    assert "Traceback" not in done.stderr
