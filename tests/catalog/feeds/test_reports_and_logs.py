"""Reports and logs of events: what the contract does not show of their names, users and samples."""

from pathlib import Path

import pytest
from hubspoke.catalog.readers import read_events, read_items

REPORT = "Item ID,Items viewed,Items purchased\nA,2,0\nB,1,3\n"


def read(tmp_path: Path, text: str, name: str = "events.csv", **mapping: str) -> tuple[str, list[tuple[object, ...]]]:
    path = tmp_path / name
    path.write_text(text)
    result = read_events(path, mapping)
    return result.format, result.frame.select("user_id", "item_id", "event_type").rows()


@pytest.mark.parametrize("time", ["Date hour and minute", "Date hour and minute (YYYYMMDDHHMM)", "dateHourMinute"])
@pytest.mark.parametrize(("user", "mapped"), [("User ID", {}), ("customUser:crm", {}), ("Kunde", {"user_id": "Kunde"})])
def test_reports_by_names_of_times_and_users(tmp_path: Path, time: str, user: str, mapped: dict[str, str]) -> None:
    text = REPORT.replace("Item ID", f"{time},{user},Item ID").replace("\nA", "\n202401151005,u,A")
    kinds = [("u", "A", "view"), ("u", "B", "view"), ("u", "B", "purchase")]
    assert read(tmp_path, text.replace("\nB", "\n202401151006,u,B"), **mapped) == ("ga4-report", kinds)


@pytest.mark.parametrize("column", ["event_type", "action", "Event name"])
def test_a_log_with_times_of_a_report_keeps_its_event_types(tmp_path: Path, column: str) -> None:
    text = f"visitor_id,product_sku,date_hour_minute,{column}\nv,A,202401151005,view\nv,B,202401151006,purchase\n"
    assert read(tmp_path, text)[1] == [("v", "A", "view"), ("v", "B", "purchase")]


def test_samples_of_label_0_are_no_interactions(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\tlabel:float\ttimestamp:float\nu\tA\t1.0\t1\nu\tB\t0.0\t2\nu\tC\t1\t3\n"
    assert [item for _, item, _ in read(tmp_path, text, "x.inter")[1]] == ["A", "C"]


def test_yoochoose_is_told_whatever_its_first_category(tmp_path: Path) -> None:
    lines = [f"1,2014-04-07T10:5{i}:09.277Z,21453650{i},{word}\n" for i, word in enumerate(("0", "S", "0"))]
    assert read(tmp_path, "".join(lines), "clicks.dat") == (
        "yoochoose",
        [("1", f"21453650{i}", "click") for i in range(3)],
    )


def test_numbers_of_sessions_that_became_floats_are_whole(tmp_path: Path) -> None:
    header = "event_timestamp,event_name,user_pseudo_id,ga_session_id,items_item_id\n"
    path = tmp_path / "flat.csv"
    path.write_text(f"{header}1705312860000000,view_item,1.2,1705312800.0,A\n")
    assert read_events(path).frame["session_id"].to_list() == ["1.2.1705312800"]


def test_movies_are_read_in_the_encoding_that_the_set_is_known_to_be_in(tmp_path: Path) -> None:
    lines = "1::Zoë, Café (1998)::Comedy|Drama\n2::Night Bus (1999)::Drama\n"
    (tmp_path / "movies.dat").write_bytes(lines.encode("latin-1"))
    result = read_items(tmp_path / "movies.dat")
    assert result.frame["title"].to_list() == ["Zoë, Café (1998)", "Night Bus (1999)"]
    assert "movies.dat is no UTF-8 and was read as latin-1" in result.report.notes
