from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import opening, readers, spilling
from hubspoke.catalog.readers import read_events, read_items
from hubspoke.catalog.spilling import Spill, filtered, let_go
from hubspoke.catalog.tables import load_table
from hubspoke.errors import HubspokeError

ODD = ["", None, " twelve bytes", "exactly12 by", "a\nb", 'q"q', "🪴 Töpfe", "x" * 5000, "\\N", "\x00"]


def test_rows_come_back_as_they_were_set_down_also_after_their_pages_were_let_go() -> None:
    first, second = pl.DataFrame({"a": ODD, "b": ["1"] * len(ODD)}), pl.DataFrame({"c": ["2"], "a": [None]})
    spill = Spill()
    for frame in (first, second.cast(pl.String), first.clear()):
        spill.add(frame)
    found = spill.frame()
    let_go()
    n = len(ODD)
    assert found.to_dict(as_series=False) == {
        "a": [*ODD, None],
        "b": [*["1"] * n, None],
        "c": [*[None] * n, "2"],
    }
    assert found.schema == pl.Schema(dict.fromkeys("abc", pl.String()))


def test_large_tables_are_filtered_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"a": [str(n) for n in range(100)], "b": ["long enough for a buffer"] * 100})
    keep = pl.Series([n % 3 == 0 for n in range(100)])
    monkeypatch.setattr(spilling, "IN_MEMORY", frame.estimated_size() // 4)
    assert filtered(frame, keep)["a"].to_list() == [str(n) for n in range(0, 100, 3)]
    assert filtered(frame, keep & False).shape == (0, 2)
    numbers = frame.with_columns(n=pl.int_range(100))
    assert filtered(numbers, keep)["n"].to_list() == list(range(0, 100, 3))


def test_a_full_disk_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(HubspokeError, match="No space is left on"):
        monkeypatch.setattr(spilling.tempfile, "TemporaryFile", lambda **_: full)
        Spill().add(pl.DataFrame({"a": ["x" * 100_000]}))


CSV = """\
user_id,item_id,timestamp,event_type,page,value
b,i1,2024-01-02T10:00:00Z,view,/a page with a long name,"1,50"

a,i2,2024-01-01 10:00:00,scroll,,
a,,2024-01-01 10:00:00,view,/b,
c,i3,no time,view,,x
a,i2,2024-01-03,purchase,/c,2.75
b,i1,2024-01-02T09:00:00Z,view,caf\xe9,"3,25"
"""
JSON = """\
{"user_id": "b", "item_id": 7, "timestamp": 1704189600, "tags": ["x", "y"]}
{"user_id": "a", "timestamp": 1704189601, "item_id": "8"}
{broken
{"user_id": "a", "timestamp": 1704189600, "item_id": "9", "late": {"k": 1}}
"""


@pytest.mark.parametrize(
    ("name", "content", "users"),
    [("e.csv", CSV.encode("latin-1"), ["a", "b"]), ("e.jsonl", JSON.encode(), ["a", "a", "b"])],
)
def test_spilled_tables_read_as_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, users: list[str]
) -> None:
    monkeypatch.setattr(opening, "BLOCK", 100)
    path = tmp_path / name
    path.write_bytes(content)

    def read() -> Any:
        table = load_table(path)
        found = read_events(path, on_error="skip")
        told = [(problem.row, problem.code, problem.message) for problem in found.report.problems]
        whole = (table.frame.to_dict(as_series=False), table.rows.to_list(), dict(table.faults))
        return whole, found.frame.to_dict(as_series=False), told, found.report.notes, found.report.waterfall

    expected = read()
    monkeypatch.setattr(spilling, "IN_MEMORY", 1)
    monkeypatch.setattr(readers, "SORTED", 1)
    assert expected[1]["user_id"] == users
    assert read() == expected
    mapped = load_table(path).frame
    assert len(spilling._maps) >= mapped.width


def test_text_that_needs_no_change_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilling, "IN_MEMORY", 1)
    path = tmp_path / "items.csv"
    path.write_text("item_id,title,description\n" + "".join(f"i{n},Hose {n},{'word ' * 40}end\n" for n in range(9)))
    frame = read_items(path).frame

    def addresses(column: pl.Series) -> set[int]:
        buffers = column.to_arrow(compat_level=pl.CompatLevel.newest()).buffers()
        return {buffer.address for buffer in buffers if buffer is not None}

    before = frame["description"]
    assert before[0] == "word " * 40 + "end"
    assert addresses(before) & addresses(readers.parsing.texts(before, markup=True).values)
