"""Shopify's orders: what is mapped by hand, and orders whose items have no SKU."""

import polars as pl
import pytest
from hubspoke.catalog.feeds.shopify_orders import ShopifyOrders
from hubspoke.catalog.layout import Layout
from hubspoke.catalog.tables import whole_table
from hubspoke.errors import InvalidDataError

ORDERS = pl.DataFrame(
    {
        "Name": ["#1", "#1", "#2"],
        "Email": ["ann@s.example", None, "bo@s.example"],
        "Paid at": ["2024-03-02 09:00:09 +0100", None, "2024-03-03 09:00:09 +0100"],
        "Created at": ["2024-03-02 09:00:00 +0100", None, "2024-03-03 09:00:00 +0100"],
        "Lineitem quantity": ["2", None, "1"],
        "Lineitem name": ["Cup", "Pan", "Cup"],
        "Lineitem price": ["4.50", "60", "4.50"],
    }
)


def test_fields_of_the_order_are_filled_down_also_where_they_are_mapped_by_hand() -> None:
    layout = Layout(claimed={"timestamp": "Paid at", "user_id": "Email"})
    shaped = ShopifyOrders().shape(whole_table(ORDERS), layout)
    made = shaped.table.frame
    assert made["timestamp"].to_list() == ["2024-03-02 09:00:09 +0100"] * 2 + ["2024-03-03 09:00:09 +0100"]
    assert made["user_id"].to_list() == ["ann@s.example"] * 2 + ["bo@s.example"]
    assert (shaped.sources["timestamp"], shaped.sources["user_id"]) == ("Paid at", "Email")
    assert (made["item_id"].to_list(), made["value"].to_list()) == (["Cup", "Pan", "Cup"], [9.0, 60.0, 4.5])


def test_orders_without_buyers_say_which_column_is_missing() -> None:
    with pytest.raises(InvalidDataError, match="reads Email, which the table lacks"):
        ShopifyOrders().shape(whole_table(ORDERS.drop("Email")), Layout())
