import polars as pl
import pytest
from hubspoke.catalog.transforms import Origin, as_option, find_origins, in_words, read_origins, transformed, written


@pytest.mark.parametrize(
    ("forms", "given", "expected"),
    [
        (("int",), ["00123", "1001.0", "0", "x7", None], ["123", "1001", "0", "x7", None]),
        (("zfill5",), ["123", "1234567", None], ["00123", "1234567", None]),
        (("int", "zfill4"), ["7.0"], ["0007"]),
        (("upper",), ["ab-9"], ["AB-9"]),
        (("lower",), ["AB-9"], ["ab-9"]),
        (("strip",), [" '0007", '"a" '], ["0007", "a"]),
        (("nfc",), ["cafe\u0301"], ["caf\u00e9"]),
        (("nfkc",), ["\uff11"], ["1"]),
        (("last",), ["gid://shopify/Product/12", "12"], ["12", "12"]),
        (("digits",), ["SKU-0012-x", "x"], ["0012", None]),
        (("plain",), ["AB-9 x"], ["AB9x"]),
        (("known",), ["Guest", "-1", "u1", None], [None, None, "u1", None]),
        (("comma",), ["1.299,50 €", "1.299", "12"], ["1299.50 €", "1299", "12"]),
        (("positive",), ["3", "0", "-1", None], [True, False, False, None]),
    ],
)
def test_forms(forms: tuple[str, ...], given: list[str | None], expected: list[object]) -> None:
    assert transformed(pl.Series(given), forms).to_list() == expected


def test_numbers_and_their_forms_in_words() -> None:
    assert transformed(pl.Series([1.0, None]), ["zfill3"]).to_list() == ["001", None]
    assert in_words(["upper", "zfill10"]) == "in upper case and with leading zeros to 10 places"


def test_the_first_column_with_a_value_counts() -> None:
    frame = pl.DataFrame({"a": [None, "", "x"], "b": [1, 2, None]})
    assert read_origins(frame, [Origin("a"), Origin("b", ("zfill2",))]).to_list() == ["01", "02", "x"]


def test_of_columns_that_all_have_to_say_yes_a_word_that_nobody_knows_stays() -> None:
    frame = pl.DataFrame({"stock": ["5", "0", "5", "5", None], "status": ["active", "active", "draft", "odd", None]})
    origins = find_origins("stock:positive & status", frame.columns)
    assert origins is not None
    assert written(origins) == "stock:positive&status"
    assert read_origins(frame, origins).to_list() == ["true", "false", "false", "odd", None]


def test_an_option_is_written_as_a_shell_takes_it() -> None:
    assert as_option("--map", "title", "name") == "--map title=name"
    assert as_option("--map", "title", "Name, long") == "--map 'title=\"Name, long\"'"
    assert as_option("--event-map", "item_id", "Article no") == "--event-map 'item_id=Article no'"
