import json
from pathlib import Path
from typing import Any

import pytest
from hubspoke.catalog import json_lines
from hubspoke.catalog.tables import Table, load_table
from hubspoke.errors import InvalidDataError
from hypothesis import example, given, settings
from hypothesis import strategies as st

A, B = {"id": 1, "n": "a"}, {"id": 2, "n": "b"}
TWO = [("1", "a"), ("2", "b")]


def read(folder: Path, text: str, name: str = "t.json") -> Table:
    (folder / name).write_bytes(text.encode())
    return load_table(folder / name)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([A, B]),
        json.dumps([A, B], indent=2),
        json.dumps(A) + json.dumps(B),
        json.dumps(A, indent=1) + "\n" + json.dumps(B, indent=1),
        json.dumps(A) + ",\n" + json.dumps(B) + ",\n",
        json.dumps({"products": [A, B]}),
        json.dumps({"@context": "https://schema.org", "@graph": [A, B]}, indent=1),
        json.dumps({"data": {"items": [A, B]}}),
        '{"total": 2, "items": [\n' + json.dumps(A) + ",\n" + json.dumps(B) + "\n]}",
    ],
)
def test_objects_are_rows_wherever_they_stand(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).frame.rows() == TWO


@pytest.mark.parametrize("indent", [None, 1])
def test_an_object_with_a_list_of_its_own_is_one_row(tmp_path: Path, indent: int | None) -> None:
    frame = read(tmp_path, json.dumps({"user_id": 1, "items": [{"sku": 2}]}, indent=indent)).frame
    assert frame.rows() == [("1", '[{"sku": 2}]')]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": 1},\n{"id": }]', "line 2"),
        ('[{"id": 1},\n{"id": 2}', "not closed"),
        ("[[1, 2]]", "no object begins"),
        ("[]", "no JSON object"),
        (json.dumps({"items": [A], "orders": [B], "x": 1}), "several lists"),
        (json.dumps({"id": {"0": 1, "1": 2}, "n": {"0": 1, "1": 2}}), "orient='records'"),
        ("{'id': 1}\n", "cannot be read"),
        ("id,n\n", "no JSON object"),
    ],
)
def test_what_is_ambiguous_or_broken_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidDataError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5012345678900.0", "5012345678900"),
        ("18446744073709551615", "18446744073709551615"),
        ("9007199254740993", "9007199254740993"),
        ("1" * 45, "1" * 45),
        ("1e2", "100"),
        ("12.50", "12.5"),
        ("NaN", None),
        ('"NaN \\ud83d \\ud83d\\ude00 \\\\ud83d"', "NaN \ufffd 😀 \\ud83d"),
        ('"\ufdd0"', "\ufdd0"),
        ('{"a": [1.0, null]}', '{"a": [1, null]}'),
    ],
)
def test_a_value_is_written_in_one_way(tmp_path: Path, value: str, text: str | None) -> None:
    line = f'{{"id": {value}, "n": 1}}\n'
    good, beside_a_broken_one = read(tmp_path, line * 2), read(tmp_path, line + '{"id": 3, broken\n' + line)
    assert good.frame["id"].to_list() == [text, text]
    assert beside_a_broken_one.frame["id"].to_list() == [text, None, text]
    assert beside_a_broken_one.faults == {"bad_json": {2: '{"id": 3, broken'}}


VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), min_size=1, max_size=4), st.integers(0, 4), st.booleans()
)
@example([{"a": 1}, {"a": {"b": []}}], 1, False)
def test_a_broken_line_changes_no_other(objects: list[dict[str, Any]], at: int, escaped: bool) -> None:
    lines = [json.dumps(entry, ensure_ascii=escaped).encode("utf-8", "surrogatepass") for entry in objects]
    at = min(at, len(lines))
    good = json_lines._piece(b"\n".join(lines))
    broken = json_lines._piece(b"\n".join([*lines[:at], b'{"a": 1,', *lines[at:]]))
    assert dict(broken.faults) == {"bad_json": {at + 1: '{"a": 1,'}}
    rows = broken.frame.to_dicts()
    assert rows[:at] + rows[at + 1 :] == [
        {name: row[name] for name in broken.frame.columns} for row in good.frame.to_dicts()
    ]
