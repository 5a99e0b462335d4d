"""Merchandising rules: what a list must hide, what it must begin with, and how much of one brand it may hold.

They are laid over a ranking and never change a score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1)]


class Rules(BaseModel):
    """The rules of one domain.

    Attributes:
        hide_items: item ids that are never shown.
        hide_brands: brands that are never shown.
        hide_categories: categories that are never shown, written like `garden > tools`, with all that is below them.
        pin: item ids that every recommendation begins with, in this order.
        max_per_brand: how many items of one brand a list may hold; items without a brand are not counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hide_items: tuple[Name, ...] = ()
    hide_brands: tuple[Name, ...] = ()
    hide_categories: tuple[Name, ...] = ()
    pin: tuple[Name, ...] = ()
    max_per_brand: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class CatalogItem:
    """What rules look at."""

    item_id: str
    brand: str | None
    category_path: tuple[str, ...]


class CatalogRules:
    """Rules over one catalog.

    Args:
        rules: the rules.
        items: N items, in row order.
    """

    def __init__(self, rules: Rules, items: Sequence[CatalogItem]) -> None:
        self._brands = [item.brand for item in items]
        self._limit = rules.max_per_brand
        hides = _hides(rules)
        self.hidden: frozenset[int] = frozenset(row for row, item in enumerate(items) if hides(item))
        row_of = {item.item_id: row for row, item in enumerate(items)}
        self._pinned = [row_of[item] for item in rules.pin if item in row_of and row_of[item] not in self.hidden]

    def pinned(self, without: Iterable[int]) -> list[int]:
        """Rows that a recommendation begins with, those in `without` left out."""
        left_out = set(without)
        return [row for row in self._pinned if row not in left_out]

    def limit(self, ranked: Iterable[tuple[int, float]], taken: Sequence[int] = ()) -> Iterator[tuple[int, float]]:
        """The ranking without what is hidden, what is taken already, and what would be too much of one brand."""
        shown = set(taken)
        count = Counter(self._brand(row) for row in taken)
        for row, score in ranked:
            brand = self._brand(row)
            full = self._limit is not None and brand is not None and count[brand] >= self._limit
            if row in self.hidden or row in shown or full:
                continue
            count[brand] += 1
            shown.add(row)
            yield row, score

    def _brand(self, row: int) -> str | None:
        """The brand that a limit counts; without a limit none is looked up, so rules over nothing need no items."""
        return None if self._limit is None else self._brands[row]


def unknown_names(rules: Rules, items: Sequence[CatalogItem]) -> Mapping[str, list[str]]:
    """What the rules name and the catalog does not hold, by field; empty where all is known."""
    ids = {item.item_id for item in items}
    brands = {item.brand for item in items}
    categories = {item.category_path[:depth] for item in items for depth in range(1, len(item.category_path) + 1)}
    missing = {
        "hide_items": [item for item in rules.hide_items if item not in ids],
        "hide_brands": [brand for brand in rules.hide_brands if brand not in brands],
        "hide_categories": [text for text in rules.hide_categories if _path(text) not in categories],
        "pin": [item for item in rules.pin if item not in ids],
    }
    return {field: names for field, names in missing.items() if names}


def _hides(rules: Rules) -> Callable[[CatalogItem], bool]:
    ids, brands = set(rules.hide_items), set(rules.hide_brands)
    paths = [_path(text) for text in rules.hide_categories]

    def hides(item: CatalogItem) -> bool:
        if item.item_id in ids or item.brand in brands:
            return True
        return any(item.category_path[: len(path)] == path for path in paths)

    return hides


def _path(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(">"))
