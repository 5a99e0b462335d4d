import gzip
import io
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hubspoke.catalog import opening
from hubspoke.catalog.layout import Layout
from hubspoke.catalog.readers import read_items
from hubspoke.catalog.tables import FAULTS, load_table
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError

ROWS = "id,n\n007,ä\n".encode()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
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
    path.write_bytes(gzip.compress(b"id,n\n1,a\n" * 100, mtime=0)[:-20])
    with pytest.raises(InvalidDataError, match="no complete gzip"):
        load_table(path)


def test_several_files_are_one_table_whose_rows_say_where_they_stand(tmp_path: Path) -> None:
    write(tmp_path / "b.csv", b"id,title\n3,x,y\n4,z\n")
    write(tmp_path / "a.csv", b"id\n1\n2\n")
    table = load_table(tmp_path / "*.csv")
    assert table.frame.to_dict(as_series=False) == {"id": ["1", "2", "3", "4"], "title": [None, None, "x", "z"]}
    assert (table.faults["uneven_row"], table.rows.to_list()) == ({3: "3 values for 2 columns"}, [1, 2, 3, 4])
    assert "a.csv lacks title" in table.notes[0]
    assert load_table([tmp_path / "b.csv", str(tmp_path / "a.csv")]).frame["id"].to_list() == ["3", "4", "1", "2"]
    read = read_items([str(tmp_path / "*.csv")], on_error="skip")
    found = next(problem for problem in read.report.to_json()["problems"] if problem["code"] == "uneven_row")
    assert (found["file"], found["row"]) == ("b.csv", 1)
    assert "(rows 1 of b.csv)" in read.report.to_text()
    assert [file["name"] for file in read.provenance["files"]] == ["a.csv", "b.csv"]


def test_a_name_with_signs_of_a_pattern_is_that_file_and_a_folder_of_parts_is_its_parts(tmp_path: Path) -> None:
    for name in ("ev[1].parquet", "ev1.parquet"):
        pl.DataFrame({"id": [name]}).write_parquet(tmp_path / name)
    assert load_table(tmp_path / "ev[1].parquet").frame["id"].to_list() == ["ev[1].parquet"]
    assert load_table(str(tmp_path)).frame["id"].to_list() == ["ev1.parquet", "ev[1].parquet"]
    write(tmp_path / "notes.md", b"x")
    with pytest.raises(InvalidDataError, match="is a folder"):
        load_table(tmp_path)
    with pytest.raises(NotFoundError, match="No file matches"):
        load_table(tmp_path / "*.tsv")


@pytest.mark.parametrize("name", ["file:x.parquet", "s3:x.parquet", "file:/b/x.parquet"])
def test_a_name_that_looks_like_a_url_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"id": [name]}).write_parquet(tmp_path / name)
    assert load_table(name).frame["id"].to_list() == [name]


def test_a_folder_with_signs_of_a_pattern_is_that_folder(tmp_path: Path) -> None:
    for folder in ("sq[1]*", "sq1"):
        (tmp_path / folder).mkdir()
        for part in "ab":
            pl.DataFrame({"id": [folder + part]}).write_parquet(tmp_path / folder / f"{part}.parquet")
    assert load_table(str(tmp_path / "sq[1]*" / "*.parquet")).frame["id"].to_list() == ["sq[1]*a", "sq[1]*b"]
    assert load_table(str(tmp_path / "sq*1" / "[a].parquet")).frame["id"].to_list() == ["sq1a"]


