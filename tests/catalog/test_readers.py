import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hubspoke.catalog.intake import ReadResult
from hubspoke.catalog.layout import Layout
from hubspoke.catalog.readers import read_events, read_items
from hubspoke.catalog.schema import EVENT_SCHEMA, ITEM_SCHEMA
from hubspoke.catalog.snapshots import read_snapshot, write_snapshot
from hubspoke.catalog.validation import ValidationFailedError, ValidationReport
from hubspoke.errors import InvalidDataError
from PIL import Image

ITEM_IDS = pl.Series(["a", "b"])


def save(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def failure(path: Path, kind: str = "items", **options: object) -> ValidationReport:
    with pytest.raises(ValidationFailedError) as caught:
        (read_items if kind == "items" else read_events)(path, **options)  # type: ignore[operator]
    return caught.value.report


def codes(report: ValidationReport) -> list[tuple[int, str]]:
    return [(p.row, p.code) for p in report.problems]


# ---- items ----


def test_items_in_the_canonical_schema(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    path = save(
        tmp_path / "items.csv",
        "sku,name,category,price,image,colour,in_stock\n007,Spade,Garden > Tools,$9.50,a.png,red,no\n8,,x|y,,,,\n",
    )
    result = read_items(path)
    assert result.frame.schema == pl.Schema(ITEM_SCHEMA)
    first, second = result.frame.to_dicts()
    assert first["item_id"] == "007"
    assert first["category_path"] == ["Garden", "Tools"]
    assert first["price"] == 9.5
    assert first["image"] == ["a.png"]
    assert len(first["image_sha256"][0]) == 64
    assert first["available"] is False
    assert first["attributes"] == [{"key": "colour", "value": "red"}]
    assert (second["title"], second["category_path"], second["available"]) == ("", ["x", "y"], True)
    assert (second["image"], second["image_sha256"], second["attributes"]) == (None, None, [])
    assert codes(result.report) == [(2, "no_content")]
    assert result.mapping["available"] == "in_stock"
    assert result.image_root == tmp_path
    assert result.provenance["source"] == "items.csv"
    assert len(result.provenance["source_sha256"]) == 64


def test_every_item_problem_is_reported_in_one_pass(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    text = (
        "item_id,title,price,cost,available,created_at,image\n"
        "a,One,1,,,,\n"
        ",No id,1,,,,\n"
        "a,Other,1,,,,\n"
        "b,Two,cheap,-1,maybe,someday,bad.png;none.png;no.png\n"
        "c,Three,-2,,,,../x.png\n"
        "a,Caf\u00e9,1,,,,\n"
    )
    path = save(tmp_path / "items.csv", text, "latin-1")
    report = failure(path)
    assert codes(report) == [
        (2, "missing_item_id"),
        (3, "duplicate_item_id"),
        (4, "bad_available"),
        (4, "bad_created_at"),
        (4, "bad_price"),
        (4, "image_missing"),
        (4, "image_missing"),
        (4, "image_unreadable"),
        (4, "negative_cost"),
        (5, "image_outside_root"),
        (5, "negative_price"),
        (6, "bad_encoding"),
    ]
    assert report.problems[4].value == "cheap"
    assert [p.value for p in report.problems if p.code == "image_missing"] == ["none.png", "no.png"]
    assert report.problems[5].message == "image 'none.png' does not exist; add the file or clear the value."
    kept = read_items(path, on_error="skip")
    assert kept.frame["item_id"].to_list() == ["a", "b", "c"]
    assert kept.frame["price"].to_list() == [1.0, None, None]
    assert kept.frame["image"].to_list() == [None, None, None]
    assert kept.report.count("error") == 12
    assert (kept.report.rows_in, kept.report.rows_out) == (6, 3)


def test_pictures_that_are_fine_are_kept_from_their_folder_or_unchecked_without_one(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / "a.png")
    path = save(tmp_path / "items.jsonl", '{"id": 1, "name": "x", "images": ["none.png", "a.png"]}\n')
    result = read_items(path, image_root=tmp_path / "pictures", on_error="skip")
    assert result.frame["image"].to_list() == [["a.png"]]
    assert len(result.frame["image_sha256"][0]) == 1
    assert codes(failure(path)) == [(1, "image_missing")] * 2
    unchecked = read_items(pl.DataFrame({"item_id": ["a"], "image": ["a.png"]}))
    assert unchecked.frame["image"].to_list() == [["a.png"]]
    assert any("not looked at" in note for note in unchecked.report.notes)


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_an_empty_catalog_is_always_an_error(tmp_path: Path, on_error: str) -> None:
    for text in ("item_id,title\n", "item_id,title\n,x\n"):
        report = failure(save(tmp_path / "items.csv", text), on_error=on_error)
        assert "empty_catalog" in report.counts


def test_no_id_column_names_the_columns(tmp_path: Path) -> None:
    path = save(tmp_path / "items.csv", "code,title\n1,x\n")
    with pytest.raises(InvalidDataError, match=r"--map item_id=COLUMN, out of: code, title"):
        read_items(path, on_error="skip")
    assert read_items(path, {"item_id": "code"}).frame["item_id"].to_list() == ["1"]


def test_columns_without_a_single_value_and_repeated_rows_are_accepted() -> None:
    frame = pl.DataFrame({"item_id": [1, 2], "title": ["x", "y"], "description": [None, None], "image": [None, None]})
    result = read_items(pl.concat([frame, frame.head(1)]), image_root=".")
    assert result.frame.schema == pl.Schema(ITEM_SCHEMA)
    assert result.frame["item_id"].to_list() == ["1", "2"]
    assert codes(result.report) == [(3, "repeated_row")]  # a repetition is a warning


def test_a_row_that_repeats_the_first_is_a_repetition_whatever_a_third_one_says() -> None:
    frame = pl.DataFrame({"item_id": ["1", "1", "2", "1", "1"], "title": ["x", "x", "y", "z", "x"]})
    result = read_items(frame, on_error="skip")
    assert codes(result.report) == [(2, "repeated_row"), (4, "duplicate_item_id"), (5, "repeated_row")]
    assert result.frame["title"].to_list() == ["x", "y"]


def test_ids_that_repeat_name_a_column_that_tells_the_rows_apart() -> None:
    frame = pl.DataFrame({"product_id": ["1", "1"], "sku": ["1-S", "1-L"], "name": ["Cup", "Cup"]})
    with pytest.raises(ValidationFailedError, match="by sku, which differs in every row: --map item_id=sku"):
        read_items(frame)
    assert read_items(frame, {"item_id": "sku"}).frame["item_id"].to_list() == ["1-S", "1-L"]


# ---- events ----


def test_events_in_the_canonical_schema_sorted(tmp_path: Path) -> None:
    path = save(
        tmp_path / "events.csv",
        "visitorid,sku,event_time,event,qty,week\n"
        "v,a,2020-01-02T10:00:00Z,add_to_cart,1,7\n"
        "u,b,2020-01-03 10:00:00,Buy,2,\n"
        "u,a,2020-01-01T12:00:00+02:00,detail-view,,8\n",
    )
    result = read_events(path, item_ids=ITEM_IDS)
    assert result.frame.schema == pl.Schema(EVENT_SCHEMA)
    assert result.frame.select("user_id", "item_id", "event_type", "quantity").rows() == [
        ("u", "a", "view", None),
        ("u", "b", "purchase", 2),
        ("v", "a", "cart", 1),
    ]
    assert result.frame["timestamp"][0] == datetime(2020, 1, 1, 10, tzinfo=UTC)
    assert result.frame["attributes"].to_list()[1:] == [[], [{"key": "week", "value": "7"}]]
    assert result.report.time_kind == "real"


def test_position_decides_equal_times_and_ties_keep_file_order() -> None:
    frame = pl.DataFrame(
        {"user_id": ["u"] * 4, "item_id": ["a", "b", "a", "b"], "timestamp": [5, 5, 5, 4], "position": [2, 1, 1, 9]}
    )
    result = read_events(frame)
    assert result.report.time_kind == "order"
    assert result.frame.select("item_id", "position").rows() == [("b", 9), ("b", 1), ("a", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("header", "line", "said"),
    [
        ("user_id,item_id,timestamp", "guest,a,2020-01-01", "user_id_of_nobody"),
        (
            "user_id,item_id,timestamp,session_id",
            ",a,2020-01-01,s",
            "--event-map 'user_id=user_id|session_id,session_id=session_id'",
        ),
        ("user_id,item_id,date,time", "u,a,2020-01-01,10:05", "column time holds times of day, which are not read"),
        ("user_id,item_id,date,order_id", "u,a,2020-01-01,7", "by order_id they may be orders: --event-type purchase"),
        (
            "user_id,item_id,order_date,status",
            "u,a,2020-01-01,Cancelled",
            "no sales by column status were left out: Canc",
        ),
        (
            "user_id,item_id,date,rating",
            "u,a,2020-01-01,4",
            "--event-type rating --event-map 'value=rating'",
        ),
        ("user_id,item_id,order_date", "u,a,43831", "--time-unit excel"),
    ],
)
def test_what_is_likely_meant_otherwise_is_told(tmp_path: Path, header: str, line: str, said: str) -> None:
    path = save(
        tmp_path / "events.csv",
        f"{header}\n{line}\n{line.replace(',a,', ',b,').replace('guest', 'u').replace('Cancelled', 'complete')}\n",
    )
    path.write_text(path.read_text() + ("v,a,2020-01-01,s\n" if line.startswith(",") else ""))
    assert said in read_events(path, on_error="skip").report.to_text()


def test_times_that_an_earlier_ingest_named_otherwise_say_so() -> None:
    frame = pl.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"], "timestamp": ["31/01/2020", "02/14/2020"]})
    told = read_events(frame, on_error="skip", layout=Layout(date_format="%d/%m/%Y")).report.to_text()
    assert "timestamp '02/14/2020' is not of the form %d/%m/%Y" in told


def test_ids_in_lists_are_shown_as_such() -> None:
    frame = pl.DataFrame({"user_id": ["u"], "item_id": [["a", "b"]], "timestamp": ["2020-01-01"]})
    with pytest.raises(InvalidDataError, match=r"such as \"\['a', 'b'\]\""):
        read_events(frame)


def test_every_event_problem_is_reported_in_one_pass(tmp_path: Path) -> None:
    text = (
        "user_id,item_id,timestamp,event_type,value,quantity\n"
        "u,a,2020-01-01,view,1,1\n"
        ",a,2020-01-01,view,,\n"
        "u,zzz,2020-01-01,view,,\n"
        "u,,2020-01-01,view,,\n"
        "u,,2020-01-01,search,,\n"
        "u,a,yesterday,view,,\n"
        "u,a,,view,,\n"
        "u,a,2020-01-01,dance,,\n"
        "u,a,2020-01-01,,much,1.5\n"
        "u,zzz,2020-01-01,refund,,\n"
        "u,b,2020-01-01,purchase,,-1\n"
    )
    path = save(tmp_path / "events.csv", text)
    report = failure(path, "events", item_ids=ITEM_IDS)
    assert codes(report) == [
        (2, "missing_user_id"),
        (3, "unknown_item"),
        (4, "missing_item_id"),
        (6, "bad_timestamp"),
        (7, "missing_timestamp"),
        (8, "unknown_event_type"),
        (9, "bad_quantity"),
        (9, "bad_value"),
        (9, "missing_event_type"),
        (10, "returned_item"),
        (11, "returned_item"),
    ]
    kept = read_events(path, item_ids=ITEM_IDS, on_error="skip")
    assert kept.frame.select("item_id", "event_type", "value").rows() == [
        ("a", "view", 1.0),
        (None, "search", None),
        ("a", "view", None),
    ]
    assert [(s.rows_in, s.rows_out) for s in kept.report.waterfall] == [(11, 11), (11, 9), (9, 3)]


def window(**limits: datetime) -> ReadResult:
    frame = pl.DataFrame(
        {
            "user_id": ["u", None, "u", "u"],
            "item_id": ["a", "a", "zzz", "b"],
            "timestamp": [
                "2020-01-01T00:00:00Z",
                "2020-01-02T00:00:00Z",
                "2020-01-03T12:00:00Z",
                "2020-01-01T23:00:00Z",
            ],
        }
    )
    return read_events(frame, item_ids=ITEM_IDS, **limits)  # type: ignore[arg-type]


def test_until_is_exclusive_and_hides_later_problems() -> None:
    result = window(until=datetime(2020, 1, 2))
    assert result.frame["item_id"].to_list() == ["a", "b"]
    assert result.report.problems == ()
    assert [(s.rows_in, s.rows_out) for s in result.report.waterfall][:2] == [(4, 4), (4, 2)]
    assert result.provenance["until"] == "2020-01-02T00:00:00+00:00"
    # What time means is judged on the whole file, so that it does not change with the window.
    assert result.report.time_kind == "real"


def test_since_is_inclusive_and_rows_keep_their_numbers() -> None:
    with pytest.raises(ValidationFailedError) as caught:
        window(since=datetime(2020, 1, 2, tzinfo=UTC))
    assert codes(caught.value.report) == [(0, "no_events"), (2, "missing_user_id"), (3, "unknown_item")]


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_events_that_all_fall_on_unknown_items_are_always_an_error(tmp_path: Path, on_error: str) -> None:
    path = save(tmp_path / "events.csv", "user_id,item_id,timestamp\nu,x,2020-01-01\nu,y,2020-01-01\n")
    report = failure(path, "events", item_ids=ITEM_IDS, on_error=on_error)
    assert report.counts == {"unknown_item": 2, "no_events": 1}


def test_no_event_type_column_uses_the_default_and_says_so() -> None:
    # Integer ids of events meet text ids of items.
    frame = pl.DataFrame({"user_id": [1.0], "item_id": [10], "timestamp": [1]})
    result = read_events(frame, item_ids=pl.Series(["10"]), default_event_type="purchase")
    assert result.frame.select("user_id", "item_id", "event_type").rows() == [("1", "10", "purchase")]
    assert "no column holds event_type: every event counts as purchase" in result.report.notes
    wrong = {"'banana' is not known; use one of view": {"default_event_type": "banana"}}
    for message, options in (wrong | {"bare counters": {"until": datetime(2020, 1, 1)}}).items():
        with pytest.raises(InvalidDataError, match=message):
            read_events(frame, **options)  # type: ignore[arg-type]


def test_bad_json_lines_count_once_and_can_be_skipped(tmp_path: Path) -> None:
    path = save(tmp_path / "e.jsonl", '{"user": 1, "item": "a", "ts": 1577836800}\n{"user": \n')
    assert codes(failure(path, "events")) == [(2, "bad_json")]
    assert read_events(path, on_error="skip").frame.height == 1


def test_a_snapshot_can_be_read_again_as_a_source(tmp_path: Path) -> None:
    frame = pl.DataFrame({"item_id": ["a", "b"], "title": ["x", "y"], "category_path": ["p > q", None], "c": [1, None]})
    first = read_items(frame).frame
    write_snapshot(first, "items", tmp_path / "s")
    again = read_items(tmp_path / "s" / "data.parquet").frame
    assert again.equals(first)
    assert read_snapshot(tmp_path / "s")[0].equals(again)


# ---- real data ----

REAL = Path(os.environ.get("HUBSPOKE_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "time_kind"),
    [
        ("amazon_office", "order"),
        ("amazon_beauty", "day"),
        ("hm_sport", "day"),
        ("movies_ml100k", "real"),
        ("online_retail", "real"),
        ("ikea", None),
    ],
)
def test_real_sets_are_accepted_as_they_are(name: str, time_kind: str | None) -> None:
    folder = REAL / name
    if not (folder / "items.parquet").is_file():
        pytest.skip("the real data sets do not lie beside the checkout (or at HUBSPOKE_REAL_DATA)")
    items = read_items(folder / "items.parquet")
    assert items.report.count("error") == 0
    if time_kind is not None:
        events = read_events(folder / "interactions.parquet", item_ids=items.frame["item_id"])
        assert events.report.time_kind == time_kind
        assert events.report.count("error") == 0
