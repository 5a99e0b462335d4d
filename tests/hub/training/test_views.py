import polars as pl
import pytest
from hubspoke.hub.training.views import two_views
from hypothesis import given, settings
from hypothesis import strategies as st

FIELDS = ("title", "brand", "category_path", "description")


def items(**columns):
    return pl.DataFrame({"item_id": [str(row) for row in range(len(columns["title"]))], **columns})


def test_fields_are_dealt_whole_and_what_all_items_share_is_left_out():
    titles = [f"red chair {row}" for row in range(40)]
    told = [f"made of oak, number {row}" for row in range(40)]
    first, second = two_views(items(title=titles, description=told, brand=["Acme"] * 40), FIELDS, seed=0)
    assert {*zip(first, second, strict=True)} <= {*zip(titles, told, strict=True), *zip(told, titles, strict=True)}
    # Neither view is always the title.
    assert 5 < sum(one == title for one, title in zip(first, titles, strict=True)) < 35


def test_the_words_of_the_only_field_are_dealt_and_one_word_is_too_little():
    (first, *_, none), (second, *_, other) = two_views(items(title=["a b c d", "x y", None, "vase"]), FIELDS, seed=0)
    assert sorted(f"{first} {second}".split()) == ["a", "b", "c", "d"]
    assert len(first.split()) == len(second.split()) == 2
    assert first == " ".join(sorted(first.split()))  # in the order of the text
    assert (none, other) == ("", "")


@settings(max_examples=30)
@given(st.lists(st.text("abc ", max_size=12), min_size=1, max_size=6), st.integers(0, 9))
def test_each_item_has_two_views_or_none_and_all_its_words_are_in_one_of_them(titles, seed):
    first, second = two_views(items(title=titles), ("title",), seed)
    assert [bool(one) for one in first] == [bool(two) for two in second]
    for title, one, two in zip(titles, first, second, strict=True):
        if one:
            assert sorted([*one.split(), *two.split()]) == sorted(title.split())
            assert abs(len(one.split()) - len(two.split())) <= 1
    assert two_views(items(title=titles), ("title",), seed) == (first, second)


def test_no_items_have_no_views():
    assert two_views(items(title=[]).cast({"title": pl.String}), ("title",), 0) == ([], [])


@pytest.mark.parametrize("n", [3, 5])
def test_an_odd_field_goes_to_either_view(n):
    sizes = {len(two_views(items(title=[" ".join("abcde"[:n])]), ("title",), seed)[0][0].split()) for seed in range(20)}
    assert sizes == {n // 2, n // 2 + 1}
