"""The launch curve, from evaluations by hand."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from hubspoke.console.curve import launch_curve
from hubspoke.console.quality import trends
from hubspoke.registry.records import EvaluationRecord, MetricRecord

DAY = 86_400_000_000  # microseconds
TOLD = datetime(2026, 1, 1, tzinfo=UTC)
START = int(datetime(2017, 6, 1, tzinfo=UTC).timestamp() * 1_000_000)


def evaluation(
    version: int, subject: str | None, value: float, events: str = "snapshot:tea/events/9"
) -> EvaluationRecord:
    metric = MetricRecord("all", "ndcg@10", value, value - 0.1, value + 0.1)
    details = {} if subject else {"model": "popularity"}
    ref = f"evaluation:tea/{version}"
    return EvaluationRecord(ref, "tea", version, subject, events, {"name": "temporal"}, 50, details, (metric,), TOLD)


def spoke(version: int, events: int, end: int | None) -> Any:
    return SimpleNamespace(ref=f"tea:{version}", summary={"training_events": events, "training_end": end})


MEASURED = [
    evaluation(1, None, 0.1),
    evaluation(2, "hub:1", 0.3),
    evaluation(3, "tea:2", 0.5),
    evaluation(4, "tea:1", 0.4),
    evaluation(5, "hub:1", 0.2, "snapshot:tea/events/10"),
    evaluation(6, "tea:2", 0.2, "snapshot:tea/events/10"),
]
SPOKES = [spoke(1, 100, START + 7 * DAY), spoke(2, 300, START + 14 * DAY)]


def test_spokes_stand_where_their_knowledge_ends_on_the_test_that_most_of_them_took() -> None:
    curve = launch_curve(trends(MEASURED), SPOKES)
    assert curve is not None and curve.trend.events == "snapshot:tea/events/9" and curve.hub.value == 0.3
    assert [(step.point.subject, step.events) for step in curve.steps] == [("tea:1", 100), ("tea:2", 300)]
    drawn = curve.drawn()
    assert (drawn["axis"], drawn["time"], drawn["labels"]) == ("newest event known", True, ["tea:1", "tea:2"])
    assert drawn["places"] == [START / 1e6 + 7 * 86_400, START / 1e6 + 14 * 86_400]
    first, alone, baseline = drawn["series"]
    assert (first["values"], alone["values"], baseline["values"]) == ([0.4, 0.5], [0.3, 0.3], [0.1, 0.1])
    assert (alone["label"], alone["flat"], baseline["label"]) == ("hub:1 alone", True, "popularity")


def test_where_times_are_not_known_the_number_of_events_is_the_axis() -> None:
    for ends in ((None, None), (7, 14), (START, START)):
        spokes = [spoke(version, 100 * version, end) for version, end in zip((1, 2), ends, strict=True)]
        curve = launch_curve(trends(MEASURED), spokes)
        assert curve is not None and not curve.by_time and curve.drawn()["places"] == [100.0, 200.0]


def test_without_the_hub_or_a_spoke_there_is_no_curve() -> None:
    assert launch_curve(trends(MEASURED), []) is None
    assert launch_curve(trends([MEASURED[0], MEASURED[2]]), SPOKES) is None
    assert launch_curve([], SPOKES) is None
