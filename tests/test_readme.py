"""What the README promises exists: files, commands, options, and its Python example."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from montecarlo.sweeps.sweep import Sweep
from ttfs_analog.cli.app import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    ttfs-analog (.*?)(?:\s+#.*)?$", README, re.M)


def test_links_point_at_files():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 15
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_lines_parse(line):
    name, *arguments = line.split()
    command = cli.commands[name]
    parser = command.make_parser(click.Context(command))
    parser.parse_args(arguments)  # raises on an unknown option


def test_every_command_is_in_the_readme():
    assert {line.split()[0] for line in COMMANDS} | {"demo"} == set(cli.commands)


def test_python_lines_are_those_of_the_example():
    example = (ROOT / "examples/quickstart.py").read_text()
    block = README.split("## The same in Python")[1].split("The whole script")[0]
    for line in filter(None, (text.strip() for text in block.splitlines())):
        assert line in example, line


def test_the_sweep_of_the_example_is_a_plan(tmp_path):
    text = README.split("A sweep is a table of axes")[1].split("Axes:")[0].split("\n", 1)[1]
    (tmp_path / "SWEEP.toml").write_text(text)
    plan = Sweep.from_toml(tmp_path / "SWEEP.toml")
    assert plan.shape == (3, 3)
    assert plan.design == "sobol"
    assert plan.distribution
    assert plan.correlation
    assert plan.common
