"""The house rules: imports run one way, heavy guests stay in their rooms, the tree is as agreed."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("circuits", "montecarlo", "ttfs_analog")  # ground floor first
ROOMS = {  # of a floor, the lowest first: imports between rooms run one way too
    "circuits": ("model", "pdk", "spice", "ideal", "blocks", "benches", "biasing"),
    "montecarlo": (
        "mismatch",
        "statistics",
        "stores",
        "campaign",
        "sweeps",
        "extraction",
        "analysis",
        "plots",
    ),
    "ttfs_analog": (
        "neuron",
        "constraints",
        "network",
        "data",
        "conversion",
        "noise",
        "calibration",
        "training",
        "placement",
        "evaluation",
        "remedies",
        "demonstration",
        "cli",
    ),
}
FRONT_DOORS = {  # the only files of a floor outside its rooms
    "circuits": {"__init__", "errors", "input_file", "one_writer", "simulation", "units", "whole_file"},
    "montecarlo": {"__init__"},
    "ttfs_analog": {"__init__", "__main__"},
}
FOUNDATIONS = {
    "circuits.errors",
    "circuits.input_file",
    "circuits.one_writer",
    "circuits.units",
    "circuits.whole_file",
}
ONLY_IN = {
    "subprocess": {"circuits/spice/ngspice.py"},
    "PySpice": {"circuits/spice/deck.py"},
    "torch": {"ttfs_analog/"},
    "distributed": {"montecarlo/campaign/dask_cluster.py"},
    "matplotlib": {"montecarlo/plots/style.py"},
    "click": {"ttfs_analog/cli/"},
}
WRITERS = {  # what writes a file in place: where it is, and why it may be
    "to_zarr": {"montecarlo/stores/store.py"},  # a folder beside its place, then renamed
    "write_text": {"circuits/spice/ngspice.py"},  # a run folder, which nobody keeps
    "open": {"circuits/spice/ngspice.py", "circuits/whole_file.py"},
    "to_netcdf": {"montecarlo/campaign/schema.py"},  # these three into memory
    "torch.save": {"ttfs_analog/network/checkpoint.py"},
    "to_csv": {"ttfs_analog/evaluation/accuracy.py"},  # into text
    "savefig": {"montecarlo/plots/plotting.py"},
}
OTHER_WRITERS = {"write_bytes", "json.dump", "np.save", "np.savez", "np.savetxt", "tofile"}
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


@functools.cache
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


def test_imports_go_downstairs():
    for path in FILES:
        floor = FLOORS.index(path.parts[0])
        upstairs = {n for n in imports(path) if n.split(".")[0] in FLOORS[floor + 1 :]}
        assert not upstairs, f"{path} reaches upstairs: {sorted(upstairs)}"


def test_heavy_guests_stay_in_their_rooms():
    for path in FILES:
        for guest in {n.split(".")[0] for n in imports(path)} & ONLY_IN.keys():
            assert any(path.as_posix().startswith(room) for room in ONLY_IN[guest]), f"{path} imports {guest}"


def height(module: str) -> int | None:
    """How high on its floor a module lives; None: not in the house. Front doors are on top."""
    floor, *rest = module.split(".")
    if floor not in FLOORS or not rest or ".".join([floor, rest[0]]) in FOUNDATIONS:
        return None
    return ROOMS[floor].index(rest[0]) if rest[0] in ROOMS[floor] else len(ROOMS[floor])


def test_imports_between_rooms_go_down_too():
    for path in FILES:
        room = height(path.with_suffix("").as_posix().replace("/", "."))
        if room is None or path.stem == "__init__":
            continue
        same = {n for n in imports(path) if n.split(".")[0] == path.parts[0]}
        above = {n for n in same if (h := height(n)) is not None and h > room}
        assert not above, f"{path} reaches a room above: {sorted(above)}"


@pytest.mark.parametrize("floor", FLOORS)
def test_the_rooms_are_as_agreed(floor):
    """No loose files but the front doors; 2 to 13 files a room beside its own front door."""
    loose = {p.stem for p in (ROOT / floor).glob("*.py")}
    rooms = {
        p.parent.name: len(list(p.parent.glob("*.py"))) - 1 for p in (ROOT / floor).glob("*/__init__.py")
    }
    assert loose == FRONT_DOORS[floor]
    assert set(rooms) == set(ROOMS[floor])
    assert all(2 <= count <= 13 for count in rooms.values()), rooms


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


def writes(path: Path) -> set[str]:
    """Names of the calls in a file that write one in place, of those known."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if not isinstance(node, ast.Call):
            continue
        full = ast.unparse(node.func)
        name = full.rpartition(".")[2]
        texts = [
            v.value for v in [*node.args, *(k.value for k in node.keywords)] if isinstance(v, ast.Constant)
        ]
        if name == "open" and full != "os.open":  # zarr's `r+` is that of a store
            reads = not any(isinstance(t, str) and re.fullmatch(r"[wax]b?\+?|r\+?b?\+", t) for t in texts)
            found |= set() if reads else {"open"}
        found |= {n for n in (full, name) if (n in WRITERS and n != "open") or n in OTHER_WRITERS}
    return found


def test_files_are_written_whole():
    """Nothing but `circuits.whole_file` writes where a result stands."""
    for path in FILES:
        for name in writes(path):
            assert path.as_posix() in WRITERS.get(name, ()), f"{path} writes in place with {name}"


def test_the_search_for_writers_finds_them():
    wanted = {
        name: {name}
        for name in ("to_zarr", "write_text", "open", "to_netcdf", "torch.save", "to_csv", "savefig")
    }
    for name, files in WRITERS.items():
        assert all(wanted[name] <= writes(Path(file)) for file in files), name


def test_figures_are_drawn_in_the_house_style():
    """Every public function that gives a figure or writes one; a user's settings would count without it."""
    for path in FILES:
        tree = ast.parse((ROOT / path).read_text())
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef) or "montecarlo/plots/style" in path.as_posix():
                continue
            draws = node.returns is not None and re.search(r"\bFigure\b", ast.unparse(node.returns))
            takes = any(
                a.annotation is not None and ast.unparse(a.annotation) == "Figure" for a in node.args.args
            )
            if (draws or takes) and "plots" in path.as_posix():
                styled = {ast.unparse(d) for d in node.decorator_list}
                assert "house_style()" in styled or node.name == "save_both", f"{path}: {node.name}"


def test_every_module_says_what_it_is():
    assert not [path for path in FILES if not ast.get_docstring(ast.parse((ROOT / path).read_text()))]


def test_nothing_is_left_unfinished():
    mark = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    assert not [p for p in FILES if mark.search((ROOT / p).read_text())]


@pytest.mark.parametrize(
    ("package", "late"),
    [
        ("ttfs_analog", ["torch", "PySpice", "matplotlib", "scipy"]),
        ("ttfs_analog.cli.app", ["torch", "PySpice", "matplotlib", "scipy"]),
        ("circuits", ["torch", "PySpice", "matplotlib", "scipy"]),
        ("montecarlo", ["torch", "matplotlib", "distributed", "dask"]),
        ("ttfs_analog.cli.layers", ["torch", "matplotlib", "distributed"]),
        ("ttfs_analog.cli.results.neurons", ["torch", "matplotlib"]),
        ("ttfs_analog.cli.description", ["torch", "matplotlib"]),
        ("ttfs_analog.noise.noise_model", ["torch", "matplotlib"]),
    ],
)
def test_importing_a_package_is_quick_because_heavy_guests_come_later(package, late):
    code = f"import sys, {package}; print([m for m in {late} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
