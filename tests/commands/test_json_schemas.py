"""The published schemas are what the types of the results say, as JSON."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from hubspoke.commands import schemas
from hubspoke.results import Record

ROOT = Path(__file__).resolve().parents[2]


def test_the_published_schemas_are_up_to_date() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "make_json_schemas"), "--check"]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_published_schema_is_a_closed_schema_with_its_version() -> None:
    for name, schema in schemas.documents().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"] == f"urn:hubspoke:json:1:{name.removesuffix('.json')}"
        for form in schema.get("oneOf", [schema]):
            assert form["properties"]["schema_version"] == {"const": 1}
            assert form["additionalProperties"] is False
            assert form["required"] == list(form["properties"])


@dataclass(frozen=True)
class Leaf(Record):
    """One leaf."""

    name: str | None
    size: float = 0.0

    @property
    def ref(self) -> str:
        return f"leaf:{self.name}"


@dataclass(frozen=True)
class Branch(Record):
    """A branch."""

    leaves: tuple[Leaf, ...]
    kind: Literal["thick", "thin"]
    cut: datetime | None
    counts: Mapping[str, int]
    file: Path = Path("here")


def test_a_result_becomes_a_closed_object_of_every_key_that_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "DOCUMENTS", {"branch": Branch})
    validator = jsonschema.Draft202012Validator(schemas.document("branch"))
    written = Branch((Leaf("a", float("nan")),), "thin", None, {"n": 1}).to_dict()
    document = json.loads(json.dumps({"schema_version": 1, **written}))
    assert document["leaves"] == [{"ref": "leaf:a", "name": "a", "size": None}]
    assert validator.is_valid(document)
    wrongs = ({"kind": "bent"}, {"counts": {"n": "many"}}, {"surprise": 1}, {"file": 7})
    for wrong in (*wrongs, {"leaves": [{"name": "a", "size": 1.0}]}):
        assert not validator.is_valid({**document, **wrong}), wrong


def test_a_result_that_writes_something_else_than_its_fields_has_to_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Sly(Record):
        name: str

        def to_dict(self) -> dict[str, Any]:
            return {"alias": self.name}

    monkeypatch.setattr(schemas, "DOCUMENTS", {"sly": Sly})
    with pytest.raises(TypeError, match="to_dict of its own"):
        schemas.document("sly")
