"""A file is written whole or not at all: all of it beside its place, then a rename onto it.

.. math:: \\text{NAME.partial} \\to \\text{flush, fsync} \\to \\text{rename to NAME}

A rename is one step of the file system, so that a death at any moment, or a full disk, leaves the file that
was there. What a killed writer leaves is NAME.partial, which the next one takes over; two writers of one file
take turns. A file that only exists as a device or a pipe (/dev/null) is written as it stands.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from pathlib import Path

from circuits.errors import InputError

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Start of an address, such as s3://bucket/name; pathlib makes one slash of two."""
REMEDIES = {
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "your share of the disk is used up: free some space, or choose another place",
    errno.EFBIG: "the limit on the size of a file is too low (ulimit -f)",
    errno.EROFS: "choose another place",
    errno.EACCES: "choose another place",
    errno.EPERM: "choose another place",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "a part of the path is a file",
}


def local(path: str | Path) -> Path:
    """The path, if it is one of this machine.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        If it is an address (s3://, gs://, http://, file://): what is not a path is not made into one.
    """
    if ADDRESS.match(str(path)):
        raise InputError(f"{path} is an address; name a file or folder of this machine")
    return Path(path)


def write(path: str | Path, content: str | bytes | memoryview) -> Path:
    """Write a file, whole or not at all; folders that it needs are made.

    Parameters
    ----------
    path : str or Path
        A link stays a link: the file that it names is replaced.
    content : str or bytes
        Text is written in UTF-8.

    Raises
    ------
    InputError
        If the place is an address, the disk is full, or the place cannot be written: the file that was there
        is as it was, and nothing is left beside it.
    """
    target = local(path)
    raw = memoryview(content.encode() if isinstance(content, str) else content).cast("B")
    try:
        target = target.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            with open(target, "wb") as out:
                out.write(raw)
        else:
            _replace(target, raw)
    except OSError as error:
        raise refusal(path, error) from None
    return Path(path)


def refusal(path: str | Path, error: OSError) -> InputError:
    """What to tell of a file that could not be written.

    Parameters
    ----------
    path : str or Path
        Of the file.
    error : OSError
    """
    remedy = REMEDIES.get(error.errno or 0, "choose another place")
    return InputError(f"cannot write {path}: {error.strerror or error}; {remedy}")


def _replace(target: Path, raw: memoryview) -> None:
    part = target.with_name(target.name + ".partial")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it may not be written")
    handle = _alone(part)
    try:
        os.ftruncate(handle, 0)
        with contextlib.suppress(OSError):  # a new file has the rights of a new file
            os.fchmod(handle, os.stat(target).st_mode & 0o7777)
        left = raw
        while left:
            left = left[os.write(handle, left[: 1 << 30]) :]
        os.fsync(handle)
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    with contextlib.suppress(OSError):  # some file systems do not flush folders
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _alone(part: Path) -> int:
    """Open the file for one writer at a time: the next one waits until the last has renamed it."""
    while True:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: writers are not told apart
                fcntl.flock(handle, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(handle).st_ino == os.stat(part).st_ino:
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its writer renamed it between our two calls
