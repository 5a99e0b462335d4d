import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import delimited
from hubspoke.catalog.delimited import Dialect, RowReader
from hubspoke.catalog.layout import Layout
from hubspoke.catalog.tables import Table, load_table
from hubspoke.errors import InvalidDataError
from hypothesis import given, settings
from hypothesis import strategies as st

HEAD = "id,name,n\n"


def read(folder: Path, text: str | bytes, name: str = "t.csv", **layout: Any) -> Table:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_table(path, Layout(**layout))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (HEAD + '1,Pipe 5",4\n2,Cup,5\n', [("1", 'Pipe 5"', "4"), ("2", "Cup", "5")]),
        (HEAD + '1,"5" pipe",4\n2,Cup,5\n', [("1", '5" pipe', "4"), ("2", "Cup", "5")]),
        (HEAD + '1,"Mug" large,4\n2,Cup,5\n', [("1", '"Mug" large', "4"), ("2", "Cup", "5")]),
        (HEAD + '1,"He said \\"hi\\", ok",4\n2,"a\\",5\n', [("1", 'He said "hi", ok', "4"), ("2", "a\\", "5")]),
        (HEAD + '1, "a, b" , 4\n2,"a ""b""\r\nc",\r\n', [("1", "a, b", " 4"), ("2", 'a "b"\r\nc', None)]),
        (HEAD + '1,"",\n', [("1", "", None)]),
        (HEAD + "1,Mug,4,\n2,Cup,5,\n", [("1", "Mug", "4"), ("2", "Cup", "5")]),
        (HEAD.replace("\n", ",\n") + "1,Mug,4,\n", [("1", "Mug", "4")]),
        (HEAD.replace(",", "\t") + '1\t"Mug\t4\n2\tCup"\t5\n', [("1", '"Mug', "4"), ("2", 'Cup"', "5")]),
        (HEAD.replace(",", "\t") + '1\t"a\nb"\t4\n', [("1", "a\nb", "4")]),
        ("id\rname\r1\r", [("name",), ("1",)]),
        # Rows that are quoted as a whole.
        ('"id,name,n"\n"1,Mug,4"\n"2,""Cup, big"",5"\n', [("1", "Mug", "4"), ("2", "Cup, big", "5")]),
        ('"id;""name"";n"\r\n"1;""Mug; big"";4,5"\r\n', [("1", "Mug; big", "4,5")]),
        (HEAD + '"1,Mug,4"\n2,Cup,5\n', [("1", "Mug", "4"), ("2", "Cup", "5")]),
        (HEAD + '"a, b"\n2,Cup,5\n', [("a, b", None, None), ("2", "Cup", "5")]),
        ("id~name\n1~Mug\n2~Cup\n", [("1", "Mug"), ("2", "Cup")]),
    ],
)
def test_quotes_are_read_as_they_are_meant(tmp_path: Path, text: str, rows: list[tuple[Any, ...]]) -> None:
    table = read(tmp_path, text)
    assert table.frame.rows() == rows
    assert not any(table.faults.values())


@pytest.mark.parametrize(
    ("text", "found", "kept"),
    [
        (HEAD + '1,"Mug,4\n2,Cup,5\n3,"Pan",6\n', {1: '"Mug'}, ["2", "3"]),
        (HEAD + '1,Mug,4\n2,"Cup,5\n', {2: '"Cup'}, ["1"]),
    ],
)
def test_a_quote_that_nothing_closes_costs_its_own_row(
    tmp_path: Path, text: str, found: dict[int, str], kept: list[str]
) -> None:
    table = read(tmp_path, text)
    assert table.faults["open_quote"] == found
    assert table.frame.filter(~table.rows.is_in(list(found)))["id"].to_list() == kept


