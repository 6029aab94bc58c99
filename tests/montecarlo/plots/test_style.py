"""Figures look alike under any settings of the user, and leave these as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from circuits.errors import InputError
from montecarlo.plots.drawing import Drawing, both, check
from montecarlo.plots.plotting import bars, intervals, save

ROWS = {"a": {"x": 1.0, "y": 2.0}}
DRAW = f"from montecarlo.plots.plotting import bars, save; save(bars({ROWS}, 'J'), 'new.svg')"


def content(path):
    """Of an SVG, without its date."""
    return [row for row in Path(path).read_text().split("\n") if "<dc:date>" not in row]


@pytest.mark.parametrize(
    ("name", "text", "environment"),
    [
        ("matplotlibrc", "text.usetex: True\nfont.family: none such\nfigure.dpi: 7\nsavefig.bbox: tight", {}),
        ("matplotlibrc", "axes.prop_cycle: nonsense\nbackend: none", {"MPLBACKEND": "tkagg"}),
        ("other", "svg.fonttype: none", {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": "other"}),
    ],
)
def test_a_figure_does_not_depend_on_settings_of_the_user(tmp_path, name, text, environment):
    save(bars(ROWS, "J"), tmp_path / "plain.svg")
    (tmp_path / name).write_text(text)
    environment = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "new.svg") == content(tmp_path / "plain.svg")


def test_settings_of_the_user_stay_and_do_not_count(tmp_path):
    save(bars(ROWS, "J"), tmp_path / "plain.svg")
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "axes.facecolor": "red"}):
        save(bars(ROWS, "J"), tmp_path / "new.svg")
        assert matplotlib.rcParams["font.size"] == 30
        assert matplotlib.rcParams["text.usetex"]
    assert content(tmp_path / "new.svg") == content(tmp_path / "plain.svg")


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.PNG", b"\x89PNG"), ("a", b"\x89PNG"), ("a.pdf", b"%PDF")]
)
def test_the_suffix_chooses_the_format(tmp_path, name, start):
    path = save(intervals({"a": (1.0, 0.9, 1.1)}, "sigma"), tmp_path / name)
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_format_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.xyz: figures cannot be written as \.xyz"):
        save(intervals({"a": (1.0, 0.9, 1.1)}, "sigma"), tmp_path / "a.xyz")
    with pytest.raises(InputError, match=r"a\.xyz: the format \.xyz is not known; take one of .*png"):
        check(str(tmp_path / "a.xyz"))
    with pytest.raises(InputError, match="is a folder"):
        check(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_drawing_is_drawn_when_it_is_made(tmp_path):
    calls = []

    def figure():
        calls.append(1)
        return bars(ROWS, "J")

    drawing = Drawing(both(tmp_path / "new" / "a.b"), figure)
    assert drawing.names == [str(tmp_path / "new" / f"a.b.{suffix}") for suffix in ("png", "svg")]
    assert not calls
    drawing.make()
    assert len(calls) == 1
    assert all(file.stat().st_size > 1000 for file in drawing.files)
