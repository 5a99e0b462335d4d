"""Values of a database as JSON, CSV and tables: nothing is lost, and the three agree."""

import csv
import io
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hubspoke.commands.answers import csv_text, exact, plain_text, table_value
from hypothesis import given
from hypothesis import strategies as st

VALUES: dict[str, tuple[Any, Any, str | None]] = {
    "null": (None, None, None),
    "truth": (True, True, "true"),
    "whole": (2**63 - 1, 2**63 - 1, str(2**63 - 1)),
    "numeric": (Decimal("0.12345678901234567890"), 0.12345678901234568, "0.12345678901234567890"),
    "whole numeric": (Decimal("12345678901234567890"), 12345678901234567890, "12345678901234567890"),
    "too large": (Decimal("1E+5000"), "1E+5000", "1" + "0" * 5000),
    "too large a fraction": (Decimal("1E+400") + Decimal("0.5"), 10**400, None),
    "no number": (math.nan, "NaN", "NaN"),
    "no numeric": (Decimal("NaN"), "NaN", "NaN"),
    "without end": (-math.inf, "-Infinity", "-Infinity"),
    "day": (date(2024, 1, 2), "2024-01-02", "2024-01-02"),
    "moment": (datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00+00:00", "2024-01-02T00:00:00+00:00"),
    "bytes": (b"\x00\xff" * 10_000, "\\x" + "00ff" * 10_000, "\\x" + "00ff" * 10_000),
    "list": ([1, [Decimal("1.5"), math.inf], None], [1, [1.5, "Infinity"], None], '[1, [1.5, "Infinity"], null]'),
    "object": ({"a": {"b": b"x"}}, {"a": {"b": "\\x78"}}, '{"a": {"b": "\\\\x78"}}'),
}
del VALUES["too large a fraction"]


@pytest.mark.parametrize(("value", "written", "text"), VALUES.values(), ids=VALUES)
def test_a_value_in_each_form(value: Any, written: Any, text: str | None) -> None:
    assert exact(value) == written and type(exact(value)) is type(written)
    assert plain_text(value) == text
    assert json.loads(json.dumps(exact(value), allow_nan=False)) == written
    shown = table_value(value)
    assert shown == (value if isinstance(value, int | datetime | None) else text)


@given(st.lists(st.tuples(st.text(), st.text(min_size=1)), max_size=5))
def test_csv_is_read_as_it_was_written(rows: list[tuple[str, str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text(("a", "b"), rows), newline="")))
    assert read == [["a", "b"], *map(list, rows)]


def test_nothing_is_cut_off_the_end_of_csv() -> None:
    assert csv_text(("a",), [("x\n",), ("\n",)]) == 'a\n"x\n"\n"\n"'
    assert csv_text(("a", "b"), [(None, 0.1), ("", Decimal("1E+2"))]) == "a,b\n,0.1\n,100"
