"""Results become JSON's types, whatever they hold."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hubspoke.progress import Progress
from hubspoke.registry.records import AliasRecord
from hubspoke.results import Record, jsonable


@dataclass(frozen=True)
class Sample(Record):
    path: Path
    inner: Any


@dataclass(frozen=True)
class Plain:
    values: tuple[float, ...]


def test_every_field_in_order_as_json() -> None:
    written = Sample(Path("a/b"), AliasRecord("garden", "live", "release:garden/1")).to_dict()
    assert list(written) == ["path", "inner"]
    assert (written["path"], written["inner"]["ref"]) == ("a/b", "garden@live")
    json.dumps(written)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Sample(Path("c"), datetime(2024, 1, 2, tzinfo=UTC)), {"path": "c", "inner": "2024-01-02T00:00:00+00:00"}),
        ({1: (np.float32(0.5), np.int64(3))}, {"1": [0.5, 3]}),
        ([Plain((1.0, math.nan))], [{"values": [1.0, None]}]),
        ([math.nan, math.inf, np.float64("nan")], [None, None, None]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        # Whole numbers with every digit, others as the nearest float, text where there is no such number.
        ([Decimal("1.50"), Decimal("3E+2"), Decimal(2**70), Decimal("NaN")], [1.5, 300, 2**70, None]),
        ([Decimal("1E-400"), Decimal("0E-9")], ["1E-400", 0]),
        ([date(2024, 1, 2), time(3, 4), timedelta(days=1)], ["2024-01-02", "03:04:00", "1 day, 0:00:00"]),
        ([b"\x00\xff", memoryview(b"a"), UUID(int=7)], ["\\x00ff", "\\x61", str(UUID(int=7))]),
        (ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    ],
)
def test_values_as_json(value: Any, expected: Any) -> None:
    assert jsonable(value) == expected


def test_the_progress_of_a_stage_adds_its_name() -> None:
    seen: list[tuple[str, int, int]] = []

    class Recorder(Progress):
        def __call__(self, stage: str, done: int, total: int) -> None:
            seen.append((stage, done, total))

    Recorder().stage("embedding")(2, 5)
    assert seen == [("embedding", 2, 5)]
