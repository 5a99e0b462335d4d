from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.guessing import guess_mapping
from hubspoke.catalog.transforms import written

IDS = pl.Series(["p1", "p2", "p3"])


def guess(columns: dict[str, list[Any]], kind: Any = "items", **given: Any) -> dict[str, str]:
    found = guess_mapping(pl.DataFrame(columns), kind, **given).mapping
    return {name: written(origins) for name, origins in found.items()}


def test_common_names_without_case() -> None:
    columns = {
        "Household_ID": ["u"], "basket_id": ["b"], "PRODUCT_ID": ["p"], "quantity": ["1"], "sales_value": ["2.5"],
        "transaction_timestamp": ["2017-01-01"], "week": ["1"],
    }  # fmt: skip
    assert guess(columns, "events") == {
        "user_id": "Household_ID", "item_id": "PRODUCT_ID", "timestamp": "transaction_timestamp",
        "session_id": "basket_id", "value": "sales_value", "quantity": "quantity",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value", "kind", "canonical"),
    [
        *((name, "7", "items", "item_id") for name in ("sku", "asin", "article_id", "EAN ", "item_id:token")),
        ("productName", "Pot", "items", "title"),
        ("Body (HTML)", "Pot", "items", "description"),
        ("Größe", "Pot", "items", None),
        *((name, "0", "items", "available") for name in ("Verfügbar", "Vorrätig?", "Disponibilité", "En stock")),
        *((name, "12,50", "items", "price") for name in ("VK-Preis", "Regulärer Preis", "Prix TTC", "Prijs", "Preço")),
        *((name, "Pot", "items", "title") for name in ("Nom", "Nome", "Naam", "Artikelbezeichnung", "Título")),
        ("Artikel-Nr.", "7", "items", "item_id"),
        *((name, "7", "items", "item_id") for name in ("Référence", "Kod produktu", "Артикул", "商品番号")),
        *((name, "Pot", "items", "title") for name in ("Наименование", "商品名")),
        *((name, "12,50", "items", "price") for name in ("Цена", "価格")),
        *((name, "12,50 €", "items", "price") for name in ("VK-Preis brutto", "PRICE_VAT", "Price EUR")),
        *((name, "12,50 €", "items", None) for name in ("Streichpreis alt", "old_price", "Price type", "sale_prices")),
        *((name, "7", "items", "item_id") for name in ("item_sku", "id_product")),
        ("Product Image 1", "a.jpg", "items", "image"),
        ("Kategoriepfad", "A > B", "items", "category_path"),
        *((name, "0", "items", "available") for name in ("Stock Level", "Qty on hand", "Units In Stock")),
        *((name, "84029", "items", None) for name in ("Min stock", "Stock keeping no", "Overstock")),
        ("visitorid", "7", "events", "user_id"),
        ("Customer No.", "7", "events", "user_id"),
        ("Article No.", "7", "events", "item_id"),
        ("Menge", "2", "events", "quantity"),
        ("event_time", "2020-01-01", "events", "timestamp"),
        ("timestamp:float", "1390348800.0", "events", "timestamp"),
        ("qty", "2", "events", "quantity"),
        ("event", "view", "events", "event_type"),
        ("total", "9.5", "events", None),
    ],
)
def test_synonyms(column: str, value: str, kind: Any, canonical: str | None) -> None:
    assert guess({column: [value]}, kind) == ({canonical: column} if canonical else {})


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"name": ["b"], "title": ["a"], "id": ["1"], "item_id": ["2"]}, {"item_id": "item_id", "title": "title"}),
        ({"Sale price": ["1"], "Regular price": ["2"]}, {"price": "Regular price"}),
        ({"price": [None], "list_price": ["2"]}, {"price": "list_price"}),
        ({"price": ["ask"], "list_price": ["2"]}, {"price": "list_price"}),
        ({"amount": ["ask us"]}, {}),
        ({"google_product_category": ["187"], "product type": ["Shoes > Trail"]}, {"category_path": "product type"}),
        ({"google_product_category": ["187"]}, {"category_path": "google_product_category"}),
        ({"item_id": [None], "sku": ["7"]}, {"item_id": "sku"}),
        ({"Variant Price": ["3"], "Image Src": ["a.jpg"], "Type": ["Pots"]},
         {"category_path": "Type", "price": "Variant Price", "image": "Image Src"}),
        ({"picture": ["7"]}, {}),
        ({"currency_code": ["12"]}, {}),
        ({"published": ["2024-01-31"], "is_in_stock": ["1"]}, {"available": "is_in_stock"}),
        ({"stock_status": ["instock"], "qty": ["3"]}, {"available": "stock_status"}),
        ({"status": ["paid"], "qty": ["3"]}, {"available": "qty:positive"}),
        ({"published": ["1", "0"], "stock": ["5", "0"]}, {"available": "published&stock:positive"}),
        ({"stock_status": ["instock"], "status": ["draft"]}, {"available": "stock_status&status"}),
        ({"available": ["yes"], "status": ["draft"]}, {"available": "available"}),
        ({"published": ["1", "0", "-1"]}, {"available": "published:positive"}),
        ({"created": ["7"]}, {}),
        ({"status": ["1", "2"]}, {"available": "status"}),  # codes: 2 is off in some shops
        ({"Product Visible?": ["Y"], "stock": ["3"]}, {"available": "stock:positive&Product Visible?"}),
        ({"price_cents": ["129900"]}, {}),
    ],
)  # fmt: skip
def test_values_decide_among_names(columns: dict[str, list[Any]], expected: dict[str, str]) -> None:
    assert guess(columns) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"user_id": [None, None], "user_pseudo_id": ["a", "b"]}, {"user_id": "user_pseudo_id"}),
        ({"user_id": [None, "u"], "user_pseudo_id": ["a", "b"]}, {"user_id": "user_id|user_pseudo_id"}),
        ({"user_id": [None, "u"], "user_pseudo_id": [None, "b"]}, {"user_id": "user_id"}),
        ({"timestamp": ["soon", "later"], "event_time": ["2020-01-01"] * 2}, {"timestamp": "event_time"}),
        ({"timestamp": ["soon", "later"]}, {"timestamp": "timestamp"}),  # its rows are told one by one
        ({"type": ["shoe", "hat"]}, {}),
        ({"event": ["klick", "kauf"]}, {"event_type": "event"}),
        ({"event": ["klick", "kauf"], "action": ["view", "buy"]}, {"event_type": "action"}),
    ],
)
def test_events_by_values(columns: dict[str, list[Any]], expected: dict[str, str]) -> None:
    assert guess(columns, "events") == expected


