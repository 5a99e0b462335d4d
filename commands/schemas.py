"""What every command writes with `--json`: the type of its result, and the JSON Schema that pydantic derives from it.

No command needs this module to run; it serves scripts/make_json_schemas and the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .. import evaluation, workflows
from ..demo import plan
from ..registry import lineage, records, views
from ..registry.lineage.graph import Direction, Lineage, TreeLine
from ..registry.records import EdgeRecord, MetricRecord, NodeRecord
from ..results import SCHEMA_VERSION, Record
from ..serving import keys
from ..workflows import assessment

# Command to the class of its result, or to the keys of an object that it puts together itself, with their types.
RESULTS: Mapping[str, str | Mapping[str, str]] = {
    "demo": "DemoResult",
    "init": "InitResult",
    "doctor": "Diagnosis",
    "bundle export": "BundleExport",
    "bundle import": "BundleImport",
    "gc": "Garbage",
    "domain add": "DomainAdded",
    "domain archive": "DomainArchived",
    "domain list": {"domains": "list[DomainRecord]"},
    "domain show": "DomainDetails",
    "domain similar": "SimilarDomains",
    "domain validate": "Validation",
    "data diff": "DiffResult",
    "data export": "DataExported",
    "data formats": {"formats": "list[FormatInfo]"},
    "data ingest": "DataIngested",
    "data inspect": "Inspection",
    "data sessions": "SessionsResult",
    "data snapshots": {"snapshots": "list[SnapshotRecord]"},
    "hub embed": "EmbedResult",
    "hub list": {"hubs": "list[ModelRecord]"},
    "hub show": "ModelRecord",
    "hub train": "ModelResult",
    "spoke compare": "SpokeComparison",
    "spoke list": {"spokes": "list[ModelRecord]"},
    "spoke show": "ModelRecord",
    "spoke train": "ModelResult",
    "launch new": "LaunchResult",
    "launch refresh": "RefreshResult",
    "launch report": "LaunchReport",
    "index add": "IndexAddition",
    "index bench": "IndexBench",
    "index build": "IndexResult",
    "index check": "IndexCheck",
    "index refresh": "IndexRefresh",
    "index remove": "IndexRemoval",
    "index show": "IndexRecord",
    "index list": {"indexes": "list[IndexRecord]"},
    "rerank list": {"rerankers": "list[ModelRecord]"},
    "rerank show": "ModelRecord",
    "rerank train": "ModelResult",
    "rules check": "RulesCheck",
    "rules clear": "Promotion",
    "rules set": "RulesResult",
    "rules show": "RulesVersions",
    "recommend": "Recommendations",
    "similar": "Recommendations",
    "search": "SearchResults",
    "explain": "Explanation",
    "evaluate business": "BusinessCard",
    "evaluate compare": "CompareResult",
    "evaluate drift": "VersionDrift",
    "evaluate quality": "QualityCard",
    "evaluate run": "EvaluationResult",
    "experiment list": {"experiments": "list[ExperimentRecord]"},
    "experiment promote": "ExperimentPromotion",
    "experiment report": "ExperimentReport",
    "experiment start": "ExperimentResult",
    "experiment stop": "ExperimentResult",
    "gate check": "GateCheck",
    "gate clear": "GateResult",
    "gate history": {"gates": "list[GateResult]"},
    "gate set": "GateResult",
    "gate show": "GateResult",
    "promote": "Promotion",
    "rollback": "Promotion",
    "history": {"history": "list[AliasChange]"},
    "serve": {
        "address": "str",
        "domains": "list[str]",
        "keys": "str | None",
        "console": "str | None",
        "token": "str | None",
    },
    "console": {"address": "str", "token": "str | None"},
    "key add": "NewKey",
    "key list": {"keys": "list[KeyRecord]"},
    "key remove": "RemovedKey",
    "lineage diff": "Difference",
    "lineage downstream": {"lineage": "Lineage"},
    "lineage export": "OpenLineageExport",
    "lineage impact": "Impact",
    "lineage show": {"lineage": "LineageTree"},
    "lineage upstream": {"lineage": "Lineage"},
    "registry adopt": "Adoption",
    "registry backup": "Backup",
    "registry current": "SchemaState",
    "registry restore": "Restoration",
    "registry schema": {"views": "list[View]"},
    "registry sql": {"columns": "list[str]", "rows": "list[dict[str, Any]]"},
    "registry upgrade": "InitResult",
}


@dataclass
class Failure:
    """What went wrong, in one sentence that ends in the remedy; the process ends with the exit code."""

    type: str
    message: str
    exit_code: int


@dataclass
class Refusal(Failure):
    """A table was refused; every problem of it stands in the report."""

    report: dict[str, Any]


ERROR = "error"
DOCUMENTS: Mapping[str, Any] = {**RESULTS, ERROR: {"error": Failure | Refusal}}


# ---- classes whose `to_dict` gives something else than their fields, and what it gives ----


@dataclass(frozen=True)
class LineageNodeDocument(NodeRecord):
    """A node with its distance and the relations that the shortest ways to it end with."""

    depth: int
    relations: list[str]


@dataclass(frozen=True)
class LineageDocument:
    """Everything on one side of `root`: nodes by depth and age, `root` first, and every edge between them."""

    root: NodeRecord
    direction: Direction
    nodes: list[LineageNodeDocument]
    edges: list[EdgeRecord]


@dataclass(frozen=True)
class TreeLineDocument(NodeRecord):
    """One line of a printed tree."""

    depth: int
    edges: list[EdgeRecord]
    repeated: bool
    cut: bool
    metric: MetricRecord | None


WRITTEN_AS: Mapping[type, type] = {Lineage: LineageDocument, TreeLine: TreeLineDocument}


_ROOMS = (evaluation, lineage, workflows, assessment)
_MODULES = [import_module(f"{room.__name__}.{found.name}") for room in _ROOMS for found in iter_modules(room.__path__)]
_FOUND = [
    own for module in (*_MODULES, plan, records, views, keys) for own in vars(module).values() if isinstance(own, type)
]
# Classes by name, for results and for annotations that a module imports for type checkers only.
_TYPES = {own.__name__: own for own in sorted(_FOUND, key=lambda own: own.__module__)}


class _Generator(GenerateJsonSchema):
    """Closed objects of the keys that `to_dict` gives; a number that is none (NaN) is written as null."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        cls = schema["cls"]
        if cls in WRITTEN_AS:
            return self.generate_inner(_core_schema(WRITTEN_AS[cls]))
        if getattr(cls, "to_dict", Record.to_dict) is not Record.to_dict:
            raise TypeError(f"{cls.__name__} has a to_dict of its own; say in WRITTEN_AS what it gives.")
        made = {**super().dataclass_schema(schema), "additionalProperties": False}
        if "ref" not in made["properties"] and isinstance(getattr(cls, "ref", None), property):
            made["properties"] = {"ref": {"type": "string"}, **made["properties"]}
            made["required"] = ["ref", *made["required"]]
        return made

    def field_is_required(self, field: Any, total: bool) -> bool:
        return bool(field.get("required", True))

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"type": ["number", "null"]}

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value  # keys stay in the order in which they are written


