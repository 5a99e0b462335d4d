"""One story through the command line as a user types it: every step a process of its own, every output read as JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hubspoke.demo.simulation import MarketplaceSettings, simulate_marketplace

HUB = """
text:
  name: tiny
image:
  name: tiny
contrastive:
  steps: 4
  batch_size: 32
"""
SPOKE = ("--set", "training.max_epochs=2", "--set", "transformer.dimension=16", "--set", "min_item_count=3")


@dataclass(frozen=True)
class Outcome:
    """What a process wrote and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """Runs `hubspoke` in a folder."""

    folder: Path
    json_contract: Callable[[Sequence[str], str], None]

    def run(self, *arguments: str) -> Outcome:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("HUBSPOKE_")}
        command = [sys.executable, "-c", "from hubspoke.cli import main; main()", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=120, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The result of a command, whose stdout must be one JSON document and nothing else."""
        done = self.run(*arguments, "--json")
        assert done.code == code, done.err
        said = json.loads(done.out)
        assert said["schema_version"] == 1
        self.json_contract(arguments, done.out)
        return said


@pytest.fixture
def shell(tmp_path: Path, json_contract: Callable[[Sequence[str], str], None]) -> Shell:
    settings = MarketplaceSettings(
        categories=("lamps", "mugs"), items_per_category=40, users=60, events_per_user=(4, 7), image_size=16
    )
    simulate_marketplace(settings, tmp_path)
    (tmp_path / "tiny.yaml").write_text(HUB)
    return Shell(tmp_path, json_contract)


def test_a_category_from_files_to_rollback(shell: Shell) -> None:
    assert shell.json("init")["cached"] is False
    added = shell.json("domain", "add", "mugs", "--items", "mugs/items.csv", "--events", "mugs/events.csv")
    assert (added["items"]["rows"], added["cached"]) == (40, False)
    hub = shell.json("hub", "train", "--config", "tiny.yaml")
    assert (hub["ref"], hub["status"], hub["summary"]["kept_share"]) == ("hub:1", "ready", 0.0)

    launched = shell.json("launch", "lamps", "--catalog", "lamps/items.csv", "-k", "3")
    assert (launched["mode"], launched["release"]) == ("day zero", "release:lamps/1")
    assert [len(answer["items"]) for answer in launched["recommendations"]] == [3, 3, 3]
    assert shell.json("data", "ingest", "lamps", "--events", "lamps/events.csv")["events"]["rows"] > 200
    spoke = shell.json("spoke", "train", "lamps", *SPOKE, "--promote")
    assert (spoke["ref"], spoke["index"], spoke["release"]) == ("lamps:1", "index:lamps/2", "release:lamps/2")

    measured = shell.json("evaluate", "run", "--domain", "lamps", "--model", "lamps", "--k", "10")
    assert 0.0 < measured["metrics"]["all"]["ndcg@10"] < 1.0
    assert measured["metrics"]["cold"]["ndcg@10"] >= 0.0
    assert (measured["n_users"], measured["protocol"]["name"]) == (60, "leave-one-out")
    answer = shell.json("recommend", "lamps", "--session", "lamps-0001,lamps-0002,oak", "-k", "4", "--exclude-seen")
    assert (answer["served_by"], answer["unknown"], len(answer["items"])) == ("lamps:1", ["oak"], 4)
    assert not {"lamps-0001", "lamps-0002"} & {item["item_id"] for item in answer["items"]}

    assert shell.json("rollback", "lamps", "--reason", "worse")["after"] == "release:lamps/1"
    promoted = shell.json("promote", "lamps:1", "--reason", "better after all")
    assert (promoted["before"], promoted["after"]) == ("release:lamps/1", "release:lamps/2")
    indexes = shell.json("index", "list", "lamps")["indexes"]
    assert [(index["ref"], index["model"]) for index in indexes] == [
        ("index:lamps/1", "hub:1"),
        ("index:lamps/2", "lamps:1"),
    ]
    moves = next(value for value in shell.json("history", "lamps").values() if isinstance(value, list))
    assert [move["action"] for move in moves] == ["promote", "promote", "rollback", "promote"]
    lineage = shell.run("lineage", "show", "lamps")
    assert lineage.code == 0
    for ref in ("release:lamps/2", "lamps:1", "hub:1", "snapshot:lamps/items/1", "snapshot:lamps/events/1"):
        assert ref in lineage.out
    asked = shell.run("registry", "sql", "SELECT kind, count(*) AS n FROM models GROUP BY kind ORDER BY kind", "--csv")
    assert list(csv.reader(io.StringIO(asked.out))) == [["kind", "n"], ["hub", "1"], ["spoke", "1"]]


def test_what_goes_wrong_is_one_sentence_and_an_exit_code(shell: Shell) -> None:
    missing = shell.run("recommend", "lamps")
    assert (missing.code, missing.out) == (5, "")
    assert missing.err.startswith("Error: ")
    assert "hubspoke init" in missing.err
    (shell.folder / "empty.csv").write_text("item_id,title\n")
    empty = shell.json("launch", "pots", "--catalog", "empty.csv", code=4)
    assert empty["error"]["exit_code"] == 4
    assert "empty.csv" in empty["error"]["message"]
    launched = shell.run("launch", "lamps", "--catalog", "lamps/items.csv", "--hub", "hub:7")
    assert (launched.code, launched.out) == (5, "")
    assert "Traceback" not in launched.err