def test_ids_of_events_are_read_from_the_column_that_matches_the_catalog() -> None:
    frame = pl.DataFrame({"asin": ["c1", "p2", "c3"], "parent_asin": ["p1", "p2", "p3"]})
    found = guess_mapping(frame, "events", IDS)
    assert str(found.mapping["item_id"][0]) == "parent_asin"
    assert found.notes == ("item_id is read from parent_asin, as 100% of its ids are in the catalog (asin: 33%)",)
    assert guess({"sku": ["x"], "item_id": ["p1"]}, "events", item_ids=IDS) == {"item_id": "item_id"}
    assert guess({"sku": ["p1"], "item_id": ["x"]}, "events", item_ids=IDS) == {"item_id": "sku"}


def test_times_of_any_name_are_found_where_there_is_one_column_of_them() -> None:
    times, more = ["2024-05-01 10:00", "2024-05-02 11:00"], ["2024-06-01", "2024-06-02"]
    visits = {"customer": ["a", "b"], "sku": ["x", "y"], "moved": times, "pages": ["3", "4"], "ref": ["1-2", "1-3"]}
    found = guess_mapping(pl.DataFrame(visits), "events")
    assert guess(visits, "events")["timestamp"] == "moved"
    assert found.reasons["timestamp"] == "by its values, as no other column holds times"
    several = guess_mapping(pl.DataFrame({**visits, "left": more}), "events")
    assert "timestamp" not in several.mapping
    assert "times may be in moved or left; say --event-map timestamp=moved to read one of them" in several.notes
    assert "timestamp" not in guess({**visits, "moved": ["1714557600", "1714557700"]}, "events")


def test_columns_that_are_passed_over_are_named() -> None:
    notes = guess_mapping(pl.DataFrame({"price": ["ask"], "list_price": ["2"]}), "items").notes
    assert notes == ("column price is not read as price, as values such as 'ask' are none",)
    notes = guess_mapping(pl.DataFrame({"user_id": [None, "u"], "uid": ["a", "b"]}), "events").notes
    assert notes == ("user_id is empty in 1 of 2 rows; these take their user from uid",)
    guests = guess_mapping(pl.DataFrame({"user_id": ["guest", "7"], "uid": ["a", "b"]}), "events")
    assert guests.notes == ("user_id names nobody (guest) in 1 of 2 rows; these take their user from uid",)
    assert list(map(str, guests.mapping["user_id"])) == ["user_id:known", "uid"]


def test_several_columns_of_like_names_are_named() -> None:
    frame = pl.DataFrame({"id": ["1"], "Price A": ["2"], "Price B": ["3"]})
    found = guess_mapping(frame, "items")
    assert (found.mapping.keys(), found.notes) == (
        {"item_id"}, ("price may be in Price A or Price B; say --map 'price=Price A' to read one of them",),
    )  # fmt: skip


@pytest.mark.parametrize(
    "columns", [("Visible?", "Current Stock Level"), ("Aktiv", "Bestand"), ("active", "Units in stock")]
)
def test_what_is_shown_and_what_is_in_stock_count_together(columns: tuple[str, str]) -> None:
    frame = pl.DataFrame({"id": ["1", "2"], columns[0]: ["Y", "N"], columns[1]: ["0", "12"]})
    assert [origin.column for origin in guess_mapping(frame, "items").mapping["available"]] in (
        list(columns), list(columns)[::-1],
    )  # fmt: skip


def test_a_column_that_is_plainly_called_the_same_is_named() -> None:
    frame = pl.DataFrame({"id": ["1"], "Price (tax excl.)": ["2"], "Price (tax incl.)": ["3"], "price ": [None]})
    assert guess_mapping(frame, "items").notes == (
        "price is read from Price (tax excl.); Price (tax incl.) may be it as well",
    )
