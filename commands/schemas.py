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
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .. import evaluation, workflows
from ..demo.plan import DemoResult
from ..registry import lineage
from ..registry.lineage.differences import Difference
from ..registry.lineage.graph import Direction, Lineage, LineageTree, TreeLine
from ..registry.lineage.impact import Impact
from ..registry.records import (
    AliasChange,
    DomainRecord,
    EdgeRecord,
    IndexRecord,
    MetricRecord,
    ModelRecord,
    NodeRecord,
    SnapshotRecord,
)
from ..registry.views import View
from ..results import Record
from ..workflows.backups import Backup, Restoration
from ..workflows.bundles import BundleExport, BundleImport
from ..workflows.data import DataIngested, DiffResult, SessionsResult
from ..workflows.doctor import Diagnosis
from ..workflows.domains import DomainAdded, DomainArchived, DomainDetails, Validation
from ..workflows.evaluations import CompareResult, EvaluationResult
from ..workflows.explain import Explanation
from ..workflows.garbage import Garbage
from ..workflows.gates import GateCheck, GateResult
from ..workflows.hubs import EmbedResult
from ..workflows.indexes import IndexAddition, IndexCheck, IndexResult
from ..workflows.launches import LaunchResult
from ..workflows.models import ModelResult
from ..workflows.openlineage import OpenLineageExport
from ..workflows.recommendations import Recommendations
from ..workflows.releases import Promotion
from ..workflows.rules import RulesCheck, RulesResult, RulesVersions
from ..workflows.setup import InitResult, SchemaState
from ..workflows.spoke_comparison import SpokeComparison
from .output import SCHEMA_VERSION


def _keys(**types: Any) -> Any:
    """The type of an object that a command puts together itself."""
    return make_dataclass("Keys", types.items())


_ROOMS = (evaluation, lineage, workflows)
_MODULES = [import_module(f"{room.__name__}.{found.name}") for room in _ROOMS for found in iter_modules(room.__path__)]
_TYPES = {name: found for module in _MODULES for name, found in vars(module).items() if isinstance(found, type)}


# Command to the type of its result; a tuple where it has several.
RESULTS: Mapping[str, Any] = {
    "demo": DemoResult,
    "init": InitResult,
    "doctor": Diagnosis,
    "bundle export": BundleExport,
    "bundle import": BundleImport,
    "gc": Garbage,
    "domain add": DomainAdded,
    "domain archive": DomainArchived,
    "domain list": _keys(domains=list[DomainRecord]),
    "domain show": DomainDetails,
    "domain validate": Validation,
    "data diff": DiffResult,
    "data ingest": DataIngested,
    "data sessions": SessionsResult,
    "data snapshots": _keys(snapshots=list[SnapshotRecord]),
    "hub embed": EmbedResult,
    "hub list": _keys(hubs=list[ModelRecord]),
    "hub show": ModelRecord,
    "hub train": ModelResult,
    "spoke compare": SpokeComparison,
    "spoke list": _keys(spokes=list[ModelRecord]),
    "spoke show": ModelRecord,
    "spoke train": ModelResult,
    "launch": LaunchResult,
    "index add": IndexAddition,
    "index build": IndexResult,
    "index check": IndexCheck,
    "index list": _keys(indexes=list[IndexRecord]),
    "rules check": RulesCheck,
    "rules clear": Promotion,
    "rules set": RulesResult,
    "rules show": RulesVersions,
    "recommend": Recommendations,
    "similar": Recommendations,
    "explain": Explanation,
    "evaluate compare": CompareResult,
    "evaluate run": EvaluationResult,
    "gate check": GateCheck,
    "gate clear": GateResult,
    "gate history": _keys(gates=list[GateResult]),
    "gate set": GateResult,
    "gate show": GateResult,
    "promote": Promotion,
    "rollback": Promotion,
    "history": _keys(history=list[AliasChange]),
    "lineage diff": Difference,
    "lineage downstream": _keys(lineage=Lineage),
    "lineage export": OpenLineageExport,
    "lineage impact": Impact,
    "lineage show": _keys(lineage=LineageTree),
    "lineage upstream": _keys(lineage=Lineage),
    "registry backup": Backup,
    "registry current": SchemaState,
    "registry restore": Restoration,
    "registry schema": _keys(views=list[View]),
    "registry sql": _keys(columns=list[str], rows=list[dict[str, Any]]),
    "registry upgrade": InitResult,
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
DOCUMENTS: Mapping[str, Any] = {**RESULTS, ERROR: _keys(error=Failure | Refusal)}


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
    """Names that a module imports for type checkers only are looked up where they are defined."""
    adapter = TypeAdapter(type_)
    names: dict[str, Any] = {}
    while not adapter.pydantic_complete:
        try:
            adapter.rebuild(force=True, _types_namespace=names)
        except PydanticUndefinedAnnotation as missing:
            if missing.name in names or missing.name not in _TYPES:
                raise
            names[missing.name] = _TYPES[missing.name]
    return adapter.core_schema


def documents() -> dict[str, JsonSchemaValue]:
    """Every published schema by its file name."""
    return {file_name(command): document(command) for command in DOCUMENTS}


def file_name(command: str) -> str:
    """Where a command's schema is published below docs/schemas."""
    return f"{command.replace(' ', '-')}.json"


@cache
def document(command: str) -> JsonSchemaValue:
    """The schema of what one command writes: its result, in each of its forms, with `schema_version`."""
    types = DOCUMENTS[command]
    forms, shared = [], {}
    for type_ in types if isinstance(types, tuple) else (types,):
        form = _Generator().generate(_core_schema(WRITTEN_AS.get(type_, type_)), "serialization")
        shared.update(form.pop("$defs", {}))
        del form["title"]
        form["properties"] = {"schema_version": {"const": SCHEMA_VERSION}, **form["properties"]}
        form["required"] = ["schema_version", *form["required"]]
        forms.append(form)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:hubspoke:json:{SCHEMA_VERSION}:{file_name(command).removesuffix('.json')}",
        "title": "hubspoke: an error" if command == ERROR else f"hubspoke {command} --json",
        **(forms[0] if len(forms) == 1 else {"oneOf": forms}),
        **({"$defs": shared} if shared else {}),
    }
