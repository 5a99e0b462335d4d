"""Remedies that work: whatever command an error names exists, with the options that it is named with."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import hubspoke
import pytest
from hubspoke.cli import cli
from hubspoke.commands.groups import every_command

PACKAGE = Path(hubspoke.__file__).resolve().parent
OUTSIDE = ("tests", "benchmarks", "scripts", ".venv")
VALUE = "VALUE"  # in the place of what a message fills in
QUOTED = re.compile(r"`hubspoke ([^`]+)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
COMMANDS = dict(every_command(cli))
# Options of other programs.
FOREIGN = {"--force-reinstall", "--nproc-per-node", "--help"}


def texts(node: ast.AST) -> Iterator[str]:
    """Every text of a module, what is filled in replaced."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for inner in ast.iter_child_nodes(node):
        yield from texts(inner)


def in_package() -> list[tuple[str, str]]:
    files = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    own = [path for path in files if path.parts[0] not in OUTSIDE]
    return [(path.as_posix(), text) for path in own for text in texts(ast.parse((PACKAGE / path).read_text()))]


TEXTS = in_package()
NAMED = sorted({(where, quoted) for where, text in TEXTS for quoted in QUOTED.findall(text)})


def problem(line: str) -> str | None:
    """What is wrong with a command line, None where the command and all of its options exist."""
    words = [word.rstrip(",.;").split("|")[0] for word in shlex.split(line.replace("[", " ").replace("]", " "))]
    command: click.Command = cli
    name = ""
    while isinstance(command, click.Group) and words and f"{name} {words[0]}".strip() in COMMANDS:
        name = f"{name} {words.pop(0)}".strip()
        command = COMMANDS[name]
    if isinstance(command, click.Group) and words:
        if f"{name} new" in COMMANDS:  # `launch NAME` stands for `launch new NAME`
            command = COMMANDS[f"{name} new"]
        elif words[0].islower():
            return f"there is no command {name} {words[0]}"
    known = {text for param in command.params for text in (*param.opts, *param.secondary_opts)}
    named = [word.split("=")[0] for word in words if word.startswith("--") and VALUE not in word]
    unknown = [option for option in named if option not in known]
    return f"{name} has no {unknown[0]}" if unknown else None


@pytest.mark.parametrize(("where", "line"), NAMED)
def test_a_command_that_is_named_exists_with_its_options(where: str, line: str) -> None:
    assert problem(line) is None, f"{where}: `hubspoke {line}`"


def test_an_option_that_is_named_is_some_commands() -> None:
    known = {text for command in COMMANDS.values() for param in command.params for text in param.opts}
    known |= {text for command in COMMANDS.values() for param in command.params for text in param.secondary_opts}
    named = {(where, option) for where, text in TEXTS for option in OPTION.findall(text)}
    assert sorted((where, option) for where, option in named if option not in known | FOREIGN) == []


def test_the_rule_finds_what_does_not_exist() -> None:
    assert problem("evaluate run garden:1 --force") == "evaluate run has no --force"
    assert problem("index bild") == "there is no command index bild"
    assert problem("spoke train VALUE --force") is None
    assert problem("launch VALUE --catalog FILE") is None
    assert len(NAMED) > 40
