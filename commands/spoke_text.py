"""Spoke versions side by side as text: one table per section, only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .lineage_text import HEADLINES, UNTOLD, data_cell, part_cell, value_cell
from .output import table

if TYPE_CHECKING:
    from ..workflows.spoke_comparison import SpokeComparison

CELLS = {"data": data_cell, "parts": part_cell}


def compared_spokes(found: SpokeComparison) -> str:
    """What differs, a column for each version; of the metrics the headline ones, whether or not they differ."""
    sections = dict.fromkeys(row.section for row in found.rows if _shown(row))
    tables = [_section(section, found) for section in sections]
    headline = [metric for metric in found.metrics if metric.name in HEADLINES]
    if headline:
        rows = [(metric.name, metric.slice, *metric.values, metric.events) for metric in headline]
        tables.append(f"metrics\n{table(('metric', 'slice', *found.versions, 'on'), rows)}")
    return "\n\n".join(tables) or f"{' and '.join(found.versions)} do not differ."


def _section(section: str, found: SpokeComparison) -> str:
    cell: Any = CELLS.get(section, value_cell)
    rows = [(row.name, *map(cell, row.values)) for row in found.rows if row.section == section and _shown(row)]
    return f"{section}\n{table((section, *found.versions), rows)}"


def _shown(row: Any) -> bool:
    return not row.same and row.name not in UNTOLD
