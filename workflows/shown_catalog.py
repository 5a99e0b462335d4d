"""The catalog behind a list: what the newest snapshot says of the items of an index, and which of them may be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..arrays import BoolArray, IntArray
from ..errors import NotFoundError
from ..forks import require_tables
from .cache import Memo
from .catalog_change import Behind, newer_catalog, outdated
from .diversity import duplicate_groups
from .rules import catalog_rules, parsed_rules

if TYPE_CHECKING:
    import polars as pl

    from ..registry.records import IndexRecord, ReleaseRecord
    from ..retrieval.filters import Filter
    from .context import Context
    from .datasets import Dataset

# Filters whose items a catalog keeps, once it has looked for them.
KEPT_FILTERS = 64
Bar = Literal["catalog", "rules", "filter", "session"]
DESCRIBED = ("item_id", "title", "brand", "category_path", "price", "image")


class ShownCatalog:
    """N items by the rows of an index; many threads may ask it at once."""

    def __init__(
        self, context: Context, record: IndexRecord, item_ids: Sequence[str], release: ReleaseRecord | None
    ) -> None:
        """The catalog of an index, under the rules of a release; one that is asked by itself has no rules."""
        self.item_ids, self._index = tuple(item_ids), record.ref
        self.rules_ref = release.rules if release else None
        # `items` is what the newest catalog says, with `left` true for what it no longer lists.
        self.dataset, self.items, self.behind = _catalogs(context, record, item_ids, release)
        self._told = self.items.select(DESCRIBED)
        self.rules = catalog_rules(context, self.rules_ref, self.items)
        self.available: BoolArray = self.items["available"].to_numpy().astype(np.bool_)
        self._left: BoolArray = self.items["left"].to_numpy().astype(np.bool_)
        self.row_of = {item: row for row, item in enumerate(self.item_ids)}
        self._passing: Memo[BoolArray] = Memo(KEPT_FILTERS)

    def under(self, content: Mapping[str, Any]) -> ShownCatalog:
        """The same catalog under rules that no version holds yet."""
        other = copy(self)
        other.rules, other.rules_ref = parsed_rules(content, self.items), None
        other._passing = Memo(KEPT_FILTERS)
        return other

    def row(self, item: str) -> int:
        """The row of an item."""
        if item not in self.row_of:
            raise NotFoundError(f"{item!r} is not in {self._index}; name an item of its catalog.")
        return self.row_of[item]

    def allowed(self, filter: Filter | None = None) -> BoolArray:
        """(N,) what may be shown: available, hidden by no rule, passed by the filter; kept, and not to be written to.

        A filter that speaks of availability decides about it itself; what has left the catalog is never shown.
        """
        return self._passing.get(filter, lambda: self._find_passing(filter))

    def _find_passing(self, filter: Filter | None) -> BoolArray:
        allowed = ~self._left & ~self.rules.hidden
        if filter is None or not filter.names_availability:
            allowed &= self.available
        if filter is not None:
            require_tables()
            allowed &= filter.passes(self.items)
        allowed.flags.writeable = False
        return allowed

    def reason_against(self, row: int, hidden: IntArray | Sequence[int], filter: Filter | None = None) -> str | None:
        """Why a row is not shown, of which `hidden` were seen; None where it may be."""
        found = self.barred(row, hidden, filter)
        return None if found is None else found[1]

    def barred(
        self, row: int, hidden: IntArray | Sequence[int], filter: Filter | None = None
    ) -> tuple[Bar, str] | None:
        """The stage that bars a row from being shown, and why; None where it may be shown."""
        if self._left[row]:
            return "catalog", "left the catalog"
        if not self.available[row] and not (filter and filter.names_availability):
            return "catalog", "not available"
        if self.rules.hidden[row]:
            return "rules", f"hidden by {self.rules_ref} ({self.rules.why_hidden(row)})"
        if not self.allowed(filter)[row]:
            return "filter", "does not pass the filter"
        return ("session", "in the session") if row in hidden else None

    @cached_property
    def groups(self) -> IntArray:
        """(N,) the same number for rows that are one product."""
        return duplicate_groups(self.items)

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """What is shown of the items of these rows."""
        return [
            {
                "item_id": own["item_id"],
                "title": own["title"] or "",
                "brand": own["brand"],
                "category": " > ".join(own["category_path"] or []) or None,
                "price": own["price"],
                "image": (own["image"] or [None])[0],
            }
            for own in (self._told.row(row, named=True) for row in rows)
        ]


def _catalogs(
    context: Context, record: IndexRecord, item_ids: Sequence[str], release: ReleaseRecord | None
) -> tuple[Dataset, pl.DataFrame, Behind | None]:
    """The catalog that an index was filled from, what the newest says of its items, by row, and what it does not know.

    An item that the newest catalog lacks is as it was, and marked as `left`.
    """
    import polars as pl

    from .datasets import load_dataset, read_table

    rows = pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String})
    filled = load_dataset(context, record.domain, items=record.items, with_events=False)
    if len(item_ids) != filled.items.height:  # some were removed from the index
        filled = replace(filled, items=rows.join(filled.items, on="item_id", how="left", maintain_order="left"))
    newest = newer_catalog(context, filled.item_snapshot)
    if newest is None:
        return filled, filled.items.with_columns(left=pl.lit(False)), None
    now = read_table(context, newest).select(filled.items.columns)
    listed = now.with_columns(left=pl.lit(False))
    left = filled.items.join(now, on="item_id", how="anti").with_columns(available=pl.lit(False), left=pl.lit(True))
    shown = rows.join(pl.concat([listed, left]), on="item_id", how="left", maintain_order="left")
    new, old = now.height - int((~shown["left"]).sum()), outdated(filled.items, now).height
    is_live = release is not None and context.registry.domains.get(record.domain).live == release.ref
    step = f"index refresh {record.domain} --promote" if is_live else f"index add {record.ref}"
    return filled, shown, Behind(newest.ref, new, old, f"hubspoke {step}") if new or old else None
