"""Run decks in ngspice, safely. The only file that starts a process.

A deck is a program: ngspice executes control blocks and some comments. Only decks built by
`circuits.ideal.netlist` and its kin are run here, in a private folder, without the user's start-up files,
with limits on time, and in a process group of their own. What is believed of the outcome is decided by
`circuits.spice.acceptance`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from circuits.errors import InputError, SimulatorError, SimulatorMissing
from circuits.spice.acceptance import RAW, accept, last_words
from circuits.spice.deck import Deck
from circuits.spice.deck_check import check
from circuits.spice.rawfile import Plot
from circuits.units import name

PROGRAM = "TTFS_ANALOG_NGSPICE"
"""Environment variable with the path of the ngspice program, if it is not on PATH."""
MEMORY, ROOM = "/dev/shm", 1 << 30
"""A file system in memory, and the free bytes it must have."""
MADE, NEW = "ttfs-analog-run-", "ttfs-analog-new-"
"""Names of run folders: locked by a process that is alive, and not locked yet."""
KEPT = 3
"""Folders of failed runs that stay; what fails a thousand times fails in the same way."""
LAST = "* the last deck\nV1 a 0 1\nR1 a 0 1\n.op\n.end\n"
"""Ends a process that ran several decks, where `quit` would free their circuits; see `Ngspice.run_many`."""
PAUSE = 0.1
"""Before the last attempt of a run that failed [s]; half of it before the one but last."""
T = TypeVar("T")


class Canceled(SimulatorError):
    """The run was stopped from outside; its folder is removed."""


class HostError(SimulatorError):
    """Not the circuit but the machine is at fault: no space for run folders, or ngspice cannot be started."""


@lru_cache(maxsize=8)
def _version(program: str) -> str:
    try:
        out = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30
        ).stdout.decode("latin-1")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SimulatorMissing(f"{program} cannot be run: {error}") from None
    match = re.search(r"ngspice-(\d+(?:\.\d+)*)", out)
    if not match:
        raise SimulatorMissing(f"{program} does not answer as ngspice to --version")
    return match.group(1)


class Ngspice:
    """An ngspice program and the rules under which it runs.

    Parameters
    ----------
    program : str, optional
        Path or name; default TTFS_ANALOG_NGSPICE, else ``ngspice`` on PATH.
    timeout : float
        Wall-clock limit of one run [s]; twice that is its CPU limit.
    retries : int
        How often a run that failed is tried again: a busy machine kills and starves processes.

    Raises
    ------
    SimulatorMissing
        If there is no such program.
    """

    def __init__(self, program: str | None = None, timeout: float = 600.0, retries: int = 0) -> None:
        wanted = program or os.environ.get(PROGRAM) or "ngspice"
        path = shutil.which(wanted)
        if path is None:
            raise SimulatorMissing(
                f"no ngspice program found (looked for {wanted!r}); install it, on Debian and Ubuntu "
                f"with 'apt-get install ngspice', or set {PROGRAM} to its path"
            )
        self.program, self.timeout, self.retries = os.path.abspath(path), timeout, retries
        self.version = _version(self.program)  #: such as '39'
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._canceled = False
        self.failed = 0  #: runs that failed, retries not counted
        self.kept: list[Path] = []  #: folders of the first of them

    def cancel(self) -> None:
        """Kill every run in flight; later runs refuse to start."""
        with self._lock:
            self._canceled = True
            for process in self._running:
                _kill(process)

    def run(self, deck: Deck, *, keep: bool = True) -> Plot:
        """Simulate one deck.

        Parameters
        ----------
        keep : whether the run folder stays if the run fails

        Raises
        ------
        SimulatorError
            Naming the run folder, which stays if `keep` and it is one of the first KEPT, and ngspice's last
            lines.
        """
        return self._run([deck], {"deck.cir": deck.text}, ["-r", RAW], keep)[0]

    def run_many(self, decks: Sequence[Deck]) -> list[Plot]:
        """Simulate decks one after the other in one process: starting ngspice costs 10 ms.

        Circuits are left to the end of the process. `remcirc` and `quit` free them, and an ngspice whose code
        models are of another version crashes there.

        Raises
        ------
        SimulatorError
            If any of them fails; see `run`.
        """
        if not decks:
            return []
        script = ["* several decks in one process", ".control", "set noaskquit", "set nomoremode"]
        script.append("set appendwrite")
        for k in range(len(decks)):
            script += [f"source s{k}.cir", "run", f"write {RAW}", "destroy all"]
        script += ["source last.cir", ".endc", ".end", ""]
        texts = {f"s{k}.cir": deck.text for k, deck in enumerate(decks)} | {"last.cir": LAST}
        return self._run(decks, {"deck.cir": "\n".join(script), **texts}, [])

    def _run(
        self, decks: Sequence[Deck], texts: dict[str, str], options: list[str], keep: bool = True
    ) -> list[Plot]:
        for deck in decks:
            check(deck.text, deck.files, deck.stop)
        files = [file for deck in decks for file in deck.files]
        for file in files:
            name(file.removesuffix(".txt"))  # ngspice lower-cases paths
        if len(set(files)) != len(files):
            raise InputError("decks that run together need tables of different names (prefix)")
        for left in range(self.retries, 0, -1):
            try:
                return self._attempt(decks, texts, options, keep=False)
            except Canceled:
                raise
            except SimulatorError:
                time.sleep(PAUSE / left)
        return self._attempt(decks, texts, options, keep)

    def _attempt(
        self, decks: Sequence[Deck], texts: dict[str, str], options: list[str], keep: bool
    ) -> list[Plot]:
        with _run_folder() as folder:
            return self._tried(folder, decks, texts, options, keep)

    def _tried(
        self, folder: Path, decks: Sequence[Deck], texts: dict[str, str], options: list[str], keep: bool
    ) -> list[Plot]:
        try:
            for deck in decks:
                texts |= deck.files
            for file, text in texts.items():
                (folder / file).write_text(text)
            self._execute(folder, options)
            return accept(folder, decks)
        except Canceled:
            raise
        except SimulatorError as error:
            message = f"{error}\n{last_words(folder)}"
            if full := _full(folder):
                message = f"the disk of {folder.parent} is full; free some space or set TMPDIR"
            elif keep:
                message += self._keep(folder)
            raise (HostError if full else type(error))(message.rstrip()) from None
        except OSError as error:
            raise HostError(
                f"cannot write the simulation to {folder}: {error.strerror}; free some space or set "
                "TMPDIR to another disk"
            ) from None

    def _keep(self, folder: Path) -> str:
        """Keep the folder of a failed run, if it is one of the first; what to say of it."""
        with self._lock:
            self.failed += 1
            if self.failed > KEPT:
                first = ", ".join(map(str, self.kept))
                return f"run folder not kept: {self.failed} runs failed, the first are in {first}"
            try:
                saved = Path(tempfile.mkdtemp(prefix="ttfs-analog-failed-"))
                shutil.copytree(folder, saved, dirs_exist_ok=True)
            except OSError as error:
                return f"run folder not kept: {error.strerror or error}"
            self.kept.append(saved)
            return f"run folder kept: {saved}"

    def _execute(self, folder: Path, options: list[str]) -> None:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "OMP_THREAD_LIMIT": "1",  # BSIM4's OpenMP threads spin: up to 50x slower on a busy host
        }
        command = [self.program, "-n", "-b", *options, "deck.cir"]
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            with self._lock:
                if self._canceled:
                    raise Canceled("simulation canceled")
                try:
                    process = subprocess.Popen(
                        command,
                        cwd=folder,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=err,
                        start_new_session=True,
                    )
                except OSError as error:
                    raise HostError(f"{self.program} cannot be started: {error.strerror}") from None
                self._running.add(process)
            try:
                _limit(process.pid, int(2 * self.timeout) + 1)
                code = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                raise SimulatorError(f"ngspice did not finish in {self.timeout:g} s") from None
            finally:
                _kill(process)
                process.wait()
                with self._lock:
                    self._running.discard(process)
        if self._canceled:
            raise Canceled("simulation canceled")
        if code != 0:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise SimulatorError(f"ngspice {how}")


def _scratch() -> str:
    """Where run folders go: TMPDIR if set, else memory if there is room, else the usual place.

    A deck comes with some seventy small files, which a disk takes ten times longer to make.
    """
    usual = tempfile.gettempdir()
    if os.environ.get("TMPDIR") or not os.access(MEMORY, os.W_OK | os.X_OK):
        return usual
    _sweep(MEMORY)
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free > ROOM:
            return MEMORY
    return usual


@contextlib.contextmanager
def _run_folder() -> Iterator[Path]:
    """A private folder that is gone in the end, and locked as long as this process is alive.

    Raises
    ------
    HostError
        If it cannot be made.
    """
    try:
        place = _scratch()
        _sweep(place)
        folder = Path(tempfile.mkdtemp(prefix=NEW, dir=place))
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot make a run folder: {error}; set TMPDIR to a usable disk") from None
    try:
        with contextlib.suppress(OSError):  # where nothing can be locked, nothing is swept
            fcntl.flock(handle, fcntl.LOCK_EX)
            folder = folder.rename(folder.with_name(folder.name.replace(NEW, MADE)))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@lru_cache(maxsize=8)
def _sweep(place: str) -> None:
    """Once a process: remove what processes that were killed have left.

    A folder is locked while its process lives, whatever number it has: processes that share a place need
    not see each other.
    """
    for folder in Path(place).glob(f"{MADE}*"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _full(folder: Path) -> bool:
    """Whether a failed run has, or may have, failed for lack of space."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < 1 << 16
    return False


