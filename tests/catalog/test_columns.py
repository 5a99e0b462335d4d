from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.intake import ReadResult
from hubspoke.catalog.layout import Layout
from hubspoke.catalog.readers import read_events, read_items
from hubspoke.catalog.validation import ValidationFailedError
from hubspoke.errors import InvalidDataError

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def items(columns: dict[str, Any], **options: Any) -> ReadResult:
    height = len(next(iter(columns.values())))
    frame = pl.DataFrame({"item_id": [f"i{n}" for n in range(height)], "title": ["x"] * height, **columns})
    return read_items(frame, on_error="skip", now=NOW, **options)


def events(columns: dict[str, Any], **options: Any) -> ReadResult:
    height = len(next(iter(columns.values())))
    frame = {"user_id": ["u"] * height, "item_id": ["a"] * height, "timestamp": ["2024-05-01T10:00:00Z"] * height}
    return read_events(pl.DataFrame({**frame, **columns}), now=NOW, **options)


def test_the_currency_of_a_price_is_kept_where_no_column_holds_it() -> None:
    result = items({"price": ["99.99 USD", "29,50 €", "$5", "7 EUR"], "currency": [None, None, None, "CHF"]})
    assert result.frame["currency"].to_list() == ["USD", "EUR", "USD", "CHF"]
    assert set(result.report.notes) >= {
        "price: $ x 1 is taken for USD",
        "currency: 1 rows name CHF in their own column and EUR beside the price; the column counts",
        "prices are in several currencies: USD x 2, EUR x 1, CHF x 1",
    }


def test_an_unknown_word_for_available_is_told_and_not_recommended() -> None:
    result = items({"availability": ["in stock", "maybe", "maybe", None, "sold out"]})
    assert result.frame["available"].to_list() == [True, False, False, True, False]
    assert result.report.counts == {"bad_available": 2}
    assert "available: unknown words count as not available: maybe x 2" in result.report.notes
    assert items({"stock": ["2", "0"]}, mapping={"available": "stock"}).frame["available"].to_list() == [True, False]


def test_null_words_are_missing_and_counted() -> None:
    result = items({"brand": ["NULL", "NULL", "\\N"], "item_id": ["1", "nan", "2"]})
    assert result.frame["brand"].to_list() == [None, None]
    assert result.report.counts == {"missing_item_id": 1}
    assert "brand: read as missing: NULL x 2, \\N x 1" in result.report.notes


def test_html_goes_from_texts_and_objects_become_their_names() -> None:
    result = items(
        {
            "description": ["<p>Oak &amp; steel</p>"],
            "brand": ["{'id': 1, 'name': 'Tove'}"],
            "details": ['{"Width": "5 cm"}'],
        }
    )
    first = result.frame.to_dicts()[0]
    assert (first["description"], first["brand"]) == ("Oak & steel", "Tove")
    assert first["attributes"] == [{"key": "Width", "value": "5 cm"}]


def test_what_has_no_single_meaning_is_refused_by_column() -> None:
    result = items({"title": ['{"id": 5, "x": 1}', "y"], "categories": ["{'id': 5}", "a > b"]})
    assert result.report.counts == {"bad_category_path": 1, "bad_title": 1, "no_content": 1}
    assert result.report.problems[0].value == "{'id': 5}"
    with pytest.raises(InvalidDataError, match="title is read from column 'name', which holds bytes"):
        read_items(pl.DataFrame({"item_id": ["a"], "name": [b"\xff"]}))
    with pytest.raises(InvalidDataError, match="item_id is read from column 'sku', which holds lists or objects"):
        read_items(pl.DataFrame({"sku": [["a", "b"]], "title": ["x"]}))


def test_a_row_of_several_ids_costs_only_itself() -> None:
    frame = pl.DataFrame({"id": ["A", "B", '["x", "y"]'], "title": ["a", "b", "c"]})
    result = read_items(frame, on_error="skip")
    assert result.frame["item_id"].to_list() == ["A", "B"]
    assert result.report.counts == {"bad_item_id": 1, "missing_item_id": 1}


def test_ids_that_a_spreadsheet_changed_are_told() -> None:
    result = items({"item_id": ["5.01235E+12", "1-Mar", "'0007"]})
    assert result.report.counts == {"doubtful_item_id": 2}
    assert result.report.problems[0].row == 1
    assert "item_id: the apostrophe before ids such as '0007 was left out x 1" in result.report.notes


