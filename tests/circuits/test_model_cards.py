"""A user's device models: what is let through, what is dropped, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.model_cards import CARDS, read_cards
from circuits.netlist import Deck
from circuits.ngspice import Ngspice

NMOS = (
    "* a plain transistor\n.model plain nmos (level=1 vto=0.5\n+ kp=1e-4 ; gain\n* a remark\n+ lambda=0.05)\n"
)


@pytest.fixture
def read(tmp_path):
    """The cards of a text."""

    def read(text: str | bytes) -> str:
        path = tmp_path / "models.lib"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_cards(path)

    return read


@pytest.fixture
def refused(read):
    """Refuse a text, with its name."""

    def refused(text: str | bytes, said: str) -> None:
        with pytest.raises(InputError, match=rf"models\.lib.*{said}"):
            read(text)

    return refused


def test_comments_are_dropped_and_continued_lines_joined(read):
    assert read(NMOS) == ".model plain nmos (level=1 vto=0.5 kp=1e-4 lambda=0.05)\n"


def test_statements_of_every_allowed_kind_pass(read):
    text = ".param w=1e-6\n.subckt pair d g s\nM1 d g s s plain w={2*w} l=1e-6\nr1 d s 1e9\n.ends pair\n"
    assert read(text + NMOS) == text + read(NMOS)


def test_upper_case_and_windows_line_ends_are_read(read):
    assert read(".MODEL plain NMOS\r\n+ level=1\r\n") == ".MODEL plain NMOS level=1\n"


def test_subcircuits_may_be_nested(read):
    assert read(".subckt a p\n.subckt b q\nR1 q 0 1\n.ends\nx1 p b\n.ends\n").count(".ends") == 2


@pytest.mark.parametrize(
    "word",
    [
        ".control", ".endc", ".include", ".inc", ".lib", ".exec", ".csparam", ".option", ".options",
        ".tran", ".measure", ".print", ".func", ".global", ".end", ".title", ".CONTROL",
    ],
)  # fmt: skip
def test_any_other_card_is_refused_by_name_and_line(refused, word):
    refused(f"{NMOS}{word} something\n", rf"line 6: \{word.lower()} is not allowed in a model file")


@pytest.mark.parametrize("lead", ["*#", " *#", "\t*#", "*# ", "+ x\n*#"])
def test_a_comment_that_ngspice_would_execute_never_survives(read, lead):
    out = read(f".model plain nmos\n{lead}shell touch mark\n.param a=1\n")
    assert "shell" not in out
    assert "#" not in out
    assert ".param a=1" in out


@pytest.mark.parametrize("text", ["+ *#shell touch mark\n", ".param b=1 *#shell touch mark\n"])
def test_such_a_comment_inside_a_statement_is_refused(refused, text):
    refused(f".model plain nmos\n{text}", "'#' is not allowed")


@pytest.mark.parametrize("mark", [";", "$", " ; ", " $ "])
def test_the_rest_of_a_line_is_cut(read, mark):
    assert read(f'.param a=1{mark}shell touch mark `ls` "x"\n') == ".param a=1\n"


@pytest.mark.parametrize("mark", ["`", '"', "#", "\\", "[", "]", "@", "\x00", "\x07", "\x1b"])
def test_characters_that_a_shell_or_a_string_would_use_are_refused(refused, mark):
    refused(f".param a={mark}ls{mark}\n", "is not allowed in a model file")


@pytest.mark.parametrize("line", ["M1 d g s s plain", "r1 a b 1", "X1 a b sub"])
def test_a_device_outside_a_subcircuit_is_refused(refused, line):
    refused(f"{NMOS}{line}\n", r"line 6: device .* stands outside a \.subckt")


@pytest.mark.parametrize("line", ["A1 a b code", "b1 a 0 v=1", "shell touch mark", "set x=1", "123 a b"])
def test_a_line_that_is_no_device_is_refused(refused, line):
    refused(f".subckt a p\n{line}\n.ends\n", r"line 2: .* line is not a device")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (".subckt a p\nR1 p 0 1\n", r"a \.subckt is not closed"),
        (".subckt a p\n.subckt b q\n.ends\n", r"a \.subckt is not closed"),
        (".param a=1\n.ends\n", r"line 2: \.ends without \.subckt"),
        ("+ level=1\n", "line 1: a continuation without a statement"),
        ("* only words\n+ level=1\n", "line 2: a continuation without a statement"),
        (".model n nmos level=1 ; \u00b5m\n", "not ASCII"),
        (b".model \xff nmos\n", "not ASCII"),
        ("", "holds no model"),
        ("\n  \n* nothing\n; either\n", "holds no model"),
    ],
)
def test_a_broken_file_is_refused_with_its_fault(refused, text, said):
    refused(text, said)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.lib does not exist"):
        read_cards(tmp_path / "none.lib")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_cards(tmp_path)


def test_what_was_written_reads_back_the_same(read):
    once = read(f".subckt a p\nR1 p 0 1\n.ends\n{NMOS}")
    assert read(once) == once


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([".param a=1", ".subckt a p", ".ends", "R1 p 0 1", "+ b=2", "*#shell ls", ".control"])
        | st.text(st.characters(max_codepoint=127), max_size=20),
        max_size=6,
    )
)
def test_whatever_the_file_only_allowed_statements_come_out(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "any.lib"
    path.write_text("\n".join(lines), newline="")
    try:
        out = read_cards(path)
    except InputError as error:
        assert "any.lib" in str(error)  # noqa: PT017 - nothing else may be raised
        return
    for line in out.splitlines():
        word = line.split()[0].lower()
        assert word in CARDS or word[0] in "mrcldqjviegx"
        assert not set(line) & set('`"#;$\\\r\x0b\x0c')


@pytest.mark.ngspice
def test_a_model_written_again_runs_in_the_simulator(read, monkeypatch):
    """Transistors are outside the language of decks, so this one runs unread.

    Level 1 in saturation: kp/2 (vgs - vto)^2 (1 + lambda vds) = 5e-5 * 0.25 * 1.05 = 13.125 uA; 1e-4
    of it: ngspice's own reltol is 1e-3, and its junctions leak 1e-12 S.
    """
    monkeypatch.setattr("circuits.ngspice.check", lambda text, files, stop: None)
    text = (
        f"one transistor\n{read(NMOS)}Vd d 0 1.0\nVg g 0 1.0\nM1 d g 0 0 plain w=1e-6 l=1e-6\n"
        ".save v(d)\n.save i(vd)\n.tran 1e-8 1e-6 0 1e-8 uic\n.end\n"
    )
    plot = Ngspice().run(Deck(text, ("d",), 1e-6, currents=("vd",)))
    np.testing.assert_allclose(-plot["i(vd)"][1:], 13.125e-6, rtol=1e-4)
