import polars as pl
import pytest
from hubspoke.catalog.matching import near_matches, proposal
from hubspoke.catalog.transforms import Origin


def proposed(ids: list[str | None], known: list[str], **columns: list[str]) -> str:
    frame = pl.DataFrame({"sku": ids, **columns})
    found = near_matches(frame["sku"], pl.Series(known), [Origin("sku")], frame.drop("sku"))
    return proposal(found, len(frame["sku"].drop_nulls()))


@pytest.mark.parametrize(
    ("ids", "known", "option"),
    [
        (["123", "45"], ["00123", "00045"], "--event-map item_id=sku:zfill5"),
        (["00123"], ["123"], "--event-map item_id=sku:int"),
        (["ab-9"], ["AB-9"], "--event-map item_id=sku:upper"),
        (["AB-9"], ["ab-9"], "--event-map item_id=sku:lower"),
        (["\uff17"], ["7"], "--event-map item_id=sku:nfkc"),
        (["gid://shopify/Product/7"], ["7"], "--event-map item_id=sku:last"),
        (["7"], ["gid://shopify/Product/7"], "--map item_id=COLUMN:last"),
        (["'7'"], ["7"], "--event-map item_id=sku:strip"),
        (["SKU-7"], ["7"], "--event-map item_id=sku:digits"),
        (["AB9"], ["AB-9"], "--map item_id=COLUMN:plain"),
    ],
)
def test_forms_that_would_match(ids: list[str | None], known: list[str], option: str) -> None:
    said = proposed(ids, known)
    assert said.startswith(f"all {len(ids)} would match ")
    assert said.endswith(f": {option}")


def test_other_columns_that_would_match() -> None:
    assert proposed(["x", "y"], ["1", "2"], **{"code, long": ["1", "2"]}) == (
        "all 2 would match from column code, long: --event-map 'item_id=\"code, long\"'"
    )


def test_ways_that_help_in_part_are_counted_over_all_rows_and_nothing_is_made_up() -> None:
    assert proposed(["123", "ab", "AB", None], ["00123", "AB"]) == (
        "all 3 would match in upper case and with leading zeros to 5 places: --event-map item_id=sku:upper:zfill5"
    )
    assert proposed(["123", "ab", "z"], ["00123", "AB"]) == (
        "2 of 3 would match in upper case and with leading zeros to 5 places: --event-map item_id=sku:upper:zfill5; "
        "1 of 3 would match with leading zeros to 5 places: --event-map item_id=sku:zfill5; "
        "1 of 3 would match in upper case: --event-map item_id=sku:upper"
    )
    assert proposed(["q"], ["z"]) == ""


def test_columns_of_the_catalog_that_hold_the_ids() -> None:
    attributes = pl.Series(
        [[{"key": "code", "value": "x"}, {"key": "shop", "value": "a"}],
         [{"key": "code", "value": "y"}, {"key": "shop", "value": "a"}]]
    )  # fmt: skip
    found = near_matches(pl.Series(["x", "y"]), pl.Series(["1", "2"]), [Origin("sku")], pl.DataFrame(), attributes)
    assert proposal(found, 2) == "all 2 would match if items were named by column code: --map item_id=code"
