"""Results become JSON's types, whatever they hold."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
