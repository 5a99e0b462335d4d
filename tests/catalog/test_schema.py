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
