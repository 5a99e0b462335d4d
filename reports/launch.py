"""The page of a launch report: one HTML file with everything in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..workflows.launch_reports import StoredReport
from .report import Block, Card, Column, ProductStrip, Report, Section, Table, render

_COLUMNS = (Column("Column"), Column("Read from"))


def launch_page(stored: StoredReport) -> str:
    """The page as HTML."""
    report = stored.report
    coverage = [(name, share) for name, share in report.coverage.items()]
    checks = [("yes" if check.ok else "look at it", check.name, check.says) for check in report.space]
    nearest = [(near.domain, near.similarity) for near in report.nearest]
    sections = [
        Section("Recommendations", [_strip(sample, stored.folder) for sample in report.samples]),
        Section("The clock", [_clock(report.steps)]),
        Section("What was read", [block for part in report.read for block in _read(part)]),
        Section(
            f"What {report.n_items:,} items have",
            [Table((Column(""), Column("Share of items", numeric=True, digits=3)), coverage)],
        ),
    ]
    if checks:
        sections.append(
            Section(
                "The embedding space", [Table((Column("As it should be"), Column("Check"), Column("Found")), checks)]
            )
        )
    if nearest:
        columns = (Column("Category"), Column("Cosine of mean text embeddings", numeric=True, digits=3))
        sections.append(Section("Nearest established categories", [Table(columns, nearest)]))
    sections.append(Section("Gate", [f"{report.gate[0].upper()}{report.gate[1:]}."]))
    sections.append(Section("What to do next", list(report.next_steps)))
    return render(
        Report(
            title=f"Launch of {report.domain}",
            subtitle=f"{report.release} serves, {report.mode}; first recommendation after {report.seconds:.1f} s.",
            sections=sections,
            footer=f"{report.at:%d %B %Y, %H:%M} UTC",
        )
    )


def _strip(sample: Mapping[str, Any], folder: Path) -> ProductStrip:
    asked = sample["to"]
    return ProductStrip(f"After a look at {asked['title'] or asked['item_id']}", [
        _card(item, folder) for item in (asked, *sample["items"])
    ])  # fmt: skip


def _card(item: Mapping[str, Any], folder: Path) -> Card:
    price = None if item["price"] is None else f"{item['price']:,.2f}"
    lines = [line for line in (item["brand"], item["category"], price) if line]
    return Card(item["title"] or item["item_id"], lines, folder / item["picture"] if item["picture"] else None)


def _clock(steps: Any) -> Table:
    columns = (Column("Step"), Column("Made"), Column("Seconds", numeric=True, digits=2))
    rows = [
        (step["step"], f"{step['ref'] or ''}{' (found)' if step['cached'] else ''}", step["seconds"]) for step in steps
    ]
    return Table(columns, rows)


def _read(part: Mapping[str, Any]) -> Iterator[Block]:
    """One table that was read: rows, columns, what was left out, notes, sessions."""
    found = part["report"]
    rows = f"{part['rows']:,} of {found['rows_in']:,} rows of {part['kind']}"
    yield f"{found['source']}: {rows}, format {part['format']}."
    yield Table(_COLUMNS, list(part["mapping"].items()))
    if found["counts"]:
        yield Table((Column("Found"), Column("Rows", numeric=True)), list(found["counts"].items()))
    yield from (f"{note[0].upper()}{note[1:]}." for note in found["notes"])
    if part["sessions"]:
        columns = (Column("Step"), *(Column(name, numeric=True) for name in ("Rows before", "Rows", "Sessions")))
        cut = [(s["name"], s["rows_in"], s["rows_out"], s["sessions"]) for s in part["sessions"]["waterfall"]]
        yield Table(columns, cut, "Events cut into sessions")
