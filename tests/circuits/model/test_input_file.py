"""Devices, sockets and silent pipes are refused at once; text comes through a pipe with a writer."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from circuits.errors import InputError
from circuits.model import input_file
from circuits.model.text_file import read_json, read_toml
from montecarlo.extraction.reading import load_dataset, schema_of
from ttfs_analog.conversion.saved_weights import read as read_weights
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.noise_model import NoiseModel

TEXTS = [read_json, read_toml, NoiseModel.load]
READERS = [*TEXTS, load_dataset, schema_of, read_weights, TTFSNetwork.load]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_not_read(read, device):
    with pytest.raises(InputError, match=f"{device} is a device, not a file; name a file"):
        read(Path(device))


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_without_a_writer_and_a_socket_are_refused(tmp_path, monkeypatch, read):
    monkeypatch.setattr(input_file, "PATIENCE", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe is a pipe.*; name a file"):
        read(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        monkeypatch.chdir(tmp_path)
        opened.bind("socket")
        with pytest.raises(InputError, match="socket is a socket, not a file"):
            read(tmp_path / "socket")


def test_text_comes_through_a_pipe_in_pieces(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with open(pipe, "w") as out:
            for piece in ('{"a"', ": 1}"):
                out.write(piece)
                out.flush()

    writer = threading.Thread(target=write)
    writer.start()
    assert read_json(pipe) == {"a": 1}
    writer.join()


def test_a_text_that_is_too_large_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    monkeypatch.setattr(input_file, "LARGEST", 8)
    assert read_json(path) == {"a": 1}
    monkeypatch.setattr(input_file, "LARGEST", 7)
    with pytest.raises(InputError, match=r"a\.json holds more than"):
        read_json(path)
