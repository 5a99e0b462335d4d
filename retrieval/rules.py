"""Merchandising rules choose among the ranked items and never change a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..arrays import BoolArray

Name = Annotated[str, Field(min_length=1)]
Path = tuple[str, ...]


class Rules(BaseModel):
    """The rules of one domain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hide_items: tuple[Name, ...] = ()
    hide_brands: tuple[Name, ...] = ()
    hide_categories: tuple[Name, ...] = ()  # written like `garden > tools`, with all that is below them
    pin: tuple[Name, ...] = ()  # what every recommendation begins with, in this order
    max_per_brand: int | None = Field(default=None, ge=1)  # of one list; items without a brand are not counted


@dataclass(frozen=True)
class Catalog:
    """What rules look at of N items, in row order."""

    item_ids: Sequence[str]
    brands: Sequence[str | None]
    categories: Sequence[Path]


class CatalogRules:
    """Rules over one catalog; `hidden` (N,) is true for rows that are never shown."""

    def __init__(self, rules: Rules, catalog: Catalog) -> None:
        self._brands, self._limit = catalog.brands, rules.max_per_brand
        ids, brands = set(rules.hide_items), set(rules.hide_brands)
        above = [_path(text) for text in rules.hide_categories]
        # A catalog has far fewer categories than items, so each is looked at once.
        of_category = {path: any(path[: len(own)] == own for own in above) for path in set(catalog.categories)}
        columns = zip(catalog.item_ids, catalog.brands, catalog.categories, strict=True)
        hidden = [item in ids or brand in brands or of_category[path] for item, brand, path in columns]
        self.hidden: BoolArray = np.array(hidden, dtype=np.bool_)
        row_of = {item: row for row, item in enumerate(catalog.item_ids)} if rules.pin else {}
        self._pinned = [row_of[item] for item in rules.pin if item in row_of]

    def pinned(self, allowed: BoolArray) -> list[int]:
        """Rows that a recommendation begins with, among the (N,) allowed ones."""
        return [row for row in self._pinned if allowed[row]]

    def limit(self, ranked: Iterable[tuple[int, float]], shown: Sequence[int] = ()) -> Iterator[tuple[int, float]]:
        """The ranking without what would be too much of one brand beside the rows that are shown already."""
        if self._limit is None:
            yield from ranked
            return
        # Lazy, as the index is asked for more only where the limit has used up what it gave.
        count = Counter(self._brands[row] for row in shown)
        for row, score in ranked:
            brand = self._brands[row]
            if brand is None or count[brand] < self._limit:
                count[brand] += 1
                yield row, score


def unknown_names(rules: Rules, catalog: Catalog) -> Mapping[str, list[str]]:
    """What the rules name and the catalog does not hold, by field; empty where all is known."""
    ids, brands = set(catalog.item_ids), set(catalog.brands)
    categories = {path[:depth] for path in set(catalog.categories) for depth in range(1, len(path) + 1)}
    missing = {
        "hide_items": [item for item in rules.hide_items if item not in ids],
        "hide_brands": [brand for brand in rules.hide_brands if brand not in brands],
        "hide_categories": [text for text in rules.hide_categories if _path(text) not in categories],
        "pin": [item for item in rules.pin if item not in ids],
    }
    return {field: names for field, names in missing.items() if names}


def _path(text: str) -> Path:
    return tuple(part.strip() for part in text.split(">"))
