from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.mapping import load_mapping, parse_map_option, resolve_mapping
from hubspoke.catalog.transforms import find_origins
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError


def resolve(frame: pl.DataFrame, kind: Any, changes: dict[str, str] | None = None, **given: Any) -> dict[str, str]:
    return resolve_mapping(frame, kind, changes, **given).written


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"price": "cost_eur", "title": ""}, {"item_id": "sku", "price": "cost_eur"}),
        ({"price": "cost_eur"}, {"item_id": "sku", "title": "name", "price": "cost_eur"}),
        ({"description": "name"}, {"item_id": "sku", "description": "name"}),  # claimed by hand, so guessed no more
        ({"title": " NAME "}, {"item_id": "sku", "title": "name"}),  # the only column that differs in blanks and case
        ({"item_id": "sku:int:zfill8"}, {"item_id": "sku:int:zfill8", "title": "name"}),
        ({"item_id": "sku|name:lower"}, {"item_id": "sku|name:lower"}),
    ],
)
def test_overrides_go_over_the_guess(changes: dict[str, str], expected: dict[str, str]) -> None:
    frame = pl.DataFrame({"sku": ["1"], "name": ["Pot"], "cost_eur": ["2"]})
    assert resolve(frame, "items", changes) == expected


def test_what_a_format_has_named_is_not_guessed_again() -> None:
    frame = pl.DataFrame({"item_id": ["1"], "name": ["Pot"], "status": ["yes"]})
    assert resolve(frame, "items", shaped=True) == {"item_id": "item_id"}
    assert resolve(frame, "items", {"title": "name"}, shaped=True) == {"item_id": "item_id", "title": "name"}


@pytest.mark.parametrize(
    ("text", "columns", "found"),
    [
        ("a:b", ["a", "a:b"], "a:b"),  # the whole name comes first
        ("a|b", ["a", "b", "a|b"], "a|b"),
        ("EAN", ["EAN ", "name"], "EAN "),
        ("user_id", ["user_id:token", "x"], "user_id:token"),
        ("user_id:token", ["user_id"], "user_id"),
        ("x", ["a"], None),
        ("a|x", ["a"], None),
    ],
)
def test_names_of_columns_are_taken_whole_first_and_then_loosely(
    text: str, columns: list[str], found: str | None
) -> None:
    origins = find_origins(text, columns)
    assert (origins and [origin.column for origin in origins]) == (found and [found])


def test_an_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(InvalidDataError, match=r"'zfil' in 'a:zfil' is no form.*zfillN, int, upper"):
        find_origins("a:zfil", ["a"])


def test_unknown_columns_name_the_known_ones() -> None:
    with pytest.raises(InvalidDataError, match=r"'titel' is no column of items.*title"):
        resolve(pl.DataFrame({"sku": ["1"]}), "items", {"titel": "sku"})
    with pytest.raises(InvalidDataError, match=r"'nmae'.*use one of: sku, name"):
        resolve(pl.DataFrame({"sku": ["1"], "name": ["x"]}), "items", {"title": "nmae"})


def test_option_text() -> None:
    assert parse_map_option("title=name, price=cost_eur") == {"title": "name", "price": "cost_eur"}
    assert parse_map_option("title=") == {"title": ""}
    assert parse_map_option("") == {}
    assert parse_map_option('title="Name, long",item_id="EAN ":int') == {"title": "Name, long", "item_id": "EAN :int"}
    assert parse_map_option('title="a ""b"" c"') == {"title": 'a "b" c'}


@pytest.mark.parametrize("text", ["title", "=name", "title=a,title=b", "title=Name, long"])
def test_malformed_option(text: str) -> None:
    with pytest.raises(UsageError):
        parse_map_option(text)


def test_yaml_flat_and_by_kind(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("title: name\nprice: 7\n")
    assert load_mapping(path) == {"title": "name", "price": "7"}
    path.write_text("items: {title: name}\nevents: {user_id: who}\n")
    assert load_mapping(path, "events") == {"user_id": "who"}


def test_yaml_problems(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_mapping(tmp_path / "none.yaml")
    path = tmp_path / "map.yaml"
    for text in ("- a\n- b\n", "title: [a\n", "title: {a: b}\n", "!!python/object/apply:os.system ['true']\n"):
        path.write_text(text)
        with pytest.raises(InvalidDataError):
            load_mapping(path)
