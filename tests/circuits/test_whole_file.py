"""Files written whole or not at all: a full disk, a death, two writers, links, devices, addresses."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from circuits.errors import InputError
from circuits.whole_file import write

OLD, NEW = b"old" * 1000, b"new" * 200_000


def only(folder):
    return [p.name for p in folder.iterdir()]


@pytest.mark.parametrize("content", ["text: é\n", b"bytes", memoryview(b"view"), b""])
def test_a_file_is_written_with_its_folders(tmp_path, content):
    path = write(tmp_path / "a" / "b" / "file", content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else bytes(content))
    assert only(path.parent) == ["file"]


@pytest.mark.parametrize("limit", [0, 1, 4096, 300_000, len(NEW) - 1])
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path, limit):
    """The limit on the size of a file is met where a full disk is: in a write, after some of it."""
    path = tmp_path / "file"
    path.write_bytes(OLD)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(InputError, match=rf"cannot write {path}: File too large; .* \(ulimit -f\)"):
            write(path, NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == OLD
    assert only(tmp_path) == ["file"]
    assert write(path, NEW).read_bytes() == NEW


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EDQUOT, "used up"), (errno.EROFS, "another")],
)
def test_whatever_fails_is_told_with_its_remedy(tmp_path, monkeypatch, call, code, remedy):
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(InputError, match=rf"{path}: {os.strerror(code)}; .*{remedy}"):
            write(path, NEW)
    assert path.read_bytes() == OLD
    assert only(tmp_path) == ["file"]


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, NEW)
    assert path.read_bytes() == OLD
    assert only(tmp_path) == ["file"]


def test_a_killed_writer_leaves_one_of_the_two_and_what_the_next_takes_over(tmp_path):
    path = tmp_path / "file"
    code = (
        "import sys; from circuits.whole_file import write\n"
        f"while True: write(sys.argv[1], {OLD[:3]!r} * 1000); write(sys.argv[1], {NEW[:3]!r} * 200_000)"
    )
    for k in range(5):
        child = subprocess.Popen([sys.executable, "-c", code, path])
        while not path.exists() and child.poll() is None:
            time.sleep(0.01)
        time.sleep(0.013 * k)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert path.read_bytes() in (OLD, NEW)
    write(path, b"next")
    assert only(tmp_path) == ["file"]
    assert path.read_bytes() == b"next"


def test_two_writers_take_turns(tmp_path):
    path, contents = tmp_path / "file", [bytes([k]) * 100_000 for k in range(4)]

    def work(content):
        for _ in range(20):
            write(path, content)

    threads = [threading.Thread(target=work, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert only(tmp_path) == ["file"]


def test_a_link_stays_a_link_and_rights_stay(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(OLD)
    target.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(target)
    write(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_device_is_written_as_it_stands():
    write("/dev/null", NEW)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert not Path("/dev/null.partial").exists()
    with pytest.raises(InputError, match="/dev/full: No space left on device; free some space"):
        write("/dev/full", NEW)


@pytest.mark.parametrize(
    "path", ["s3://bucket/net.pt", "gs://b/x", "http://host/x", "file:///tmp/x", Path("s3://bucket/net.pt")]
)
def test_an_address_is_not_made_into_a_folder(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is an address; name a file or folder of this machine"):
        write(path, NEW)
    assert only(tmp_path) == []


@pytest.mark.parametrize("name", ["a:b", "layer:0.json", "x/y:z"])
def test_a_colon_makes_no_address(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert write(name, NEW).read_bytes() == NEW


def test_a_folder_or_a_part_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(InputError, match="file"):
        write(tmp_path / "file" / "x", NEW)
    with pytest.raises(InputError, match="name a file in it"):
        write(tmp_path, NEW)
