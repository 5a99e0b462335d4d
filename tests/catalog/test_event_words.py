import polars as pl
import pytest
from hubspoke.catalog.event_words import EventWords, event_type_names
from hubspoke.catalog.schema import EVENT_TYPES
from hubspoke.errors import UsageError


def test_every_alias_leads_to_a_canonical_type() -> None:
    names = event_type_names()
    assert set(names.values()) == {*EVENT_TYPES, "return"}
    assert all(names[name] == name for name in EVENT_TYPES)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("review", "rating"), ("add_to_cart", "cart"), ("addToCart", "cart"), ("Product Added", "cart"), ("pv", "view"),
        ("view_item", "view"), ("view_item_list", "impression"), ("select_item", "click"), ("fav", "click"),
        ("buy", "purchase"), ("orders", "purchase"), ("carts", "cart"), ("transaction", "purchase"),
        ("refund", "return"),
        ("view_search_results", "search"), ("session_start", "skip"), ("begin_checkout", "skip"), ("scroll", "skip"),
        ("remove_from_cart", "skip"), ("dance", None), ("Viewed Product", "view"), ("product_detail_view", "view"),
        ("detail", "view"), ("add", "cart"), ("remove", "skip"), ("checkout_complete", "purchase"),
        ("checkout", "purchase"),
    ],
)  # fmt: skip
def test_words_of_tools_and_research_sets(word: str, name: str | None) -> None:
    assert EventWords({}).types(pl.Series([word])).to_list() == [name]


@pytest.mark.parametrize(("own", "checkout"), [({}, "skip"), ({"checkout": "purchase"}, "purchase")])
def test_a_checkout_beside_purchases_is_the_step_before_them(own: dict[str, str], checkout: str) -> None:
    assert EventWords(own).types(pl.Series(["checkout", "order", None])).to_list() == [checkout, "purchase", None]


def test_own_words_go_over_known_ones() -> None:
    words = EventWords({"Dance": "view", "purchase": "skip", "page_view": "view"})
    raw = pl.Series(["dance", "purchase", "page_view", "screen_view"])
    assert words.types(raw).to_list() == ["view", "skip", "view", "view"]
    assert words.skipped(raw).to_list() == [False, True, False, False]
    assert words.pages(raw).to_list() == [False, False, False, True]
    with pytest.raises(UsageError, match="--event-types x=banana names no event type; use one of view"):
        EventWords({"x": "banana"})
