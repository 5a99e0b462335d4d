import math

import pytest
from hubspoke.errors import UsageError
from hubspoke.registry.records import MetricRecord

EVENTS = "snapshot:garden/events/1"
PROTOCOL = {"split": "leave-one-out", "k": [10, 20, 100]}
NDCG = ("all", "ndcg@10", 0.06, 0.05, 0.07)
COLD = ("cold", "ndcg@10", 0.033)


def test_metrics_come_back_with_their_protocol(garden) -> None:
    made = garden.measure("hub:1", NDCG, COLD, ("all", "hr@10", 0.1), protocol=PROTOCOL, details={"seen": "masked"})
    assert (made.ref, made.subject, made.events, made.protocol) == ("evaluation:garden/1", "hub:1", EVENTS, PROTOCOL)
    assert made.metrics == (MetricRecord("all", "hr@10", 0.1), MetricRecord(*NDCG), MetricRecord(*COLD))
    assert made.metric("ndcg@10") == MetricRecord(*NDCG)
    assert (made.metric("ndcg@10", "cold"), made.metric("mrr")) == (MetricRecord(*COLD), None)
    assert made.to_dict()["metrics"][1]["low"] == 0.05
    assert garden.registry.evaluations.get(made.ref) == made
    edges = {(e.parent, e.relation) for e in garden.registry.lineage.upstream(made.ref).edges if e.child == made.ref}
    assert edges == {("hub:1", "built_from"), (EVENTS, "evaluated_on")}
    baseline = garden.measure(None, NDCG, details={"system": "popularity"})
    assert (baseline.subject, baseline.details) == (None, {"system": "popularity"})
    assert garden.registry.evaluations.list("garden") == [made, baseline]
    assert garden.registry.evaluations.list(subject="hub:1") == [made]


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ([("cold", "mrr", math.nan)], "leave out what cannot be measured"),
        ([("cold", "mrr", 0.1, math.inf)], "leave out what cannot be measured"),
        ([("all", "mrr", 0.1), ("all", "mrr", 0.2)], "mrr on slice all is given twice"),
    ],
)
def test_a_metric_is_a_number_given_once(garden, metrics, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        garden.measure(None, *metrics)
    assert garden.registry.evaluations.list() == []
