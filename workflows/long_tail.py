"""Which products sell most: the others are the long tail. Products stand for sellers, which no catalog names."""

from __future__ import annotations

import polars as pl

from ..evaluation.business import TOP_SELLERS, top_sellers

NO_TAIL = f"no more than {TOP_SELLERS:,} products had sold before, so there is no long tail"


def popular_products(bought: pl.DataFrame) -> frozenset[str] | None:
    """The best-selling products among purchases with their `revenue`; None where all that sold are among them."""
    if bought["item_id"].n_unique() <= TOP_SELLERS:
        return None
    return top_sellers(bought["item_id"].to_list(), bought["revenue"].to_numpy())
