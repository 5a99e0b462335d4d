import polars as pl
from hubspoke.catalog import schema


def test_columns_and_dtypes_are_the_contract() -> None:
    assert list(schema.ITEM_SCHEMA) == [
        "item_id", "title", "description", "brand", "category_path", "price", "currency", "image", "image_sha256",
        "available", "created_at", "cost", "attributes",
    ]  # fmt: skip
    assert list(schema.EVENT_SCHEMA) == [
        "user_id", "item_id", "timestamp", "event_type", "session_id", "query", "value", "quantity", "position",
        "attributes",
    ]  # fmt: skip
    assert schema.EVENT_SCHEMA["timestamp"] == pl.Datetime("us", "UTC")


def test_every_alias_leads_to_a_canonical_type() -> None:
    names = schema.event_type_names()
    assert set(names.values()) == {*schema.EVENT_TYPES, "return"}
    assert names["review"] == "rating"
    assert names["add_to_cart"] == "cart"
    assert all(names[t] == t for t in schema.EVENT_TYPES)
