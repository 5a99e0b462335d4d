from __future__ import annotations

import math

import pytest
from hubspoke.errors import UsageError
from hubspoke.registry.records import MetricRecord

EVENTS = "snapshot:garden/events/1"
PROTOCOL = {"split": "leave-one-out", "k": [10, 20, 100]}


def test_metrics_come_back_with_their_protocol(garden) -> None:
    metrics = [
        MetricRecord("all", "ndcg@10", 0.06, 0.05, 0.07),
        MetricRecord("cold", "ndcg@10", 0.033),
        MetricRecord("all", "hr@10", 0.1),
    ]
    made = garden.registry.evaluations.add(
        "garden", "hub:1", EVENTS, protocol=PROTOCOL, n_users=40, metrics=metrics, details={"seen": "masked"}
    )
    assert (made.ref, made.subject, made.events, made.protocol) == ("evaluation:garden/1", "hub:1", EVENTS, PROTOCOL)
    assert made.metrics == (metrics[2], metrics[0], metrics[1])
    assert made.metric("ndcg@10") == metrics[0]
    assert made.metric("ndcg@10", "cold") == metrics[1]
    assert made.metric("mrr") is None
    assert made.to_dict()["metrics"][1]["low"] == 0.05
    assert garden.registry.evaluations.get(made.ref) == made
    edges = {(e.parent, e.relation) for e in garden.registry.lineage.upstream(made.ref).edges if e.child == made.ref}
    assert edges == {("hub:1", "built_from"), (EVENTS, "evaluated_on")}


def test_listing_by_domain_and_by_subject(garden) -> None:
    def add(subject: str | None, value: float):
        metrics = [MetricRecord("all", "ndcg@10", value)]
        return garden.registry.evaluations.add(
            "garden", subject, EVENTS, protocol=PROTOCOL, n_users=1, metrics=metrics, details={"system": "popularity"}
        )

    baseline, hub = add(None, 0.01), add("hub:1", 0.02)
    assert baseline.subject is None
    assert garden.registry.evaluations.list("garden") == [baseline, hub]
    assert garden.registry.evaluations.list(subject="hub:1") == [hub]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_no_number_is_refused(garden, value: float) -> None:
    with pytest.raises(UsageError, match="leave out what cannot be measured"):
        garden.registry.evaluations.add(
            "garden",
            None,
            EVENTS,
            protocol={},
            n_users=0,
            metrics=[MetricRecord("cold", "mrr", value)],
        )


def test_a_metric_given_twice_is_refused(garden) -> None:
    twice = [MetricRecord("all", "mrr", 0.1), MetricRecord("all", "mrr", 0.2)]
    with pytest.raises(UsageError, match="mrr on slice all is given twice"):
        garden.registry.evaluations.add("garden", None, EVENTS, protocol={}, n_users=0, metrics=twice)
    assert garden.registry.evaluations.list() == []
