"""Results become JSON's types, whatever they hold."""

from __future__ import annotations

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


def test_every_field_in_order_as_json() -> None:
    inner = {1: (np.float32(0.5), np.int64(3)), "alias": AliasRecord("garden", "live", "release:garden/1")}
    result = Sample(Path("a/b"), [Sample(Path("c"), datetime(2024, 1, 2, tzinfo=UTC)), inner])
    said = result.to_dict()
    assert list(said) == ["path", "inner"]
    assert said["inner"][0] == {"path": "c", "inner": "2024-01-02T00:00:00+00:00"}
    assert said["inner"][1]["1"] == [0.5, 3]
    assert said["inner"][1]["alias"]["ref"] == "garden@live"
    json.dumps(said)


def test_a_plain_dataclass_becomes_an_object_too() -> None:
    @dataclass(frozen=True)
    class Plain:
        name: str
        values: tuple[float, ...]

    assert jsonable([Plain("a", (1.0, math.nan))]) == [{"name": "a", "values": [1.0, None]}]


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float64("nan")])
def test_a_number_that_is_none_becomes_null(value: float) -> None:
    assert jsonable({"x": value}) == {"x": None}


def test_arrays_become_lists() -> None:
    assert jsonable(np.array([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]


def test_the_progress_of_a_stage_adds_its_name() -> None:
    seen: list[tuple[str, int, int]] = []

    class Recorder(Progress):
        def __call__(self, stage: str, done: int, total: int) -> None:
            seen.append((stage, done, total))

    Recorder().stage("embedding")(2, 5)
    assert seen == [("embedding", 2, 5)]
