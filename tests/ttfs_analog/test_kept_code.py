"""Compiled code on disk: found again, and not after any of its sources has changed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")
import ttfs_analog
from ttfs_analog import kept_code

PACKAGE = Path(ttfs_analog.__file__).parent
RUN = """
import json, sys
import numpy as np
from ttfs_analog import kept_code
kept_code.FINGERPRINT += sys.argv[1]
from ttfs_analog import kernels
one = np.ones((2, 3))
kernels.hold(one, None, None, np.zeros((2, 3)))
stats = kernels.hold.stats
print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""


def imported(name: str) -> set[str]:
    """Modules of the package that a module is made of, by what it imports."""
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    names = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
    return {m.removeprefix("ttfs_analog.") for m in names if m.startswith("ttfs_analog.")}


def test_every_source_of_the_kernels_is_looked_at():
    found, new = set(), {"kernels"}
    while new:
        found |= new
        new = set().union(*(imported(name) for name in new)) - found
    assert found == set(kept_code.SOURCES)


def test_code_is_found_again_until_a_source_changes(tmp_path):
    def hits_and_misses(change: str) -> list[int]:
        found = subprocess.run(
            [sys.executable, "-c", RUN, change],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(found.stdout)

    assert hits_and_misses("") == [0, 1]
    assert hits_and_misses("") == [1, 0]
    assert hits_and_misses("changed") == [0, 1]
    assert hits_and_misses("") == [1, 0]
