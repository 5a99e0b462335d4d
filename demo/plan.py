"""What the demo does, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..results import Record
from ..workflows.answers import Recommendations
from ..workflows.evaluations import CompareResult
from .pictures import PictureLaunch


class DemoPlan(BaseModel):
    """What the demo does. Dates were fixed before anything was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Departments with a spoke of their own; the hub is trained on them.
    established: tuple[str, ...] = ("PRODUCE", "MEAT-PCKGD", "DELI", "PASTRY")
    # The department that the hub has never seen; nothing from its first day on is known to hub and established spokes.
    launched: str = "NUTRITION"
    launch_date: datetime = datetime(2017, 6, 1, tzinfo=UTC)
    # Weeks after the launch at which its spoke is trained, and those of them that stand in the table.
    weeks: tuple[int, ...] = (1, 2, 4, 8, 12)
    table_weeks: tuple[int, ...] = (4, 12)
    test_weeks: int = 8  # the test begins with the last of `weeks`
    # Keys of HubConfig and SpokeConfig.
    hub: Mapping[str, Any] = {"image": None}
    established_spoke: Mapping[str, Any] = {"training": {"max_epochs": 30}}
    launched_spoke: Mapping[str, Any] = {}
    pictures: int = 240  # items per simulated category, 0 to leave the pictures out
    picture_hub: Mapping[str, Any] = {}

    def after(self, weeks: int) -> datetime:
        """The moment `weeks` after the launch."""
        return self.launch_date + timedelta(weeks=weeks)

    @property
    def test_from(self) -> datetime:
        """Start of the test window."""
        return self.after(max(self.weeks))

    @property
    def test_until(self) -> datetime:
        """End of the test window, not included."""
        return self.test_from + timedelta(weeks=self.test_weeks)


FAST = DemoPlan(
    established=("PASTRY", "SEAFOOD-PCKGD"),
    weeks=(4, 12),
    hub={"image": None, "contrastive": {"steps": 20}},
    established_spoke={"training": {"max_epochs": 2}},
    launched_spoke={"training": {"max_epochs": 6}},
    pictures=80,
)


@dataclass(frozen=True)
class CurvePoint:
    """Quality of one system that knows the first `week` weeks, on the same later test window."""

    system: str
    week: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class DemoResult(Record):
    """What the demo found."""

    report: Path  # the HTML page
    seconds: float
    first_recommendation_seconds: float  # from `launch` of the new department to its first recommendation
    hub: str
    released: str | None  # what serves the launched department at the end
    comparison: CompareResult
    systems: Mapping[str, str]  # what each version in the comparison is called in the story
    curve: Sequence[CurvePoint]  # NDCG@10 by weeks since launch
    baskets: Sequence[Recommendations]
    lineage: str
    pictures: PictureLaunch | None
    reused: bool  # whether every version had been made by an earlier run
