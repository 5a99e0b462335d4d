"""Whatever a file or a table holds, reading it gives a result or one of our errors, and no id changes in silence."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.feeds.formats import format_names
from hubspoke.catalog.layout import Layout
from hubspoke.catalog.readers import read_events, read_items
from hubspoke.errors import HubspokeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".xml", ".html", ".parquet")
EXIT_CODES = (2, 4, 5)
quick = settings(
    max_examples=int(__import__("os").environ.get("N", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# What files are made of, so that random ones get further than their first byte.
PIECES = [
    b"id,title,price\n", b"user_id,item_id,timestamp\n", b"a,1.299,2024-01-05\n", b'{"id": 1, "title": "x"}\n',
    b'[{"id": "1"', b"}", b"]", b"<rss><channel><item><g:id>", b"</item>", b"<title>a</title>", b"PAR1",
    b"\x1f\x8b\x08", b"PK\x03\x04", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\xe4", b'"', b"\n", b"\r", b",", b";",
    b"\t", b"::", b"NULL", b"1e999", b"<script type='application/ld+json'>{\"@graph\": [", b"&#x110000;", b"sep=;\n",
]  # fmt: skip
CELLS = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.sampled_from(
        ["", " ", "-", "NaN", "null", "[]", "{}", '["a", 1]', '{"name": "x"}', "{'a': [1]}", "[[['a']]]",
         "1.299,00", "1e999", "0001", "€", "--1", "12-", "in stock", "2024-01-05T10:00:00Z", "20240105",
         "99999999999999", "a > b", "<b>x", "&amp;", "a;b|c", "https://x/y.jpg", "../x", "\x00", "\U0001f600",
         "id:1", "id:", "/", "2020-01-01/x", "sku=a,size=b|", "a=b,c", "variation", "visible", '{"@type": "Product"}',
         "active"]
    ),
)  # fmt: skip
VALUES = st.one_of(
    CELLS, st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.binary(max_size=3), st.datetimes(), st.dates(),
    st.timedeltas(), st.times(), st.decimals(allow_nan=False, places=2, min_value=-10, max_value=10),
    st.lists(CELLS, max_size=2), st.dictionaries(st.sampled_from(["name", "id", "a"]), CELLS, max_size=2),
)  # fmt: skip
NAMES = [
    "id", "item_id", "title", "price", "available", "image", "categories", "created_at", "attributes", "user_id",
    "timestamp", "event_type", "quantity", "position", "value", "handle", "Variant Price", "Variant SKU", "Type",
    "SKU", "Name", "Regular price", "Tax status", "Parent", "sku", "product_type", "product_online",
    "additional_attributes", "configurable_variations", "image link", "product type", "sale price",
    "sale price effective date", "@graph", "@type", "offers", "parent_asin", "main_category", "details", "images",
    "variants", "options", "catalog_visibility", "status", "name", "type", "regular_price", "x", "",
]  # fmt: skip


def series(name: str, values: list[Any]) -> pl.Series:
    """Values in the dtype that polars finds for them, as Python objects where there is none."""
    try:
        return pl.Series(name, values, strict=False)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        return pl.Series(name, values, dtype=pl.Object)


def outcome(kind: str, source: Any, mapping: dict[str, str] | None = None, **layout: Any) -> Any:
    """What reading gave, None where it was refused as it should be."""
    read: Any = read_items if kind == "items" else read_events
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return read(source, mapping, on_error="skip", layout=Layout(**layout))
        except HubspokeError as error:
            assert error.exit_code in EXIT_CODES, error
            return None


@quick
@pytest.mark.parametrize("kind", ["items", "events"])
@given(
    pieces=st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=12),
    suffix=st.sampled_from(SUFFIXES),
    header=st.booleans(),
)
def test_any_bytes_are_read_or_refused(
    tmp_path: Path, kind: str, pieces: list[bytes], suffix: str, header: bool
) -> None:
    path = tmp_path / f"table{suffix}"
    path.write_bytes(b"".join(pieces))
    outcome(kind, path, header=header)


@quick
@pytest.mark.parametrize("kind", ["items", "events"])
@given(data=st.data())
def test_any_small_table_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True))
    height = data.draw(st.integers(0, 3))
    kinds = st.one_of(CELLS, VALUES)
    column = kinds.flatmap(lambda one: st.lists(st.just(one) | CELLS, min_size=height, max_size=height))
    frame = pl.DataFrame({name: series(name, data.draw(column)) for name in names})
    form = data.draw(st.none() | st.sampled_from(format_names(kind)))  # type: ignore[arg-type]
    mapping = data.draw(st.dictionaries(st.sampled_from(["item_id", "title", "price", "user_id", "timestamp"]),
                                        st.sampled_from([*names, "", "x:int", "a|b"]), max_size=2))  # fmt: skip
    outcome(kind, frame, mapping, format=form, level=data.draw(st.sampled_from(["product", "variant"])))


@pytest.mark.parametrize(
    ("kind", "form", "columns"),
    [
        (
            "events",
            "recbole",
            {"user_id:token": ["u"], "item_id": ["1"], "item_id:token": ["1"]},
        ),
        ("items", "recbole", {"item_id:token": ["1"], "title": ["a"], "title:token_seq": ["b"]}),
        ("items", "retail-invoices", {"StockCode": ["1"], "Description": ["Rose"], "UnitPrice": [["a"]]}),
        ("items", "generic", {"id": pl.Series([["a"], "b"], dtype=pl.Object), "title": ["a", "b"]}),
    ],
)
def test_tables_that_ended_in_foreign_errors(kind: str, form: str, columns: dict[str, Any]) -> None:
    outcome(kind, pl.DataFrame(columns), format=form)


IDS = st.lists(
    st.text(alphabet="abcABC0123456789-_./ é", min_size=1, max_size=8).map(str.strip).filter(bool),
    min_size=2, max_size=5, unique=True,
)  # fmt: skip


@quick
@given(ids=IDS, suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".xml", ".parquet"]))
@example(ids=["0001", "1"], suffix=".csv")
@example(ids=["1.0", "2.0"], suffix=".csv")
@example(ids=["1e5", "2"], suffix=".jsonl")
def test_ids_stay_what_they_are_or_are_told(tmp_path: Path, ids: list[str], suffix: str) -> None:
    path = tmp_path / f"items{suffix}"
    rows = [{"id": own, "title": f"thing {n}"} for n, own in enumerate(ids)]
    if suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif suffix in (".csv", ".tsv"):
        pl.DataFrame(rows).write_csv(path, separator="," if suffix == ".csv" else "\t", quote_style="necessary")
    elif suffix == ".xml":
        items = "".join(f"<item><id>{row['id']}</id><title>{row['title']}</title></item>" for row in rows)
        path.write_text(f"<rss><channel>{items}</channel></rss>", encoding="utf-8")
    else:
        text = json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows))
        path.write_text(text, encoding="utf-8")
    result = outcome("items", path)
    if result is None:
        return
    found = dict(result.frame.select("title", "item_id").rows())
    changed = {row["id"] for row in rows if found.get(row["title"], row["id"]) != row["id"]}
    whole_floats = all(own.removesuffix(".0").lstrip("0").isdigit() for own in changed)
    assert not changed or whole_floats or result.report.count("error") or result.report.count("warning")
    missing = {row["title"] for row in rows} - set(found)
    assert not missing or result.report.count("error")
