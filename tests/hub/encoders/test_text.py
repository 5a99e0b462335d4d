import polars as pl
import pytest
from hubspoke.catalog.schema import ITEM_SCHEMA
from hubspoke.errors import UsageError
from hubspoke.hub.encoders.text import item_texts, pad
from hypothesis import given, settings
from hypothesis import strategies as st

# Tables hold valid UTF-8 only, so lone surrogates cannot reach the function.
ANY = st.text(st.characters(exclude_categories=["Cs"]))


def test_pad_fills_on_the_right():
    ids, mask = pad([[5, 6, 7], [8]], 9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


ITEM = {
    "title": "TI-83 Calculator",
    "brand": "Texas Instruments",
    "category_path": ["Office", "Calculators"],
    "description": "Plots graphs.",
    "attributes": [{"key": "colour", "value": "black"}, {"key": "kind", "value": "calculator"}],
}
SCHEMA = {name: ITEM_SCHEMA[name] for name in ITEM}


def text_of(fields=None, max_characters=2000, **changes):
    extra = {} if fields is None else {"fields": fields}
    return item_texts(pl.DataFrame([ITEM | changes], schema=SCHEMA), max_characters=max_characters, **extra)[0]


BARE = {"category_path": None, "description": None}
TEXTS = [
    ({}, "TI-83 Calculator. Texas Instruments. Office > Calculators. Plots graphs."),
    # Empty parts are left out.
    ({"brand": None, "category_path": [], "description": "  "}, "TI-83 Calculator"),
    (BARE | {"title": None, "brand": None}, ""),
    ({"title": "", "description": None}, "Texas Instruments. Office > Calculators"),
    # A part in the title is not repeated, but only whole words count.
    (BARE | {"title": "Texas-instruments TI-83"}, "Texas-instruments TI-83"),
    (BARE | {"title": "Onion rings", "brand": "On"}, "Onion rings. On"),
    ({"fields": ["title", "attributes"]}, "TI-83 Calculator. colour: black"),
    ({"fields": ["attributes"], "attributes": None}, ""),
    ({"fields": ["title", "brand"], "title": "Wow!"}, "Wow! Texas Instruments"),
    ({"fields": ["title"], "title": "Cafe\u0301\x00 \t\n  cup\u2028big"}, "Café cup big"),
    # It is cut at a space where there is one.
    ({"fields": ["title"], "max_characters": 12, "title": "red cotton shirt"}, "red cotton"),
    ({"fields": ["title"], "max_characters": 10, "title": "red cotton shirt"}, "red cotton"),
    ({"fields": ["title"], "max_characters": 5, "title": "Donaudampfschiff"}, "Donau"),
]


@pytest.mark.parametrize(("given_item", "text"), TEXTS)
def test_the_text_of_an_item(given_item, text):
    assert text_of(**given_item) == text


def test_missing_columns_are_empty_a_path_given_as_text_is_taken_and_unknown_fields_are_refused():
    assert item_texts(pl.DataFrame({"title": ["a", "b"]})) == ["a", "b"]
    assert item_texts(pl.DataFrame({"item_id": ["1"]})) == [""]
    assert item_texts(pl.DataFrame(schema=SCHEMA)) == []
    assert item_texts(pl.DataFrame({"title": ["a"], "category_path": ["x > y"]})) == ["a. x > y"]
    with pytest.raises(UsageError, match="'colour'"):
        text_of(["colour"])
    with pytest.raises(UsageError, match="max_characters is 0"):
        text_of(max_characters=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.none() | ANY, st.none() | ANY, st.none() | st.lists(ANY, max_size=4))), st.integers(1, 40))
def test_any_text_gives_one_short_printable_line(rows, cap):
    schema = {name: SCHEMA[name] for name in ("title", "brand", "category_path")}
    texts = item_texts(pl.DataFrame(rows, schema=schema, orient="row"), max_characters=cap)
    assert len(texts) == len(rows)
    assert all(len(text) <= cap and text == text.strip() and "\n" not in text for text in texts)
