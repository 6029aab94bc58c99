"""Files that are read: what may never end, or never begin, is refused before it is opened.

A device (/dev/zero) has no end, a socket no content, and a pipe gives nothing as long as nobody writes to it.
Text may come through a pipe, such as that of `<(program)`; all else is read back and forth, and is a file.
"""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

from circuits.errors import InputError

LARGEST = 1 << 28
"""Bytes of a text."""
PATIENCE = 5.0
"""For somebody to write to a pipe [s]."""
KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
}


def regular(path: str | Path, *, pipe: bool = False) -> None:
    """Refuse what is neither file nor folder; whether it is there is for its reader to say.

    Parameters
    ----------
    path : str or Path
    pipe : bool
        Whether it may be a pipe.

    Raises
    ------
    InputError
        If it is a device, a socket or a pipe.
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return
    if kind in KINDS and not (pipe and kind == stat.S_IFIFO):
        raise InputError(f"{path} is {KINDS[kind]}, not a file; name a file")


def read_bytes(path: str | Path) -> bytes:
    """All bytes of a file, or of a pipe that somebody writes to.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        If it is neither, holds more than `LARGEST` bytes, or nobody writes to the pipe for `PATIENCE`.
    OSError
        If it cannot be opened or read.
    """
    regular(path, pipe=True)
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        ready = select.poll()
        ready.register(file, select.POLLIN)
        if not ready.poll(1000 * PATIENCE):  # files are always ready
            raise InputError(f"{path} is a pipe that nobody writes to; name a file")
        os.set_blocking(file.fileno(), True)
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise InputError(f"{path} holds more than {LARGEST >> 20} MiB; is it the right file?")
    return raw
