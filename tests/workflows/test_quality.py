"""Assessments: cards of spokes, hubs and indexes, drift between versions, what is recorded, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hubspoke.errors import HubspokeError, InvalidDataError, NotFoundError, QualityGateError, UsageError
from hubspoke.evaluation.catalogue import CATALOGUE, DRIFT
from hubspoke.evaluation.space import hubness, isotropy
from hubspoke.hub.drift import embedding_drift
from hubspoke.retrieval.neighbours import nearest_others
from hubspoke.workflows.assessment.records import CardRow
from hubspoke.workflows.evaluations import Evaluations
from hubspoke.workflows.quality import QualityCard
from hubspoke.workflows.served_index import open_index
from hubspoke.workflows.workspace import Workspace


def by_name(rows: Any) -> dict[tuple[str, str], CardRow]:
    return {(row.slice, row.metric): row for row in rows}


@pytest.fixture
def second(shop: Workspace, tiny_spoke: Any) -> Workspace:
    """The shop with lamps:2 beside lamps:1, which stays live."""
    shop.spoke.train("lamps", config={**tiny_spoke, "seed": 5, "attributes": {}})
    return shop


def test_a_card_has_every_dimension_and_is_recorded(shop: Workspace) -> None:
    card = shop.quality.card("lamps")
    assert (card.ref, card.model, card.index, card.notes) == ("lamps:1", "lamps:1", "index:lamps/1", [])
    assert list(dict.fromkeys(row.dimension for row in card.rows)) == ["intrinsic", "downstream", "operational"]
    found = by_name(card.rows)
    # One category alone tells nobody apart; nothing else than what is measured is live.
    expected = {name for name, own in CATALOGUE.items() if own.dimension in ("intrinsic", "operational")}
    missing = expected - {metric for _, metric in found}
    assert missing == {"same_category", *DRIFT}
    # By hand: the behavioural columns beside content.
    served = open_index(shop, shop.registry.indexes.get("index:lamps/1"))
    vectors, side = served.index.vectors(), served.sessions
    own = np.concatenate([vectors[:, : side.width], vectors[:, side.behaviour_dimension :]], axis=1)
    assert found["all", "isotropy"].value == pytest.approx(isotropy(own))
    assert found["all", "hubness"].value == pytest.approx(hubness(nearest_others(own, 10)))
    assert found["behaviour", "isotropy"].value == pytest.approx(isotropy(vectors[:, : side.width]))
    assert found["all", "hubness"].threshold == 2.0 and found["text", "hubness"].threshold is None
    times = [found["all", f"latency_{name}_ms"].value for name in ("p50", "p95", "p99")]
    assert 0 < times[0] <= times[1] <= times[2]
    per_item = found["all", "index_megabytes"].value * 1e6 / 40
    assert found["all", "index_gigabytes_10m"].value == pytest.approx(per_item * 1e7 / 1e9)
    assert found["all", "cold_start"].value == found["cold", "ndcg@10"].value
    assert {part.partition(":")[0] for part, _ in found if ":" in part} >= {"brand", "price", "length"}
    # Ranking, and space with index, are two evaluations.
    assert list(card.evaluations) == ["ranking", "quality"]
    kept = shop.registry.evaluations.get(card.evaluations["quality"])
    assert (kept.subject, kept.protocol["name"], kept.items) == ("lamps:1", "quality", "snapshot:lamps/items/1")
    recorded = kept.metric("hubness")
    assert recorded is not None and recorded.low == found["all", "hubness"].low
    parts = {part for part, metric in found if metric == "hubness"}
    assert {"all", "behaviour", "content", "text", "cold", "head", "tail"} <= parts


def test_a_version_is_refused_for_its_hubs_and_for_its_drift(second: Workspace) -> None:
    shop = second
    shop.gate.set("lamps", maximum={"hubness": -9.0, "drift": 0.0001})
    card: QualityCard = shop.quality.card("lamps:2", dimensions=["intrinsic", "operational"])
    found = by_name(card.rows)
    assert ("attributes", "isotropy") in found
    with pytest.raises(QualityGateError, match=r"hubness is .* above -9 .*; drift is .* above 0\.0001"):
        shop.promote("lamps:2")
    shop.gate.set("lamps", maximum={"hubness": 99.0, "drift": 99.0})
    assert shop.promote("lamps:2").spoke == "lamps:2"
    # The card's drift is that from what was live, as the trainings define it.
    before, after = (open_index(shop, shop.registry.indexes.get(f"index:lamps/{n}")) for n in (1, 2))
    width = after.sessions.width
    told = embedding_drift(after.index.vectors()[:, :width], before.index.vectors()[:, :width])
    assert found["behaviour", "drift"].value == pytest.approx(told["distance"], abs=1e-5)
    assert found["behaviour", "neighbours_kept@10"].value == pytest.approx(told["neighbours@10"], abs=1e-5)


def test_what_cannot_be_stored_is_refused_before_it_is_measured(
    second: Workspace, read_only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality, log = second.quality, tmp_path / "log.csv"
    log.write_text("user_id,revenue,logged,target\n" + "".join(f"u{n},{n % 7},0.5,0.5\n" for n in range(200)))

    def measured(record: bool) -> list[Callable[[], Any]]:
        return [
            lambda: quality.card("lamps:2", dimensions=["intrinsic"], record=record),
            lambda: quality.drift("lamps:1", "lamps:2", record=record),
            lambda: quality.business("lamps:2", log, record=record),
            lambda: quality.simulated_business("lamps:2", record=record),
            lambda: second.evaluate.run("lamps", "popularity", record=record),
        ]

    with read_only(second.registry):
        for call in measured(record=False):
            assert call()
        with monkeypatch.context() as patch:
            # Whatever is measured reads one of these.
            for place in ("subject.load_subject", "business.measure_log", "business.simulate"):
                patch.setattr(f"hubspoke.workflows.assessment.{place}", lambda *_: pytest.fail("it was measured first"))
            patch.setattr(Evaluations, "_measure", lambda *_: pytest.fail("it was ranked first"))
            for call in measured(record=True):
                with pytest.raises(HubspokeError, match="cannot be written; give this user write access"):
                    call()
    second.artifacts.root.joinpath("staging").rmdir()
    second.artifacts.root.joinpath("staging").write_text("in the way")
    with pytest.raises(HubspokeError), monkeypatch.context() as patch:
        patch.setattr(Evaluations, "_measure", lambda *_: pytest.fail("it was ranked first"))
        second.evaluate.run("lamps", "popularity")


def test_a_version_has_not_gone_from_itself(shop: Workspace) -> None:
    found = by_name(shop.quality.drift("lamps:1", "index:lamps/1", record=False).rows)
    values = {name: found["all", name].value for name in DRIFT}
    assert values == {"drift": 0.0, "neighbours_kept@10": 1.0, "lists_changed@10": 0.0}


def test_a_hub_is_assessed_over_a_category_without_events(each_ws: Workspace, market: Any, tiny_hub: Any) -> None:
    each_ws.domain.add("mugs", market["mugs"].items)
    each_ws.hub.train(domains=[], config=tiny_hub)
    card = each_ws.quality.card("hub:1", "mugs")
    assert {row.dimension for row in card.rows} == {"intrinsic"}
    assert card.notes == [
        "downstream: mugs has no events to measure on; ingest some first.",
        "operational: hub:1 has no index over mugs; build one with `hubspoke index build hub:1 --domain mugs`.",
    ]
    kept = each_ws.registry.evaluations.get(card.evaluations["quality"])
    assert (kept.subject, kept.events) == ("hub:1", "snapshot:mugs/items/1")
    with pytest.raises(InvalidDataError, match="mugs has no events"):
        each_ws.quality.card("hub:1", "mugs", dimensions=["downstream"])
    # A part of the items, and nothing kept.
    few = each_ws.quality.card("hub:1", "mugs", dimensions=["intrinsic"], sample=20, record=False)
    assert few.protocols["quality"].endswith("20 of 40 items drawn") and not few.evaluations
    assert len(each_ws.registry.evaluations.list("mugs")) == 1


def test_what_cannot_be_assessed_is_refused(shop: Workspace) -> None:
    for call, error, told in (
        (lambda: shop.quality.card("hub:1"), UsageError, "name one with --domain NAME"),
        (lambda: shop.quality.card("lamps", "mugs"), UsageError, "serves lamps, not mugs"),
        (lambda: shop.quality.card("snapshot:lamps/items/1"), UsageError, "has no space of its own"),
        (lambda: shop.quality.card("lamps:9"), NotFoundError, "lamps:9"),
        (lambda: shop.quality.card("hub:1", "nowhere"), NotFoundError, "no domain 'nowhere'"),
        (lambda: shop.quality.card("lamps", dimensions=["moral"]), UsageError, "no dimension 'moral'"),
    ):
        with pytest.raises(error, match=told):
            call()
    assert shop.registry.evaluations.list("lamps") == []


def test_a_version_that_has_seen_every_test_is_assessed_in_the_rest(shop: Workspace, tiny_spoke: Any) -> None:
    shop.spoke.train("lamps", config=tiny_spoke, split="all")
    card = shop.quality.card("lamps:2", record=False)
    assert [note for note in card.notes if "has seen events" in note]
    assert {row.dimension for row in card.rows} == {"intrinsic", "operational"}
    with pytest.raises(UsageError, match="has seen events"):
        shop.quality.card("lamps:2", dimensions=["downstream"])


def test_an_assessment_of_a_catalog_alone_travels(opened: Any, market: Any, tiny_hub: Any) -> None:
    here, there = opened("here"), opened("there")
    here.domain.add("mugs", market["mugs"].items)
    here.hub.train(domains=[], config=tiny_hub)
    here.promote(str(here.index.build("hub:1", domain="mugs").ref))
    made = here.quality.card("mugs", dimensions=["intrinsic"])
    there.bundle.load(here.bundle.export("mugs", here.settings.workspace).file)
    (kept,) = there.registry.evaluations.list("mugs")
    assert (kept.ref, kept.events) == (made.evaluations["quality"], "snapshot:mugs/items/1")
