"""Exposures as they are logged and read: whole, in order, also beside damaged lines and from what is being written."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
from hubspoke.catalog.exposures import EXPOSURE_SCHEMA, Exposure, read_exposures
from hubspoke.catalog.line_log import LineLog
from hypothesis import given
from hypothesis import strategies as st

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
TOLD: dict[str, Any] = {
    "recommendation_id": "r1",
    "at": AT,
    "experiment": "experiment:garden/1",
    "shopper": "ann",
    "arm": "candidate",
    "propensity": 0.25,
    "release": "release:garden/2",
    "items": ("rose", "spade"),
}
LINE = (
    b'{"recommendation_id":"r1","at":"2026-11-30T12:00:00Z","experiment":"experiment:garden/1","shopper":"ann",'
    b'"arm":"candidate","propensity":0.25,"release":"release:garden/2","items":["rose","spade"]}\n'
)


def exposure(**told: Any) -> Exposure:
    return Exposure(**TOLD | told)


def test_an_exposure_is_a_line_and_is_read_back(tmp_path: Path) -> None:
    assert read_exposures(tmp_path / "nothing").exposures.schema == EXPOSURE_SCHEMA
    log = LineLog(tmp_path)
    second = exposure(recommendation_id="r2", at=AT + timedelta(microseconds=5), arm="control", items=())
    log.append([exposure(), second])
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().splitlines(keepends=True)[0] == LINE
    for _ in range(2):  # while it is being written, and sealed
        found = read_exposures(tmp_path)
        assert found.damaged == 0 and found.exposures.schema == EXPOSURE_SCHEMA
        assert found.exposures.rows(named=True) == [
            TOLD | {"items": ["rose", "spade"]},
            TOLD | {"recommendation_id": "r2", "at": second.at, "arm": "control", "items": []},
        ]
        log.close()


def test_times_are_told_in_utc() -> None:
    elsewhere = exposure(at=AT.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert elsewhere.line() == LINE


def test_what_is_damaged_is_counted_and_hides_nothing(tmp_path: Path) -> None:
    wrong = [
        b"\xff\n", b"no json\n", b"{}\n", b"[1]\n", b"\n", LINE[:40] + b"\n",
        LINE.replace(b"0.25", b"0"), LINE.replace(b"0.25", b'"often"'), LINE.replace(b'"candidate"', b'"both"'),
        LINE.replace(b"2026-11-30T12:00:00Z", b"yesterday"), LINE.replace(b'["rose","spade"]', b"null"),
    ]  # fmt: skip
    for number, line in enumerate(wrong):
        (tmp_path / f"{number}.jsonl").write_bytes(LINE + line + LINE)
    (tmp_path / "killed.open.jsonl").write_bytes(LINE + LINE[:-1])  # a last line without its end is none
    found = read_exposures(tmp_path)
    assert (found.exposures.height, found.damaged) == (2 * len(wrong) + 1, len(wrong))
    assert found.exposures.unique().height == 1


def test_a_folder_whose_name_looks_like_a_pattern_is_read_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a[b]*"
    LineLog(folder).append([exposure()])
    assert read_exposures(folder).exposures.height == 1


@given(shopper=st.text(min_size=1), items=st.lists(st.text(min_size=1)), propensity=st.floats(0, 1, exclude_min=True))
def test_any_ids_come_back_as_they_were(shopper: str, items: list[str], propensity: float, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = LineLog(folder)
    log.append([exposure(shopper=shopper, items=tuple(items), propensity=propensity)])
    log.close()
    expected = pl.DataFrame(
        {"shopper": [shopper], "items": [items], "propensity": [propensity]},
        schema_overrides={"items": pl.List(pl.String)},
    )
    assert read_exposures(folder).exposures.select("shopper", "items", "propensity").equals(expected)
