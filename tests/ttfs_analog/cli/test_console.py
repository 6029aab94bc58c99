"""The manners of every command: one JSON object, one line of error, an exit code."""

from __future__ import annotations

import json
import math
import signal
import sys

import click
import pytest

from circuits.errors import InputError, SimulatorError, SimulatorMissing
from ttfs_analog.cli.console import common, plain, run
from ttfs_analog.cli.streams import progress


@pytest.fixture(autouse=True)
def _restore_signal():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def command(what, **options):
    @click.command()
    @common(**options)
    def example(**given):
        if isinstance(what, BaseException):
            raise what
        return (what, "text for people") if what is not None else (given, "text for people")

    return example


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("bad"), 2),
        (click.UsageError("bad"), 2),
        (click.ClickException("bad"), 2),
        (FileNotFoundError(2, "bad", "file"), 2),
        (PermissionError(13, "bad", "file"), 2),
        (ZeroDivisionError("bad"), 2),
        (MemoryError("bad"), 2),
        (SimulatorError("bad"), 3),
        (SimulatorMissing("bad"), 3),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_every_error_is_one_line_and_a_code(capsys, error, code, as_json):
    assert run(command(error), ["--json"] if as_json else []) == code
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "bad" in err
    assert "Traceback" not in err
    if as_json:
        found = json.loads(out)
        assert found["exit_code"] == code
        assert "bad" in found["error"]
    else:
        assert out == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_is_130(capsys, error):
    assert run(command(error), []) == 130
    assert "interrupted" in capsys.readouterr().err


def test_sigterm_is_an_interruption(capsys):
    @click.command()
    def example():
        signal.raise_signal(signal.SIGTERM)

    assert run(example, []) == 130
    assert "error: interrupted" in capsys.readouterr().err


def test_lack_of_memory_is_no_bug(capsys):
    assert run(command(MemoryError()), []) == 2
    assert capsys.readouterr().err == "error: not enough memory; give the command more, or less to do\n"


def test_an_unexpected_error_is_called_a_bug(capsys):
    run(command(ZeroDivisionError("bad")), [])
    assert "unexpected ZeroDivisionError: bad; this is a bug" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [({"passed": False}, 1), ({"passed": True}, 0), ({}, 0)])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_check_that_fails_is_1(result, code, as_json, capsys):
    assert run(command(result), ["--json"] if as_json else []) == code
    out = capsys.readouterr().out
    assert json.loads(out) == result if as_json else out == "text for people\n"


def test_json_is_one_object_and_nothing_else(capsys):
    assert run(command({"a": 1.5, "b": [math.inf, math.nan]}), ["--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 1.5, "b": [None, None]}
    assert out.count("\n") == 1
    assert err == ""


def test_every_command_has_a_seed_and_an_out(capsys, tmp_path):
    file = str(tmp_path / "file.nc")
    assert run(command(None, out=file), ["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"seed": 0, "out": file}
    assert run(command(None), ["--json", "--seed", "4"]) == 0
    assert json.loads(capsys.readouterr().out) == {"seed": 4, "out": None}
    assert run(command(None), ["--seed", "-1"]) == 2


def test_brackets_in_a_message_are_kept(capsys):
    run(command(InputError("weights[0, 1] is nan [bold]x[/bold]")), [])
    assert "weights[0, 1] is nan [bold]x[/bold]" in capsys.readouterr().err


def test_long_messages_stay_on_one_line(capsys):
    run(command(InputError("word " * 200)), [])
    assert capsys.readouterr().err.count("\n") == 1


def test_arguments_come_from_the_command_line_if_not_given(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ttfs-analog", "--json"])
    assert run(command({"a": 1}), None) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_plain_reaches_into_lists_and_dicts():
    given = {1: [math.inf, (1, -math.inf)], "b": {"c": math.nan, "d": "text", "e": None, "f": True}}
    assert plain(given) == {"1": [None, [1, None]], "b": {"c": None, "d": "text", "e": None, "f": True}}


def test_progress_goes_to_stderr(capsys):
    with progress("work") as tick:
        tick(1, 2)
        tick(2, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "work" in err
    assert "2/2" in err


@pytest.mark.parametrize("what", [{"a": 1}, InputError("bad"), KeyboardInterrupt(), ZeroDivisionError("bad")])
def test_the_handler_of_sigterm_is_put_back(what, capsys):
    def own(signum, frame):
        raise AssertionError("not called")

    signal.signal(signal.SIGTERM, own)
    run(command(what), [])
    assert signal.getsignal(signal.SIGTERM) is own