def test_parquet_of_any_type_is_opened(tmp_path: Path) -> None:
    values = {
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        "binary": pa.array([b"\xff"]),
        "duration": pa.array([1], pa.duration("ms")),
        "image": pa.array([{"bytes": b"\xff", "path": None}]),
        "lists": pa.array([[[1], []]]),
        "time": pa.array([1], pa.time32("s")),
        "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"])),
    }
    pq.write_table(pa.table(values), tmp_path / "t.parquet")
    frame = load_table(tmp_path / "t.parquet").frame
    assert (frame.columns, frame["json"].to_list()) == (list(values), ["{}"])
    (tmp_path / "t.parquet.gz").write_bytes(gzip.compress((tmp_path / "t.parquet").read_bytes()))
    assert load_table(tmp_path / "t.parquet.gz").frame.equals(frame)


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name.replace("_", "."), member)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", gzip.compress(ROWS[:9], mtime=0) + gzip.compress(ROWS[9:], mtime=0)),
        ("t.csv", zipped(t_csv=ROWS)),
        ("t.zip", zipped(t_csv=ROWS) + b""),
        ("t.zip", zipped(t_csv_gz=gzip.compress(ROWS, mtime=0))),
        ("t.csv.gz", ROWS),
        ("t.csv", "\ufeffid,n\n007,ä\n".encode("utf-16-le")),
        ("t", ROWS),
        ("t.dat", ROWS),
        ("t.csv", b'{"id": "007", "n": "\xc3\xa4"}\n'),
        ("t.json", b'[\n  {"id": "007",\n   "n": "\xc3\xa4"}\n]'),
    ],
)
def test_a_file_is_what_it_holds(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert load_table(tmp_path / name).frame.rows() == [("007", "ä")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(a_csv=ROWS, b_csv=ROWS), r"2 files \(a.csv, b.csv\)"),
        (zipped(a_csv=ROWS + b"1,2\n" * 1_000_000), "200 times its size"),
        (gzip.compress(ROWS + b"1,2\n" * 1_000_000, mtime=0), "200 times its size"),
        (zipped(**{"xl/workbook_xml": b"x"}), "Excel workbook.*CSV UTF-8"),
        (b"BZh91AY&SY\x00", "bunzip2"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x89PNG\r\n\x1a\n\x00", "PNG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x80\x04\x95", "pickle"),
        (b"a\x00b\x00,\x00c\x00\n\x00", "UTF-16LE"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(
    tmp_path: Path, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "ALWAYS_UNPACKED", 1 << 20)
    with pytest.raises(InvalidDataError, match=message):
        load_table(write(tmp_path / "t.csv", content))


def test_nul_bytes_and_wrong_encodings_cost_their_rows_only(tmp_path: Path) -> None:
    table = load_table(write(tmp_path / "t.csv", b"id,n\n1,a\n2,b\x00b\n"))
    assert table.faults["nul_byte"] == {2: "b\ufffdb"}
    table = load_table(write(tmp_path / "t.csv", "id,n\n1,a\ufdd0\n2,ok\n3,".encode() + b"\xe9\n"))
    assert table.frame["n"].to_list() == ["a\ufdd0", "ok", "\ufffd"]
    assert table.faults["bad_encoding"] == {3: "\ufffd"}
    assert "WINDOWS-1252" in FAULTS["bad_encoding"]


def test_text_in_another_encoding_is_read_where_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv.gz", "id,näme\n1,Café – 5 €\n".encode("cp1252"))
    with pytest.raises(InvalidDataError, match="say --encoding cp1252"):
        load_table(path)
    table = load_table(path, Layout(encoding="cp1252"))
    assert table.frame.to_dict(as_series=False) == {"id": ["1"], "näme": ["Café – 5 €"]}
    assert table.notes == ("t.csv.gz is no UTF-8 and was read as cp1252",)
    with pytest.raises(InvalidDataError, match=r"not written in ascii, which has no character of byte 0xe4"):
        load_table(path, Layout(encoding="ascii"))
    with pytest.raises(UsageError, match="--encoding latin9000 names no encoding"):
        load_table(path, Layout(encoding="latin9000"))


def test_utf_8_stays_what_it_is_whatever_encoding_is_named(tmp_path: Path) -> None:
    table = load_table(write(tmp_path / "t.csv", ROWS), Layout(encoding="cp1252"))
    assert (table.frame["n"].to_list(), table.notes) == (["ä"], ())


def test_decimals_of_more_digits_than_polars_has(tmp_path: Path) -> None:
    wide = pa.decimal256(50, 2)
    flat = pa.table({"id": ["a"], "price": pa.array([Decimal("12.90")], wide)})
    pq.write_table(flat, tmp_path / "t.parquet")
    assert load_table(tmp_path / "t.parquet").frame.rows() == [("a", "12.90")]
    pq.write_table(pa.table({"prices": pa.array([[Decimal("1")]], pa.list_(wide))}), tmp_path / "t.parquet")
    with pytest.raises(InvalidDataError, match="Column prices holds decimals of more than 38 digits"):
        load_table(tmp_path / "t.parquet")


def test_parquet_columns_of_one_name_are_told(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["1"]), pa.array(["a"]), pa.array(["b"])], ["id", "title", "title"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InvalidDataError, match=r"t.parquet names several columns 'title'; give each a name of its own"):
        load_table(tmp_path / "t.parquet")
