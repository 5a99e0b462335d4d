"""The products of one item snapshot, as pages show them: by row, by id, by words of the title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError
from ..registry.records import SnapshotRecord
from ..workflows.datasets import read_table

if TYPE_CHECKING:
    from ..workflows.context import Context

COLUMNS = ("item_id", "title", "brand", "category_path", "price", "currency", "available")


@dataclass(frozen=True)
class Product:
    """What a page shows of a product."""

    row: int
    item_id: str
    title: str
    brand: str | None
    category: str | None
    price: float | None
    currency: str | None
    available: bool
    picture: bool  # whether there is one

    @property
    def name(self) -> str:
        """The title, or the id where there is none."""
        return self.title or self.item_id


class Shelf:
    """The products of one snapshot; nothing of it changes."""

    def __init__(self, snapshot: SnapshotRecord, items: Any, root: Path | None) -> None:
        self.snapshot, self.items, self._root = snapshot, items, root

    def __len__(self) -> int:
        return int(self.items.height)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row by item id."""
        return {item: row for row, item in enumerate(self.items["item_id"].to_list())}

    @cached_property
    def _with_pictures(self) -> list[int]:
        return [] if self._root is None else [int(row) for row in self.items["image_sha256"].is_not_null().arg_true()]

    def products(self, rows: Sequence[int]) -> list[Product]:
        """The products of some rows, in their order."""
        names = [*COLUMNS, "image_sha256"]
        return [
            self._product(row, own) for row, own in zip(rows, self.items[list(rows), names].to_dicts(), strict=True)
        ]

    def _product(self, row: int, own: dict[str, Any]) -> Product:
        category = " > ".join(own["category_path"] or []) or None
        words = (own["item_id"], own["title"] or "", own["brand"], category, own["price"], own["currency"])
        return Product(row, *words, bool(own["available"]), bool(own["image_sha256"]) and self._root is not None)

    def find(self, item_ids: Sequence[str]) -> list[Product]:
        """The products of those ids that are here, in their order."""
        return self.products([self.row_of[item] for item in item_ids if item in self.row_of])

    def product(self, item_id: str) -> Product:
        """The product of an id."""
        if item_id not in self.row_of:
            raise NotFoundError(f"{item_id!r} is not in {self.snapshot.ref}; look for it by its title.")
        return self.products([self.row_of[item_id]])[0]

    def sample(self, number: int) -> list[Product]:
        """Products spread over the catalog, those with pictures if there are any."""
        rows = self._with_pictures or list(range(len(self)))
        step = max(1, len(rows) // max(1, number))
        return self.products(rows[::step][:number])

    def search(self, words: str, number: int) -> list[Product]:
        """The first products whose title, brand or id holds every word, whatever its case."""
        rows = range(len(self))
        matching = None
        for word in words.casefold().split()[:8]:
            has = self._text.str.contains(word, literal=True)
            matching = has if matching is None else matching & has
        if matching is not None:
            rows = matching.arg_true().to_list()
        return self.products([int(row) for row in rows[:number]])

    @cached_property
    def _text(self) -> Any:
        """What a search looks through, in one text per row."""
        names = ("title", "brand", "item_id")
        texts = zip(*(self.items[name].to_list() for name in names), strict=True)
        series = type(self.items["item_id"])
        return series("text", [" ".join(filter(None, own)).casefold() for own in texts])

    def picture(self, row: int) -> tuple[Path, Path, str]:
        """The image folder, and the first registered picture of a row in it with its SHA-256."""
        own = self.items[[row], ["image", "image_sha256"]].to_dicts()[0] if 0 <= row < len(self) else {}
        if self._root is None or not own.get("image_sha256"):
            raise NotFoundError(f"{self.snapshot.ref} has no picture in row {row}.")
        return self._root, Path(own["image"][0]), own["image_sha256"][0]

    def everything(self, row: int) -> dict[str, Any]:
        """All that the snapshot says of a product."""
        found: dict[str, Any] = self.items[[row]].to_dicts()[0]
        return found


def open_shelf(context: Context, snapshot: SnapshotRecord) -> Shelf:
    """The products of an item snapshot, and where their pictures lie now."""
    moved = context.registry.domains.get(snapshot.domain).settings.get("image_roots", {})
    root = moved.get(snapshot.ref) or snapshot.details.get("image_root")
    return Shelf(snapshot, read_table(context, snapshot), Path(root) if root else None)
