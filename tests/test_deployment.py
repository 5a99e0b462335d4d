"""The Dockerfile and the compose file name what exists: files, extras, settings, commands and their options."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from hubspoke.cli import cli
from hubspoke.commands.groups import every_command
from hubspoke.settings import NAMES

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def check_command(words: list[str]) -> None:
    commands = dict(every_command(cli))
    command = commands[words[0]]
    known = {text for option in command.params if isinstance(option, click.Option) for text in option.opts}
    assert {word for word in words if word.startswith("--")} <= known


def check_settings(names: list[str]) -> None:
    assert {name.removeprefix("HUBSPOKE_").lower() for name in names if name.startswith("HUBSPOKE_")} <= set(NAMES)


def test_the_image_installs_extras_that_exist_and_starts_a_command_that_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r'"\.\[(.+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    (entry,), started = (
        json.loads(re.findall(rf"^{name} (.+)$", DOCKERFILE, re.M)[0]) for name in ("ENTRYPOINT", "CMD")
    )
    assert entry in project["scripts"]
    check_command(started)
    check_settings(re.findall(r"(\w+)=", DOCKERFILE))
    assert "USER hubspoke" in DOCKERFILE  # nothing runs as root
    required = re.search(r'requires-python = ">=(.+)"', (ROOT / "pyproject.toml").read_text())
    assert required is not None and f"python:{required[1]}-slim" in DOCKERFILE


@pytest.mark.parametrize("name", ["schema", "service"])
def test_each_service_of_ours_runs_a_command_that_exists_with_settings_that_exist(name: str) -> None:
    service = COMPOSE["services"][name]
    check_command(service["command"])
    check_settings(list(service["environment"]))
    assert (ROOT / service["build"] / "Dockerfile").is_file()
    assert all(volume.split(":")[0] in COMPOSE["volumes"] for volume in service["volumes"])
    assert set(service["depends_on"]) <= set(COMPOSE["services"])


def test_the_service_is_reached_from_this_machine_alone_and_has_time_to_end(name: str = "service") -> None:
    from hubspoke.serving.server import STOP_SECONDS

    service = COMPOSE["services"][name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert int(service["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
