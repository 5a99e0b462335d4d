"""Re-rankers end to end: trained on the past, judged on what followed, served in a release, refused where they lose."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.sequences import History
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import CorruptArtifactError, IncompatibleError, InvalidDataError, QualityGateError, UsageError
from hubspoke.evaluation.protocols import Protocol
from hubspoke.ranking.features import FEATURES, NAMES
from hubspoke.ranking.reranker import Reranker
from hubspoke.workflows.question import Question
from hubspoke.workflows.ranker import Ranker, load_ranker
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace, open_workspace

FEW: dict[str, Any] = {"origins": 1, "trees": 20, "margins": [1.0], "bound": [True]}
START = datetime(2024, 1, 1, tzinfo=UTC)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def template(shop_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That shop with a re-ranker of its spoke."""
    import shutil

    folder = shutil.copytree(shop_template, tmp_path_factory.mktemp("reranked") / "shop")
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        ws.rerank.train("lamps", FEW)
    return folder


@pytest.fixture
def ranked(template: Path, tmp_path: Path) -> Any:
    import shutil

    shutil.copytree(template, tmp_path / "shop")
    with open_workspace(environ={}, cwd=tmp_path, workspace=tmp_path / "shop", actor="tester") as ws:
        yield ws


@pytest.fixture
def verdict(ranked: Workspace) -> Callable[[bool], None]:
    """Lets the re-ranker have won, or not, whatever it did."""

    def write(wins: bool) -> None:
        from hubspoke.registry.schema import Model

        with ranked.registry.models.database.write() as session:
            model = session.query(Model).filter_by(kind="reranker").one()
            model.summary = {**model.summary, "wins": wins}

    return write


def within_a_price(catalog: pl.DataFrame, n_users: int = 60, events: int = 8) -> pl.DataFrame:
    """Shoppers who each take lamps of one quarter of the prices, one every eight days and none twice."""
    rng, rows = np.random.default_rng(0), []
    quarters = np.array_split(catalog.sort("price")["item_id"].to_numpy(), 4)
    for user in range(n_users):
        for step, item in enumerate(rng.permutation(quarters[user % 4])[:events]):
            at = START + timedelta(days=8 * step + user % 8, minutes=user)
            rows.append((f"u{user}", str(item), at, "purchase"))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "event_type"], orient="row")


def test_it_is_a_version_with_lineage_and_the_same_inputs_give_it_again(ranked: Workspace) -> None:
    model = ranked.rerank.show("reranker:lamps/1")
    assert (model.kind, model.domain, model.status) == ("reranker", "lamps", "ready")
    assert model.space_fingerprint == ranked.spoke.show("lamps:1").space_fingerprint
    assert [own["feature"] for own in model.summary["table"]] != [] and len(model.summary["table"]) == len(FEATURES)
    assert 0 < model.summary["candidates"]["recall"] <= 1
    parents = {edge.parent for edge in ranked.lineage.upstream("reranker:lamps/1").edges if edge.child == model.ref}
    assert parents == {"lamps:1", "hub:1", "snapshot:lamps/items/1", "snapshot:lamps/events/1"}
    assert ranked.rerank.train("lamps", FEW).cached
    assert ranked.rerank.train("lamps", {**FEW, "trees": 3}, dry_run=True).status == "planned"
    assert [own.ref for own in ranked.rerank.list("lamps")] == ["reranker:lamps/1"]
    retrained = {step.ref for step in ranked.lineage.impact("lamps:1").steps}
    assert "reranker:lamps/1" in retrained


def test_evaluations_measure_what_the_training_judged(ranked: Workspace) -> None:
    summary = ranked.rerank.show("reranker:lamps/1").summary
    told = next(row for row in summary["judged"] if row["metric"] == "ndcg@10" and "excluded" in row["protocol"])
    found = ranked.evaluate.compare("lamps", ["lamps:1", "reranker:lamps/1"], protocol=Protocol(exclude_seen=True))
    row = next(
        one for one in found.rows if (one.slice, one.metric, one.model) == ("all", "ndcg@10", "reranker:lamps/1")
    )
    assert (round(row.value, 5), round(row.difference or 0, 5)) == (told["re-ranked"], told["difference"])
    assert ranked.registry.evaluations.list("lamps")[-1].subject == "reranker:lamps/1"


