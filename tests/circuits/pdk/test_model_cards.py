"""Process kits: what is read of a model file, what is refused, and what a deck gets of it."""

from __future__ import annotations

import contextlib
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import InputError
from circuits.pdk.expressions import evaluate
from circuits.pdk.model_cards import card
from circuits.pdk.technology import Size, Technology

UM = 1e-6
N, P = Size("n", 0.5 * UM, 2 * UM), Size("p", 0.5 * UM, 2 * UM)
CARD = re.compile(
    r"\.model [a-z][a-z0-9_]* [np]mos\n"
    r"(\+( [a-z][a-z0-9_]*=-?[0-9.]+(e[+-]?[0-9]+)?)+\n)+"
)


def nothing(name: str) -> float:
    raise InputError(f"{name} is not defined")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-2.5e-3", -2.5e-3),
        ("10u", 10e-6),
        ("2MEG", 2e6),
        ("3m", 3e-3),
        (".5k", 500.0),
        ("{1 + 2*3 - 4/8}", 6.5),
        ("'2**3**2'", 512.0),
        ("sqrt(abs(-4)) + exp(0) + log(1) + pow(2, 3)", 11.0),
        ("min(1, 2) + max(1, 2)", 3.0),
        ("(0==0)*3.2e+041 + (0==1)*3.5e+042", 3.2e41),
        ("1 < 2", 1.0),
        ("agauss(5, 2, 1)", 5.0),
    ],
)
def test_expressions_have_their_value(text, value):
    assert evaluate(text, nothing) == pytest.approx(value, rel=1e-15)


def test_one_standard_deviation_of_a_draw():
    assert evaluate("1 + 3*agauss(0, 6, 3)", nothing, z=1.0) == 7.0


def test_names_are_looked_up():
    assert evaluate("{W*l}", {"w": 2.0, "l": 3.0}.__getitem__) == 6.0


@pytest.mark.parametrize(
    "text",
    [
        *("", "1 +", "1; 2", "x", "1x", "2a", "[1]", "'a'", "(1).real", "lambda: 1", "1 if 1 else 2"),
        *("__import__('os')", "exec(1)", "`ls`", "1/0", "log(0)", "(-1)**0.5", "9**9**9**9", "sqrt(1, 2)"),
        *("agauss(1, 2)", "nan", "1e999", "1 < 2 < 3", "True", "\x00", "1" * 2000),
        "(" * 300 + "1" + ")" * 300,
    ],
)
def test_what_is_not_arithmetic_is_refused(text):
    with pytest.raises(InputError):
        evaluate(text, nothing)


@settings(max_examples=300)
@given(st.text(alphabet="01.e+-*/()ukmpx<=,{}' \t\n`\\\"[]:", max_size=60))
def test_any_text_is_a_number_or_refused(text):
    with contextlib.suppress(InputError):
        assert math.isfinite(evaluate(text, nothing))


FIELDS = "+level = 54\n+version = 4.5\n+toxe    = 8e-009\n+vth0    = {vth0}  \n* remark\n+noia = noise\n"
BIN = (
    ".model  {model}.{number}  {kind}\n+lmin = {low} lmax = {high}\n+wmin = 2.2e-007 wmax = 1e-005\n" + FIELDS
)
WRAPPER = """.subckt {model} d g s b w=1e-5 l=2.8e-7
+ as=0 par=1 m=1
.param
+ par_vth=0.007 par_l=1.5e-7
+ par_w=-1e-7
+ p_sqrtarea='sqrt((l-par_l)*(par*(w-par_w)))'
.param
+ var_vth='0.7071*par_vth* 1e-06 / p_sqrtarea'
+ mis_vth=agauss(0,var_vth,1)
m0 d g s b {model} w=w l=l as=as
+delvto='mis_vth*sw_stat_mismatch' m=m
.ends {model}
"""


