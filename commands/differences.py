"""Versions side by side as text: one table per section, only what differs; of the metrics the headline ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..registry.lineage.differences import DataSide, Difference
from ..registry.records import ModelPart
from ..workflows.spoke_comparison import SpokeComparison
from .output import cell, table

# Metrics that the text shows; --json has all of them.
HEADLINES = ("hr@10", "ndcg@10")
# What a training says of itself that differs each time and tells nothing of what it made.
ALWAYS_DIFFERS = ("seconds", "windows_per_second")
FIRST_COLUMNS = {"parents": "relation", "parts": "part"}
DIGEST = 12


class _Row(NamedTuple):
    section: str
    name: str
    values: Sequence[Any]


def difference_text(difference: Difference) -> str:
    """Two versions of one kind."""
    versions = (difference.a.ref, difference.b.ref)
    rows = [
        _Row(section, _name(one), (one.a, one.b))
        for section in ("data", "config", "code", "parents", "parts", "outcome", "summary")
        for one in getattr(difference, section)
        if not one.same
    ]
    metrics = [(m.name, m.slice, m.a, m.b, m.difference, m.events) for m in difference.metrics if m.name in HEADLINES]
    measured = table(("metric", "slice", *versions, "difference", "on"), metrics, "")
    verdict = f"{' and '.join(versions)} {'do not differ' if difference.same else 'differ'}."
    return "\n\n".join([verdict, *_sections(versions, rows, measured)])


def compared_spokes(found: SpokeComparison) -> str:
    """Several spoke versions, a column for each."""
    rows = [_Row(row.section, row.name, row.values) for row in found.rows if not row.same]
    metrics = [(m.name, m.slice, *m.values, m.events) for m in found.metrics if m.name in HEADLINES]
    measured = table(("metric", "slice", *found.versions, "on"), metrics, "")
    return "\n\n".join(_sections(found.versions, rows, measured)) or f"{' and '.join(found.versions)} do not differ."


def _sections(versions: Sequence[str], rows: Iterable[_Row], measured: str) -> list[str]:
    found: dict[str, list[tuple[object, ...]]] = {}
    for row in rows:
        if row.name not in ALWAYS_DIFFERS:
            found.setdefault(row.section, []).append((row.name, *map(_cell, row.values)))
    heads = {section: (FIRST_COLUMNS.get(section, section), *versions) for section in found}
    texts = [f"{section}\n{table(heads[section], cells)}" for section, cells in found.items()]
    return [*texts, f"metrics\n{measured}"] if measured else texts


def _name(one: Any) -> str:
    if relation := getattr(one, "relation", None):
        return f"{relation.replace('_', ' ')}{f' ({one.part})' if one.part else ''}"
    return str(getattr(one, "name", None) or one.key)


def _cell(value: object) -> object:
    """A snapshot and a part with the beginning of their hashes; what is nested stays on its line."""
    match value:
        case DataSide():
            moment = f", as of {cell(value.as_of)}" if value.as_of else ""
            rows = f"{value.rows:,} row{'' if value.rows == 1 else 's'}"
            return f"{value.ref}: {rows}, {value.content_hash[:DIGEST]}{moment}"
        case ModelPart():
            size = "" if value.parameters is None else f", {value.parameters:,} parameters"
            inherited = f", inherited from {value.source}" if value.source else ""
            return f"{value.fingerprint[:DIGEST]}{size}{inherited}"
        case str() if len(value) == 64 and value.isalnum():
            return value[:DIGEST]
    return value
