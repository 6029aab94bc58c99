"""What tests of running processes share: waiting for something, and finding who works in a folder."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path


def run_folders_in(place: Path, monkeypatch) -> None:
    """TMPDIR itself, and what Python remembers of it from the first time it looked."""
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))


def processes_in(folder: Path) -> list[int]:
    """Running processes whose working folder lies in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and folder in (entry / "cwd").resolve(strict=True).parents:
                found.append(int(entry.name))
    return found


def until(condition, seconds: float = 20.0):
    """The first true value of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("waited in vain")
