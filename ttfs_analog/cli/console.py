"""The manners of every command: JSON on stdout, everything else on stderr, errors in one line."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from circuits.errors import Diverged, InputError, Notice, SimulatorError
from circuits.one_writer import locked
from circuits.whole_file import local
from ttfs_analog.cli.streams import err, silence, tell

if TYPE_CHECKING:
    from montecarlo.plots.drawing import Drawing

Result = tuple[dict[str, Any], str]
"""What a command gives: the JSON object, and the text for people."""
Drawn = tuple[dict[str, Any], str, "Sequence[Drawing]"]
"""The same, and figures that are drawn when that has been printed."""


def plain(value: Any) -> Any:
    """A value as JSON can hold it: silent (inf) and not measured (nan) become null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def common(
    out: str = "", folder: bool | None = False, lock: bool = True
) -> Callable[[Callable[..., Any]], Any]:
    """Options that every command has; the command returns a Result or Drawn.

    A result with `passed` false makes exit code 1. Two commands never write one --out at a time.

    Parameters
    ----------
    out : str
        Default of --out; empty: none.
    folder : bool, optional
        Whether --out is a folder; None: it may be one.
    lock : bool
        False: the command is the only writer of --out by itself.
    """

    def decorate(function: Callable[..., Result | Drawn]) -> Any:
        @functools.wraps(function)
        def wrapped(as_json: bool, **options: Any) -> int:
            with _reserved(options.get("out"), folder, lock):
                result, text, *drawings = function(**options)
                tell(json.dumps(plain(result), allow_nan=False) if as_json else text)
                code = _draw(drawings[0]) if drawings else 0
            return code or int(result.get("passed") is False)

        command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(
            wrapped
        )
        command = click.option(
            "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Random seed."
        )(command)
        return click.option(
            "--out",
            type=click.Path(),
            default=out or None,
            show_default=bool(out),
            help="File or folder to make.",
        )(command)

    return decorate


def _draw(drawings: Sequence[Drawing]) -> int:
    """Draw figures; the exit code. The numbers are printed: none of them is lost with a figure."""
    for drawing in drawings:
        try:
            drawing.make()
        except Exception as error:
            reason = str(error) or type(error).__name__
            err.print(f"error: the numbers are whole, {drawing.names[0]} is not: {reason}", markup=False)
            return 3 if isinstance(error, SimulatorError) else 2
    return 0


@contextmanager
def _reserved(out: str | None, folder: bool | None, lock: bool) -> Iterator[None]:
    """Find out before the work that its result cannot be written, and let nobody else write it meanwhile."""
    if not out:
        yield
        return
    try:
        target = local(out)
    except InputError as error:
        raise InputError(f"--out {error}") from None
    if target.exists() and not target.is_file() and not target.is_dir():
        yield  # a device or a pipe, such as /dev/null
        return
    if target.is_dir() and folder is False:
        raise InputError(f"--out {target} is a folder; name a file in it")
    if target.is_file() and folder:
        raise InputError(f"--out {target} is a file; name a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"--out {target}: the folder {target.parent} cannot be made: {reason}") from None
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"--out {target}: the folder {target.parent} cannot be written to")
    if target.exists() and not os.access(target, os.W_OK):
        raise InputError(f"--out {target} may not be written; choose another name")
    if not lock:
        yield
        return
    with locked(target, "command"):
        yield


@contextmanager
def _notices() -> Iterator[None]:
    """Notices in one line on stderr, each once."""
    with warnings.catch_warnings():
        usual, shown = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, Notice):
                usual(message, category, *place, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                err.print(f"warning: {message}", markup=False)

        warnings.simplefilter("always", Notice)
        warnings.showwarning = show
        yield


def run(command: click.Command, arguments: list[str] | None) -> int:
    """Run a command and turn whatever happens into an exit code.

    Parameters
    ----------
    command : click.Command
    arguments : list of str or None
        None: those of the process.

    Returns
    -------
    int
        0 done, 1 a check failed, 2 wrong input, 3 ngspice failed, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments

    def fail(message: str, code: int) -> int:
        if "--json" in arguments:
            with suppress(InputError):  # it stands on stderr too
                tell(json.dumps({"error": message, "exit_code": code}))
        err.print(f"error: {message}", markup=False)
        return code

    def interrupted(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        with _notices():
            code = command.main(arguments, prog_name="ttfs-analog", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        where = f" (see '{error.ctx.command_path} --help')" if error.ctx else ""
        return fail(error.format_message().replace("\n", " ") + where, 2)
    except click.ClickException as error:
        return fail(error.format_message(), 2)
    except (InputError, Diverged) as error:
        return fail(str(error), 2)
    except SimulatorError as error:
        return fail(str(error), 3)
    except (KeyboardInterrupt, click.Abort):
        return fail(
            "interrupted; a campaign goes on with the same command, train and finetune with --resume", 130
        )
    except (BrokenPipeError, SystemExit):  # what click makes of a reader that has gone
        silence(sys.stdout)
        return 0
    except MemoryError as error:
        about = f" ({error})" if str(error) else ""
        return fail(f"not enough memory{about}; give the command more, or less to do", 2)
    except OSError as error:
        if error.filename is None:  # stdout itself: what is left in its buffer cannot be written either
            silence(sys.stdout)
        return fail(f"{error.filename or 'file'}: {error.strerror or error}", 2)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return fail(
            f"unexpected {type(error).__name__}: {error}; this is a bug: run with 'python -X dev -m "
            "ttfs_analog' for the traceback",
            2,
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if isinstance(code, int) else 0


def check_plot(plot: str | None) -> None:
    """Refuse a figure that cannot be written, before the work.

    Parameters
    ----------
    plot : str or None
        File; None: there is none.
    """
    from montecarlo.plots.drawing import check

    try:
        _ = plot and check(plot)
    except InputError as error:
        raise InputError(f"--plot {error}") from None


workers_option = click.option(
    "--workers",
    type=click.IntRange(1),
    default=lambda: os.cpu_count() or 1,
    show_default="number of cores",
    help="ngspice processes at a time.",
)
scheduler_option = click.option(
    "--scheduler", default=None, metavar="ADDRESS", help="Simulate on the workers of this dask scheduler."
)
data_option = click.option("--data", default=None, help="Dataset; default: the network's own.")
extrapolate_option = click.option(
    "--extrapolate", is_flag=True, help="Allow use outside the noise model's range."
)
technology_option = click.option("--technology", default="ideal", show_default=True)


def load_network(path: str, data: str | None):
    """A network and the data it is judged on; torch loads only here.

    Parameters
    ----------
    path, data
        As of `ttfs_analog.data.network_data.load_network`.
    """
    from ttfs_analog.data.network_data import load_network as load

    return load(path, data)


def load_noise(path: str, extrapolate: bool = False):
    """A noise model.

    Parameters
    ----------
    path : str
    extrapolate : bool
        Without the limits of the range in which it was measured.
    """
    from ttfs_analog.noise.noise_model import NoiseModel

    noise = NoiseModel.load(path)
    return noise.extrapolated() if extrapolate else noise
