"""A node of the lineage: what it is, what it came from, what came from it, and how it differs from another version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from ...errors import HubspokeError
from ...registry.kinds import NodeKind
from ...registry.lineage.differences import Difference, flatten
from ...registry.lineage.graph import Lineage
from ...registry.records import NodeRecord
from ...results import Record, jsonable
from ..asking import DeskHere, Looking, Ref, go
from ..desk import Desk
from ..layering import drawn
from ..quality import protocol_words
from ..rendering import page, without_secrets

router = APIRouter()
MEASURED = (NodeKind.HUB, NodeKind.SPOKE, NodeKind.RERANKER, NodeKind.INDEX, NodeKind.RELEASE)
COMPARED = (*MEASURED, NodeKind.ITEM_SNAPSHOT, NodeKind.EVENT_SNAPSHOT)
# Shown elsewhere on the page, or of no use to people.
ASIDE = (
    "ref",
    "kind",
    "domain",
    "config",
    "summary",
    "details",
    "content",
    "environment",
    "metrics",
    "parts",
    "protocol",
)
LONG = ("waterfall", "report.problems")  # which the page of the data shows
LISTED = 200


@dataclass(frozen=True)
class Change:
    """One line of a comparison."""

    section: str
    name: str
    a: Any
    b: Any


@router.get("/nodes")
def node(request: Request, desk: DeskHere, _: Looking, ref: Ref, against: Ref = "") -> Response:
    """The page of a node."""
    registry = desk.workspace.registry
    known = registry.resolve(ref)
    if known.kind == NodeKind.DOMAIN:
        return go(request, "categories", str(known.domain or known.ref.partition(":")[2]))
    record = registry.get(known)
    upstream = registry.lineage.upstream(known.ref).within(domains=False)
    downstream = registry.lineage.downstream(known.ref).within(domains=False)
    impact = registry.lineage.impact(known.ref)
    other = against or previous(desk, known)
    found: dict[str, Any] = {
        "node": known,
        "facts": facts_of(record),
        "tables": tables_of(record),
        "graph": drawn(upstream, downstream, frozenset(step.ref for step in impact.steps)),
        "upstream": listed(upstream),
        "downstream": listed(downstream),
        "impact": impact,
        "evaluations": registry.evaluations.list(subject=known.ref)[::-1] if known.kind in MEASURED else [],
        "protocol_words": protocol_words,
        "others": versions(desk, known),
        "other": other,
        "changes": changes(desk, other, known.ref),
    }
    return page(request, "node.html", **found)


@router.get("/hubs")
def hubs(request: Request, desk: DeskHere, _: Looking) -> HTMLResponse:
    """Every version of the hub, newest first, and the moves of its aliases."""
    registry = desk.workspace.registry
    found: dict[str, Any] = {
        "hubs": registry.models.list("hub")[::-1],
        "aliases": {own.target: own.alias for own in registry.aliases.list("hub")},
        "moves": registry.aliases.history("hub")[::-1],
    }
    return page(request, "hubs.html", **found)


def facts_of(record: Record) -> dict[str, Any]:
    """What a record says of itself in one word each."""
    return {
        name: value for name, value in record.to_dict().items() if name not in ASIDE and value not in (None, {}, [])
    }


def tables_of(record: Record) -> dict[str, dict[str, Any]]:
    """What a record holds by name: its config, what came out, and where it was made."""
    found = {}
    for name in ("config", "content", "protocol", "summary", "details", "environment"):
        content = getattr(record, name, None)
        if isinstance(content, Mapping) and content:
            found[name] = {key: value for key, value in flatten(jsonable(content)).items() if key not in LONG}
    return found


def listed(lineage: Lineage) -> list[tuple[NodeRecord, str]]:
    """The nodes of one side, nearest first, with how the way to each ends."""
    nearest = lineage.nearest()
    ends = {ref: ", ".join(sorted({edge.relation for edge in edges})) for ref, edges in nearest.items()}
    return [(reached.node, ends.get(reached.ref, "")) for reached in lineage.nodes[1 : 1 + LISTED]]


def versions(desk: Desk, node: NodeRecord) -> list[str]:
    """Every version that a node may be compared with, newest first."""
    if node.kind not in COMPARED:
        return []
    registry, domain = desk.workspace.registry, node.domain
    match node.kind:
        case NodeKind.HUB | NodeKind.SPOKE | NodeKind.RERANKER:
            records: list[Any] = [*registry.models.list(node.kind, domain)]
        case NodeKind.INDEX:
            records = [*registry.indexes.list(domain)]
        case NodeKind.RELEASE:
            records = [*registry.releases.list(domain)]
        case _:
            kind = "items" if node.kind == NodeKind.ITEM_SNAPSHOT else "events"
            records = [*registry.snapshots.list(domain, kind)]
    return [own.ref for own in reversed(records) if own.ref != node.ref]


def previous(desk: Desk, node: NodeRecord) -> str:
    """The version before; nothing where there is none."""
    own = int("".join(filter(str.isdigit, node.ref.replace(":", "/").rpartition("/")[2])) or 0)
    for ref in versions(desk, node):
        if int(ref.replace(":", "/").rpartition("/")[2]) < own:
            return ref
    return ""


def changes(desk: Desk, a: str, b: str) -> list[Change] | str:
    """What differs from one version to another, or why that cannot be said."""
    if not a:
        return []
    try:
        return list_changes(desk.workspace.lineage.diff(a, b))
    except HubspokeError as error:
        return without_secrets(str(error))


def list_changes(found: Difference) -> list[Change]:
    """The lines that differ, and the metrics of both."""
    made = []
    for section in ("data", "config", "code", "parents", "parts", "outcome", "summary"):
        for own in getattr(found, section):
            if not own.same:
                name = getattr(own, "key", None) or getattr(own, "name", None) or f"{own.relation} {own.part or ''}"
                made.append(Change(section, name, _brief(own.a), _brief(own.b)))
    metrics = [own for own in found.metrics if own.name in ("ndcg@10", "hr@10", "recall@10")]
    return made + [Change("metrics", f"{own.name} on {own.slice}", own.a, own.b) for own in metrics]


def _brief(value: Any) -> Any:
    if hasattr(value, "rows"):
        return f"{value.ref}, {value.rows:,} rows"
    if hasattr(value, "fingerprint"):
        return value.fingerprint[:12]
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
