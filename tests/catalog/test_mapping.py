from pathlib import Path
from typing import Any

import pytest
from hubspoke.catalog.mapping import guess_mapping, load_mapping, parse_map_option, resolve_mapping
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError


def test_guess_reads_common_names_without_case() -> None:
    columns = ["Household_ID", "basket_id", "PRODUCT_ID", "quantity", "sales_value", "transaction_timestamp", "week"]
    mapping = guess_mapping(columns, "events")
    assert mapping == {
        "user_id": "Household_ID",
        "item_id": "PRODUCT_ID",
        "timestamp": "transaction_timestamp",
        "session_id": "basket_id",
        "value": "sales_value",
        "quantity": "quantity",
    }


@pytest.mark.parametrize(
    ("column", "kind", "canonical"),
    [
        *((name, "items", "item_id") for name in ("sku", "asin", "article_id")),
        ("productName", "items", "title"),
        ("visitorid", "events", "user_id"),
        ("event_time", "events", "timestamp"),
        ("qty", "events", "quantity"),
        ("event", "events", "event_type"),
    ],
)
def test_synonyms(column: str, kind: Any, canonical: str) -> None:
    assert guess_mapping([column], kind) == {canonical: column}


def test_a_canonical_name_wins_and_each_column_is_used_once() -> None:
    assert guess_mapping(["name", "title", "id", "item_id"], "items") == {"item_id": "item_id", "title": "title"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"price": "cost_eur", "title": ""}, {"item_id": "sku", "price": "cost_eur"}),
        ({"price": "cost_eur"}, {"item_id": "sku", "title": "name", "price": "cost_eur"}),
        ({"description": "name"}, {"item_id": "sku", "description": "name"}),  # claimed by hand, so guessed no more
    ],
)
def test_overrides_go_over_the_guess(changes: dict[str, str], expected: dict[str, str]) -> None:
    assert resolve_mapping(["sku", "name", "cost_eur"], "items", changes) == expected


def test_unknown_columns_name_the_known_ones() -> None:
    with pytest.raises(InvalidDataError, match=r"'titel' is no column of items.*title"):
        resolve_mapping(["sku"], "items", {"titel": "sku"})
    with pytest.raises(InvalidDataError, match=r"'nmae'.*use one of: sku, name"):
        resolve_mapping(["sku", "name"], "items", {"title": "nmae"})


def test_option_text() -> None:
    assert parse_map_option("title=name, price=cost_eur") == {"title": "name", "price": "cost_eur"}
    assert parse_map_option("title=") == {"title": ""}
    assert parse_map_option("") == {}


@pytest.mark.parametrize("text", ["title", "=name", "title=a,title=b"])
def test_malformed_option(text: str) -> None:
    with pytest.raises(UsageError):
        parse_map_option(text)


def test_yaml_flat_and_by_kind(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("title: name\nprice: 7\n")
    assert load_mapping(path) == {"title": "name", "price": "7"}
    path.write_text("items: {title: name}\nevents: {user_id: who}\n")
    assert load_mapping(path, "events") == {"user_id": "who"}


def test_yaml_problems(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_mapping(tmp_path / "none.yaml")
    path = tmp_path / "map.yaml"
    for text in ("- a\n- b\n", "title: [a\n", "title: {a: b}\n", "!!python/object/apply:os.system ['true']\n"):
        path.write_text(text)
        with pytest.raises(InvalidDataError):
            load_mapping(path)
