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


def pairs(*rows: dict[str, str]) -> list[list[dict[str, str]]]:
    return [[{"key": key, "value": value} for key, value in row.items()] for row in rows]


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
    Case(
        "ga4",
        "events",
        "ga4.jsonl",
        [2, 2, 3, 4, 5, 6, 8, 8, 8],
        {
            "user_id": ["ann"] * 9,
            "item_id": ["cup", "pan", None, "cup", "cup", "cup", "cup", "pan", None],
            "timestamp": [f"170937000000000{n}" for n in (1, 1, 2, 3, 4, 4, 5, 5, 5)],
            "event_type": ["impression"] * 2 + ["search", "click", "view", "cart"] + ["purchase"] * 3,
            "session_id": ["9.1.77"] * 9,
            "query": [None, None, "cups"] + [None] * 6,
            "value": [None] * 6 + [9.0, 30.0, 1.0],
            "quantity": [None] * 6 + ["2", "1", "1"],
            "item_list_name": ["Spring"] * 2 + [None] * 7,
            "item_list_index": ["1", "2"] + [None] * 7,
        },
        ("user_id", "user_pseudo_id"),
    ),
    Case(
        "ga4",
        "events",
        "ga4-flat.csv",
        [1, 2, 3],
        {
            "user_id": ["ann"] * 3,
            "item_id": ["cup", "cup", "pan"],
            "event_type": ["view", "purchase", "purchase"],
            "value": [None, 9.0, 30.0],
        },
        ("user_id", "user_pseudo_id"),
    ),
    Case(
        "segment",
        "events",
        "segment.jsonl",
        [2, 3, 3, 4, 5, 7, 7, 8],
        {
            "user_id": ["ann"] * 7 + ["d2"],
            "item_id": [None, "cup", "pan", "cup", "cup", "cup", "pan", "pan"],
            "timestamp": [f"2024-03-02T09:00:0{n}.000Z" for n in (1, 2, 2, 3, 4, 6, 6, 7)],
            "event_type": ["search", "impression", "impression", "view", "cart", "purchase", "purchase", "view"],
            "query": ["cups"] + [None] * 7,
            "value": [None] * 5 + [9.0, 30.0, None],
            "quantity": [None] * 5 + ["2", "1", None],
            "item_list_index": [None, "1", "2"] + [None] * 5,
        },
        ("user_id", "anonymousId"),
    ),
    Case(
        "mixpanel",
        "events",
        "mixpanel.jsonl",
        [1, 3],
        {
            "user_id": ["ann", "ann"],
            "item_id": ["cup", "cup"],
            "timestamp": ["1709370001", "1709370003"],
            "event_type": ["view", "purchase"],
            "value": [None, 9.0],
        },
        ("query", "event"),
    ),
    Case(
        "amplitude",
        "events",
        "amplitude.jsonl",
        [1, 3, 4],
        {
            "user_id": ["d1", "ann", "bo"],
            "item_id": ["cup", "pan", "pan"],
            "event_type": ["view", "cart", "purchase"],
            "session_id": ["1709370000000", "1709370000000", None],
            "value": [None, None, 30.0],
        },
        ("user_id", "device_id"),
    ),
    Case(
        "ga4-report",
        "events",
        "ga4-report.csv",
        [1, 1, 1, 2, 3],
        {
            "user_id": ["ann", "ann", "ann", "bo", None],
            "item_id": ["cup", "cup", "cup", "pan", "pan"],
            "timestamp": ["2024-03-02 09:00"] * 3 + ["2024-03-02 10:00"] * 2,
            "event_type": ["view", "cart", "purchase", "view", "cart"],
            "quantity": ["3", "1", "2", "1", "1"],
            "value": [None, None, "9.00", None, None],
        },
        ("timestamp", "dateHour"),
    ),
    Case(
        "ga4-report",
        "events",
        "ga4-exploration.csv",
        [2, 2, 3, 4, 4, 5],
        {
            "user_id": ["u1"] * 3 + ["u2"] * 3,
            "item_id": ["P1", "P1", "P2", "P1", "P1", None],
            "timestamp": ["2024-01-15 10:00"] * 2 + [f"2024-01-15 {hour}:00" for hour in (11, 10, 10, 12)],
            "event_type": ["view", "cart", "view", "view", "cart", "view"],
        },
        ("item_id", "Item ID"),
    ),
    Case(
        "shopify-orders",
        "events",
        "shopify-orders.csv",
        [1, 2, 6],
        {
            "user_id": ["ann@s.example", "ann@s.example", "'+47 1"],
            "item_id": ["CUP", "PAN", "CUP"],
            "timestamp": ["2024-03-02 09:00:00 +0100"] * 2 + ["2024-03-04 10:00:00 +0100"],
            "session_id": ["#1", "#1", "#4"],
            "value": [9.0, 60.0, 4.5],
            "quantity": ["2", "1", "1"],
            "Lineitem name": ["Clay cup", "Iron pan", "Clay cup"],
        },
        ("item_id", "Lineitem name"),
    ),
    Case(
        "amazon-reviews-2023",
        "events",
        "amazon-reviews-2023.jsonl",
        [1, 2],
        {
            "item_id": ["B0CUP", "B0PAN"],
            "user_id": ["AEANN", "AEBO"],
            "value": ["4", "5"],
            "asin": ["B0RED", "B0PAN"],
        },
        ("item_id", "asin"),
    ),
    Case(
        "amazon-reviews-2018",
        "events",
        "amazon-reviews-2018.jsonl",
        [1],
        {
            "item_id": ["B01"],
            "user_id": ["A1"],
            "value": ["4"],
            "timestamp": ["1393718400"],
            "event_type": ["rating"],
        },
        ("timestamp", "unixReviewTime"),
    ),
    Case(
        "recbole",
        "events",
        "recbole.inter",
        [1, 2],
        {"user_id": ["1", "2"], "item_id": ["7", "8"], "value": ["3.0", "4.5"], "event_type": ["rating", "rating"]},
        ("user_id", "item_id:token"),
    ),
    Case(
        "recbole",
        "items",
        "recbole.item",
        [1, 2],
        {
            "item_id": ["7", "8"],
            "title": ["Red kettle", "Blue pan"],
            "category_path": [["Home", "Tea time"], ["Home", "Kitchen"]],
            "price": ["11.5", "12.5"],
            "release_year": ["1999", "2001"],
        },
        ("description", "brand:token"),
    ),
    Case(
        "retailrocket",
        "events",
        "retailrocket-events.csv",
        [1, 2, 3],
        {"user_id": ["5"] * 3, "item_id": ["7"] * 3, "event_type": ["view", "cart", "purchase"]},
        ("session_id", "transactionid"),
    ),
    Case(
        "retailrocket",
        "items",
        "retailrocket-items.csv",
        [1, 3],
        {
            "item_id": ["7", "8"],
            "category_path": ["12", None],
            "price": [55.5, None],
            "available": [None, "1"],
            "attributes": [[{"key": "888", "value": "300 n9.000"}], None],
        },
        ("title", "value"),
    ),
    Case(
        "otto",
        "events",
        "otto.jsonl",
        [1, 1, 3],
        {
            "user_id": ["5", "5", "7"],
            "item_id": ["7", "8", "8"],
            "timestamp": ["1659304800025", "1659304900025", "1659305000025"],
            "event_type": ["click", "cart", "purchase"],
            "session_id": ["5", "5", "7"],
        },
        ("query", "session"),
    ),
    Case("otto", "events", "otto.csv", [1, 2, 3], {"event_type": ["click", "cart", "purchase"]}, ("query", "session")),
    Case(
        "hm",
        "items",
        "hm-articles.csv",
        [1, 2],
        {
            "item_id": ["0108775015", "0541518023"],
            "title": ["Strap top", "Beanie"],
            "category_path": [["Garment Upper body", "Vest top"], ["Accessories"]],
            "colour_group_name": ["Black", "White"],
        },
        ("brand", "colour_group_name"),
    ),
    Case(
        "hm",
        "events",
        "hm-transactions.csv",
        [1, 2],
        {"item_id": ["0108775015", "0541518023"], "event_type": ["purchase"] * 2, "value": ["0.05", "0.03"]},
        ("session_id", "sales_channel_id"),
    ),
    Case(
        "instacart",
        "events",
        "instacart-joined.csv",
        [1, 2, 3],
        {
            "user_id": ["1"] * 3,
            "timestamp": ["1", "1", "2"],
            "session_id": ["11", "11", "12"],
            "position": ["1", "2", "1"],
        },
        ("quantity", "reordered"),
    ),
    Case(
        "instacart",
        "items",
        "instacart-products.csv",
        [1, 2],
        {"title": ["Oat milk", "Eggs, free range"], "category_path": [["dairy", "milk"], ["dairy"]]},
        ("brand", "aisle_id"),
    ),
    Case(
        "movielens",
        "events",
        "movielens-ratings.csv",
        [1, 2],
        {"user_id": ["1", "1"], "item_id": ["2", "3"], "value": ["3.5", "4.0"], "event_type": ["rating"] * 2},
        ("session_id", "userId"),
    ),
    Case(
        "movielens",
        "items",
        "movielens-movies.csv",
        [1, 2],
        {"title": ["Harbour, The (1995)", "Night Bus (1999)"], "category_path": [["Comedy", "Drama"], []]},
        ("description", "title"),
    ),
    Case(
        "kaggle-shop",
        "events",
        "kaggle-shop.csv",
        [1, 2, 4],
        {"event_type": ["view", "cart", "purchase"], "value": [None, None, "479.00"], "session_id": ["s1"] * 3},
        ("query", "category_code"),
    ),
    Case(
        "kaggle-shop",
        "items",
        "kaggle-shop.csv",
        [3, 4],
        {
            "item_id": ["8", "7"],
            "category_path": [None, ["electronics", "smartphone"]],
            "brand": [None, "orr"],
            "price": ["5.00", "479.00"],
        },
        ("title", "category_code"),
    ),
    Case(
        "retail-invoices",
        "events",
        "retail-invoices.csv",
        [1, 2, 3, 4],
        {
            "event_type": ["purchase", "purchase", "return", "purchase"],
            "value": [15.0, 6.78, -2.5, 0.0],
            "session_id": ["536365", "536365", "C536379", "536380"],
            "Country": ["Norway"] * 4,
        },
        ("query", "Description"),
    ),
    Case(
        "retail-invoices",
        "items",
        "retail-invoices.csv",
        [1, 2],
        {"item_id": ["85123A", "71053"], "title": ["TIN CUP", "IRON PAN"], "price": ["2.50", "3.39"]},
        ("brand", "Country"),
    ),
    Case(
        "taobao-mobile",
        "events",
        "taobao-mobile.csv",
        [1, 2],
        {"timestamp": ["2014-12-06 02:00", "2014-12-06 03:00"], "event_type": ["view", "purchase"]},
        ("query", "item_category"),
    ),
    Case(
        "google-merchant",
        "items",
        "merchant.tsv",
        [1, 2, 3],
        {
            "item_id": ["M-1", "M-2", "M-3"],
            "title": ["Rain Coat", "Rain Hat", "Umbrella"],
            "price": ["80.00 EUR", "20.00 EUR", "USD 9"],
            "currency": ["EUR", "EUR", "USD"],
            "category_path": [["Coats", "Rain"], ["Apparel", "Hats"], None],
            "image": [
                ["https://p.example/w_1,h_2/1.jpg", "https://p.example/1b.jpg", "https://p.example/1c.jpg"],
                ["https://p.example/2.jpg"],
                [],
            ],
            "available": ["true", "true", "false"],
            "cost": ["30 EUR", None, None],
            "item group id": ["G7", None, None],
            "google product category": ["203", None, "6551"],
        },
        ("price", "sale price"),
    ),
    Case(
        "google-merchant",
        "items",
        "merchant.csv",
        [1],
        {
            "item_id": ["M-9"],
            "title": ["Tent"],
            "price": ["149.00 SEK"],
            "currency": ["SEK"],
            "category_path": [["Camp", "Tents"]],
            "image": [[f"https://p.example/{name}.jpg" for name in ("t", "t2", "t3")]],
            "available": ["true"],
        },
        ("brand", "g:product_type"),
    ),
    Case(
        "woocommerce",
        "items",
        "woocommerce.csv",
        [1, 4, 5],
        {
            "item_id": ["mug", "card", "pin"],
            "title": ["Mug", "Card", "Pin"],
            "description": ["<p>Stoneware</p>", "Nice", "Of brass"],
            "price": ["12", "4", "3"],
            "category_path": [["Kitchen", "Cups"], ["Cards, Paper"], None],
            "available": ["true", "false", "false"],
            "image": ["https://p.example/m1.jpg, https://p.example/m2.jpg", None, None],
            "attributes": pairs({"Glaze": "Blue, White"}, {"regular_price": "5"}, {}),
        },
        ("item_id", "ID"),
    ),
    Case(
        "woocommerce",
        "items",
        "woocommerce.csv",
        [2, 3, 4, 5],
        {
            "item_id": ["mug-b", "mug-w", "card", "pin"],
            "title": ["Mug - Blue", "Mug - White", "Card", "Pin"],
            "description": ["<p>Stoneware</p>", "<p>Stoneware</p>", "Nice", "Of brass"],
            "price": ["14", "12", "4", "3"],
            "available": ["false", "true", "false", "false"],
            "attributes": pairs(
                {"Glaze": "Blue", "item_group_id": "mug"},
                {"Glaze": "White", "item_group_id": "mug"},
                {"regular_price": "5"},
                {},
            ),
        },
        ("brand", "Tax status"),
        VARIANTS,
    ),
    Case(
        "magento",
        "items",
        "magento.csv",
        [2, 5, 6],
        {
            "item_id": ["duffle", "hood", "lamp"],
            "title": ["Duffle", "Hood", "Lamp"],
            "price": ["34", "50", "9"],
            "brand": [None, "Vev", None],
            "category_path": [["Gear", "Bags, Cases"], ["Men", "Tops"], ["Home"]],
            "image": [["d/u/1.jpg", "d/u/2.jpg"], ["h.jpg"], []],
            "available": ["true", "true", "false"],
            "created_at": ["2016-10-27 16:34:00", None, None],
            "attributes": pairs({"color": "Red", "size": "M; L", "note": "wide, deep"}, {"brand": "Vev"}, {}),
        },
        ("description", "short_description"),
    ),
    Case(
        "magento",
        "items",
        "magento.csv",
        [2, 3, 4, 6],
        {
            "item_id": ["duffle", "hood-s", "hood-m", "lamp"],
            "title": ["Duffle", "Hood-S", "Hood-M", "Lamp"],
            "price": ["34", "52", "50", "9"],
            "available": ["true", "false", "true", "false"],
        },
        ("brand", "attribute_set_code"),
        VARIANTS,
    ),
    Case(
        "schema-org",
        "items",
        "schema-org.jsonl",
        [1, 3, 3, 4],
        {
            "item_id": ["CH-1", "LA-1", "LA-2", "SO"],
            "title": ["Chair", "Lamp", "Lamp L", "Sofa"],
            "brand": ["Tove", "Lys", None, None],
            "price": ["120.50", "49", "79.00", "499"],
            "currency": ["EUR", "SEK", "SEK", "EUR"],
            "category_path": [["Home", "Chairs"], ["Lamps"], None, None],
            "available": ["true", "false", None, "true"],
            "image": [["https://p.example/1.jpg", "https://p.example/2.jpg"], ["https://p.example/l.jpg"], [], []],
            "attributes": pairs({"Height": "80 cm"}, {}, {}, {}),
            "color": ["oak", None, None, None],
        },
        ("description", "color"),
    ),
    Case(
        "schema-org",
        "items",
        "schema-org.jsonl",
        [1, 3, 3, 4, 4],
        {
            "item_id": ["CH-1", "LA-1", "LA-2", "SO-G", "SO-R"],
            "title": ["Chair", "Lamp", "Lamp L", "Sofa grey", "Sofa"],
            "description": ["Of oak.", None, None, "Soft.", "Soft."],
            "price": ["120.50", "49", "79.00", "549", "499"],
            "available": ["true", "false", None, "false", "true"],
            "item_group_id": [None, None, None, "SO", "SO"],
        },
        ("brand", "color"),
        VARIANTS,
    ),
    Case(
        "amazon-reviews-2023",
        "items",
        "amazon-meta.jsonl",
        [1, 2, 3],
        {
            "item_id": ["B01", "B02", "B03"],
            "title": ["Hair oil", "Comb", "Soap"],
            "description": ["Gentle. Vegan!", "Made by hand. Of horn.", None],
            "brand": ["Havn", "Horn & Son", None],
            "price": ["12.99", None, "9.99"],
            "category_path": [["Beauty", "Hair"], ["All Beauty"], ["All Beauty"]],
            "image": [["https://p.example/l.jpg", "https://p.example/t2.jpg"], [], []],
            "attributes": ['{"UPC": "000123"}', '{"Brand": "Horn & Son"}', "{}"],
        },
        ("brand", "main_category"),
    ),
    Case(
        "movielens",
        "events",
        "movielens-ratings.dat",
        [1, 2],
        {"user_id": ["1", "1"], "item_id": ["7", "8"], "value": ["3", "4"], "timestamp": ["978301760", "978301820"]},
        ("session_id", "1"),
    ),
    Case(
        "movielens",
        "events",
        "movielens-u.data",
        [1, 2],
        {"user_id": ["1", "1"], "item_id": ["7", "8"], "value": ["3", "4"], "timestamp": ["881250949", "881250950"]},
        ("session_id", "1"),
    ),
    Case(
        "movielens",
        "items",
        "movielens-movies.dat",
        [1, 2],
        {"title": ["Harbour, The (1995)", "Zoë (1998)"], "category_path": [["Comedy", "Drama"], ["Romance"]]},
        ("description", "2"),
    ),
    Case(
        "movielens",
        "items",
        "movielens-u.item",
        [1, 2],
        {"title": ["Harbour, The (1995)", "Night Bus (1999)"], "category_path": [["Comedy", "Drama"], []]},
        ("description", "3"),
        Layout(header=False),
    ),
    Case(
        "taobao",
        "events",
        "taobao.csv",
        [1, 2, 3, 4, 5, 6, 7, 8],
        {
            "user_id": ["9"] * 3 + ["8"] * 4 + ["7"],
            "event_type": ["view", "click", "purchase", "cart", "view", "click", "purchase", "cart"],
            "category": ["4076"] * 8,
        },
        ("session_id", "3"),
    ),
    Case(
        "yoochoose",
        "events",
        "yoochoose-clicks.dat",
        [1, 2, 3],
        {"user_id": ["1", "1", "2"], "item_id": ["7001", "7002", "7001"], "event_type": ["click"] * 3},
        ("query", "4"),
    ),
    Case(
        "yoochoose-buys",
        "events",
        "yoochoose-buys.dat",
        [1, 2],
        {"session_id": ["1", "2"], "value": [2092.0, 523.0], "quantity": ["2", "1"]},
        ("query", "1"),
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