def test_a_release_serves_it_and_names_it(ranked: Workspace, verdict: Callable[[bool], None]) -> None:
    verdict(True)
    alone = ranked.recommend("lamps", ["lamps-0001", "lamps-0002"], k=40)
    moved = ranked.promote("lamps", reranker="reranker:lamps/1")
    assert (moved.reranker, moved.spoke) == ("reranker:lamps/1", "lamps:1")
    found = ranked.recommend("lamps", ["lamps-0001", "lamps-0002"], k=40)
    assert found.served_by == "reranker:lamps/1"
    assert {item["item_id"] for item in found.items} == {item["item_id"] for item in alone.items}
    scores = [item["score"] for item in found.items]
    assert scores == sorted(scores, reverse=True)
    assert [own["item_id"] for own in ranked.recommend("lamps", ["lamps-0001", "lamps-0002"], k=5).items] == [
        own["item_id"] for own in found.items[:5]
    ]
    assert ranked.evaluate.run("lamps", "lamps").model == "reranker:lamps/1"
    # Without a session there is nothing to rank by.
    assert ranked.recommend("lamps", k=3).served_by == "newcomer-popularity"


def test_the_served_order_is_that_which_was_judged(ranked: Workspace, verdict: Callable[[bool], None]) -> None:
    verdict(True)
    ranked.promote("lamps", reranker="reranker:lamps/1")
    served = Recommender(ranked, "lamps")
    from hubspoke.workflows.datasets import load_dataset
    from hubspoke.workflows.reranked import reranked_over

    dataset = load_dataset(ranked, "lamps")
    judged = reranked_over(ranked, ranked.rerank.show("lamps"), dataset, Protocol())
    history = History(np.array([1, 2, 3]))
    expected = np.argsort(-judged.score([history])[0], kind="stable")[:10]
    session = [served.item_ids[row] for row in (1, 2, 3)]
    assert [served.row(own["item_id"]) for own in served.recommend(session).items] == expected.tolist()


def test_what_does_not_win_is_not_served_unless_somebody_says_why(
    ranked: Workspace, verdict: Callable[[bool], None]
) -> None:
    verdict(False)
    with pytest.raises(QualityGateError, match="reranker:lamps/1 was not better than its spoke alone"):
        ranked.promote("lamps", reranker="reranker:lamps/1")
    with pytest.raises(QualityGateError, match="reranker:lamps/1 is stored but not promoted"):
        ranked.rerank.train("lamps", FEW, promote=True)
    moved = ranked.promote("lamps", reranker="reranker:lamps/1", override=True, reason="a try")
    assert moved.overridden == "reranker:lamps/1 was not better than its spoke alone"
    assert ranked.promote("lamps", reranker="none").reranker is None


def test_it_goes_along_with_its_spoke_and_stays_behind_with_another(
    ranked: Workspace, verdict: Callable[[bool], None], tiny_spoke: Any
) -> None:
    verdict(True)
    assert ranked.rerank.train("lamps", FEW, promote=True).release == "release:lamps/2"
    again = ranked.index.build("lamps:1", force=True)
    assert ranked.promote(str(again.ref)).reranker == "reranker:lamps/1"
    other = ranked.spoke.train("lamps", config={**tiny_spoke, "seed": 7}, promote=True)
    assert ranked.registry.releases.get(str(other.release)).reranker is None
    with pytest.raises(IncompatibleError, match="is of embedding space"):
        ranked.promote(str(other.ref), reranker="reranker:lamps/1")
    with pytest.raises(UsageError, match="hub:1 serves no shopper by itself"):
        ranked.promote("hub:1", reranker="reranker:lamps/1")


def test_an_index_without_some_items_is_ranked_too(ranked: Workspace, verdict: Callable[[bool], None]) -> None:
    verdict(True)
    smaller = ranked.index.remove("lamps", ["lamps-0000", "lamps-0005"])
    ranked.promote(str(smaller.ref), reranker="reranker:lamps/1")
    lists = [ranked.recommend(ref, ["lamps-0001"], k=40).items for ref in ("lamps", str(smaller.ref))]
    items, alone = ({own["item_id"] for own in found} for found in lists)
    assert items == alone and not items & {"lamps-0000", "lamps-0005"}


