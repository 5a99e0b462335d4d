"""The data of a category: snapshots, what ingest and cleaning left out and why, and how complete its fields are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ...registry.records import SnapshotRecord
from ..asking import Category, DeskHere, Ref
from ..rendering import page
from ..shelves import Product, Shelf
from .release import require_of

router = APIRouter()
EXAMPLES, CHANGED = 3, 12
COVERED = ("title", "description", "brand", "category_path", "price", "currency", "cost", "image_sha256", "created_at")
NAMES = {"image_sha256": "picture", "category_path": "category", "created_at": "date"}


@dataclass(frozen=True)
class Taken:
    """A snapshot and what became of its rows on the way."""

    record: SnapshotRecord
    steps: Sequence[Mapping[str, Any]]
    cut: Sequence[Mapping[str, Any]]  # into sessions, when the data is used
    report: Mapping[str, Any]

    @property
    def problems(self) -> Sequence[Mapping[str, Any]] | None:
        """Each kind of problem with its first rows; None where the snapshot is older than their being kept."""
        found: Sequence[Mapping[str, Any]] | None = self.report.get("problems")
        return found

    @property
    def largest(self) -> int:
        """Rows of the largest step, which the bars are measured by."""
        return max([int(step["rows_in"]) for step in (*self.steps, *self.cut)] + [1])


@dataclass(frozen=True)
class Covered:
    """How many products have a field, and some that lack it."""

    name: str
    share: float
    missing: int
    examples: Sequence[Product]


@router.get("/categories/{domain}/data")
def data(request: Request, desk: DeskHere, category: Category) -> HTMLResponse:
    """The page."""
    store = desk.workspace.registry.snapshots
    snapshots = {kind: store.list(category.name, kind)[::-1] for kind in ("items", "events")}
    shelf = desk.shelf(category.name)
    found: dict[str, Any] = {
        "domain": category,
        "snapshots": snapshots,
        "newest": {kind: taken(own[0]) for kind, own in snapshots.items() if own},
        "coverage": coverage(shelf) if shelf else [],
        "shelf": shelf,
    }
    return page(request, "data.html", **found)


@router.get("/categories/{domain}/data/diff")
def diff(request: Request, desk: DeskHere, category: Category, old: Ref, new: Ref) -> HTMLResponse:
    """What changed from one snapshot to another; a part of the page."""
    store = desk.workspace.registry.snapshots
    for ref in (old, new):
        require_of(category.name, store.get(ref).domain, ref)
    result = desk.workspace.data.diff(old, new)
    found: dict[str, Any] = {"result": result, "shelf": None}
    if result.kind == "items":
        before, after = desk.shelf(category.name, old), desk.shelf(category.name, new)
        found |= {
            "parts": [
                ("new", result.n_added, after.find(result.added[:CHANGED]) if after else [], after),
                ("gone", result.n_removed, before.find(result.removed[:CHANGED]) if before else [], before),
                ("changed", result.n_changed, after.find(result.changed[:CHANGED]) if after else [], after),
            ]
        }
    return page(request, "parts/diff.html", **found)


def taken(record: SnapshotRecord) -> Taken:
    """What the manifest of a snapshot says of how it was read."""
    details = record.details
    sessions = details.get("sessions") or {}
    return Taken(record, details.get("waterfall") or [], sessions.get("waterfall") or [], details.get("report") or {})


def coverage(shelf: Shelf) -> list[Covered]:
    """Every field of the catalog, the least complete first, and whether products are available."""
    made = []
    for name in COVERED:
        column = shelf.items[name]
        missing = column.is_null() if name != "title" else column.is_null() | (column == "")
        rows = missing.arg_true().to_list()
        examples = shelf.products([int(row) for row in rows[:EXAMPLES]]) if len(rows) < len(shelf) else []
        made.append(Covered(NAMES.get(name, name), 1 - len(rows) / max(1, len(shelf)), len(rows), examples))
    rows = (~shelf.items["available"]).arg_true().to_list()
    made.append(Covered("available", 1 - len(rows) / max(1, len(shelf)), len(rows), shelf.products(rows[:EXAMPLES])))
    return sorted(made, key=lambda own: -own.share)