def gf180(names: tuple[str, str] = ("nmos_3p3", "pmos_3p3")) -> str:
    """A small kit of the same structure: two bins a kind, one corner; every line is a comment or a number."""
    parts = ["* a kit\n.LIB typical\n .lib 'sm141064.ngspice' transistors\n .lib 'sm141064.ngspice' noise\n"]
    parts += [".param other='unknown*2'\n.lib 'sm141064.ngspice' fets_mm\n.ENDL\n.lib noise\n"]
    parts += [".param\n+noise='(fnoicor==0)*3.2e+041 + (fnoicor==1)*3.5e+042'\n.endl\n.lib transistors\n"]
    for model, kind, vth0 in zip(names, ("nmos", "pmos"), (0.7, -0.8), strict=True):
        for number, (low, high) in enumerate((("2.8e-007", "1e-006"), ("1e-006", "1e-005"))):
            text = BIN.format(model=model, kind=kind, number=number, low=low, high=high, vth0=vth0 + number)
            parts.append(text)
    parts += [
        ".endl transistors\n.lib fets_mm\n",
        *(WRAPPER.format(model=m) for m in names),
        ".endl fets_mm\n",
    ]
    return "".join(parts)


def installed(root, text: str, place: str = "gf180mcu_fd_pr/sm141064.ngspice") -> Technology:
    path = root / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return Technology.load("gf180mcu")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    return tmp_path


def test_gf180mcu_is_cut_to_one_bin(root):
    technology = installed(root, gf180())
    model_card = card(technology, N)
    assert model_card.model == "nmos_3p3_b1"
    assert model_card.text == (
        ".model nmos_3p3_b1 nmos\n+ level=14 version=4.5 toxe=8e-09 vth0=1.7 noia=3.2e+41\n"
    )
    assert card(technology, P).text.startswith(".model pmos_3p3_b1 pmos\n")
    assert model_card is card(technology, Size("n", 0.5 * UM, 2 * UM))


def test_gf180mcu_spread_is_the_kits_expression(root):
    model_card = card(installed(root, gf180()), N)
    assert model_card.sigma_vth == pytest.approx(0.7071 * 0.007e-6 / math.sqrt(1.85e-6 * 0.6e-6), rel=1e-12)
    assert model_card.sigma_beta == 0


DRAWN = "+delvto='mis_vth*sw_stat_mismatch'"
SECOND = """.param par_k=0.005 var_k='0.7071*par_k* 1e-06 / p_sqrtarea'
+ mis_k=agauss(0,var_k,1) slow='2*mis_k' quick='agauss(0,1e-2,2)'
m0"""
UNIT = 0.7071 * 1e-6 / math.sqrt(1.85e-6 * 0.6e-6)


def drawing(root, line: str) -> Technology:
    """The small kit with another line of draws, of a N and a P transistor."""
    text = gf180().replace("\nm0", "\n" + SECOND)
    assert text.count(DRAWN) == 2
    return installed(root, text.replace(DRAWN, line))


@pytest.mark.parametrize(
    ("line", "vth", "beta"),
    [
        (DRAWN, 0.007 * UNIT, 0.0),
        (f"{DRAWN} mulu0=1", 0.007 * UNIT, 0.0),
        (f"{DRAWN} mulu0='1-mis_k*sw_stat_mismatch'", 0.007 * UNIT, 0.005 * UNIT),
        (f"{DRAWN} mulu0={{exp(slow)}}", 0.007 * UNIT, 0.01 * UNIT),
        (f"{DRAWN} mulu0='exp(mis_k+quick)'", 0.007 * UNIT, math.hypot(0.005 * UNIT, 5e-3)),
        (f"{DRAWN} mulu0='1+agauss(0, 0.02, 2)'", 0.007 * UNIT, 0.01),
        ("+mulu0='1+quick' delvto='-mis_vth+agauss(0,3e-3,1)'", math.hypot(0.007 * UNIT, 3e-3), 5e-3),
    ],
)
def test_gf180mcu_draws_what_the_line_of_the_transistor_draws(line, vth, beta, root):
    technology = drawing(root, line)
    for size in (N, P):
        model_card = card(technology, size)
        assert model_card.sigma_vth == pytest.approx(vth, rel=1e-12)
        assert model_card.sigma_beta == pytest.approx(beta, rel=1e-4)  # ln(1 + s) against s


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{DRAWN} mulu0='1-mis_q'", "mulu0: parameter 'mis_q' is not defined"),
        (f"{DRAWN} mulu0='1-gauss(0,0.1,1)'", "mulu0: function 'gauss' is not known"),
        (f"{DRAWN} mulu0='1-mis_k?1:2'", "mulu0: .*is not arithmetic"),
        (f"{DRAWN} mulu0='0.9-mis_k'", "mulu0 = '0.9-mis_k' is not nominal without its draws"),
        (f"{DRAWN} mulu0='0*mis_k'", "mulu0 is not positive"),
        (f"{DRAWN} mulu0='1-mis_vth'", "mis_vth moves delvto and mulu0"),
        (f"{DRAWN} mulu0='1-agauss(0,1,9)-agauss(0,1,9)'", "more than one draw"),
        (f"{DRAWN} sa='1e-6+slow'", "sa of the transistor is drawn"),
        ("+delvto='mis_vth+0.01'", "delvto = 'mis_vth.0.01' is not nominal"),
        (f"{DRAWN}\nm1 d g s b nmos_3p3 w=w", "2 transistors in a subcircuit"),
    ],
)
def test_draws_that_are_not_understood_are_refused_by_line(line, message, root):
    with pytest.raises(InputError, match=rf"sm141064\.ngspice(, line \d+)?.*({message})"):
        card(drawing(root, line), N)