def test_another_contract_is_refused_and_damage_is_told(ranked: Workspace, tmp_path: Path) -> None:
    model = ranked.rerank.show("reranker:lamps/1")
    import shutil

    folder = shutil.copytree(ranked.artifacts.open(str(model.artifact)), tmp_path / "copy")
    assert isinstance(Reranker.load(folder), Reranker)
    about = json.loads((folder / "reranker.json").read_text())
    changed = {**about, "contract": {**about["contract"], "features": about["contract"]["features"][1:]}}
    (folder / "reranker.json").chmod(0o644)
    (folder / "reranker.json").write_text(json.dumps(changed))
    with pytest.raises(IncompatibleError, match=r"reads other features than this version makes \(spoke_score\)"):
        Reranker.load(folder)
    (folder / "reranker.json").write_text("{")
    with pytest.raises(CorruptArtifactError, match="cannot be read"):
        Reranker.load(folder)


def test_shoppers_who_come_back_are_learned_from_in_time(
    shop: Workspace, market: Any, catalog: pl.DataFrame, tiny_spoke: Any
) -> None:
    events = within_a_price(catalog)
    shop.domain.add("again", market["lamps"].items, events, sessions=SessionSettings(mode="per_user"))
    shop.spoke.train("again", config=tiny_spoke, split="all", refit=True)
    made = shop.rerank.train("again", {**FEW, "learning_rate": 0.3}, promote=True)
    # Who looks at prices is better understood by them, or by what was taken together, than by a spoke of three epochs.
    assert made.summary["wins"] and made.release == "release:again/2"
    assert {row["protocol"].partition(",")[0] for row in made.summary["judged"]} == {"temporal test"}
    assert made.summary["split"] == {"name": "all", "test_from": None, "refit": True}
    past = {own.ref for own in shop.spoke.list("again")} - {"again:1"}
    edges = shop.lineage.upstream(str(made.ref)).edges
    assert len(past) == 2 and past <= {edge.parent for edge in edges if edge.child == made.ref}
    with pytest.raises(UsageError, match="was trained on events after"):
        shop.evaluate.run("again", "again", Protocol(name="temporal", test_from=START + timedelta(days=50)))
    with pytest.raises(InvalidDataError, match="Too few shoppers of again have events on both sides"):
        shop.rerank.train("again", FEW, test_from=START + timedelta(days=1))


def test_a_ranker_answers_from_its_candidates_alone(ranked: Workspace) -> None:
    served = Recommender(ranked, "lamps")
    ranker = load_ranker(ranked, "reranker:lamps/1", served.loaded, served.shown)
    assert isinstance(ranker, Ranker)
    query = np.asarray(served.vectors[3])
    (request,) = ranker.asked([History(np.array([3]))], query[None])
    allowed = np.ones(len(served.item_ids), np.bool_)
    allowed[:10] = False
    rows = ranker.candidates(request, np.array([12, 11]), allowed)
    assert rows[:2].tolist() == [12, 11] and len(set(rows.tolist())) == len(rows) and rows.min() >= 10
    scores = ranker.spoke_scores(request, rows)
    new = ranker.rerank(request, rows, scores)
    assert new.shape == rows.shape and new.dtype == np.float32
    # In whatever order candidates are given, each has the same score.
    assert ranker.rerank(request, rows[::-1], scores[::-1])[::-1] == pytest.approx(new)
    assert len(ranker.rerank(request, rows[:0], scores[:0])) == 0
    assert ranker.features(request, rows, scores).shape == (len(rows), len(NAMES))


def test_explanations_and_given_items_go_through_the_same_stages(
    ranked: Workspace, verdict: Callable[[bool], None]
) -> None:
    verdict(True)
    ranked.promote("lamps", reranker="reranker:lamps/1")
    session = ["lamps-0001", "lamps-0002"]
    listed = [own["item_id"] for own in ranked.recommend("lamps", session, k=8).items]
    explained = ranked.explain("lamps", session, k=8)
    assert [own.item_id for own in explained.items] == listed
    served = Recommender(ranked, "lamps")
    some = served.rank(Question(session, k=8), [*listed[:3], "lamps-0030"])
    assert {own["item_id"] for own in some.items} == {*listed[:3], "lamps-0030"}
    assert some.served_by == "reranker:lamps/1"
