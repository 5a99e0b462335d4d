"""Checks that change nothing: tables before they are added, and the stored data of a domain with its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from ..catalog.readers import ReadResult
from ..catalog.validation import ValidationFailedError, ValidationReport
from ..errors import HubspokeError
from ..registry.records import SnapshotRecord
from ..results import Record
from .datasets import find_snapshot, image_paths, load_dataset, read_table
from .ingest import Request, read_event_table, read_item_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from .context import Context


@dataclass(frozen=True)
class Check(Record):
    """One thing looked at; `message` says what is wrong, or what was found."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True)
class Validation(Record):
    """What was checked: reports of tables, or checks of stored data; `text` is the same for a person."""

    ok: bool
    domain: str | None
    reports: tuple[Mapping[str, Any], ...]
    checks: tuple[Check, ...]
    text: str


def validate_tables(context: Context, name: str | None, request: Request) -> Validation:
    """Read tables as an ingest would and report every problem.

    Raises:
        NotFoundError: no such file or domain.
        InvalidDataError: a file cannot be read as a table at all.
    """
    reports, item_ids = [], None
    if request.items is not None:
        report, item_ids = _attempt(lambda: read_item_table(request))
        reports.append(report)
    elif name is not None:
        snapshot = find_snapshot(context, name, "items")
        item_ids = None if snapshot is None else read_table(context, snapshot)["item_id"]
    if request.events is not None:
        reports.append(_attempt(lambda: read_event_table(request, item_ids))[0])
    return Validation(
        ok=all(report.ok for report in reports),
        domain=name,
        reports=tuple(report.to_json() for report in reports),
        checks=(),
        text="\n\n".join(report.to_text() for report in reports),
    )


def _attempt(read: Callable[[], ReadResult]) -> tuple[ValidationReport, pl.Series | None]:
    try:
        result = read()
    except ValidationFailedError as error:
        return error.report, None
    return result.report, result.frame["item_id"]


def validate_domain(context: Context, name: str) -> Validation:
    """Check every stored snapshot of a domain against its checksum, and the pictures of its newest items.

    Raises:
        NotFoundError: there is no such domain.
    """
    snapshots = context.registry.snapshots.list(name)
    checks = [_check(snapshot.ref, partial(_count_rows, context, snapshot)) for snapshot in snapshots]
    if any(snapshot.kind == "items" for snapshot in snapshots):
        checks.append(_check("pictures", partial(_count_pictures, context, name)))
    if not checks:
        checks.append(Check("data", True, "no snapshot yet"))
    text = "\n".join(f"{'ok    ' if check.ok else 'failed'}  {check.name}: {check.message}" for check in checks)
    return Validation(all(check.ok for check in checks), name, (), tuple(checks), text)


def _count_rows(context: Context, snapshot: SnapshotRecord) -> str:
    return f"{read_table(context, snapshot).height} rows"


def _count_pictures(context: Context, name: str) -> str:
    paths = image_paths(load_dataset(context, name, with_events=False))
    return f"{sum(map(len, paths))} pictures of {sum(map(bool, paths))} items"


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except HubspokeError as error:
        return Check(name, False, str(error))
