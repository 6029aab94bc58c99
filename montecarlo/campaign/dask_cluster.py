"""The same work on many machines: dask.distributed hands out tasks, this process alone writes.

Workers return their results instead of writing it, so they share no disk, and a worker that was
believed dead and is not cannot write over anything. dask is imported only here, and only when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import Any, TypeVar

from circuits.errors import InputError, SimulatorError

ANSWER = 10.0
"""How long a scheduler may take to answer [s]."""
PATIENCE = 60.0
"""How long the work waits while no worker is there [s]."""
AHEAD = 2
"""Tasks per worker thread that are handed out at a time: memory does not grow with their number."""
AGAIN = ("lost", "pending")
"""Its worker died after it had ended and before the result was here: the scheduler has it done again."""
LOST = "the connection to the scheduler was lost; what was done is safe: give the same command again"
T = TypeVar("T")


def connect(address: str) -> Any:
    """A client of the scheduler at `address`.

    Raises
    ------
    InputError
        If dask.distributed is not installed, or nobody answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--scheduler needs dask.distributed, which is not installed: pip install 'ttfs-analog[cluster]'"
        ) from None
    try:
        return Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        first = (str(error) or type(error).__name__).split("\n")[0]
        raise InputError(
            f"no dask scheduler answers at {address!r} ({first[:120]}); start one with 'dask scheduler', "
            "workers with 'dask worker ADDRESS', and give that address, such as tcp://host:8786"
        ) from None


def remote(
    address: str, function: Callable[[int], T], items: Sequence[int]
) -> Generator[tuple[int, T], None, None]:
    """(item, function(item)) as they end, computed by the workers of a scheduler.

    A task whose worker is lost is handed to another one.

    Parameters
    ----------
    address : str
        Of the scheduler.
    function : callable
        Can be pickled, and so can its results.
    items : sequence of int

    Raises
    ------
    InputError
        See `connect`.
    SimulatorError
        If the scheduler is lost, if no worker is left, or if a task ends every worker that tries it.
    """
    with ExitStack() as stack:
        client = stack.enter_context(connect(address))
        waiting = list(reversed(items))
        pending: dict[Any, int] = {}
        stack.callback(lambda: client.cancel(list(pending), force=True))
        while waiting or pending:
            most = AHEAD * max(sum(client.nthreads().values()), 1)
            while waiting and len(pending) < most:
                item = waiting.pop()
                pending[client.submit(function, item, pure=False)] = item
            for future in _ended(client, address, pending):
                if future.status in AGAIN:
                    continue
                item = pending.pop(future)
                yield item, _value(future)


def _ended(client: Any, address: str, pending: dict[Any, int]) -> list[Any]:
    from distributed import wait

    try:
        with client.as_current():
            return list(wait(list(pending), timeout=PATIENCE, return_when="FIRST_COMPLETED").done)
    except CancelledError:
        raise SimulatorError(LOST) from None
    except TimeoutError:  # its tasks are long, or nobody works on them
        if client.status == "running" and client.nthreads():
            return []
        raise SimulatorError(
            f"the scheduler at {address} has had no worker for {PATIENCE:g} s; what was done is safe: start "
            "workers and give the same command again"
        ) from None


def _value(future: Any) -> Any:
    if future.status == "finished":
        return future.result()
    if future.status == "error":
        error = future.exception()
        if isinstance(error, SimulatorError | InputError):
            raise error
        raise SimulatorError(
            f"a task failed on the workers ({type(error).__name__}: {str(error).splitlines()[0][:160]}); "
            "what was done is safe"
        )
    raise SimulatorError(LOST)
