"""H&M: transactions and articles of the fashion shop's research set."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..parsing import text
from ..tables import Table
from .base import Shaped
from .shaping import Renamed


class HMTransactions(Renamed):
    """What customers bought, by day."""

    name = "hm"
    kind = "events"
    title = "H&M transactions (CSV)"
    export = "the research set's transactions_train.csv"
    reads: ClassVar = {
        "user_id": "customer_id",
        "item_id": "article_id",
        "timestamp": "t_dat",
        "value": "price",
        "event_type": "always purchase",
    }
    event_type = "purchase"


class HMArticles(Renamed):
    """The articles, whose ids keep their leading zeros."""

    name = "hm"
    kind = "items"
    title = "H&M articles (CSV)"
    export = "the research set's articles.csv"
    reads: ClassVar = {
        "item_id": "article_id",
        "title": "prod_name",
        "description": "detail_desc",
        "category_path": "product_group_name > product_type_name",
    }

    def matches(self, table: Table) -> bool:
        """Whether it has the research set's own names."""
        names = ("article_id", "prod_name", "detail_desc", "product_group_name", "product_type_name")
        return set(names) <= set(table.frame.columns)

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Group and type of the product become its category."""
        self.require(table, ("article_id", "prod_name", "product_group_name", "product_type_name"))
        levels = [text(table.frame[name]).alias(name) for name in ("product_group_name", "product_type_name")]
        path = pl.DataFrame(levels).select(path=pl.concat_list(pl.all()).list.drop_nulls())["path"]
        aside = ("product_group_name", "product_type_name")
        frame = table.frame.drop(aside).with_columns(path.alias("category_path"))
        own = {name: source for name, source in self.reads.items() if source in frame.columns}
        shaped = self.renamed(replace(table, frame=frame), {**own, "category_path": "category_path"})
        return replace(shaped, sources={name: self.reads[name] for name in shaped.sources})