@pytest.mark.parametrize("kind", ["items", "events"])
def test_unset_and_future_times_are_warned_of(kind: str) -> None:
    times = ["1970-01-01 00:00:00", "2024-06-01 12:00", "2024-06-03"]
    result = items({"created_at": times}) if kind == "items" else events({"timestamp": times})
    name = "created_at" if kind == "items" else "timestamp"
    assert result.report.counts == {f"unset_{name}": 1, f"future_{name}": 1}
    assert [problem.row for problem in result.report.problems] == [1, 3]
    assert result.frame.height == 3


def test_times_in_doubt_stop_events_and_cost_items_only_their_value() -> None:
    with pytest.raises(
        ValidationFailedError, match="the times in column timestamp such as '01/02/2024' may be day/month"
    ):
        events({"timestamp": ["01/02/2024", "03/04/2024"]}, on_error="skip")
    layout = Layout(date_format="%d/%m/%Y")
    assert events({"timestamp": ["01/02/2024"]}, layout=layout).frame["timestamp"][0].month == 2
    counted = items({"created_at": [2019, None]})
    assert counted.report.counts == {"bad_created_at": 1}
    assert counted.frame["created_at"].to_list() == [None, None]
    result = items({"created_at": ["01/02/2024"]})
    assert result.report.counts == {"bad_created_at": 1}
    assert "--date-format '%d/%m/%Y'" in result.report.problems[0].message


def test_the_span_of_times_is_told() -> None:
    result = events({"timestamp": ["2024011510", "2024030200"]})
    assert "times from 2024-01-15 10:00 to 2024-03-02 UTC, read as YYYYMMDDHH" in result.report.notes
    layout = Layout(time_unit="order")
    assert events({"timestamp": ["2024011510"]}, layout=layout).report.time_kind == "order"
    assert items({"created_at": ["2024-01-15"]}, layout=layout).frame["created_at"][0].year == 2024


def test_events_without_interaction_are_left_out_and_counted() -> None:
    types = ["view_item", "session_start", "session_start", "page_view", "scroll", "poke"]
    columns = {"event_name": types, "item_id": ["a", None, None, None, None, "a"]}
    result = events(columns, layout=Layout(event_types={"poke": "click"}))
    assert result.frame["event_type"].to_list() == ["view", "click"]
    note = "events that are no interaction with an item were left out: session_start x 2, page_view x 1, scroll x 1"
    assert note in result.report.notes
    assert (result.report.waterfall[1].rows_in, result.report.waterfall[1].rows_out) == (6, 2)
    with pytest.raises(ValidationFailedError, match="--event-types WORD=TYPE") as caught:
        events(columns)
    assert "event_type: unknown words: poke x 1" in caught.value.report.notes


def test_parquet_of_any_dtype_is_read_or_refused_by_name(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "item_id": [1.0, None], "title": ["a", "b"], "tags": [[["a"]], None],
            "image": [{"bytes": b"\xff", "path": None}] * 2,
            "raw": [b"\xff", None], "took": pl.Series([5, None], dtype=pl.Duration("ms")), "specs": [{"c": 1}, None],
        }
    )  # fmt: skip
    frame.write_parquet(tmp_path / "items.parquet")
    result = read_items(tmp_path / "items.parquet", on_error="skip")
    assert result.frame["attributes"].to_list() == [
        [{"key": "took", "value": "PT0.005S"}, {"key": "tags", "value": "a"}, {"key": "c", "value": "1"}]
    ]
    assert result.report.counts == {"missing_item_id": 1, "bad_image": 2}
    assert "columns left out, as they hold bytes that are no text: raw" in result.report.notes


def test_texts_that_were_decoded_wrongly_are_a_warning() -> None:
    result = items({"brand": ["CafÃ©", "Ã‰tÃ©", "Â·", "SÃO PAULO", "Café"]})
    group = next(group for group in result.report.groups if group.code == "garbled_brand")
    assert (group.severity, group.rows.to_list()) == ("warning", [1, 2, 3])


def test_a_time_of_another_unit_is_refused_with_the_form_of_the_others() -> None:
    with pytest.raises(
        ValidationFailedError, match=r"row 3: .* which are s since 1970; write all of them in that form"
    ):
        events({"timestamp": ["1714557600", "1714557660", "1714557720000"]})


def test_what_the_categories_of_a_catalog_decide_is_said() -> None:
    result = items({"category_path": ["Home/Kitchen", "Home/Garden", "Home/Bath"]})
    assert result.frame["category_path"].to_list() == [["Home", "Kitchen"], ["Home", "Garden"], ["Home", "Bath"]]
    assert any(
        note.startswith("category_path: values such as 'Home/Kitchen' are paths") for note in result.report.notes
    )