def test_a_size_at_an_edge_belongs_to_the_first_bin_that_holds_it(root):
    assert card(installed(root, gf180()), Size("n", UM, UM)).model == "nmos_3p3_b0"


@pytest.mark.parametrize("variant", "ABCD")
def test_gf180mcu_as_open_pdks_installs_it(variant, root):
    place = f"gf180mcu{variant}/libs.tech/ngspice/sm141064.ngspice"
    model_card = card(installed(root, gf180(("nfet_03v3", "pfet_03v3")), place), N)
    assert model_card.model == "nfet_03v3_b1"
    assert model_card.sigma_vth > 0


def test_a_size_outside_the_kit_is_refused_with_the_range(root):
    message = r"gf180mcu holds W = 0\.1 um, L = 2 um.*W from 0\.22 um to 10 um and L from 0\.28 um to 10 um"
    with pytest.raises(InputError, match=message):
        card(installed(root, gf180()), Size("n", 0.1 * UM, 2 * UM))


@pytest.mark.parametrize("name", ["gf180mcu", "sky130"])
def test_a_missing_kit_is_named_with_the_variable_and_the_places(name, tmp_path, monkeypatch):
    technology = Technology.load(name)
    monkeypatch.delenv("PDK_ROOT", raising=False)
    with pytest.raises(
        InputError, match=rf"(?s){name} needs.*set PDK_ROOT.*not set.*\n  .*{name}.*libs\."
    ) as unset:
        card(technology, N)
    assert str(unset.value).count("\n") >= 3
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    with pytest.raises(InputError, match=re.escape(f"it is {tmp_path}, which holds none")):
        card(technology, N)


def test_a_corner_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"generic130 has corners tt, ff.*not 'xx'"):
        card(Technology.load("generic130"), N, "xx")


def test_an_ideal_technology_has_no_card():
    with pytest.raises(InputError, match="has no transistors"):
        card(Technology.load("ideal"), N)


def outcome(technology: Technology) -> str:
    """Text of a card, or of the refusal."""
    try:
        return card(technology, N).text
    except InputError as error:
        return str(error)


def test_a_file_cut_short_anywhere_is_refused_clearly(root, monkeypatch):
    text = gf180()
    for end in range(0, len(text) - len(".endl fets_mm\n"), 7):
        place = root / str(end)
        monkeypatch.setenv("PDK_ROOT", str(place))
        message = outcome(installed(place, text[:end]))
        assert str(place) in message, (end, message)
        assert "fetch it again" in message, (end, message)


ODD = {
    "*#shell touch evil": None,
    ".control\nshell touch evil\n.endc": None,
    ".include /etc/passwd": None,
    "+alpha = `touch evil`": "is not name = value",
    "+alpha = {1}; quit": None,
    "+alpha = touch": r"bin nmos_3p3\.1: alpha: parameter 'touch' is not defined",
    "+alpha = {open(evil)}": "'evil' is not defined|function 'open'",
    "+alpha = 1e999": "no finite value",
    "+alpha": "is not name = value",
    '+beta = 1e-6 "quoted"': "is not name = value",
    "+lines=1\x0bquit=2": None,
}


