"""One writer at a time: a lock that lives as long as its process.

The lock is on the file PATH.lock, which holds the process number for people to read. The operating system
drops it with the process, so that the file of a killed writer is simply taken over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from circuits.errors import InputError
from circuits.whole_file import local, refusal


@contextlib.contextmanager
def locked(path: Path, what: str = "campaign") -> Iterator[None]:
    """Be the only writer of `path`.

    Parameters
    ----------
    path : Path
        File or folder; its parent is made where it is missing.
    what : str
        That writes there, for the message.

    Raises
    ------
    InputError
        If another process writes there, or the place cannot be written.
    """
    file = local(path).with_name(path.name + ".lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = _lock(file)
    except BlockingIOError:
        with contextlib.suppress(OSError):
            owner = file.read_text().strip() or "unknown"
            raise InputError(
                f"another {what} (process {owner}) is writing {path}: wait for it, or choose another --out"
            ) from None
        raise InputError(f"another {what} is writing {path}; choose another --out") from None
    except OSError as error:
        raise refusal(path, error) from None
    try:
        with contextlib.suppress(OSError):  # on a full disk the lock holds without its number
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
        os.close(handle)


def _lock(file: Path) -> int:
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(handle).st_ino == os.stat(file).st_ino:
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its owner removed the file between our two calls
