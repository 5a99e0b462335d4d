"""One story through every command, in the order in which a user would tell it: facts, schemas, exit codes."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner
from hubspoke.cli import cli
from hubspoke.commands.groups import every_command
from hubspoke.commands.schemas import RESULTS, document
from hubspoke.demo.simulation import MarketplaceSettings, simulate_marketplace

# A category with a spoke, and one launched without events.
STORY = """
init
registry upgrade
registry current
domain add lamps --items {lamps}/items.csv --events {lamps}/events.csv
domain list
domain validate lamps
data ingest lamps --items {lamps}/items.csv --events {lamps}/events.csv
data ingest lamps --from-log
data snapshots lamps
data sessions lamps
data inspect {lamps}/items.csv {lamps}/events.csv
data formats shopify
data export lamps -o exported
data diff snapshot:lamps/items/1 snapshot:lamps/items/latest
hub train --domains lamps --config {hub}
hub train --from hub:1 --domains lamps --set seed=1
hub list
hub show hub:1
hub embed lamps
launch mugs --catalog {mugs}/items.csv -k 3
launch report mugs -o mugs.html
domain similar mugs
index build hub:1 --domain lamps
index show index:lamps/1
index bench index:lamps/1 --recall 0.9
index add index:lamps/1
index list
index check index:lamps/1
promote index:lamps/1
index refresh lamps --promote
spoke train lamps --config {spoke}
spoke list
spoke show lamps:1
spoke train lamps --from lamps:1 --set training.max_epochs=0
spoke compare lamps:1 lamps:2
promote lamps:1
rollback lamps --reason worse
promote lamps:1 --reason better
history lamps
launch refresh lamps
recommend lamps --session {item},oak -k 3 --exclude-seen --near 0.99
recommend mugs --user user-0000 -k 3
similar lamps {item} -k 3
search lamps oak -k 3
explain lamps --session {item} -k 3
explain index:lamps/2 --session {item} --item {item}
rerank train lamps --set trees=5
rerank list lamps
rerank show reranker:lamps/1
rules set lamps --set max_per_brand=3
rules show lamps
rules check lamps rules:lamps/1
rules clear lamps
evaluate run --domain lamps --model lamps:1 --k 10
evaluate compare --domain lamps --models popularity,lamps:1 --k 10 --by brand
evaluate quality lamps
evaluate drift lamps:1 lamps:2
evaluate business lamps:1 --log log.csv
evaluate business lamps:1
gate set lamps --min ndcg@10=0 --max hubness=20 --reason start
gate show lamps
gate check lamps lamps:1
gate clear lamps
gate history lamps
promote lamps:2 --to candidate
experiment start lamps --candidate lamps@candidate --share 0.1
experiment list lamps
experiment report lamps
experiment promote lamps --override --reason story --dry-run
experiment stop lamps --reason enough
domain show lamps
lineage show lamps
lineage upstream lamps
lineage downstream hub:1
lineage impact hub:1
lineage diff index:lamps/1 index:lamps/latest
lineage export lamps --openlineage
index remove lamps --item {item}
domain archive mugs
spoke train lamps --config {spoke} --transfer auto --no-index
hub train --domains lamps --from-scratch --config {scratch}
bundle export lamps --output moved.hubspoke
bundle import moved.hubspoke --alias candidate
gc --dry-run
key add shop --scopes read,events
key list
key remove shop
doctor
registry schema v_models
registry adopt
registry backup copy.db
registry restore copy.db --workspace restored
"""
# Not run here, and why; each has its schema all the same.
EXEMPT = {"demo": "takes minutes", "serve": "runs until it is stopped", "console": "likewise"}
HUB = {"text": {"name": "tiny"}, "image": {"name": "tiny"}, "contrastive": {"steps": 4, "batch_size": 32}}
SHAPE = {"layers": 1, "width": 16, "heads": 2, "vocabulary": 99, "channels": 2, "image_size": 16}
SCRATCH = {"own_encoders": SHAPE, "encoders": {"steps": 3, "batch_size": 8}, "contrastive": {"steps": 0}}
SPOKE = {"transformer": {"dimension": 16}, "min_item_count": 3, "training": {"max_epochs": 2, "negatives": 16}}


@dataclass(frozen=True)
class Step:
    """One command of the story and what it wrote."""

    command: str
    arguments: tuple[str, ...]
    written: str

    @property
    def json(self) -> Any:
        return json.loads(self.written)


@dataclass(frozen=True)
class Journey:
    """The story as it went, in its folder."""

    folder: Path
    item: str
    steps: tuple[Step, ...]

    def all(self, command: str) -> list[Any]:
        """What a command wrote, each time that it was called."""
        return [step.json for step in self.steps if step.command == command]

    def one(self, command: str) -> Any:
        return self.all(command)[0]


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """The whole story, told once for all tests; every command with `--json`."""
    folder = tmp_path_factory.mktemp("story")
    settings = MarketplaceSettings(
        categories=("lamps", "mugs"), items_per_category=40, users=60, events_per_user=(4, 7), image_size=16
    )
    simulate_marketplace(settings, folder)
    names = {"lamps": "lamps", "mugs": "mugs"}
    for name, config in (("hub", HUB), ("scratch", SCRATCH), ("spoke", SPOKE)):
        (folder / f"{name}.yaml").write_text(json.dumps(config))
        names[name] = f"{name}.yaml"
    shown = "".join(f"u{n},{n % 3},0.5,0.5,{n}\n" for n in range(120))
    (folder / "log.csv").write_text(f"user_id,revenue,logged,target,seller_rank\n{shown}")
    with (folder / "lamps" / "items.csv").open(encoding="utf-8") as file:
        names["item"] = next(csv.DictReader(file))["item_id"]
    lines = [tuple(word.format(**names) for word in line.split()) for line in STORY.strip().splitlines()]
    lines.append(("registry", "sql", "SELECT ref, created_at, domain_id FROM nodes"))
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in lines:
            ended = CliRunner().invoke(cli, [*line, "--json", "--quiet"])
            assert ended.exit_code == 0 or line[0] == "doctor", ended.output
            command = next(name for name in (" ".join(line[:2]), line[0], f"{line[0]} new") if name in RESULTS)
            steps.append(Step(command, line, ended.stdout))
    return Journey(folder, names["item"], tuple(steps))


def test_every_command_is_in_the_story_and_follows_its_schema_which_takes_nothing_else(journey, json_contract) -> None:
    found = {path for path, command in every_command(cli) if not isinstance(command, click.Group)}
    assert set(RESULTS) == found, "commands/schemas.py has one line for each command"
    assert {step.command for step in journey.steps} == set(RESULTS) - set(EXEMPT), "STORY misses a command"
    for step in journey.steps:
        assert not isinstance(step.json.get("error"), dict)
        json_contract(step.arguments, step.written)
        validator = jsonschema.Draft202012Validator(document(step.command))
        for wrong in (step.json | {"surprise": 1}, dict([*step.json.items()][:-1]), step.json | {"schema_version": 2}):
            assert not validator.is_valid(wrong)


def test_a_category_from_files_to_rollback(journey: Journey) -> None:
    assert journey.one("init")["cached"] is False
    added, again = journey.one("domain add"), journey.one("data ingest")
    assert (added["items"]["rows"], added["cached"], again["items"]["cached"]) == (40, False, True)
    assert added["events"]["rows"] > 200
    hub = journey.one("hub train")
    assert (hub["ref"], hub["status"], hub["summary"]["kept_share"]) == ("hub:1", "ready", 0.0)
    scratch = journey.all("hub train")[2]
    assert (scratch["ref"], scratch["summary"]["kept_encoders"]) == ("hub:3", 1.0)
    launched = journey.one("launch new")
    assert (launched["mode"], launched["release"]) == ("day zero", "release:mugs/1")
    assert [len(answer["items"]) for answer in launched["recommendations"]] == [3, 3, 3]
    assert [model["ref"] for model in journey.one("spoke list")["spokes"]] == ["lamps:1"]
    measured = journey.one("evaluate run")
    assert 0.0 < measured["metrics"]["all"]["ndcg@10"] < 1.0
    assert measured["metrics"]["cold"]["ndcg@10"] >= 0.0
    assert (measured["n_users"], measured["protocol"]["name"]) == (60, "leave-one-out")
    answer, newcomer = journey.all("recommend")
    assert (answer["served_by"], answer["unknown"], len(answer["items"])) == ("lamps:1", ["oak"], 3)
    assert journey.item not in {item["item_id"] for item in answer["items"]}
    assert (newcomer["served_by"], len(newcomer["items"])) == ("newest", 3)
    assert [own["domain"] for own in newcomer["known_from"]] == ["lamps"]
    moves = [(move["action"], move["to_ref"]) for move in journey.one("history")["history"]]
    first, second = "release:lamps/1", "release:lamps/2"
    assert moves == [("promote", first), ("promote", second), ("rollback", first), ("promote", second)]
    made = {node["ref"] for node in journey.one("lineage upstream")["lineage"]["nodes"]}
    assert {second, "lamps:1", "hub:1", "snapshot:lamps/items/1", "snapshot:lamps/events/1"} <= made


def hubspoke(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program as a user starts it: a process of its own."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HUBSPOKE_")}
    command = [sys.executable, "-c", "from hubspoke.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_a_process_answers_on_stdout_alone(journey: Journey) -> None:
    shown = hubspoke(journey.folder, "lineage", "show", "lamps")
    assert shown.returncode == 0
    assert all(ref in shown.stdout for ref in ("release:lamps/2", "lamps:1", "hub:1", "snapshot:lamps/items/1"))
    asked = hubspoke(journey.folder, "registry", "sql", "SELECT ref FROM v_models WHERE kind = 'hub'", "--csv")
    assert asked.stdout.split() == ["ref", "hub:1", "hub:2", "hub:3"]
    answered = hubspoke(journey.folder, "recommend", "lamps", "--session", journey.item, "--json")
    assert json.loads(answered.stdout)["served_by"] == "lamps:1"


def test_what_goes_wrong_is_one_sentence_and_an_exit_code(tmp_path, json_contract) -> None:
    missing = hubspoke(tmp_path, "recommend", "lamps")
    assert (missing.returncode, missing.stdout) == (5, "")
    assert missing.stderr.startswith("Error: ") and "hubspoke init" in missing.stderr
    (tmp_path / "empty.csv").write_text("item_id,title\n")
    empty = hubspoke(tmp_path, "launch", "pots", "--catalog", "empty.csv", "--json")
    assert empty.returncode == json.loads(empty.stdout)["error"]["exit_code"] == 4
    assert "empty.csv" in empty.stderr and "Traceback" not in empty.stderr
    json_contract(("launch",), empty.stdout)
