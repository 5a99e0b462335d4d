"""What the hub's and the spokes' commands share: how a model version and a training are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .output import facts, table

if TYPE_CHECKING:
    from ..registry.records import ModelRecord


def trained(result: Any) -> str:
    """A training's result: the version, what it says of itself, its table."""
    data: Mapping[str, Any] = result.to_dict()
    head = f"{data.get('ref') or 'A new version'} {_state(data)}"
    parts = [head, facts(flat(data.get("summary") or {}))]
    rows = data.get("table")
    if rows:
        parts.append(dict_table(rows))
    return "\n\n".join(part for part in parts if part)


def _state(data: Mapping[str, Any]) -> str:
    if data.get("cached"):
        return "was trained already with these inputs (cached; --force trains again)."
    if data.get("dry_run") or data.get("status") in ("planned", "dry run", "dry-run"):
        return "would be trained (dry run)."
    return f"is {data.get('status')} after {data.get('seconds') or 0:.1f} s."


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Nested settings as dotted names; lists of mappings are left to tables."""
    pairs: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{prefix}{name}.")
        elif not (isinstance(value, list | tuple) and any(isinstance(v, Mapping | list | tuple) for v in value)):
            pairs.append((f"{prefix}{name}", value))
    return pairs


def dict_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mappings as a table; the first one's keys are the headers, keys of later ones follow."""
    headers = list(dict.fromkeys(name for row in rows for name in row))
    return table(headers, [[_plain(row.get(name)) for name in headers] for row in rows])


def _plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, Mapping) else value


def model_table(models: Sequence[ModelRecord], empty: str) -> str:
    """Versions, oldest first."""
    rows = [(m.ref, m.status, m.seed, m.started_at, m.finished_at, (m.space_fingerprint or "-")[:12]) for m in models]
    return table(("version", "status", "seed", "started", "finished", "space"), rows, empty)


def model_facts(model: ModelRecord) -> str:
    """One version with its config and summary."""
    head = facts(
        [
            ("version", model.ref),
            ("status", model.status),
            ("error", model.error),
            ("seed", model.seed),
            ("started", model.started_at),
            ("finished", model.finished_at),
            ("code", model.code_version or None),
            ("fingerprint", model.fingerprint[:12]),
            ("space", model.space_fingerprint and model.space_fingerprint[:12]),
            ("artifact", model.artifact and model.artifact[:12]),
        ]
    )
    parts = [head]
    for title, values in (("config", model.config), ("summary", model.summary), ("environment", model.environment)):
        if values:
            parts.append(f"{title}\n{_indented(facts(flat(values)))}")
    return "\n\n".join(parts)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
