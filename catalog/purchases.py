"""What purchases earned: each from its event, else from the catalog."""

from __future__ import annotations

import polars as pl

from ..errors import InvalidDataError


def purchases(events: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """The purchases among canonical events, with `revenue` and `cost` of each, null where nothing tells it.

    Revenue is the event's value, which is of all its pieces, else the catalog's price times the quantity (1 unless
    told); cost is the catalog's times the quantity. Prices in several currencies cannot be added: InvalidDataError.
    """
    known = items.select("item_id", "price", pl.col("cost").alias("piece_cost"), "currency")
    bought = events.filter(pl.col("event_type") == "purchase").join(
        known, on="item_id", how="left", maintain_order="left"
    )
    _require_one_currency(bought)
    quantity = pl.col("quantity").fill_null(1)
    return bought.with_columns(
        pl.coalesce("value", pl.col("price") * quantity).alias("revenue"),
        (pl.col("piece_cost") * quantity).alias("cost"),
    ).drop("price", "piece_cost", "currency")


def _require_one_currency(bought: pl.DataFrame) -> None:
    read = bought.filter(pl.col("value").is_null() & pl.col("price").is_not_null() | pl.col("piece_cost").is_not_null())
    currencies = sorted(read["currency"].drop_nulls().unique().to_list())
    if len(currencies) > 1:
        raise InvalidDataError(
            f"What was bought is priced in {', '.join(currencies)}, which cannot be added; give the catalog one "
            "currency, or the purchases a value."
        )
