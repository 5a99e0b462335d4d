"""RecBole's atomic files: tab-separated tables whose header names and types each column, as in `item_id:token`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import polars as pl

from ..guessing import SYNONYMS, plain
from ..layout import Layout
from ..parsing import numbers, text
from ..schema import SCHEMAS, Kind
from ..tables import Table
from ..validation import Step
from .base import Shaped
from .shaping import Renamed

TYPES = ("token", "token_seq", "float", "float_seq")
# Names that RecBole's own data sets use, before those that are common elsewhere.
NAMES: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    "items": {
        "item_id": ("item_id",),
        "title": ("title", "movie_title", "name"),
        "category_path": ("categories", "category", "genre", "genres", "class"),
    },
    "events": {"user_id": ("user_id", "session_id"), "item_id": ("item_id",), "timestamp": ("timestamp",)},
}
OTHERS = ("description", "currency", "image", "available", "created_at", "cost", "attributes")
# Values of a sequence are separated by blanks; those with blanks of their own stand in quotes.
VALUE = r"'[^']+'|\"[^\"]+\"|[^\s,]+"


class RecBole(Renamed):
    """What both kinds of atomic files share."""

    name = "recbole"

    def matches(self, table: Table) -> bool:
        """Whether every column is named and typed, and the ids that the kind needs are there."""
        types = [name.rpartition(":")[2] for name in table.frame.columns]
        names = {name.rpartition(":")[0] for name in table.frame.columns}
        needed = ("user_id", "session_id") if self.kind == "events" else ("item_id",)
        return all(own in TYPES for own in types) and bool(names & set(needed)) and "item_id" in names

    def typed(self, table: Table) -> tuple[Shaped, Mapping[str, str]]:
        """The table under canonical names, and the type of each of its columns by its name in the file."""
        types = {name.rpartition(":")[0]: name.rpartition(":")[2] for name in table.frame.columns if ":" in name}
        bare = {name: name.rpartition(":")[0] for name in table.frame.columns}
        times = Counter(own or name for name, own in bare.items())
        # A name that stands there twice keeps its type.
        frame = table.frame.rename({name: own for name, own in bare.items() if own and times[own] == 1})
        free = {plain(name): name for name in reversed(frame.columns)}
        columns: dict[str, str] = {}
        for name in SCHEMAS[self.kind]:
            words = (*NAMES[self.kind].get(name, ()), name, *SYNONYMS[self.kind].get(name, ()))
            found = next((word for word in map(plain, words) if word in free), None)
            if found is not None:
                columns[name] = free.pop(found)
        return self.renamed(replace(table, frame=frame), columns), types


class RecBoleEvents(RecBole):
    """Interactions."""

    kind = "events"
    title = "RecBole interactions (.inter)"
    export = "the file NAME.inter of a RecBole data set"
    reads: ClassVar = {
        "user_id": "user_id:token, else session_id:token",
        "item_id": "item_id:token",
        "timestamp": "timestamp:float",
        "event_type": "event_type:token, else always rating where there is rating:float",
        "session_id": "session_id:token",
        "value": "rating:float",
        **{name: f"{name}, or a common name for it" for name in ("query", "quantity", "position", "attributes")},
    }

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """A rating is the type and the value of an event where the file names neither."""
        shaped, types = self.typed(table)
        frame, sources = shaped.table.frame, dict(shaped.sources)
        if "rating" in types and "event_type" not in sources and "value" not in sources:
            rated = frame["rating"].is_not_null()
            kind = pl.select(pl.when(rated).then(pl.lit("rating"))).to_series()
            frame = frame.rename({"rating": "value"}).with_columns(kind.alias("event_type"))
            sources |= {"value": "rating", "event_type": "always rating"}
        if "session_id" in types and "user_id" not in types:
            frame = frame.with_columns(pl.col("user_id").alias("session_id"))
            sources["session_id"] = "session_id"
        table = replace(shaped.table, frame=frame)
        if types.get("label") == "float" and "label" in frame.columns:
            # Samples that were drawn for a training: a user did nothing with those of label 0.
            kept = (numbers(frame["label"])[0] != 0).fill_null(True)
            table = replace(table, frame=frame.filter(kept), rows=table.rows.filter(kept))
        step = Step("samples of label 0, which are no interactions, left out", frame.height, table.frame.height)
        return replace(shaped, table=table, sources=_with_types(sources, types), steps=(*shaped.steps, step))


class RecBoleItems(RecBole):
    """Items by the names of their fields."""

    kind = "items"
    title = "RecBole items (.item)"
    export = "the file NAME.item of a RecBole data set"
    reads: ClassVar = {
        "item_id": "item_id:token",
        "title": "title:token_seq",
        "category_path": "categories:token_seq",
        "price": "price:float",
        "brand": "brand:token",
        **{name: f"{name}, or a common name for it" for name in OTHERS},
    }

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Categories become lists; other sequences are text, words between blanks."""
        shaped, types = self.typed(table)
        frame = shaped.table.frame
        if "category_path" in frame.columns:
            values = text(frame["category_path"]).str.extract_all(VALUE).list.eval(pl.element().str.strip_chars("'\""))
            frame = frame.with_columns(values.alias("category_path"))
        return shaped.reframed(frame, **_with_types(shaped.sources, types))


def _with_types(sources: Mapping[str, str], types: Mapping[str, str]) -> dict[str, str]:
    """Sources as the header writes them."""
    return {name: f"{source}:{types[source]}" if source in types else source for name, source in sources.items()}
