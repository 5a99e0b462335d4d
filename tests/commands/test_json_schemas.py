"""Every command's `--json` follows its published schema, and every schema is one that a real run has met."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from click.testing import CliRunner
from hubspoke.cli import cli
from hubspoke.commands.schemas import ERROR, RESULTS, command_of, command_schema, commands, documents, file_name
from hubspoke.demo.simulation import MarketplaceSettings, simulate_marketplace
from hubspoke.registry.records import AliasRecord, Record
from hubspoke.workflows.results import Result
from hubspoke.workflows.schemas import Schemas, forms, resolve

ROOT = Path(__file__).resolve().parents[2]
# A category with a spoke and one launched without events, told in the order in which a user would.
STORY = """
init
registry upgrade
registry current
domain add lamps --items {lamps}/items.csv --events {lamps}/events.csv
domain list
domain validate lamps
data ingest lamps --items {lamps}/items.csv --events {lamps}/events.csv
data snapshots lamps
data sessions lamps
data diff snapshot:lamps/items/1 snapshot:lamps/items/latest
hub train --domains lamps --config {hub}
hub list
hub show hub:1
hub embed lamps
launch mugs --catalog {mugs}/items.csv
index build hub:1 --domain lamps
index add index:lamps/1
index list
index check index:lamps/1
promote index:lamps/1
spoke train lamps --config {spoke}
spoke list
spoke show lamps:1
spoke train lamps --from lamps:1 --set training.max_epochs=0
spoke compare lamps:1 lamps:2
promote lamps:1
rollback lamps
history lamps
recommend lamps --session {item} -k 3
similar lamps {item} -k 3
explain lamps --session {item} -k 3
explain index:lamps/2 --session {item} --item {item}
rerank rules lamps --set max_per_brand=3
rerank rules lamps --list
evaluate run --domain lamps --model lamps:1 --k 10
evaluate compare --domain lamps --models popularity,lamps:1 --k 10
evaluate gate lamps --min ndcg@10=0 --reason start
evaluate gate lamps --check lamps:1
evaluate gate lamps --history
domain show lamps
lineage show lamps
lineage upstream lamps
lineage downstream hub:1
lineage impact hub:1
lineage diff index:lamps/1 index:lamps/latest
lineage export lamps --openlineage
domain archive mugs
bundle export lamps --output moved.hubspoke
bundle import moved.hubspoke --alias candidate
gc --dry-run
doctor
registry schema v_models
registry backup copy.db
registry restore copy.db --workspace restored
"""
# Not run here, and why; each has its schema all the same.
EXEMPT = {"demo": "takes minutes"}
HUB = {"text": {"name": "tiny"}, "image": None, "contrastive": {"steps": 0}}
SPOKE = {"transformer": {"dimension": 16}, "min_item_count": 3, "training": {"max_epochs": 2, "negatives": 16}}


Told = dict[str, list[tuple[tuple[str, ...], str]]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Every command of the story with its arguments and what it wrote, each time that it was called."""
    folder = tmp_path_factory.mktemp("story")
    settings = MarketplaceSettings(
        categories=("lamps", "mugs"), items_per_category=40, users=60, events_per_user=(4, 7), image_size=16
    )
    simulate_marketplace(settings, folder)
    names = {"lamps": str(folder / "lamps"), "mugs": str(folder / "mugs")}
    for name, config in (("hub", HUB), ("spoke", SPOKE)):
        (folder / f"{name}.yaml").write_text(json.dumps(config))
        names[name] = str(folder / f"{name}.yaml")
    with (folder / "lamps" / "items.csv").open(encoding="utf-8") as file:
        names["item"] = next(csv.DictReader(file))["item_id"]
    lines = [tuple(word.format(**names) for word in line.split()) for line in STORY.strip().splitlines()]
    lines.append(("registry", "sql", "SELECT ref, created_at, domain_id FROM nodes"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found: Told = {}
        for line in lines:
            found.setdefault(command_of(line) or "", []).append((line, written(line)))
        yield found


def written(line: Sequence[str]) -> str:
    ended = CliRunner().invoke(cli, [*line, "--json", "--quiet"])
    assert ended.exit_code == 0 or line[0] == "doctor", ended.output
    return ended.stdout


@pytest.mark.parametrize("command", sorted(set(RESULTS) - set(EXEMPT)))
def test_a_real_run_follows_the_schema(
    told: Told, json_contract: Callable[[Sequence[str], str], None], command: str
) -> None:
    assert command in told, f"{command} has a schema but no line in STORY; add one, or exempt it and say why"
    for line, said in told[command]:
        assert not isinstance(json.loads(said).get("error"), dict)
        json_contract(line, said)


def test_a_schema_refuses_what_is_not_in_it(told: Told) -> None:
    for command, calls in told.items():
        document = json.loads(calls[0][1])
        validator = jsonschema.Draft202012Validator(command_schema(command))
        key = list(document)[-1]
        assert not validator.is_valid({**document, "surprise": 1})
        assert not validator.is_valid({name: value for name, value in document.items() if name != key})
        assert not validator.is_valid({**document, "schema_version": 2})


def test_every_command_has_a_schema_and_no_schema_is_left_over() -> None:
    assert set(RESULTS) == set(commands(cli)), "commands/schemas.py has one line for each command"


def test_the_published_schemas_are_up_to_date() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "make_json_schemas"), "--check"]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", sorted(documents()))
def test_a_published_schema_is_a_schema(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:hubspoke:json:1:{name.removesuffix('.json')}"
    for form in forms(schema):
        assert form["properties"]["schema_version"] == {"const": 1}
        assert form["additionalProperties"] is False


def test_an_error_has_a_schema(run: Any) -> None:
    assert run("domain", "list", "--json").json["error"]["exit_code"] == 5
    assert run("domain", "list", "--jsno", "--json").json["error"]["type"] == "UsageError"
    (Path.cwd() / "bad.csv").write_text("item_id,title\nrose,Red\nrose,Blue\n")
    refused = run("domain", "add", "pots", "--items", "bad.csv", "--json").json
    assert "report" in refused["error"]


def test_a_command_line_names_its_command() -> None:
    assert command_of(["domain", "list", "--json"]) == "domain list"
    assert command_of(["recommend", "garden", "--json"]) == "recommend"
    assert command_of(["--version"]) is None
    assert file_name("domain list") == "domain-list.json"
    assert file_name(ERROR) == "error.json"


# ---- from a type to a schema ----


@dataclass(frozen=True)
class Leaf(Record):
    """One leaf,
    as it grows.

    Attributes:
        name: what it is called,
            or None.
        size: in centimetres.
    """

    name: str | None
    size: float

    @property
    def ref(self) -> str:
        return f"leaf:{self.name}"


@dataclass(frozen=True)
class Branch(Result):
    """A branch."""

    leaves: tuple[Leaf, ...]
    branches: list[Branch]
    ends: tuple[int, str]
    kind: Literal["thick", "thin"]
    cut: datetime | None
    file: Path
    notes: Mapping[str, Any]
    counts: Mapping[str, int]
    best: Leaf | None
    either: AliasRecord | str


def test_a_dataclass_becomes_a_closed_object() -> None:
    schemas = Schemas({})
    assert schemas.of_type(Branch) == {"$ref": "#/$defs/Branch"}
    assert schemas.defs["Leaf"] == {
        "description": "One leaf, as it grows.",
        "type": "object",
        "properties": {
            "ref": {"type": "string"},
            "name": {"description": "what it is called, or null.", "type": ["string", "null"]},
            "size": {"description": "in centimetres.", "type": ["number", "null"]},
        },
        "required": ["ref", "name", "size"],
        "additionalProperties": False,
    }
    assert schemas.defs["Branch"]["properties"] == {
        "leaves": {"type": "array", "items": {"$ref": "#/$defs/Leaf"}},
        "branches": {"type": "array", "items": {"$ref": "#/$defs/Branch"}},
        "ends": {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2,
            "maxItems": 2,
        },
        "kind": {"enum": ["thick", "thin"]},
        "cut": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "file": {"type": "string"},
        "notes": {"type": "object"},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "best": {"anyOf": [{"$ref": "#/$defs/Leaf"}, {"type": "null"}]},
        "either": {"anyOf": [{"$ref": "#/$defs/AliasRecord"}, {"type": "string"}]},
    }


def test_shapes() -> None:
    schemas = Schemas({})
    assert schemas.of_shape(["int"]) == {"type": "array", "items": {"type": "integer"}}
    assert schemas.of_shape({str: "str?"}) == {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
    merged = schemas.of_shape({"*": "registry.records.AliasRecord", "depth": "int"})
    assert list(merged["properties"]) == merged["required"] == ["ref", "scope", "alias", "target", "depth"]
    assert resolve("registry.records.AliasRecord") is AliasRecord


def test_what_has_no_schema_is_refused() -> None:
    @dataclass(frozen=True)
    class Sly(Result):
        """Writes something else than its fields."""

        name: str

        def to_dict(self) -> dict[str, Any]:
            return {"alias": self.name}

    with pytest.raises(TypeError, match="to_dict of its own"):
        Schemas({}).of_type(Sly)
    with pytest.raises(TypeError, match="make it a dataclass"):
        Schemas({}).of_type(subprocess.Popen)
    with pytest.raises(TypeError, match="no type"):
        resolve("registry.records.Nothing")
    with pytest.raises(TypeError, match="no object"):
        Schemas({}).document(["int"])
