"""Docs that cannot drift: every command has help with an example and stands in docs/cli.md with all of its options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from hubspoke.cli import COMMANDS, cli
from hubspoke.commands.groups import every_command

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"
GLOBAL = ("--registry", "--workspace", "--json", "--quiet", "--debug")
# These change no version and no alias; evaluations have --no-record, the demo and the cache can only be repeated.
NO_DRY_RUN = """
    registry schema, demo, doctor, domain list, domain show, domain validate, data snapshots, data sessions, data
    diff, hub embed, hub list, hub show, spoke compare, spoke list, spoke show, index list, index check, recommend,
    similar, explain, evaluate run, evaluate compare, gate show, gate check, gate history, rules show, rules check,
    history, lineage show, lineage upstream, lineage downstream, lineage impact, lineage diff, lineage export,
    registry sql, registry current, launch report
"""
FOUND = {path: command for path, command in every_command(cli) if not isinstance(command, click.Group)}


@pytest.mark.parametrize("name", FOUND)
def test_a_command_has_help_an_example_and_documented_options(name: str) -> None:
    command = FOUND[name]
    assert command.help is not None
    assert "Example:" in command.help
    assert f"hubspoke {name}" in command.help
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert all(option.help and option.help.endswith((".", ".)")) for option in options)
    assert set(GLOBAL) <= {text for option in options for text in option.opts}


@pytest.mark.parametrize("name", FOUND)
def test_a_command_stands_in_the_reference_with_every_option(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition(f" hubspoke {name}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    assert section
    options = [param for param in FOUND[name].params if isinstance(param, click.Option)]
    missing = [o for option in options for o in option.opts if o not in GLOBAL and f"{o}" not in section]
    assert missing == []


@pytest.mark.parametrize("name", sorted(set(FOUND) - set(" ".join(NO_DRY_RUN.split()).split(", "))))
def test_a_command_that_changes_something_takes_dry_run(name: str) -> None:
    assert "--dry-run" in {text for param in FOUND[name].params for text in param.opts}


def test_the_reference_is_up_to_date() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "make_cli_reference"), "--check"]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_short_help_of_a_lazy_command_is_there_for_all() -> None:
    assert all(short.endswith(".") for _, _, short in COMMANDS.values())
    assert {name.split()[0] for name in FOUND} == set(COMMANDS)
