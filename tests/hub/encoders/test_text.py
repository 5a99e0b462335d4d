import polars as pl
import pytest
from hubspoke.errors import UsageError
from hubspoke.hub.encoders.text import item_texts, pad
from hypothesis import given, settings
from hypothesis import strategies as st


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
SCHEMA = {
    "title": pl.String,
    "brand": pl.String,
    "category_path": pl.List(pl.String),
    "description": pl.String,
    "attributes": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
}


def text_of(fields=None, max_characters=2000, **changes):
    frame = pl.DataFrame([ITEM | changes], schema=SCHEMA)
    extra = {} if fields is None else {"fields": fields}
    return item_texts(frame, max_characters=max_characters, **extra)[0]


class TestItemTexts:
    def test_parts_in_order(self):
        assert text_of() == "TI-83 Calculator. Texas Instruments. Office > Calculators. Plots graphs."

    def test_empty_parts_are_left_out(self):
        assert text_of(brand=None, category_path=[], description="  ") == "TI-83 Calculator"
        assert text_of(title=None, brand=None, category_path=None, description=None) == ""
        assert text_of(title="", description=None) == "Texas Instruments. Office > Calculators"

    def test_a_part_in_the_title_is_not_repeated(self):
        assert (
            text_of(title="Texas-instruments TI-83", category_path=None, description=None) == "Texas-instruments TI-83"
        )

    def test_only_whole_words_count_as_repeated(self):
        assert text_of(title="Onion rings", brand="On", category_path=None, description=None) == "Onion rings. On"

    def test_attributes_on_request(self):
        assert text_of(["title", "attributes"]) == "TI-83 Calculator. colour: black"
        assert text_of(["attributes"], attributes=None) == ""

    def test_a_sentence_end_is_not_doubled(self):
        assert text_of(["title", "brand"], title="Wow!") == "Wow! Texas Instruments"

    def test_text_is_normalised(self):
        assert text_of(["title"], title="Cafe\u0301\x00 \t\n  cup\u2028big") == "Café cup big"

    def test_cut_at_a_space(self):
        assert text_of(["title"], 12, title="red cotton shirt") == "red cotton"
        assert text_of(["title"], 10, title="red cotton shirt") == "red cotton"
        assert text_of(["title"], 5, title="Donaudampfschiff") == "Donau"

    def test_missing_columns_count_as_empty(self):
        assert item_texts(pl.DataFrame({"title": ["a", "b"]})) == ["a", "b"]
        assert item_texts(pl.DataFrame({"item_id": ["1"]})) == [""]
        assert item_texts(pl.DataFrame(schema=SCHEMA)) == []

    def test_a_path_given_as_text_is_taken_as_it_is(self):
        assert item_texts(pl.DataFrame({"title": ["a"], "category_path": ["x > y"]})) == ["a. x > y"]

    def test_unknown_fields_are_refused(self):
        with pytest.raises(UsageError, match="'colour'"):
            text_of(["colour"])
        with pytest.raises(UsageError, match="max_characters is 0"):
            text_of(max_characters=0)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.none() | st.text(), st.none() | st.text(), st.none() | st.lists(st.text(max_size=5)))),
        st.integers(1, 40),
    )
    def test_any_text_gives_one_short_printable_line(self, rows, cap):
        rows = [tuple(_storable(value) for value in row) for row in rows]
        schema = {name: SCHEMA[name] for name in ("title", "brand", "category_path")}
        texts = item_texts(pl.DataFrame(rows, schema=schema, orient="row"), max_characters=cap)
        assert len(texts) == len(rows)
        assert all(len(text) <= cap and text == text.strip() and "\n" not in text for text in texts)


def _storable(value):
    """Tables hold valid UTF-8 only, so lone surrogates cannot reach the function."""
    if isinstance(value, list):
        return [_storable(own) for own in value]
    return value if value is None else value.encode("utf-8", "replace").decode()
