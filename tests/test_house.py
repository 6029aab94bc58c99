"""The house rules: imports run one way, heavy guests stay in their rooms, the tree is as agreed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("circuits", "montecarlo", "ttfs_analog")  # ground floor first
ONLY_IN = {
    "subprocess": {"circuits/ngspice.py"},
    "PySpice": {"circuits/netlist.py"},
    "torch": {"ttfs_analog/"},
    "numba": {
        f"ttfs_analog/{name}.py" for name in ("kernels", "loops", "lanes", "tiles", "jittered", "kept_code")
    },
    "distributed": {"montecarlo/cluster.py"},
    "matplotlib": {
        "ttfs_analog/report.py",
        "ttfs_analog/diagnostic_plots.py",
        "montecarlo/plotting.py",
        "montecarlo/distribution_plots.py",
        "montecarlo/transistor_plots.py",
    },
    "click": {"ttfs_analog/cli.py", "ttfs_analog/cli_circuit.py", "ttfs_analog/console.py"},
}
TOP = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
    "README.md",
    "VISION.md",
    "benchmarks",
    "circuits",
    "examples",
    "montecarlo",
    "netlists",
    "pyproject.toml",
    "requirements.lock",
    "tests",
    "ttfs_analog",
}
FILES = sorted(p.relative_to(ROOT) for floor in FLOORS for p in (ROOT / floor).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Absolute dotted names imported anywhere in `path`, inside functions too."""
    package = path.parent.as_posix().replace("/", ".").split(".")
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *filter(None, [node.module])])
            names |= {stem} | {f"{stem}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_downstairs(path):
    floor = FLOORS.index(path.parts[0])
    upstairs = {n for n in imports(path) if n.split(".")[0] in FLOORS[floor + 1 :]}
    assert not upstairs, f"{path} reaches upstairs: {sorted(upstairs)}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_heavy_guests_stay_in_their_rooms(path):
    used = {n.split(".")[0] for n in imports(path)} & ONLY_IN.keys()
    for guest in used:
        assert any(path.as_posix().startswith(room) for room in ONLY_IN[guest]), f"{path} imports {guest}"


def test_no_import_cycle():
    modules = {p.with_suffix("").as_posix().replace("/", "."): p for p in FILES}
    leaves = {m for m in modules if not m.endswith("__init__")}
    graph = {m: imports(modules[m]) & leaves - {m} for m in leaves}
    while graph:
        ready = {m for m, needs in graph.items() if not needs & graph.keys()}
        assert ready, f"import cycle among {sorted(graph)}"
        graph = {m: needs for m, needs in graph.items() if m not in ready}


def test_the_top_level_is_as_agreed():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    tracked = {line.split("/")[0] for line in listed if line}
    if not tracked:
        pytest.skip("not a git checkout")
    assert tracked == TOP


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse((ROOT / path).read_text())), f"{path} has no docstring"


def test_nothing_is_left_unfinished():
    mark = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    assert not [p for p in FILES if mark.search((ROOT / p).read_text())]


@pytest.mark.parametrize(
    ("package", "late"),
    [
        ("ttfs_analog", ["torch", "PySpice", "matplotlib", "scipy"]),
        ("ttfs_analog.cli", ["torch", "PySpice", "matplotlib", "scipy"]),
        ("circuits", ["torch", "PySpice", "matplotlib", "scipy"]),
        ("montecarlo", ["torch", "matplotlib", "distributed", "dask"]),
        ("ttfs_analog.layer_commands", ["torch", "matplotlib", "distributed"]),
        ("ttfs_analog.attribution_commands", ["torch", "matplotlib"]),
        ("ttfs_analog.description_commands", ["torch", "matplotlib"]),
        ("ttfs_analog.noise_model", ["torch", "matplotlib"]),
    ],
)
def test_importing_a_package_is_quick_because_heavy_guests_come_later(package, late):
    code = f"import sys, {package}; print([m for m in {late} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
