"""stdout, stderr and progress bars whose readers may go away, and whose disk may be full."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from circuits.errors import InputError

Tick = Callable[[int, int], None]


class _Lenient:
    """A stream whose reader may go away, or whose disk may be full: what nobody can read is let go."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with _let_go(self.stream):
            return self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with _let_go(self.stream):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Stderr(Console):
    """Messages and progress: work goes on when nobody reads them."""

    @property
    def file(self) -> IO[str]:
        return _Lenient(super().file)  # type: ignore[return-value]

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file


@contextmanager
def _let_go(stream: IO[str]) -> Iterator[None]:
    try:
        yield
    except OSError:
        silence(stream)


def silence(stream: IO[str]) -> None:
    """Nothing more is read here: what is left in buffers goes nowhere, and Python ends without a word."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


err = _Stderr(stderr=True, highlight=False, soft_wrap=True)


def tell(text: str) -> None:
    """Print on stdout; a reader that has gone is no fault.

    Parameters
    ----------
    text : str

    Raises
    ------
    InputError
        If stdout is a file that cannot be written.
    """
    try:
        click.echo(text)
    except OSError as error:
        silence(sys.stdout)
        if error.errno != errno.EPIPE:
            raise InputError(
                f"cannot write to standard output: {error.strerror}; free some space, or name another file"
            ) from None


class _Rate(ProgressColumn):
    """Units per second, once known."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g}/s" if speed else "", style="progress.data.speed")


@contextmanager
def progress(label: str) -> Iterator[Tick]:
    """A progress bar on stderr; gives a callable (done, total)."""
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(label, total=None)
        started = False

        def tick(done: int, total: int) -> None:
            nonlocal started
            if not started:  # what an earlier run did says nothing about the speed of this one
                bar.reset(task, total=total, completed=done)
                started = True
            bar.update(task, completed=done, total=total)

        yield tick