@pytest.mark.parametrize(
    ("text", "separator", "columns"),
    [
        ('"Name, long, wide";price\nMug;4,50\n', ";", ["Name, long, wide", "price"]),
        ('id,"tags;a;b;c"\n1,x\n', ",", ["id", "tags;a;b;c"]),
        ("sep=;\r\nid;a,b,c\r\n1;2\r\n", ";", ["id", "a,b,c"]),
        ("id^name\n1^Mug\n", "^", ["id", "name"]),
        ("id\x01name\n1\x01Mug\n", "\x01", ["id", "name"]),
        ("UserID::MovieID\n1::2\n", "::", ["UserID", "MovieID"]),
        ("id ,  name\n1,Mug\n", ",", ["id", "name"]),
        ('id,"Product\nname"\n1,Mug\n', ",", ["id", "Product name"]),
        ("id,name,name\n1,a,b\n", ",", ["id", "name", "name (2)"]),
        ("id,,name\n1,x,a\n", ",", ["id", "column 2", "name"]),
        (",id,name\n0,7,a\n1,8,b\n", ",", ["id", "name"]),
        ("Products of 2024,,\n,,\nid,name,n\n1,Mug,4\n", ",", ["id", "name", "n"]),
        ("id\n1\n", ",", ["id"]),
    ],
)
def test_header_and_separator(tmp_path: Path, text: str, separator: str, columns: list[str]) -> None:
    table = read(tmp_path, text)
    assert (table.separator, table.frame.columns, table.headerless) == (separator, columns, False)
    assert table.frame.height > 0


@pytest.mark.parametrize(
    ("text", "layout", "columns", "numbered"),
    [
        ("1::2::5\n1::3::4\n", {}, ["1", "2", "3"], True),
        ("1\t2\t5\n1\t3\t4\n", {}, ["1", "2", "3"], True),
        ("1,77,pv\n2,78,buy\n3,79,pv\n", {}, ["1", "2", "3"], True),
        ("a,b\nc,d\n", {"header": False}, ["1", "2"], True),
        ("a,b\nc,d\n", {"columns": ("u", "i")}, ["u", "i"], False),
        ("U,I\na,b\nc,d\n", {"columns": ("u", "i")}, ["u", "i"], False),
    ],
)
def test_files_without_header(
    tmp_path: Path, text: str, layout: dict[str, Any], columns: list[str], numbered: bool
) -> None:
    table = read(tmp_path, text, **layout)
    assert (table.frame.columns, table.headerless) == (columns, numbered)
    assert table.frame.height == text.count("\n") - text.startswith("U")


def test_as_many_names_as_columns_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="has 2 columns"):
        read(tmp_path, "a,b\n", columns=("u",))


def test_sums_below_the_table_are_left_out(tmp_path: Path) -> None:
    table = read(tmp_path, HEAD + "1,Mug,4\n2,Cup,5\nTotal,,9\n")
    assert table.frame["id"].to_list() == ["1", "2"]
    assert "'Total'" in table.notes[0]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(*[st.text(alphabet='a,;"\n\\é ', max_size=6)] * 3), min_size=1, max_size=8), st.integers(1, 40)
)
def test_blocks_of_any_size_give_the_same_rows(rows: list[tuple[str, ...]], size: int) -> None:
    frame = pl.DataFrame([("a", "b", "c"), *rows], schema=["x", "y", "z"], orient="row")
    written = frame.write_csv(include_header=False, quote_style="always").encode()
    expected = RowReader(Dialect(",")).read(written.decode(), 3, True).cells[1:]
    assert expected == [list(row) for row in rows]
    beginning = delimited._Beginning(",", ["x", "y", "z"], 0, False, [])
    stream = io.BytesIO(written)
    pieces = delimited._PieceReader(beginning).pieces(iter(lambda: stream.read(size), b""))
    assert pl.concat([piece.frame for piece in pieces]).rows()[1:] == rows


@pytest.mark.parametrize("line", ["---,----,---\n", ":--,:---:,---\n", "===,===,\n"])
def test_a_line_that_underlines_the_header_is_no_row(tmp_path: Path, line: str) -> None:
    table = read(tmp_path, HEAD + line + "1,Mug,4\n2,Cup,5\n")
    assert (table.frame["id"].to_list(), table.rows.to_list()) == (["1", "2"], [2, 3])
    assert "underlines" in table.notes[0]
