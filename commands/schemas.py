"""What every command writes with `--json`: one line a command, from which docs/schemas is made.

No command needs this module to run; it serves scripts/make_json_schemas and the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from ..workflows.schemas import DRAFT, Schema, Schemas, Shape, forms
from .output import SCHEMA_VERSION

_NODE = "registry.records.NodeRecord"
_ESTIMATES = {str: {str: "float"}}

# Command to the shape of its result, written as `workflows.schemas` says.
RESULTS: Mapping[str, Shape] = {
    "demo": "demo.run.DemoResult",
    "init": "workflows.setup.InitResult",
    "doctor": "workflows.doctor.Diagnosis",
    "bundle export": "workflows.bundles.BundleExport",
    "bundle import": "workflows.bundles.BundleImport",
    "gc": "workflows.garbage.Garbage",
    "domain add": "workflows.domains.DomainAdded",
    "domain archive": "workflows.domains.DomainArchived",
    "domain list": {"domains": ["registry.records.DomainRecord"]},
    "domain show": "workflows.domains.DomainDetails",
    "domain validate": "workflows.validation.Validation",
    "data diff": "workflows.data.DiffResult",
    "data ingest": "workflows.data.DataIngested",
    "data sessions": "workflows.data.SessionsResult",
    "data snapshots": {"snapshots": ["registry.records.SnapshotRecord"]},
    "hub embed": "workflows.hubs.EmbedResult",
    "hub list": {"hubs": ["registry.records.ModelRecord"]},
    "hub show": "registry.records.ModelRecord",
    "hub train": "workflows.models.ModelResult",
    "spoke compare": "workflows.spoke_comparison.SpokeComparison",
    "spoke list": {"spokes": ["registry.records.ModelRecord"]},
    "spoke show": "registry.records.ModelRecord",
    "spoke train": "workflows.models.ModelResult",
    "launch": "workflows.launches.LaunchResult",
    "index add": "workflows.indexes.IndexAddition",
    "index build": "workflows.indexes.IndexResult",
    "index check": "workflows.indexes.IndexCheck",
    "index list": {"indexes": ["registry.records.IndexRecord"]},
    "rerank rules": ("workflows.rerank.RulesResult", {"rules": ["registry.records.RulesRecord"]}),
    "recommend": "workflows.recommendations.Recommendations",
    "similar": "workflows.recommendations.Recommendations",
    "explain": "workflows.explain.Explanation",
    "evaluate compare": "workflows.evaluations.CompareResult",
    "evaluate gate": (
        "workflows.gatekeeping.GateResult",
        "workflows.gatekeeping.GateCheck",
        {"gates": ["workflows.gatekeeping.GateResult"]},
    ),
    "evaluate run": "workflows.evaluations.EvaluationResult",
    "promote": "workflows.releases.Promotion",
    "rollback": "workflows.releases.Promotion",
    "history": {"history": ["registry.records.AliasChange"]},
    "lineage diff": "registry.lineage.differences.Difference",
    "lineage downstream": {"lineage": "registry.lineage.graph.Lineage"},
    "lineage export": "workflows.openlineage.OpenLineageExport",
    "lineage impact": "registry.lineage.impact.Impact",
    "lineage show": {"lineage": "registry.lineage.graph.LineageTree"},
    "lineage upstream": {"lineage": "registry.lineage.graph.Lineage"},
    "registry backup": "workflows.backups.Backup",
    "registry current": "workflows.setup.SchemaState",
    "registry restore": "workflows.backups.Restoration",
    "registry schema": {"views": ["registry.views.View"]},
    "registry sql": {"columns": ["str"], "rows": ["object"]},
    "registry upgrade": "workflows.setup.InitResult",
}

# Classes whose `to_dict` gives something else than their fields.
OWN: Mapping[str, Shape] = {
    "registry.lineage.graph.LineageNode": {"*": _NODE, "depth": "int"},
    "registry.lineage.graph.Lineage": {
        "root": _NODE,
        "direction": "registry.lineage.graph.Direction",
        "nodes": [{"*": "registry.lineage.graph.LineageNode", "relations": ["str"]}],
        "edges": ["registry.records.EdgeRecord"],
    },
    "registry.lineage.graph.LineageTree": {
        "node": _NODE,
        "lines": [
            {
                "*": _NODE,
                "depth": "int",
                "edges": ["registry.records.EdgeRecord"],
                "repeated": "bool",
                "cut": "bool",
                "metric": "registry.records.MetricRecord?",
            }
        ],
    },
    "workflows.evaluations.EvaluationResult": {
        "domain": "str",
        "model": "str",
        "events": "str",
        "evaluation": "str?",
        "note": "str?",
        "metrics": _ESTIMATES,
        "intervals": {str: {str: ["float"]}},
        "protocol": "object",
        "n_users": "int",
        "n_left_out": "int",
        "n_targets": {str: "int"},
        "n_dropped_targets": "int",
        "empty_slices": ["str"],
    },
}

ERROR = "error"
_ERROR_SCHEMA: Schema = {
    "description": "What any command writes when it fails; the process ends with the exit code that stands in it.",
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "description": "Kind of the error, such as `NotFoundError`."},
                "message": {"type": "string", "description": "One sentence that ends in the remedy."},
                "exit_code": {"type": "integer", "description": "Exit code of the process, see docs/cli.md."},
                "report": {"type": "object", "description": "Every problem of a table, where one was refused."},
            },
            "required": ["type", "message", "exit_code"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}


def file_name(command: str) -> str:
    """Where a command's schema is published below docs/schemas."""
    return f"{command.replace(' ', '-')}.json"


def commands(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """Every command below a group by its path, such as `domain list`."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found |= commands(command, f"{path}{name} ")
        elif command is not None:
            found[f"{path}{name}"] = command
    return found


def command_of(arguments: Sequence[str]) -> str | None:
    """The command that a command line calls; None where it calls none."""
    for words in (2, 1):
        if len(arguments) >= words and " ".join(arguments[:words]) in RESULTS:
            return " ".join(arguments[:words])
    return None


def documents() -> dict[str, Schema]:
    """Every published schema by its file name.

    Raises:
        TypeError: a type in the table has no schema.
    """
    found = {file_name(command): command_schema(command) for command in RESULTS}
    error = {"$schema": DRAFT, **_head(ERROR, "hubspoke: an error"), **_ERROR_SCHEMA}
    return {**found, file_name(ERROR): _versioned(error)}


def command_schema(command: str) -> Schema:
    """The schema of one command's result.

    Raises:
        TypeError: its type has no schema.
    """
    return _versioned(Schemas(OWN).document(RESULTS[command], **_head(command, f"hubspoke {command} --json")))


def _head(name: str, title: str) -> dict[str, str]:
    return {"$id": f"urn:hubspoke:json:{SCHEMA_VERSION}:{name.replace(' ', '-')}", "title": title}


def _versioned(schema: Schema) -> Schema:
    """The schema of the same object, in each of its forms, with `schema_version` as its first key."""
    for form in forms(schema):
        form["properties"] = {"schema_version": {"const": SCHEMA_VERSION}, **form["properties"]}
        form["required"] = ["schema_version", *form["required"]]
    return schema