@pytest.mark.parametrize("line", ODD, ids=list(ODD))
def test_nothing_of_a_file_but_numbers_gets_through(line, root):
    marker = "+vth0    = 1.7  \n"
    assert marker in gf180()
    technology = installed(root, gf180().replace(marker, marker + line + "\n", 1))
    if ODD[line] is None:
        assert CARD.fullmatch(card(technology, N).text)
        assert "evil" not in card(technology, N).text
    else:
        with pytest.raises(InputError, match=ODD[line]):
            card(technology, N)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("+version = 4.5\n", "", "version ''"),
        ("+level = 54\n", "+level = 1\n", "level '1'.*BSIM4"),
        ("lmin = 1e-006 ", "", "no lmin, lmax"),
        ("lmin = 1e-006 ", "lmin = {x} ", "a limit of a bin holds a name"),
        ("+delvto='mis_vth*sw_stat_mismatch'", "+", "delvto is not set"),
        ("par_w=-1e-7", "par_w=var_vth", "'par_w' is defined by itself|is defined by itself"),
        (".LIB typical", ".LIB other", "no section 'typical'"),
        ("nmos_3p3.", "nmos_6p0.", "holds no nmos model nmos_3p3 or nfet_03v3"),
        (".subckt nmos_3p3", ".subckt nmos", "no transistor in a subcircuit 'nmos_3p3'"),
    ],
)
def test_an_odd_file_is_refused_by_name(before, after, message, root):
    assert before in gf180()
    with pytest.raises(InputError, match=rf"sm141064\.ngspice.*({message})"):
        card(installed(root, gf180().replace(before, after)), N)


SKY = """.param {device}__vth0_slope_spectre = 0.0
.param {device}__toxe_slope_spectre = 0.0
.subckt  {device} d g s b
+
.param  l = 1 w = 1 mult = 1
m{device} d g s b {device}__model l = {{l}} w = {{w}}
.model {device}__model.7 {kind}
+ lmin = 1.5e-07 lmax = 0.0001 wmin = 3.6e-07 wmax = 0.0001
+ level = 54.0
+ version = 4.5
+ toxe = {{4.148e-09+{toxe}*(4.148e-09*({device}__toxe_slope/sqrt(l*w*mult)))}}
+ vth0 = {{0.5+{vth0}*({device}__vth0_slope/sqrt(l*w*mult))}} lvth0 = -3.6e-09
+ kvth0 = {{0+{device}__kvth0_diff}}
.ends {device}
"""
SLOPES = ".param {d}__vth0_slope=3e-03\n.param {d}__toxe_slope=2e-03\n.param {d}__unused=1\n"
LOD = ".param\n+ {d}__kvth0_diff = 7.9e-9\n"


