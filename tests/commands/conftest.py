"""Run commands in this process, in a folder of their own with a small catalog."""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hubspoke.cli import cli
from hubspoke.registry.store import Registry


@dataclass(frozen=True)
class Outcome:
    """What a command wrote and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[list[str]]:
        """The cells of each line of text, without rules and empty lines."""
        return [re.split(r"\s{2,}", line.strip()) for line in self.out.splitlines() if line.strip("- ")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a catalog, events, and no workspace yet."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("HUBSPOKE_")]:
        monkeypatch.delenv(name)
    (folder / "items.csv").write_text("item_id,title\nrose,Red rose\nfern,Green fern\npot,Clay pot\n")
    rows = "".join(f"ann,{item},2024-05-01T10:0{i}:00Z\n" for i, item in enumerate(("rose", "fern", "pot")))
    (folder / "events.csv").write_text(f"user_id,item_id,timestamp\n{rows}")
    return folder


@pytest.fixture
def run(home: Path, capsys, json_contract: Callable[[Sequence[str], str], None]) -> Callable[..., Outcome]:
    """Runs a command; what it writes with `--json` has to follow the published schema."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        written = capsys.readouterr()
        if "--json" in arguments:
            json_contract(arguments, written.out)
        return Outcome(int(ended.value.code or 0), written.out, written.err)

    return call


@pytest.fixture
def garden(run: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """`run` in a workspace that has the domain garden."""
    added = run("domain", "add", "garden", "--items", "items.csv", "--events", "events.csv")
    assert added.code == 0, added.err
    return run


@pytest.fixture
def two_spokes(garden: Callable[..., Outcome], home, versions_of: Callable[[Registry], Any]) -> Callable[..., Outcome]:
    """`run` where garden has two spokes with an index each, on one hub."""
    with Registry(f"sqlite:///{home}/.hubspoke/registry.db") as registry:
        models = versions_of(registry)
        models.hub()
        for _ in range(2):
            models.index(models.spoke("hub:1").ref)
    return garden
