"""Docs that cannot drift: every command has help with an example and stands in docs/cli.md with all of its options."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hubspoke.cli import COMMANDS, cli
from hubspoke.commands.groups import every_command

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
GLOBAL = ("--registry", "--workspace", "--json", "--quiet", "--debug")
# These change no version and no alias; evaluations have --no-record, the demo and the cache can only be repeated.
NO_DRY_RUN = """
    registry schema, demo, doctor, domain list, domain show, domain validate, data snapshots, data sessions, data
    diff, hub embed, hub list, hub show, spoke compare, spoke list, spoke show, index list,
    index show, index bench, index check, recommend,
    similar, search, explain, evaluate run, evaluate compare, evaluate quality, evaluate drift,
    evaluate business,
    experiment list, experiment report, gate show, gate check, gate history, rules show,
    rules check, history, lineage show, lineage upstream, lineage downstream, lineage impact, lineage diff, lineage
    export, registry sql, registry current, launch report, data inspect, data formats, domain similar,
    serve, console, key list, rerank list, rerank show
"""
FOUND = {path: command for path, command in every_command(cli) if not isinstance(command, click.Group)}


@pytest.mark.parametrize("name", FOUND)
def test_a_command_has_help_an_example_and_documented_options(name: str) -> None:
    command = FOUND[name]
    assert command.help is not None and "Example:" in command.help and f"hubspoke {name}" in command.help
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert all(option.help and option.help.endswith((".", ".)")) for option in options)
    written = {text for option in options for text in option.opts}
    assert set(GLOBAL) <= written
    # It stands in the reference with all of them, and takes --dry-run where it changes something.
    section = PAGE.partition(f" hubspoke {name}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    assert section and [text for text in written if text not in GLOBAL and text not in section] == []
    assert "--dry-run" in written or name in " ".join(NO_DRY_RUN.split()).split(", ")


@pytest.mark.parametrize("name", ["make_cli_reference", "make_feed_reference"])
def test_a_written_page_is_up_to_date(name: str) -> None:
    script = [sys.executable, str(ROOT / "scripts" / name), "--check"]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("page", ["serving", "reliability"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {test}"


def test_the_short_help_of_a_lazy_command_is_there_for_all() -> None:
    assert all(short.endswith(".") for _, _, short in COMMANDS.values())
    assert {name.split()[0] for name in FOUND} == set(COMMANDS)
