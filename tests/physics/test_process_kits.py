"""Cards cut from process kits: the currents of the whole kit, and its spread."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from kit_decks import cut, needs_kits, newer_gf180, operating_point, whole
from scipy.stats import chi2

from circuits.pdk.model_cards import card
from circuits.pdk.technology import Size, Technology

pytestmark = needs_kits
KITS = ("gf180mcu", "sky130")
UM = 1e-6
BIAS = ((0.5, 0.6), (0.9, 0.6), (1.2, 0.05), (1.7, 1.7))  # |V_GS|, |V_DS|: weak to strong, triode too
# among them edges of bins in W, in L and in both
SIZES = {
    "gf180mcu": ((0.3, 0.28), (0.22, 0.6), (0.5, 2), (1, 1), (1.2, 1.2), (0.3, 4), (3, 10)),
    "sky130": ((0.42, 0.15), (0.42, 2), (0.55, 0.5), (1, 1), (1, 0.25), (0.42, 3.5), (3, 8)),
}
CONDITIONS = [("tt", 27), ("ff", 27), ("ss", 27), ("sf", 27), ("fs", 27), ("tt", -40), ("tt", 125)]


def sizes(technology: Technology) -> list[Size]:
    return [Size(kind, w * UM, length * UM) for kind in "np" for w, length in SIZES[technology.name]]


def biased(found: list[Size], line, temperature: float) -> tuple[list[str], list[str]]:
    """Every size at every bias: lines of the deck and names of the sources that carry the drain currents."""
    lines, sources = [f".temp {temperature}"], []
    for i, size in enumerate(found):
        sign = 1 if size.kind == "n" else -1
        for j, (gate, drain) in enumerate(BIAS):
            k = f"{i}_{j}"
            lines += [f"vg{k} g{k} 0 {sign * gate}", f"vd{k} d{k} 0 {sign * drain}", line(k, size)]
            sources.append(f"vd{k}")
    return lines, sources


def as_it_is(technology: Technology) -> Technology:
    """Without the settings that replace a kit's own."""
    process = technology.transistors()
    own = dataclasses.replace(process, kit={k: {} if k == "settings" else v for k, v in process.kit.items()})
    return dataclasses.replace(technology, process=own)


def shape(size: Size, unit: float = 1.0) -> str:
    """Size and junctions; what is not given is not zero on a plain transistor line."""
    w, edge = size.width / unit, 0.3 * UM / unit
    area, border = w * edge, 2 * (w + edge)
    junctions = f"ad={area:.9g} as={area:.9g} pd={border:.9g} ps={border:.9g}"
    return f"w={w:.9g} l={size.length / unit:.9g} {junctions}"


def cut_currents(technology: Technology, corner: str, temperature: float, folder) -> list[float]:
    every = sizes(technology)
    cards, models = cut(technology, corner, every)
    lines, sources = biased(every, lambda k, s: f"m{k} d{k} g{k} 0 0 {models[s]} {shape(s)}", temperature)
    return operating_point([*cards, *lines], sources, folder)


@pytest.mark.parametrize(("corner", "temperature"), CONDITIONS)
@pytest.mark.parametrize("name", KITS)
def test_a_card_carries_the_current_of_the_whole_kit(name, corner, temperature, tmp_path):
    technology = as_it_is(Technology.load(name))
    head, wrappers, unit = whole(technology, corner)

    def instance(k: str, size: Size) -> str:
        return f"x{k} d{k} g{k} 0 0 {wrappers[size.kind]} {shape(size, unit)}"

    lines, sources = biased(sizes(technology), instance, temperature)
    expected = operating_point([*head, *lines], sources, tmp_path)
    found = cut_currents(technology, corner, temperature, tmp_path)
    assert min(map(abs, expected)) > 1e-15
    assert np.max(np.abs(np.divide(found, expected) - 1)) < 1e-9


@pytest.mark.parametrize("temperature", [-40, 27, 125])
def test_what_is_left_out_of_sky130_carries_no_current(temperature, tmp_path):
    technology = Technology.load("sky130")
    expected = cut_currents(as_it_is(technology), "ff", temperature, tmp_path)
    found = cut_currents(technology, "ff", temperature, tmp_path)
    assert 0 < np.max(np.abs(np.divide(found, expected) - 1)) < 2e-7


