"""A log of lines, here of events: whole lines whatever happens, sealed while it is written, by several processes."""

import errno
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hubspoke.catalog.event_log import read_segments
from hubspoke.catalog.line_log import LineLog, LogSettings, seal
from hubspoke.catalog.shopper_events import ShopperEvent, read_event
from hubspoke.errors import HubspokeError

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
AT_ONCE = LogSettings(sync_seconds=0)


def event(number: int) -> ShopperEvent:
    return read_event({"user_id": "ann", "item_id": f"i{number}", "event_id": f"e{number}"}, NOW)


def logged(folder: Path) -> list[str]:
    return [own.event_id for _, events in read_segments(folder) for own in events]


def test_what_was_appended_is_read_in_its_order(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log", AT_ONCE)
    assert logged(tmp_path / "log") == []
    log.append([])
    assert not (tmp_path / "log").exists()
    log.append([event(1), event(2)])
    log.append([event(3)])
    assert logged(log.folder) == ["e1", "e2", "e3"]
    log.close()
    log.close()
    (segment,) = log.folder.iterdir()
    assert segment.name.endswith(".jsonl") and ".open" not in segment.name
    assert segment.stat().st_mode & 0o007 == 0  # what shoppers do is nobody else's business
    assert logged(log.folder) == ["e1", "e2", "e3"]


def test_a_segment_that_is_sealed_under_its_writer_gets_nothing_more(tmp_path: Path) -> None:
    log = LineLog(tmp_path, AT_ONCE)
    log.append([event(1)])
    seal(tmp_path)
    ((taken, _),) = read_segments(tmp_path)
    content = taken.path.read_bytes()
    log.append([event(2)])
    assert taken.path.read_bytes() == content
    assert logged(tmp_path) == ["e1", "e2"]
    taken.remove()
    assert logged(tmp_path) == ["e2"]
    # Sealing again finds the open one alone, and what is empty leaves no file.
    seal(tmp_path)
    log.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_large_segments_are_sealed(tmp_path: Path) -> None:
    log = LineLog(tmp_path, LogSettings(segment_bytes=200, sync_seconds=0))
    for number in range(9):  # three lines of 87 bytes fill one
        log.append([event(number)])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3 and not any(".open" in name for name in names)
    assert logged(tmp_path) == [f"e{number}" for number in range(9)]


def test_of_a_large_log_the_newest_segments_are_read(tmp_path: Path) -> None:
    log = LineLog(tmp_path, LogSettings(segment_bytes=1, sync_seconds=0))
    for number in range(4):
        log.append([event(number)])
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    for most, wanted in ((0, ["e3"]), (size / 2, ["e2", "e3"]), (size, ["e0", "e1", "e2", "e3"])):
        assert [own.event_id for _, events in read_segments(tmp_path, most=most) for own in events] == wanted


def test_a_write_that_fails_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LineLog(tmp_path, AT_ONCE)
    log.append([event(1)])
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:20]))
        with pytest.raises(HubspokeError, match="No space is left"):
            log.append([event(2)])
        patch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(HubspokeError, match="No space is left"):
            log.append([event(3)])
        # A half line that cannot be taken back ends its segment.
        patch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:20]))
        patch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        with pytest.raises(OSError, match="broken"):
            log.append([event(4)])
    log.append([event(5)])
    assert logged(tmp_path) == ["e1", "e5"]
    assert len(list(tmp_path.iterdir())) == 2


def test_threads_append_while_segments_are_sealed(tmp_path: Path) -> None:
    log = LineLog(tmp_path, LogSettings(segment_bytes=2000))
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(log.append, [event(number)]) for number in range(200)]
        for _ in range(10):
            seal(tmp_path)
        for own in done:
            own.result()
    log.close()
    assert sorted(logged(tmp_path)) == sorted(f"e{number}" for number in range(200))


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from hubspoke.catalog.line_log import LineLog
from hubspoke.catalog.shopper_events import read_event
log = LineLog(Path(sys.argv[1]))
for number in range(1_000_000):
    raw = {"user_id": "ann", "item_id": "rose", "event_id": f"{sys.argv[2]}-{number}"}
    log.append([read_event(raw, datetime.now(UTC))])
    print(number, flush=True)
"""


def test_what_two_killed_processes_had_confirmed_is_there(tmp_path: Path, start) -> None:
    started = [start(WRITER, str(tmp_path), name) for name in "ab"]
    confirmed = {}
    for name, process in zip("ab", started, strict=True):
        lines = [process.stdout.readline() for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        confirmed[name] = int((lines + process.stdout.read().splitlines())[-1])
    found = logged(tmp_path)
    for name, last in confirmed.items():
        own = [event_id for event_id in found if event_id.startswith(name)]
        assert own[: last + 1] == [f"{name}-{number}" for number in range(last + 1)]
    assert len(list(tmp_path.iterdir())) == 2
