import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.tables import load_table
from hubspoke.errors import InvalidDataError, NotFoundError


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"id,n\n007,1.50\n8,\n"),
        ("t.csv", b"id;n\n007;1.50\n8;\n"),
        ("t.csv", b"\xef\xbb\xbfid,n\r\n007,1.50\r\n8,\r\n"),
        ("t.csv.gz", b"id,n\n007,1.50\n8,\n"),
        ("t.tsv", b"id\tn\n007\t1.50\n8\t\n"),
        ("t.tsv.gz", b"id\tn\n007\t1.50\n8\t\n"),
        ("t.jsonl", b'{"id": "007", "n": "1.50"}\n\n{"id": 8}\n'),
        ("t.ndjson.gz", b'{"id": "007", "n": "1.50"}\n{"id": 8}\n'),
    ],
)
def test_text_formats_read_as_text(tmp_path: Path, name: str, content: bytes) -> None:
    frame = load_table(write(tmp_path / name, content)).frame
    assert frame.to_dict(as_series=False) == {"id": ["007", "8"], "n": ["1.50", None]}


@pytest.mark.parametrize(("suffix", "write_table"), [(".parquet", pl.DataFrame.write_parquet)])
def test_binary_formats_keep_their_dtypes(tmp_path: Path, suffix: str, write_table: Any) -> None:
    path = tmp_path / f"t{suffix}"
    write_table(pl.DataFrame({"id": [1], "x": [None]}), path)
    assert load_table(path).frame.schema == pl.Schema({"id": pl.Int64(), "x": pl.Null()})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InvalidDataError, match=r"is no readable .* file"):
        load_table(path)


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ('id,n\n1,"a\nb"\n2,c\xe9\n', {2: "c\ufffd"}),  # quoted newlines count as one row
        ("id,n\n1,ok\n2,café\n3,crème\n", {2: "caf\ufffd", 3: "cr\ufffdme"}),
    ],
)
def test_latin_1_names_every_bad_row(tmp_path: Path, text: str, bad: dict[int, str]) -> None:
    assert load_table(write(tmp_path / "t.csv", text.encode("latin-1"))).faults["bad_encoding"] == bad


def test_blank_lines_are_no_rows_but_keep_the_count(tmp_path: Path) -> None:
    table = load_table(write(tmp_path / "t.csv", b"id,n\n1,a\n\n2,b\n\n"))
    assert table.frame["id"].to_list() == ["1", "2"]
    assert table.rows.to_list() == [1, 3]


def test_overlong_rows_are_all_found(tmp_path: Path) -> None:
    table = load_table(write(tmp_path / "t.csv", b"id,n\n1,a\n2,b,c\n\n4\n5,d,e,f\n"))
    assert table.faults["uneven_row"] == {2: "3 values for 2 columns", 5: "4 values for 2 columns"}
    assert table.frame.rows() == [("1", "a"), ("2", "b"), ("4", None), ("5", "d")]
    assert table.rows.to_list() == [1, 2, 4, 5]


def test_json_values_become_text_on_either_path(tmp_path: Path) -> None:
    good = b'{"id": 12345678901234567890, "tags": ["a", "b"], "ok": true, "n": 1.5, "x": null}\n{"late": "y"}\n'
    fast = load_table(write(tmp_path / "good.jsonl", good))
    slow = load_table(write(tmp_path / "bad.jsonl", good + b"{\n[1]\n"))
    assert fast.frame.row(0) == ("12345678901234567890", '["a", "b"]', "true", "1.5", None, None)
    assert slow.frame.head(2).equals(fast.frame)
    assert sorted(slow.faults["bad_json"]) == [3, 4]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", "id,größe\n1,a\n".encode("latin-1"), "header"),
        *(("t.csv", "id,n\n1,a\n".encode(wide), f"iconv -f {wide.upper()} ") for wide in ("utf-16le", "utf-32")),
        ("t.csv", b" \n\n", "empty"),
        ("t.xlsx", b"x", "unknown suffix"),
        ("t.parquet", b"PAR1 broken PAR1", "no readable Parquet file"),
        ("t.jsonl", b"nothing\n", "no JSON object"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(InvalidDataError, match=message):
        load_table(write(tmp_path / name, content))


def test_broken_gzip_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_table(tmp_path / "none.csv")
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"id,n\n1,a\n" * 100)[:-20])
    with pytest.raises(InvalidDataError, match="no complete gzip"):
        load_table(path)
