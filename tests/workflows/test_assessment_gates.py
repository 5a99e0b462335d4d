"""Gates on assessments: hubness, the index and the drift from what is live, with the evidence that counts."""

from typing import Any

import numpy as np
import pytest
from hubspoke.errors import QualityGateError
from hubspoke.registry.records import MetricRecord
from hubspoke.registry.stores.evaluations import NewEvaluation
from hubspoke.workflows.workspace import Workspace

from .test_gates import measure


def assess(ws: Workspace, subject: str, *metrics: tuple[Any, ...], **protocol: Any) -> str:
    """Record an assessment with these numbers, each given as a `MetricRecord` is."""
    told: Any = {"protocol": {"name": "quality", **protocol}, "n_users": 0}
    rows = [MetricRecord(*metric) for metric in metrics]
    return ws.registry.evaluations.add(
        NewEvaluation("garden", subject, "snapshot:garden/events/1", metrics=rows, **told)
    ).ref


@pytest.fixture
def two(two_spokes: Workspace) -> Workspace:
    """garden:1 is live, garden:2 is not, and both have an index."""
    two_spokes.promote("garden:1", reason="first")
    return two_spokes


def test_too_many_hubs_are_refused(two: Workspace) -> None:
    two.gate.set("garden", maximum={"hubness": 2.0, "image:hubness": 3.0})
    with pytest.raises(QualityGateError) as caught:
        two.promote("garden:2")
    told = str(caught.value)
    assert "hubness cannot be judged, since the registry has no assessment of garden:2 or index:garden/2" in told
    assert "run `hubspoke evaluate quality garden:2`, or overrule" in told
    assess(two, "garden:2", ("all", "hubness", 2.5, 2.0, 3.0), ("image", "hubness", 1.0))
    with pytest.raises(QualityGateError, match=r"hubness is 2\.5, above 2 \(evaluation:garden/1\); promote a version"):
        two.promote("garden:2")
    # Of several the newest counts, also where it is of the index.
    assess(two, "index:garden/2", ("all", "hubness", 1.5), ("image", "hubness", 1.0))
    found = two.gate.check("garden", "garden:2")
    assert [judged.says for judged in found.conditions] == [
        "hubness is 1.5, at most 2 (evaluation:garden/2)",
        "hubness on image is 1, at most 3 (evaluation:garden/2)",
    ]
    assert (found.conditions[0].protocol, found.conditions[0].measured) == ("assessment", 1.5)
    assert two.promote("garden:2").after == "release:garden/2"


def test_a_number_that_an_assessment_lacks_is_told(two: Workspace) -> None:
    two.gate.set("garden", minimum={"same_brand": 0.2})
    assess(two, "garden:2", ("all", "hubness", 1.0))
    found = two.gate.check("garden", "garden:2")
    assert "same_brand cannot be judged, since evaluation:garden/1 has no number for it" in found.failed
    assert "run `hubspoke evaluate quality garden:2`, or leave it out of the gate" in found.remedy
    # What ranks is judged by rankings, what does not by assessments: neither stands for the other.
    two.gate.set("garden", minimum={"ndcg@10": 0.1})
    assess(two, "garden:2", ("all", "ndcg@10", 0.9))
    assert not two.gate.check("garden", "garden:2").passes


def test_drift_is_judged_against_what_is_live(two: Workspace) -> None:
    two.gate.set("garden", maximum={"drift": 0.1})
    # What is live has not gone from itself.
    assert two.gate.check("garden", "garden:1").passes
    found = two.gate.check("garden", "garden:2")
    assert "run `hubspoke evaluate drift garden:1 garden:2`" in found.remedy
    assess(two, "garden:2", ("all", "drift", 0.05), name="drift", against="garden:9")
    assert not two.gate.check("garden", "garden:2").passes  # from another version than the one in service
    assess(two, "garden:2", ("all", "drift", 0.4), name="drift", against="garden:1")
    with pytest.raises(QualityGateError, match=r"drift is 0\.4, above 0\.1 \(evaluation:garden/2\)"):
        two.promote("garden:2")
    assess(two, "garden:2", ("all", "drift", 0.09), name="drift", against="garden:1")
    assert two.promote("garden:2").after == "release:garden/2"


def test_nothing_has_gone_from_nothing(two_spokes: Workspace) -> None:
    two_spokes.gate.set("garden", maximum={"drift": 0.1})
    assert "nothing is in service yet" in two_spokes.gate.check("garden", "garden:1").conditions[0].says


def test_a_hub_alone_is_assessed_over_the_category(two: Workspace, models: Any) -> None:
    floor = models.index("hub:1", space="calibrated")
    two.gate.set("garden", maximum={"hubness": 2.0})
    found = two.gate.check("garden", floor.ref)
    assert "run `hubspoke evaluate quality hub:1 --domain garden`" in found.remedy
    assess(two, "hub:1", ("all", "hubness", 1.0))
    assert two.gate.check("garden", floor.ref).passes


def test_of_a_metric_of_which_less_is_better_a_rise_is_the_drop(two: Workspace) -> None:
    two.gate.set("garden", max_drop={"calibration@10": 0.1})
    same = np.array([0.5, 0.5, 0.5])
    measure(two, "garden:1", same, metric="calibration@10")
    measure(two, "garden:2", same + 0.2, metric="calibration@10")
    judged = two.gate.check("garden", "garden:2").conditions[0]
    assert (judged.passes, judged.measured) == (False, pytest.approx(0.2))
    assert "does not rule out a rise of more than 0.1" in judged.says
    measure(two, "garden:2", same - 0.3, metric="calibration@10")
    assert two.gate.check("garden", "garden:2").passes


def test_a_slice_by_the_catalog_is_asked_for_by_name(two: Workspace) -> None:
    two.gate.set("garden", {"brand:Acme:ndcg@10": 0.5})
    assert "--protocol leave-one-out --by brand`" in two.gate.check("garden", "garden:2").remedy
    measure(two, "garden:2", [0.75], slice_="brand:Acme")
    assert two.gate.check("garden", "garden:2").passes