@pytest.mark.parametrize("name", KITS)
def test_corners_differ_as_their_names_say(name, tmp_path):
    """Current of a 1 um / 1 um device, N and P, at each corner against the typical one."""
    technology = Technology.load(name)
    both = [Size(kind, UM, UM) for kind in "np"]
    current = {}
    for corner in technology.transistors().corners:
        cards, models = cut(technology, corner, both)
        lines, sources = biased(
            both, lambda k, s, m=models: f"m{k} d{k} g{k} 0 0 {m[s]} w={s.width!r} l={s.length!r}", 27
        )
        found = np.abs(operating_point([*cards, *lines], sources, tmp_path))
        current[corner] = found[[len(BIAS) - 1, -1]]
    n, p = ({c: current[c][k] / current["tt"][k] for c in current} for k in (0, 1))
    assert n["ff"] > 1.02
    assert n["fs"] > 1.02
    assert n["ss"] < 0.98
    assert n["sf"] < 0.98
    assert p["ff"] > 1.02
    assert p["sf"] > 1.02
    assert p["ss"] < 0.98
    assert p["fs"] < 0.98


def vgs(lines: list[str], count: int, folder) -> np.ndarray:
    """Gate voltages of diode-connected devices, 1 uA each."""
    names = [f"v(g{k})" for k in range(count)]
    return np.array(operating_point([*lines, *(f"i{k} 0 g{k} 1u" for k in range(count))], names, folder))


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % confidence interval of the standard deviation of a normal sample."""
    degrees = len(values) - 1
    low, high = (math.sqrt(degrees / chi2.ppf(q, degrees)) for q in (0.975, 0.025))
    sigma = float(np.std(values, ddof=1))
    return low * sigma, high * sigma


def test_gf180mcu_spread_of_vgs_is_the_kits_formula_and_the_kits_draws(tmp_path):
    """NMOS 1/1 um: 0.7071 * 7.148 mV um / sqrt(0.85 um * 1.1 um) = 5.23 mV."""
    technology, size, count = Technology.load("gf180mcu"), Size("n", UM, UM), 600
    unit = card(technology, size)
    formula = 0.7071 * 7.148e-9 / math.sqrt((UM - 0.15 * UM) * (UM + 0.1 * UM))
    assert unit.sigma_vth == pytest.approx(formula, rel=1e-9)
    draws = np.random.default_rng(1).normal(0, unit.sigma_vth, count).tolist()
    ours = vgs(
        [unit.text]
        + [f"m{k} g{k} g{k} 0 0 {unit.model} w=1e-6 l=1e-6 delvto={d!r}" for k, d in enumerate(draws)],
        count,
        tmp_path,
    )
    head, wrappers, _ = whole(technology, "tt")
    head[0] = head[0].replace("sw_stat_mismatch=0", "sw_stat_mismatch=1")
    devices = [f"x{k} g{k} g{k} 0 0 {wrappers['n']} w=1u l=1u" for k in range(count)]
    theirs = vgs([".option seed=11", *head, *devices], count, tmp_path)
    low, high = interval(ours)
    assert low < formula < high
    below, above = interval(theirs)
    assert below < formula < above
    assert low < above
    assert below < high


@pytest.mark.parametrize(("kind", "right"), [("n", 0.005125), ("p", 0.00207)])
def test_gf180mcu_since_2023_draws_the_current_factor_too(kind, right, tmp_path, monkeypatch):
    """ln I at |V_GS| = 3 V, where the threshold counts little: both effects, in quadrature."""
    new = newer_gf180(tmp_path)
    monkeypatch.setenv("PDK_ROOT", str(new))
    technology, count, sign = Technology.load("gf180mcu"), 500, 1 if kind == "n" else -1
    unit = card(technology, Size(kind, UM, UM))
    assert unit.sigma_beta == pytest.approx(right, rel=1e-3)
    rng = np.random.default_rng(2)
    draws = zip(
        rng.normal(0, unit.sigma_vth, count).tolist(),
        np.exp(rng.normal(0, unit.sigma_beta, count)).tolist(),
        strict=True,
    )
    head, wrappers, _ = whole(technology, "tt")
    head[0] = head[0].replace("sw_stat_mismatch=0", "sw_stat_mismatch=1")
    ours = [f"{unit.model} w=1u l=1u delvto={dv!r} mulu0={mu!r}" for dv, mu in draws]
    edges = [
        f"{unit.model} w=1u l=1u delvto={dv} mulu0={mu}"
        for dv, mu in ((-1e-3, 1), (1e-3, 1), (0, 0.99), (0, 1.01))
    ]
    theirs = [f"{wrappers[kind]} w=1u l=1u"] * count

    def spread(lines: list[str], letter: str, devices: list[str]) -> np.ndarray:
        lines = [*lines, f"vg g 0 {3 * sign}"]
        lines += [f"vd{k} d{k} 0 {3 * sign}\n{letter}{k} d{k} g 0 0 {d}" for k, d in enumerate(devices)]
        return np.log(np.abs(operating_point(lines, [f"vd{k}" for k in range(len(devices))], tmp_path)))

    steps = np.diff(spread([unit.text], "m", edges))[::2] / [2e-3, 2e-2]
    threshold, factor = steps * [unit.sigma_vth, unit.sigma_beta]
    formula = math.hypot(threshold, factor)
    for found in (spread([unit.text], "m", ours), spread([".option seed=5", *head], "x", theirs)):
        below, above = interval(found)
        assert below < formula < above
    assert formula > 1.05 * abs(threshold)


SCORES = {"n": ("vth0", "toxe", "voff"), "p": ("vth0", "toxe", "voff", "nfactor")}


@pytest.mark.parametrize("role", ["source_mirror", "sink_mirror", "pair", "load"])
def test_sky130_threshold_spread_is_worth_the_kits_scores(role, tmp_path):
    """ln I of a mirror at the current of the cell: all scores of the unchanged kit, in quadrature."""
    technology = Technology.load("sky130")
    process = technology.transistors()
    size = process.size(role)
    mirror = "mirror" in role
    current = technology.operating_point.i_unit / process.units if mirror else process.currents["tail"] / 2
    sign = 1 if size.kind == "n" else -1
    head, wrappers, unit = whole(technology, "tt")
    device = wrappers[size.kind]
    shape = f"w={size.width / unit:.9g} l={size.length / unit:.9g}"
    scores = [f"{device}__{what}_slope_spectre" for what in SCORES[size.kind]]
    # a parameter of a wrapping subcircuit hides the kit's global score of that name
    wrapped = [".subckt scored d g s b " + " ".join(f"z{k}=0" for k in range(len(scores)))]
    wrapped += [f".param {score}={{z{k}}}" for k, score in enumerate(scores)]
    wrapped += [f"x0 d g s b {device} {shape}", ".ends"]
    lines = [f"i0 0 g {sign * current!r}", f"xr g g 0 0 {device} {shape}"]
    for k in range(len(scores)):
        for end, z in (("p", 0.5), ("m", -0.5)):
            lines += [f"x{k}{end} d{k}{end} g 0 0 scored z{k}={z}", f"v{k}{end} d{k}{end} 0 {sign * 0.6}"]
    pairs = [f"v{k}{end}" for k in range(len(scores)) for end in "pm"]
    found = np.reshape(operating_point([*head, *wrapped, *lines], pairs, tmp_path), (-1, 2))
    expected = math.hypot(*np.log(found[:, 0] / found[:, 1]))
    unit_card = card(technology, size)
    shape = f"w={size.width!r} l={size.length!r}"
    lines = [unit_card.text, f"i0 0 g {sign * current!r}", f"mr g g 0 0 {unit_card.model} {shape}"]
    for end, z in (("p", 0.5), ("m", -0.5)):
        shift = z * unit_card.sigma_vth
        lines += [f"m{end} d{end} g 0 0 {unit_card.model} {shape} delvto={shift!r}"]
        lines += [f"v{end} d{end} 0 {sign * 0.6}"]
    plus, minus = operating_point(lines, ["vp", "vm"], tmp_path)
    assert abs(math.log(plus / minus)) == pytest.approx(expected, rel=0.04)
