"""Reading an event log: what was never confirmed is passed over, what is damaged is counted and kept."""

from datetime import UTC, datetime
from pathlib import Path

from hubspoke.catalog.event_log import read_segments
from hubspoke.catalog.line_log import LineLog
from hubspoke.catalog.shopper_events import ShopperEvent, read_event


def event(number: int) -> ShopperEvent:
    raw = {"user_id": "ann", "item_id": f"i{number}", "event_id": f"e{number}"}
    return read_event(raw, datetime(2026, 11, 29, 12, 0, tzinfo=UTC))


def test_a_torn_last_line_is_passed_over_and_a_damaged_one_is_counted_and_kept(tmp_path: Path) -> None:
    log = LineLog(tmp_path)
    log.append([event(1)])
    log.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole + event(2).line()[:-1])
    ((segment, events),) = read_segments(tmp_path)
    assert ([own.event_id for own in events], segment.damaged) == (["e1"], 0)
    path.write_bytes(b'{"user_id": 3}\n\xff\n' + whole)
    ((segment, events),) = read_segments(tmp_path)
    assert ([own.event_id for own in events], segment.events, segment.damaged) == (["e1"], 1, 2)
    segment.remove()
    assert [own.name for own in tmp_path.iterdir()] == [f"{path.name}.damaged"] and not list(read_segments(tmp_path))