def _core_schema(type_: Any) -> core_schema.CoreSchema:
    if isinstance(type_, Mapping):
        type_ = make_dataclass("Keys", type_.items())
    adapter = TypeAdapter(_TYPES[type_] if isinstance(type_, str) else type_)
    adapter.rebuild(_types_namespace=_TYPES)
    return adapter.core_schema


def documents() -> dict[str, JsonSchemaValue]:
    """Every published schema by its file name."""
    return {file_name(command): document(command) for command in DOCUMENTS}


def file_name(command: str) -> str:
    """Where a command's schema is published below docs/schemas."""
    return f"{command.replace(' ', '-')}.json"


@cache
def document(command: str) -> JsonSchemaValue:
    """The schema of what one command writes: its result with `schema_version`."""
    form = _Generator().generate(_core_schema(DOCUMENTS[command]), "serialization")
    shared = form.pop("$defs", None)
    del form["title"]
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:hubspoke:json:{SCHEMA_VERSION}:{file_name(command).removesuffix('.json')}",
        "title": "hubspoke: an error" if command == ERROR else f"hubspoke {command} --json",
        **form,
        "properties": {"schema_version": {"const": SCHEMA_VERSION}, **form["properties"]},
        "required": ["schema_version", *form["required"]],
        **({"$defs": shared} if shared else {}),
    }