def _limit(pid: int, cpu_s: int) -> None:
    """CPU, file size and core limits; a process that has already ended needs none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 33, 1 << 33))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def parallel(tasks: Iterable[Callable[[], T]], workers: int, simulator: Ngspice) -> Iterator[tuple[int, T]]:
    """Run tasks in a thread pool, yield (index, value) as they end; the work is in the children.

    At most two tasks per worker are under way, so a long generator of tasks needs little memory.
    On an exception, Ctrl-C included, the runs in flight are killed and nothing is left behind.

    Parameters
    ----------
    tasks : without arguments; they run decks in `simulator`
    workers : threads, and so ngspice processes, at a time

    Raises
    ------
    InputError
        If there are no workers.
    """
    if workers < 1:
        raise InputError(f"workers must be >= 1, got {workers}")
    pending: dict[Future[T], int] = {}
    pool = ThreadPoolExecutor(workers)
    try:
        for index, task in enumerate(tasks):
            pending[pool.submit(task)] = index
            if len(pending) >= 2 * workers:
                yield from _collect(pending)
        while pending:
            yield from _collect(pending)
    except BaseException:
        simulator.cancel()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(pending: dict[Future[T], int]) -> Iterator[tuple[int, T]]:
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        yield pending.pop(future), future.result()
