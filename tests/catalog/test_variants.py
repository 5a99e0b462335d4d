"""Events on variants, as orders and analytics name them, count for the products of the catalog."""

from pathlib import Path

import polars as pl
from hubspoke.catalog.readers import read_events, read_items
from hubspoke.catalog.variants import variant_ids

FEEDS = Path(__file__).with_name("feeds") / "fixtures"


def test_variants_are_named_by_their_sku_unless_two_products_share_it() -> None:
    items = pl.DataFrame(
        {
            "item_id": ["hat", "pot", "CUP"],
            "attributes": [
                [{"key": "Variant SKU", "value": "H-S; H-M; CUP; both"}, {"key": "Vendor", "value": "Ulla"}],
                [{"key": "Variant SKU", "value": "both"}],
                [],
            ],
        }
    )
    assert variant_ids(items).rows() == [("H-S", "hat"), ("H-M", "hat")]


def test_orders_count_for_the_products_of_a_catalog_by_handle(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text(
        "Handle,Title,Variant SKU,Vendor,Variant Price\ncup,Clay cup,CUP,Ulla,4.5\npan,Iron pan,PAN,Ulla,60\n"
    )
    items = read_items(tmp_path / "products.csv").frame
    known = items["item_id"], variant_ids(items)
    read = read_events(FEEDS / "shopify-orders.csv", item_ids=known[0], variants=known[1])
    assert read.frame["item_id"].to_list() == ["cup", "cup", "pan"]
    assert any(note.startswith("3 events name variants by their SKU") for note in read.report.notes)
