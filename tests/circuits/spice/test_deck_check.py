"""The check of a deck's text: what the package writes passes, everything else is refused by its line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.ideal import alpha, leaky, multiplier, pooling
from circuits.ideal import whole_network as flat
from circuits.ideal.layer_circuit import layer_cell
from circuits.ideal.netlist import FORMS, build
from circuits.ideal.stimulus import stimulus
from circuits.model.layer import Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.spice.deck import Deck
from circuits.spice.deck_check import check
from circuits.spice.ngspice import Ngspice

POINT = OperatingPoint().fit_swing(-6.0, 8.0)
NETLISTS = Path(__file__).resolve().parents[3] / "netlists"
FILES = {"t0.txt": "0 0\n1e-6 -3\n2e-6 0\n"}
GOOD = """\
.title a deck of every element
* a remark
V1 in 0 1
R1 in out 1000
C1 out 0 1e-9 ic=0
L1 in far 1e-6
R2 far 0 5.0
I1 0 out PULSE(0 1e-6 1e-7 1e-10 1e-10 1e-7 1)
I2 0 out PWL(0 0
+ 1e-7 0
+ 2e-7 1e-6)
G1 0 out in 0 1e-6
E1 e 0 in out 2.0
S1 in p e 0 sw1
R3 p 0 1e6
Bq q 0 v=max(v(in),v(out))*(1-v(p))
A0 %i[out] fs
.model sw1 SW (roff=1e15 ron=0.001 vh=0 vt=0)
.model fs filesource (amploffset=[0] amplscale=[1] amplstep=true file="t0.txt" timeoffset=0
+ timerelative=false timescale=1)
.save v(out)
.save i(V1)
.tran 1e-8 1e-6 0 1e-8 uic
.end
"""
LINES = GOOD.splitlines()
TRAN = LINES[-2]
STOP = 1e-6
FIRST_VALUE = {"r": 3, "c": 3, "l": 3, "i": 3, "v": 3, "g": 5, "e": 5, "+": 1, ".tran": 1}
"""Where the numbers of a line begin, counted in words."""
VALUE = re.compile(r"\d+\.?\d*(?:e[-+]?\d+)?(?=\)?\Z)")
"""The number at the end of a word such as `1e-9`, `ic=0`, `PULSE(0` or `1)`."""


def refused(lines: list[str], message: str = "deck", files=FILES, stop: float = STOP) -> None:
    with pytest.raises(InputError, match=message):
        check("\n".join(lines) + "\n", files, stop)


def with_line(old: str, new: str | None) -> list[str]:
    """The good deck with one line replaced, or removed."""
    k = LINES.index(old)
    return LINES[:k] + ([] if new is None else new.split("\n")) + LINES[k + 1 :]


def values() -> list[tuple[int, int]]:
    """(line, word) of every number of the good deck."""
    places = []
    for k, line in enumerate(LINES):
        words = line.split()
        first = FIRST_VALUE.get(words[0].lower(), FIRST_VALUE.get(words[0][0].lower(), 99)) if k > 1 else 99
        places += [(k, w) for w in range(first, len(words)) if VALUE.search(words[w])]
    return places


VALUES = values()


def with_value(at: tuple[int, int], new: str) -> list[str]:
    """The good deck with one number replaced."""
    k, w = at
    words = LINES[k].split()
    words[w] = VALUE.sub(lambda _: new, words[w])
    return [*LINES[:k], " ".join(words), *LINES[k + 1 :]]


def test_the_good_deck_passes():
    check(GOOD, FILES, STOP)
    assert len(VALUES) == 27


@pytest.mark.ngspice
def test_the_good_deck_runs():
    deck = Deck(GOOD, ("out",), STOP, FILES, ("v1",))
    assert len(Ngspice().run(deck)["time"]) > 100


# every rule

TITLES = [
    *("", "a title", "V1 in 0 1", "*ng_script", "*ng_script_with_params", "*#shell touch x", ".title", "*"),
    *(".title \x07", ".include x", " .title x", ".title\tx", ".title x\r"),
]


@pytest.mark.parametrize("title", TITLES)
def test_the_first_line_must_be_a_plain_title(title):
    refused([title, *LINES[1:]], "first line must be a title")


REFUSED: dict[str, dict[str, list[str]]] = {
    "R3 p 0 1e6": {
        "deck line 15: .*form": [
            "M1 p 0 0 0 plain", "echo hello", "R3 p 0", "R3 p 0 1e6 tc=1", "R3 p 0 {x}", "R3 p 0 1e6 ; more",
            "R3 p 0 1e6 $ more", "R3 p! 0 1e6", "R3 p `ls` 1e6",
        ],
        "deck line 15: .*'R3 p 0 abc'": ["R3 p 0 abc"],
        "form that this package writes": ["+ 1"],
        "deck line 15: unknown element": [
            "D1 p 0 plain", "F1 p 0 V1 2", " + 1", "\t*#shell touch x", "*", "`touch x`",
        ],
        "no subcircuit": ["X1 p 0 part"],
        "> 0 and finite": ["R3 p 0 0", "R3 p 0 -5", "R3 p 0 1e999"],
    },
    "C1 out 0 1e-9 ic=0": {
        "form": ["C1 out 0 ic=0", "C1 out 0 1e-9F ic=0"],
        "finite": ["C1 out 0 1e-9 ic=1e999"],
    },
    "V1 in 0 1": {
        "deck line 3: .*form": [
            "V1 in 0", "V1 in 0 dc 1", "V1 in 0 ac 1", "V1 in 0 SIN(0 1 1e6)", "V1 in 0 PWL(0 0 1e-7 1) r=0",
            'V1 in 0 PWL file="x"', "V1 in 0 1_0", "V1 `ls` 0 1", "V`ls` in 0 1", "V in 0 1", "V-1 in 0 1",
            "V#1 in 0 1", "V.1 in 0 1", r"V1 in 0 1 \\",
        ],
        "deck line 3: .*not a finite bare number": [
            "V1 in 0 PWL(0 1 1e-7 nan)", "V1 in 0 PWL(0 1 1e-7 -inf)", "V1 in 0 PWL(0 1 1e-7 1V)",
            "V1 in 0 PULSE(0 1A 0 1e-9 1e-9 1e-7 1)",
        ],
        "deck line 3: .*'1e999' is not a finite bare number": [
            "V1 in 0 PWL(0 1 1e-7 1e999)", "V1 in 0 PWL(0 0 1e999 1)", "V1 in 0 1e999",
            "V1 in 0 PULSE(0 1e999 0 1e-9 1e-9 1e-7 1)",
        ],
        "deck line 3: .*'-1e999' is not a finite bare number": ["V1 in 0 -1e999"],
        "deck line 3: .*'1_0' is not a finite bare number": [
            "V1 in 0 PULSE(0 1_0 0 1e-9 1e-9 1e-7 1)", "V1 in 0 PWL(0 0 1e-7 1_0)",
        ],
        "pairs of time and value, got 0": ["V1 in 0 PWL()"],
        "pairs of time and value, got 2": ["V1 in 0 PWL(0 1)"],
        "pairs of time and value, got 3": ["V1 in 0 PWL(0 1 1e-7)"],
        "deck line 3: .*run backwards": [
            "V1 in 0 PWL(0 1 2e-7 1 1e-7 1)", "V1 in 0 PWL(-1e-9 0 1e-7 1)", "V1 in 0 PWL(1e-7 0 0 0 2e-7 1)",
            "V1 in 0 PWL(2e-7 0 1e-7 0 0 1)",
        ],
        "PULSE needs 7 values": [
            "V1 in 0 PULSE(0 1 0 1e-9 1e-9 1e-7)", "V1 in 0 PULSE(0 1 0 1e-9 1e-9 1e-7 1 1)",
        ],
        "deck line 3: .*times >= 0": [
            "V1 in 0 PULSE(0 1 -1e-9 1e-9 1e-9 1e-7 1)", "V1 in 0 PULSE(0 1 0 -1e-9 1e-9 1e-7 1)",
            "V1 in 0 PULSE(0 1 0 1e-9 -1e-9 1e-7 1)", "V1 in 0 PULSE(0 1 0 1e-9 1e-9 -1e-7 1)",
            "V1 in 0 PULSE(0 1 0 1e-9 1e-9 1e-7 -1)",
        ],
    },
    "+ 2e-7 1e-6)": {"deck line 9: ": ["+ 2e-7 abc)"]},  # a statement is numbered by its first line
    "G1 0 out in 0 1e-6": {
        "form": ["G1 0 out in 1e-6", "G1 0 out cur='v(in)'"],
        "'node nosuch' does not exist": ["G1 0 out nosuch 0 1e-6"],
    },
    "E1 e 0 in out 2.0": {
        "form": ["E1 e 0 poly(1) in out 0 2"],
        "'node nosuch' does not exist": ["E1 e 0 nosuch out 2.0", "E1 e 0 in nosuch 2.0"],
    },
    "S1 in p e 0 sw1": {
        "form": ["S1 in p e 0", "S1 in p e 0 sw1 on"],
        "no sw model 'sw2'": ["S1 in p e 0 sw2"],
        "no sw model 'fs'": ["S1 in p e 0 fs"],
        "'node nosuch' does not exist": ["S1 in p nosuch 0 sw1", "S1 in p 0 nosuch sw1"],
    },
    "A0 %i[out] fs": {
        "form": ["A0 out lost", "A0 %v[out] fs", "A0 %i[] fs"],
        "no filesource model 'lost' for 1 ports": ["A0 %i[out] lost"],
        "no filesource model 'sw1'": ["A0 %i[out] sw1"],
        "no filesource model 'fs' for 3 ports": ["A0 %i[out in p] fs"],
    },
    LINES[15]: {
        "only products": ["Bq q 0 v=log(v(in))"],
        "form": ["Bq q 0 v=1/v(in)", "Bq q 0 v=v(in) ? 1 : 0", "Bq q 0 v=`ls`", "Bq q 0 i=v(in)"],
        "'node nosuch' does not exist": ["Bq q 0 v=v(nosuch)", "Bq q 0 v=v(in)*(1-v(nosuch))"],
    },
    LINES[17]: {"form": [".model sw1 d (is=1)", ".model sw1"]},
    LINES[18]: {
        r"table 't1\.txt' is not there": [LINES[18].replace("t0", "t1")],
        "form": [LINES[18].replace("t0.txt", "/etc/passwd")],
    },
    ".save v(out)": {
        "'node nosuch' does not exist": [".save v(nosuch)"],
        "'source nosuch' does not exist": [".save i(nosuch)"],
        "r1' does not exist": [".save i(R1)"],  # currents of voltage sources only
        "form": [
            ".save", ".save all", ".save v(`ls`)", ".save v(out,in)", ".save v(out) v(in)", ".save @r1[i]",
        ],
    },
    TRAN: {
        "exactly one .tran": [f"{TRAN}\n{TRAN}"],
        "deck line 23: .*form": [
            ".tran", ".tran 1e-8 1e-6", ".tran 1e-8 1e-6 0 1_0 uic", ".tran 1e-8 1e-6 0 1e-8 uic more",
            f".options x=1\n{TRAN}",
        ],
        # an ideal deck that starts from an operating point would lose its initial conditions in silence
        "starts from .op": [".tran 1e-8 1e-6 0 1e-8", ".op"],
        "deck line 23: .*need step > 0": [
            ".tran 0 1e-6 0 1e-8 uic", ".tran 1e-8 -1e-6 0 1e-8 uic", ".tran 1e-8 1e-6 0 0 uic",
            ".tran 1e999 1e-6 0 1e-8 uic", ".tran 1e-8 1e-6 0 1e999 uic", ".tran 1e-8 1e-6 1e-6 1e-8 uic",
            ".tran 1e-8 1e-6 2e-6 1e-8 uic", ".tran 1e-8 1e-6 -1e-9 1e-8 uic", ".tran 1e-8 1e999 0 1e-8 uic",
        ],
        "ends at 2e-06 s, 1e-06 s was expected": [".tran 1e-8 2e-6 0 1e-8 uic"],
        "closes no subcircuit": [".ends"],
    },
    ".end": {
        "text after .end": [".end\nR9 in 0 1", ".end\n.end", ".end\n*#shell touch x"],
        "deck line 24: .* is not allowed": [".end garbage", ".end ; x", ".end .end"],
    },
}  # fmt: skip
"""Line of the good deck -> what the message says -> smallest changes of the line."""


@pytest.mark.parametrize(
    ("old", "message"), [(old, message) for old, by in REFUSED.items() for message in by]
)
def test_every_rule_refuses_the_smallest_broken_deck(old, message):
    for new in REFUSED[old][message]:
        refused(with_line(old, new), message)


@pytest.mark.parametrize(
    ("old", "message"),
    [(LINES[17], "deck"), (LINES[18], "deck"), ("V1 in 0 1", "deck"), (TRAN, "exactly one .tran"),
     (".end", "an .end are needed")],
)  # fmt: skip
def test_lines_that_others_need_may_not_be_missing(old, message):
    refused(with_line(old, None), message)


CARDS = [
    *(".control", ".CoNtRoL", ".endc", ".include /etc/passwd", ".lib x y", ".option x", ".param p=1"),
    *(".func f(x) {x}", ".meas tran t when v(out)=1", ".measure", ".ac dec 1 1 2", ".dc V1 0 1 1"),
    *(".subckt a b", ".ic v(out)=1", ".nodeset v(out)=1", ".global in", ".temp 27", ".print tran v(out)"),
    *(".four 1 v(out)", ".probe v(out)", ".csparam x=1", ".if (1)", ".exec ls", ".title again", "."),
]


@pytest.mark.parametrize("card", CARDS)
def test_every_other_card_is_refused(card):
    refused(with_line("* a remark", card), "is not allowed")


OF_A_MODEL = r"""deck line \d+: .*['"]\.model """
PARAMETERS = {
    "amplscale": ["[nan]", "[inf]", "[1e999]", "[1_0]", "[1A]", "[1u]", "[1 1]", "[]", "1"],
    "amploffset": ["[0 0]", "[1]", "[]"],
    "amplstep": ["false"],
    "timeoffset": ["1e-9", "nan"],
    "timescale": ["2", "1u"],
    "timerelative": ["true"],
    "file": ["t0.txt", "'t0.txt'", '"T0.txt"', '"../t0.txt"', '"`ls`.txt"'],
    "roff": ["nan", "inf", "1e999"],
    "ron": ["1m", "1_0", "`ls`"],
    "vh": ["0V"],
    "vt": ["{x}", "1e"],
}


def model(**changes: str) -> list[str]:
    """The good deck with parameters of its models changed."""
    text = GOOD.rstrip("\n")
    for key, value in changes.items():
        text, count = re.subn(rf"\b{key}=(\[[^]]*\]|[^ )\n]*)", lambda _, k=key, v=value: f"{k}={v}", text)
        assert count == 1
    return text.split("\n")


@pytest.mark.parametrize("key", PARAMETERS)
def test_no_model_parameter_may_be_another(key):
    for value in PARAMETERS[key]:
        refused(model(**{key: value}), OF_A_MODEL)


@pytest.mark.parametrize(
    ("word", "new"),
    [
        *((word, word.upper()) for word in ("file=", "amplscale=", "filesource")),
        *((word, "") for word in ("roff=1e15 ", " vh=0", " amplstep=true", " timescale=1")),
    ],
)
def test_no_word_of_a_model_may_be_of_upper_case_or_missing(word, new):
    assert word in GOOD
    refused(GOOD.replace(word, new).splitlines(), OF_A_MODEL)


@pytest.mark.parametrize("name", ["sw1", "SW1", "fs"])
def test_a_second_model_of_a_name_is_refused(name):
    again = f".model {name} SW (roff=1e9 ron=1 vh=0 vt=0)"
    refused(with_line(TRAN, f"{again}\n{TRAN}"), f"deck line 23: a second model '{name}'")


def test_a_second_element_of_a_name_is_refused():
    for new in [
        *("R1 in 0 5", "r1 in 0 5", "c1 in 0 1e-9", "L1 in 0 1e-6", "V1 in 0 1", "i2 in 0 1"),
        *("g1 in 0 e 0 2", "e1 in 0 e 0 2", "S1 in 0 e 0 sw1", "bq in 0 v=v(e)", "a0 %i[in] fs"),
    ]:
        refused(with_line(TRAN, f"{new}\n{TRAN}"), f"deck line 23: a second element '{new.split()[0]}'")


EXPRESSIONS = [
    *("", "v(in", "v(in))", "(v(in)", "((v(in))", "v()", "v(in)*", "*v(in)", "v(in)v(out)", "v(in)**v(out)"),
    *("v(in)-v(out)", "v(in)+v(out)", "v(in)/v(out)", "v(in,out)", "-v(in)", "1-v(in)", "(1-v(in)"),
    *("1-v(in))", "(2-v(in))", "max(v(in))", "max(v(in),v(out)", "max(v(in),v(out)))"),
    *("max(v(in),v(out),v(p))", "max v(in),v(out)", "log(v(in))", "log  (v(in))", "exp (v(in))"),
    *("sqrt(v(in))", "i(V1)", "time", "pwl(v(in),0,0,1,1)", "v(in)*1e999", "v(in)*1_0", "v(in)*nan"),
    *("v(in) *v(out)", "v(`ls`)", "v(in) tc=1"),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_of_products_differences_and_extremes_only(expression):
    refused(with_line(LINES[15], f"Bq q 0 v={expression}"), "deck line 16: ")


@pytest.mark.parametrize("expression", ["v(in)", "v(IN)*(1-v(p))*v(out)", "min(v(in),max(v(p),v(out)))"])
def test_an_expression_of_these_passes(expression):
    check("\n".join(with_line(LINES[15], f"Bq q 0 v={expression}")), FILES, STOP)


@pytest.mark.parametrize("digit", ["\u0661", "\uff11", "\u00b2", "\u0967"])
def test_a_digit_of_another_script_is_refused(digit):
    """Python reads most of them as digits, ngspice none."""
    for at in VALUES:
        refused(with_value(at, digit), "not ASCII")
    refused(LINES, r"table 't0\.txt'", files={"t0.txt": f"0 0\n1e-6 {digit}\n2e-6 0\n"})


TABLES = [
    *("", "\n", "\n\n\n", "0 0\n", "0 0\n2e-6 0", "time current\n0 0\n1e-6 0\n", "0 zero\n1e-6 0\n"),
    *("0 0\n1e-6 nan\n", "0 0\n1e-6 inf\n", "0 0\n1e-6 1u\n", "0 0\n1e-6 1A\n", "0 0\n1e-6 1_0\n"),
    *("0 0\n1u 1\n", "0 0\nnan 1\n", "0 0\n1e999 1\n", "0\n1e-6\n", "0 0\n1e-6\n", "0 0 0\n1e-6 0 0\n"),
    *("0 0\n1e-6 0 0\n", "0 0 0\n1e-6\n", "0 0\n2e-6 0\n1e-6 0\n", "0 0\n1e-6 0\n1e-6 0\n"),
    *("1e-9 0\n1e-6 0\n", "-1e-9 0\n1e-6 0\n", "0,0\n1e-6,0\n", "0\t0\n1e-6\t0\n", "0 0\r\n1e-6 0\r\n"),
    *("* a remark\n0 0\n1e-6 0\n", "0 0\n\n1e-6 0\n", f"0 0\n1e-6 {'0' * 507}\n"),
    *(f"0 0\n1e-6 {'0' * 600}\n2e-6 0\n", "0 0\n1e-6 1e999\n", "0 0\n1e-6 -\n", "0 0\n1e-6 e\n"),
    *("0 0\n1e-6 1e\n", "0 0\n1e-6 1.2.3\n", "0 0\n1e-6 --1\n", "0 0\n1e-6 0\n2e-6\n0 3e-6 0\n"),
    "0 0\n1e-6 0\n2e-6 0 3e-6\n0\n",
]


@pytest.mark.parametrize("text", TABLES, ids=lambda text: repr(text[:40]))
def test_a_table_that_is_not_one_is_refused(text):
    refused(LINES, "deck line 19: ", files={"t0.txt": text})


def test_an_even_count_of_columns_is_refused():
    lines = model(amplscale="[1 1]", amploffset="[0 0]")
    lines[16] = "A0 %i[out in] fs"
    refused(lines, "odd count of columns", files={"t0.txt": "0 0 0\n1e-6 0 0\n"})


def test_a_table_of_three_ports_and_the_longest_row_pass():
    lines = model(amplscale="[1 1e-9 -1]", amploffset="[0 0 0]")
    lines[16] = "A0 %i[out in p] fs"
    check("\n".join(lines), {"t0.txt": f"0 0 1 -2\n1e-6 0 0 {'4' * 502}\n"}, STOP)


def test_a_table_must_lie_beside_the_deck():
    refused(LINES, "table 't0.txt' is not there", files={})


@pytest.mark.parametrize("text", ["", "\n", ".title\n", "* only a title", "* a title\n.end\n"])
def test_a_deck_of_nothing_is_refused(text):
    with pytest.raises(InputError, match="deck"):
        check(text, {}, STOP)


@pytest.mark.parametrize("stop", [2e-6, 1.00001e-6, 0.0, np.nan, np.inf])
def test_the_end_must_be_the_one_that_is_expected(stop):
    refused(LINES, "was expected", stop=stop)


# mutations

BAD = [
    *("nan", "inf", "-inf", "1e-6A", "1a", "1\u00b5", "1u", "1k", "abc", "{x}", "`ls`", "1;2", "$x", "1e"),
    *("--1", "1_0", "1e999", "-1e999", "0x10"),
]


@pytest.mark.parametrize("bad", BAD)
def test_no_number_may_become_anything_else(bad):
    for at in VALUES:
        refused(with_value(at, bad))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(VALUES), st.text(min_size=1, max_size=6))
def test_a_word_in_the_place_of_a_number_is_refused_or_a_number(at, word):
    lines = with_value(at, word)
    try:
        check("\n".join(lines) + "\n", FILES, STOP)
    except InputError:
        return
    float(" ".join(word.split()).strip("() ") or "0")


def test_no_value_may_be_dropped_or_repeated():
    for k, w in VALUES:
        words = LINES[k].split()
        number = VALUE.search(words[w]).group()
        changes = [f"{number} {number}"]
        if not words[w].startswith("ic="):  # a capacitor may do without
            changes.append("")
        for new in changes:
            refused(with_value((k, w), new))


EVIL = [
    *(".control", "\t.CoNtRoL", "*#shell touch x", "*#set x=`touch x`", "`touch x`", "set x=`touch x`"),
    *(".include /etc/passwd", ".lib /etc/passwd x", ".options x=1", "codemodel ./evil.cm", "*ng_script"),
    *("shell touch x", "echo > x", "write x", "quit 0", "X1 a b part", "N1 a b", ";", "$", "\x00"),
    *("\u00b5", "?", ".", "*"),
]


@pytest.mark.parametrize("line", EVIL)
def test_a_line_that_does_not_belong_is_refused_wherever_it_stands(line):
    for at in range(len(LINES) + 1):
        refused([*LINES[:at], line, *LINES[at:]])


@settings(max_examples=300, deadline=None)
@given(st.integers(1, len(LINES)), st.text(st.characters(codec="ascii"), max_size=12))
def test_a_random_line_is_refused_or_harmless(at, line):
    """What passes is nothing at all, a plain remark, or an element of the language."""
    lines = [*LINES[:at], line, *LINES[at:]]
    try:
        check("\n".join(lines) + "\n", FILES, STOP)
    except InputError:
        return
    for part in line.split("\n"):
        plain = part.strip()
        assert not plain or plain[0].lower() in "+rclivegsba." or plain.startswith("* ")
        assert not plain.startswith(".") or plain == ".end"


# what the package writes


def passes(deck: Deck) -> None:
    check(deck.text, deck.files, deck.stop)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("trial", range(15))
def test_decks_of_random_layers_pass(make_layer, form, trial):
    rng = np.random.default_rng([trial, len(form)])
    layer, times = make_layer(
        rng, int(rng.integers(1, 20)), int(rng.integers(1, 30)), spiking=bool(trial % 3)
    )
    samples = int(rng.integers(1, 4))
    mismatch = LayerMismatch(
        0.05 * rng.normal(size=(samples, *layer.weights.shape)),
        *(0.05 * rng.normal(size=(samples, layer.n_out)) for _ in range(3)),
    )
    cell = layer_cell(layer, stimulus(layer, times, POINT), POINT, mismatch)
    for waveform in (False, True):
        passes(build(cell, form, waveform=waveform))
    silent = layer_cell(layer, stimulus(layer, np.full(layer.n_in, np.inf), POINT), POINT, mismatch)
    passes(build(silent, form))


@pytest.mark.parametrize("form", FORMS)
def test_decks_of_the_alpha_form_pass(rng, form):
    layer = alpha.AlphaLayer.from_relu(rng.normal(size=(4, 6)) / 12, rng.random(4), 1.0, 3.0)
    flawless = LayerMismatch(np.zeros((1, 4, 6)), *(np.zeros((1, 4)) for _ in range(3)))
    passes(build(alpha.cell(layer, rng.random(6), POINT, flawless), form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("quadrants", [1, 2, 4])
def test_decks_of_multipliers_pass(rng, form, quadrants):
    w, x = rng.normal(size=(3, 5)), rng.uniform(-1, 1, 5) * 0.5
    w = np.abs(w) if quadrants == 1 else w
    x = np.abs(x) if quadrants < 4 else x
    cell = multiplier.cell(multiplier.Multiplier(w, quadrants), x, rng.uniform(0, 0.5, 5), POINT)
    passes(build(cell, form))
    if quadrants == 4:
        passes(multiplier.gated(cell, POINT.vdd))


@pytest.mark.parametrize("kind", pooling.KINDS)
def test_decks_of_pooling_pass(rng, kind):
    times = rng.random((3, 4))
    for form in FORMS:
        passes(build(pooling.cell(kind, times, 1.0, POINT), form))
    for spikes in (times[0], np.array([0.0, 0.5, np.inf]), np.full(2, np.inf)):
        passes(pooling.logic(kind, spikes, 1.0, POINT.tau_c)[0])


def test_decks_of_the_leaky_neuron_pass(rng):
    synapse = leaky.LeakySynapse(1e-7, 4e-7)
    passes(leaky.deck(synapse, rng.normal(size=4), np.array([0.0, 1e-8, 2e-8, np.inf]), 2e-7))


def test_decks_of_a_flat_network_pass(rng):
    layers = [
        Layer(rng.normal(size=(4, 5)), rng.normal(size=4), t_min=1.0, t_max=5.0),
        Layer(rng.normal(size=(3, 4)), rng.normal(size=3), t_min=4.0, t_max=4.0, spiking=False),
    ]
    flawless = [LayerMismatch.none(layer) for layer in layers]
    passes(flat.build(layers, [POINT] * 2, np.array([0.0, 0.2, 0.5, 0.9, 1.0]), flawless).deck)


@pytest.mark.parametrize("path", sorted(NETLISTS.glob("*.cir")), ids=lambda path: path.stem)
def test_decks_in_the_repository_pass(path):
    text = path.read_text()
    match = re.search(r"^\.tran \S+ (\S+)", text, re.M)
    stop = float(match.group(1)) if match else 0.0
    check(text, {file.name: file.read_text() for file in NETLISTS.glob("*.txt")}, stop)
