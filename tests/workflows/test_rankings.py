"""The laws of every list: a short one begins the long one, equal scores go by row, and nothing depends on company."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.retrieval.filter_text import parse_filter
from hubspoke.retrieval.rules import CatalogRules, Rules
from hubspoke.workflows.question import Question
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace, open_workspace
from hypothesis import given, settings
from hypothesis import strategies as st

N = 60
ITEMS = [f"i{row:02d}" for row in range(N)]
TITLES = ("red rose", "green fern", "steel spade", "clay pot", "long hose", "oak bench")
# Five items say the same, so that scores are equal; rows do not stand in the order of their ids.
CATALOG = pl.DataFrame(
    {
        "item_id": [ITEMS[(7 * row) % N] for row in range(N)],
        "title": [TITLES[row % 6] for row in range(N)],
        "brand": [f"brand {row % 4}" for row in range(N)],
        "category_path": [f"garden > {row % 3}" for row in range(N)],
        "price": [float(1 + row % 5) for row in range(N)],
        "created_at": [f"2024-01-{1 + row % 28:02d}" for row in range(N)],
        "attributes.item_group_id": [f"group {row // 2}" if row % 5 == 0 else None for row in range(N)],
    }
)
# Lists go on behind the candidates, and trees move these about.
FEW = {"origins": 1, "trees": 20, "margins": [0.0], "bound": [False], "spoke_candidates": 12, "more_candidates": 3}


@pytest.fixture(scope="module")
def beds_template(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, tiny_hub: Any) -> Path:
    """A workspace whose category `beds` is served by the hub alone."""
    import shutil

    folder = tmp_path_factory.mktemp("beds") / "shop"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "registry.db")
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        ws.hub.train(domains=[], config=tiny_hub)
        ws.launch("beds", CATALOG)
    return folder


@pytest.fixture(scope="module")
def reranked_template(shop_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That shop, where a re-ranker with few candidates is live, whether it wins or not."""
    import shutil

    folder = shutil.copytree(shop_template, tmp_path_factory.mktemp("reranked") / "shop")
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        made = ws.rerank.train("lamps", FEW)
        ws.promote("lamps", reranker=made.ref, override=True, reason="a test of its lists")
    return folder


@pytest.fixture(scope="module")
def recommenders(beds_template: Path, shop_template: Path, reranked_template: Path) -> Iterator[list[Recommender]]:
    """The beds on the hub, the lamps on a spoke, and the lamps with a re-ranker."""
    with (
        open_workspace(environ={}, cwd=beds_template, workspace=beds_template) as beds,
        open_workspace(environ={}, cwd=shop_template, workspace=shop_template) as shop,
        open_workspace(environ={}, cwd=reranked_template, workspace=reranked_template) as reranked,
    ):
        found = [Recommender(beds, "beds"), Recommender(shop, "lamps"), Recommender(reranked, "lamps")]
        assert [own.ranker is not None for own in found] == [False, False, True]
        yield found


def told(answer: Any) -> list[tuple[str, float]]:
    return [(item["item_id"], item["score"]) for item in answer.items]


rules = st.fixed_dictionaries(
    {},
    optional={
        "max_per_brand": st.integers(1, 4),
        "max_per_category": st.integers(1, 6),
        "fresh_share": st.sampled_from([0.1, 0.5, 1.0]),
        "pins": st.integers(1, 3),
        "boosts": st.sampled_from([-3.0, 0.5, 20.0]),
    },
)


def ruled(recommender: Recommender, drawn: dict[str, Any]) -> CatalogRules:
    """Rules of a few numbers over the items of a catalog."""
    content, items = dict(drawn), recommender.item_ids
    pins, by = content.pop("pins", 0), content.pop("boosts", None)
    content["pin"] = [items[-1 - 3 * nth] for nth in range(pins)]
    content["boost"] = [] if by is None else [{"items": list(items[::4]), "by": by}]
    return CatalogRules(Rules.model_validate(content), recommender.shown)


@settings(max_examples=60)
@given(st.data())
def test_a_short_list_begins_the_long_one(recommenders: list[Recommender], data: st.DataObject) -> None:
    recommender = data.draw(st.sampled_from(recommenders))
    recommender.catalog.rules = ruled(recommender, data.draw(rules))
    asked: dict[str, Any] = {
        "session": data.draw(st.lists(st.sampled_from(recommender.item_ids), max_size=4)),
        "exclude_seen": data.draw(st.booleans()),
        "diversity": data.draw(st.sampled_from([0.0, 0.3, 1.0])),
        "near": data.draw(st.sampled_from([None, 0.9, 1.0])),
        "filter": data.draw(st.sampled_from([None, parse_filter("price > 2")])),
    }
    try:
        whole = told(recommender.recommend(**asked, k=N))
        for k in data.draw(st.lists(st.integers(1, N), min_size=1, max_size=4)):
            assert told(recommender.recommend(**asked, k=k)) == whole[:k]
        assert len({item for item, _ in whole}) == len(whole)
    finally:
        recommender.catalog.rules = CatalogRules(Rules(), recommender.shown)


@given(st.data())
def test_so_does_what_is_similar_and_what_is_ranked(recommenders: list[Recommender], data: st.DataObject) -> None:
    recommender = data.draw(st.sampled_from(recommenders))
    item, k = data.draw(st.sampled_from(recommender.item_ids)), data.draw(st.integers(1, N))
    assert told(recommender.similar(item, k=k)) == told(recommender.similar(item, k=N))[:k]
    drawn = data.draw(st.lists(st.sampled_from(recommender.item_ids), unique=True, max_size=10))
    # One of each product, of which a second row would come behind everything else.
    some = list({int(recommender.catalog.groups[recommender.row(own)]): own for own in drawn}.values())
    ranked = [own for own, _ in told(recommender.rank(Question([item]), some))]
    scores = dict(told(recommender.recommend([item], k=N)))
    by_score = [own for own in some if own in scores]
    assert ranked == sorted(by_score, key=lambda own: (-scores[own], recommender.row(own)))


def test_equal_scores_go_by_the_order_of_the_catalog(recommenders: list[Recommender]) -> None:
    for recommender in recommenders:
        rows = np.arange(len(recommender.item_ids))
        for item in recommender.item_ids[:8]:
            query = recommender.vectors[recommender.row(item)]
            listed = list(recommender.retriever.ranked(query, 5, recommender.catalog.allowed(), set()))
            assert listed == sorted(listed, key=lambda own: (-own[1], own[0]))
            assert len(listed) == len(rows)
    # What says the same has one score, though it was embedded among others.
    beds, scores = recommenders[0], dict[Any, set[float]]()
    for item in beds.recommend([beds.item_ids[0]], k=N).items:
        scores.setdefault((item["title"], item["brand"], item["category"]), set()).add(item["score"])
    assert len(scores) == 12 and all(len(own) == 1 for own in scores.values())


PROGRAM = """
import json, sys
import hubspoke
with hubspoke.open(workspace=sys.argv[1]) as ws:
    items = [f"lamps-{row:04d}" for row in range(40)]
    asked = [dict(session=items[start:start + 3], k=40) for start in range(0, 30, 5)]
    asked += [dict(k=40), dict(session=items[:4], diversity=0.5, k=40)]
    print(json.dumps([[own["item_id"] for own in ws.recommend("lamps", **one).items] for one in asked]))
"""


def test_the_number_of_threads_changes_no_list(shop: Workspace) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    folder = str(shop.settings.workspace)
    answers = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, folder],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **dict.fromkeys(names, threads)},
        ).stdout
        for threads in ("1", "2")
    ]
    assert answers[0] == answers[1] != ""