def sky130(root, place: str, names: tuple[str, str], draw: str = "") -> Technology:
    d = "sky130_fd_pr__nfet_01v8"
    scores = {s: draw or f"{d}__{s}_slope_spectre" for s in ("vth0", "toxe")}
    files = {
        f"{place}/{d}__tt.pm3.spice": SKY.format(device=d, kind="nmos", **scores),
        f"{place}/{d}__mismatch.corner.spice": SLOPES.format(d=d),
        "/".join(names): LOD.format(d=d),
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Technology.load("sky130")


@pytest.mark.parametrize(
    ("place", "lod", "draw"),
    [
        ("sky130_fd_pr/cells/nfet_01v8", "sky130_fd_pr/models/parameters", ""),
        ("cells/nfet_01v8", "models/parameters", ""),
        (
            "skywater-pdk/libraries/sky130_fd_pr/latest/cells/nfet_01v8",
            "skywater-pdk/libraries/sky130_fd_pr/latest/models/parameters",
            "",
        ),
        (
            "sky130A/libs.ref/sky130_fd_pr/spice",
            "sky130A/libs.tech/ngspice/parameters",
            "MC_MM_SWITCH*AGAUSS(0,1.0,1)",
        ),
    ],
)
def test_sky130_in_all_its_layouts(place, lod, draw, root):
    technology = sky130(root, place, (lod, "lod.spice"), draw)
    model_card = card(technology, N)
    assert model_card.text == (
        ".model nfet_01v8_b7 nmos\n"
        "+ level=14 version=4.5 toxe=4.148e-09 vth0=0.5 lvth0=-3.6e-09 kvth0=7.9e-09\n"
    )
    share = technology.transistors().kit["shares"]["n"]["toxe"]
    expected = math.hypot(3e-3, share * 4.148e-9 * 2e-3) / math.sqrt(0.5 * 2)
    assert model_card.sigma_vth == pytest.approx(expected, rel=1e-9)
    assert model_card.sigma_beta == 0


def test_sky130_refuses_a_spread_that_it_cannot_weigh(root):
    technology = sky130(root, "cells/nfet_01v8", ("models/parameters", "lod.spice"))
    path = root / "cells/nfet_01v8/sky130_fd_pr__nfet_01v8__tt.pm3.spice"
    path.write_text(path.read_text().replace("lvth0 = -3.6e-09", "k1 = {1+agauss(0,1,1)}"))
    with pytest.raises(InputError, match=r"bin .*model\.7: mismatch of k1 is not known"):
        card(technology, N)


def test_sky130_refuses_draws_on_the_line_of_the_transistor(root):
    technology = sky130(root, "cells/nfet_01v8", ("models/parameters", "lod.spice"))
    path = root / "cells/nfet_01v8/sky130_fd_pr__nfet_01v8__tt.pm3.spice"
    path.write_text(path.read_text().replace("w = {w}\n.model", "w = {w} mulu0 = 1.1\n.model"))
    with pytest.raises(InputError, match=r"line 6: mulu0 of the transistor is not read"):
        card(technology, N)


def test_sky130_refuses_a_nominal_card_that_depends_on_the_size(root):
    technology = sky130(root, "cells/nfet_01v8", ("models/parameters", "lod.spice"))
    path = root / "cells/nfet_01v8/sky130_fd_pr__nfet_01v8__tt.pm3.spice"
    path.write_text(path.read_text().replace("lvth0 = -3.6e-09", "k1 = {w}"))
    with pytest.raises(InputError, match="depends on the width"):
        card(technology, N)


@pytest.mark.parametrize("corner", ["tt", "ff", "ss", "sf", "fs"])
@pytest.mark.parametrize("kind", ["n", "p"])
def test_generic130_corners_shift_what_the_technology_says(kind, corner):
    technology = Technology.load("generic130")
    model_card = card(technology, Size(kind, UM, UM), corner)
    assert CARD.fullmatch(model_card.text.replace("version=4.8.1", "version=4.8"))
    values = {k: float(v) for k, v in re.findall(r"(\w+)=(\S+)", model_card.text) if k != "version"}
    shift, mobility, oxide = technology.transistors().kit["corners"][corner][kind]
    assert abs(values["vth0"]) == pytest.approx(0.42 + shift, rel=1e-12)
    assert math.copysign(1, values["vth0"]) == {"n": 1, "p": -1}[kind]
    assert values["u0"] == pytest.approx({"n": 0.05, "p": 0.0155}[kind] * mobility, rel=1e-12)
    assert values["toxe"] == pytest.approx({"n": 2.7e-9, "p": 2.8e-9}[kind] * oxide, rel=1e-12)


def test_generic130_spread_follows_the_area():
    technology = Technology.load("generic130")
    unit, large = (card(technology, Size("n", 0.5 * UM * f, 2 * UM * f)) for f in (1, 2))
    assert unit.sigma_vth == pytest.approx(3.5e-3, rel=1e-12)
    assert unit.sigma_beta == pytest.approx(5e-3, rel=1e-12)
    assert (large.sigma_vth, large.sigma_beta) == pytest.approx((1.75e-3, 2.5e-3), rel=1e-12)


@pytest.mark.parametrize("kind", ["n", "p"])
def test_lines_of_a_card_are_short(kind):
    text = card(Technology.load("generic130"), Size(kind, UM, UM)).text
    assert max(map(len, text.splitlines())) < 120
    assert text.endswith("\n")
