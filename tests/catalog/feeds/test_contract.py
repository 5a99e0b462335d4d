"""What holds for every format: a line in `CASES` with a file in its real layout, and what must come of it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.feeds.base import Feed
from hubspoke.catalog.feeds.formats import FEEDS, find_feed
from hubspoke.catalog.layout import GENERIC, Layout
from hubspoke.catalog.readers import read_events, read_items
from hubspoke.catalog.schema import REQUIRED, SCHEMAS, Kind
from hubspoke.catalog.tables import Table, load_table
from polars.testing import assert_frame_equal

FIXTURES = Path(__file__).with_name("fixtures")
VARIANTS = Layout(level="variant")


@dataclass(frozen=True)
class Case:
    """A file of one format: what its columns must hold once shaped, and the source row that each row begins at."""

    feed: str
    kind: Kind
    file: str
    rows: list[int]
    expected: dict[str, list[Any]]
    claim: tuple[str, str]  # a column that is mapped by hand: canonical, and of the file
    layout: Layout = field(default_factory=Layout)

    @property
    def of(self) -> Feed:
        return next(feed for feed in FEEDS if (feed.name, feed.kind) == (self.feed, self.kind))

    def table(self) -> Table:
        return load_table(FIXTURES / self.file, self.layout)

    def shaped(self, table: Table) -> Table:
        return self.of.shape(table, self.layout).table


CASES = (
    Case(
        "shopify",
        "items",
        "shopify-old.csv",
        [1, 4, 5],
        {
            "item_id": ["felt-hat", "clay-pot", "tin-cup"],
            "title": ["Felt Hat", "Clay Pot", "Tin Cup"],
            "price": ["29.00", "8", "5"],
            "cost": ["11", None, None],
            "category_path": ["Apparel > Hats", "Pots", "Cups"],
            "available": ["true", "false", "false"],
            "image": [[f"https://p.example/{name}.jpg" for name in ("front", "back", "side", "m")], [], []],
        },
        ("brand", "Tags"),
    ),
    Case(
        "shopify",
        "items",
        "shopify-old.csv",
        [1, 2, 4, 5],
        {
            "item_id": ["FH-S", "FH-M", "CP", "tin-cup"],
            "title": ["Felt Hat - S / Grey", "Felt Hat - M / Grey", "Clay Pot", "Tin Cup"],
            "price": ["31.50", "29.00", "8", "5"],
            "brand": ["Nordbo", "Nordbo", "Lera", "Lera"],
            "available": ["false", "true", "false", "false"],
        },
        ("title", "Title"),
        VARIANTS,
    ),
    Case(
        "shopify",
        "items",
        "shopify-new.csv",
        [1, 3],
        {
            "item_id": ["rug", "mat"],
            "title": ["Rug", "Mat"],
            "price": ["60", "15"],
            "category_path": ["Home > Rugs", "Mats"],
            "available": ["true", "false"],
        },
        ("brand", "Type"),
    ),
    Case(
        "shopify",
        "items",
        "shopify-new.csv",
        [1, 2, 3],
        {
            "item_id": ["RG-1", "rug-2 m", "MT-1"],
            "title": ["Rug - 1 m", "Rug - 2 m", "Mat"],
            "image": [["https://p.example/rug.jpg"], ["https://p.example/rug.jpg"], []],
            "available": ["true", "true", "false"],
        },
        ("cost", "Compare-at price"),
        VARIANTS,
    ),
)
# Tables of no format: their columns are read as they stand.
GENERAL = {
    "items": ("sku,name,price", "item_id,title,category,price,image,available", "id,handle,label", "title,type,status"),
    "events": ("user_id,item_id,timestamp", "user,product,time,event,quantity", "customer_id,sku,date,price"),
}


def values(frame: pl.DataFrame, names: Any) -> dict[str, list[Any]]:
    return {name: frame[name].to_list() for name in names}


def test_every_format_has_a_case() -> None:
    assert {(case.feed, case.kind) for case in CASES} == {(feed.name, feed.kind) for feed in FEEDS}
    for feed in FEEDS:
        assert feed.title
        assert feed.export
        assert set(feed.reads) <= set(SCHEMAS[feed.kind])
        assert set(REQUIRED[feed.kind]) <= set(feed.reads)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.feed}-{case.kind}-{case.file}-{case.layout.level}")
class TestCase:
    def test_it_is_recognised_as_its_format_and_as_no_other(self, case: Case) -> None:
        table = case.table()
        assert [f for f in FEEDS if f.matches(table) and f.kind == case.kind] == [case.of]
        assert find_feed(case.kind, table, None) is find_feed(case.kind, table, case.feed) is case.of
        assert find_feed(case.kind, table, GENERIC) is None

    def test_it_becomes_canonical_columns(self, case: Case) -> None:
        table = case.table()
        shaped = case.of.shape(table, case.layout)
        columns = set(shaped.table.frame.columns)
        assert values(shaped.table.frame, case.expected) == case.expected
        assert shaped.table.rows.to_list() == case.rows
        assert set(shaped.sources) <= set(case.of.reads)
        assert columns & set(SCHEMAS[case.kind]) == set(shaped.sources)
        assert shaped.sources.keys() >= set(REQUIRED[case.kind])
        for step, following in zip(shaped.steps, shaped.steps[1:], strict=False):
            assert step.rows_out == following.rows_in
        if shaped.steps:
            assert (shaped.steps[0].rows_in, shaped.steps[-1].rows_out) == (table.frame.height, len(case.rows))

    def test_it_becomes_the_same_again_whatever_the_order_of_its_columns(self, case: Case) -> None:
        first = case.shaped(case.table()).frame
        table = case.table()
        turned = case.shaped(replace(table, frame=table.frame.select(reversed(table.frame.columns)))).frame
        assert_frame_equal(case.shaped(table).frame, first)
        names = set(first.columns) & set(SCHEMAS[case.kind]) - {"attributes"}
        assert_frame_equal(turned.select(sorted(names)), first.select(sorted(names)))

    def test_an_empty_table_has_the_same_canonical_columns(self, case: Case) -> None:
        table = case.table()
        empty = case.shaped(replace(table, frame=table.frame.clear(), rows=table.rows.clear()))
        assert (empty.frame.height, len(empty.rows)) == (0, 0)
        full = case.shaped(table).frame.columns
        assert set(empty.frame.columns) & set(SCHEMAS[case.kind]) == set(full) & set(SCHEMAS[case.kind])

    def test_columns_that_it_does_not_know_become_attributes(self, case: Case) -> None:
        table = case.table()
        more = case.shaped(replace(table, frame=table.frame.with_columns(pl.lit("oak").alias("Wood of shelf"))))
        assert more.frame["Wood of shelf"].to_list() == ["oak"] * len(case.rows)
        assert values(more.frame, case.expected) == case.expected

    def test_a_column_that_is_mapped_by_hand_goes_over_what_it_reads(self, case: Case) -> None:
        name, source = case.claim
        read = (read_items if case.kind == "items" else read_events)(
            FIXTURES / case.file, {name: source}, on_error="skip", layout=case.layout
        )
        assert (read.format, read.mapping[name]) == (case.feed, source)

    def test_it_may_be_compressed(self, case: Case, tmp_path: Path) -> None:
        if case.file.endswith(".parquet"):
            pytest.skip("no text")
        packed = tmp_path / f"{case.file}.gz"
        packed.write_bytes(gzip.compress((FIXTURES / case.file).read_bytes()))
        assert_frame_equal(case.shaped(load_table(packed, case.layout)).frame, case.shaped(case.table()).frame)

    def test_what_is_read_names_its_format_and_lists_its_columns(self, case: Case) -> None:
        read = (read_items if case.kind == "items" else read_events)(
            FIXTURES / case.file, on_error="skip", layout=case.layout
        )
        assert read.format == read.provenance["format"] == case.feed
        assert json.loads(json.dumps(read.mapping)).keys() >= set(REQUIRED[case.kind])
        assert any(case.of.title in note for note in read.report.notes)


@pytest.mark.parametrize(("kind", "header"), [(kind, header) for kind, known in GENERAL.items() for header in known])
def test_a_general_table_is_of_no_format(kind: Kind, header: str) -> None:
    frame = pl.DataFrame({name: ["1", "2"] for name in header.split(",")})
    assert find_feed(kind, Table(frame, pl.Series([1, 2], dtype=pl.UInt32)), None) is None
