"""Refreshes: newest data in what serves, a new spoke where it is due and no worse, nothing where all is done."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hubspoke.errors import LockedError, QualityGateError, UsageError
from hubspoke.workflows import refresh as module
from hubspoke.workflows.workspace import Workspace


@pytest.fixture(scope="module")
def later(events: pl.DataFrame) -> pl.DataFrame:
    """The same events and, a year on, the same once more."""
    return pl.concat([events, events.with_columns(pl.col("timestamp") + timedelta(days=365))])


@pytest.fixture
def launched(ws: Workspace, tiny_hub: Any, tiny_spoke: Any, catalog: pl.DataFrame, events: pl.DataFrame) -> Workspace:
    ws.hub.train(domains=[], config=tiny_hub)
    known = events.filter(pl.col("item_id").is_in(catalog["item_id"][:30].implode()))
    ws.launch("lamps", catalog[:30], known, config=tiny_spoke)
    return ws


def done(result: module.RefreshResult) -> list[tuple[str, str | None]]:
    return [(step["step"], step["ref"]) for step in result.steps]


def test_a_newer_catalog_is_served_without_a_new_spoke(launched: Workspace, catalog: pl.DataFrame) -> None:
    grown = catalog[1:]  # the first has left, ten are new
    planned = launched.refresh("lamps", grown, dry_run=True)
    assert done(planned) == [("snapshot of items", None), ("index", "index:lamps/2")]
    assert planned.after == planned.before
    result = launched.refresh("lamps", grown)
    snapshot = ("snapshot of items", "snapshot:lamps/items/2")
    assert done(result) == [snapshot, ("index", "index:lamps/3"), ("release", "release:lamps/3")]
    assert (result.retrained, result.why) == (False, "lamps:1 was trained on the newest events")
    shown = launched.recommend("lamps", [catalog["item_id"][5]], k=39)
    assert catalog["item_id"][0] not in {item["item_id"] for item in shown.items}
    assert launched.refresh("lamps", grown).cached


def test_a_spoke_that_is_no_worse_goes_live(launched: Any, catalog: Any, later: Any, tiny_spoke: Any) -> None:
    result = launched.refresh("lamps", catalog, later, config=tiny_spoke)
    judged = result.judged
    assert judged is not None and judged.live == "lamps:1" and judged.candidate == "lamps:2"
    assert judged.difference[0] == pytest.approx(judged.values[0] - judged.values[1])
    assert result.retrained and launched.registry.releases.get(result.after).spoke == "lamps:3"
    assert "events" in result.why and judged.n_users >= module.LEAST_USERS
    reason = launched.history("lamps")[-1].reason
    assert reason is not None and "judged as lamps:2" in reason
    # Neither had seen what both were tested on.
    ends = [launched.spoke.show(ref).summary["training_end"] for ref in ("lamps:1", "lamps:2")]
    start = launched.spoke.show("lamps:2").summary["split"]["test_from"]
    assert all(end < pl.Series([start]).str.to_datetime(time_unit="us").dt.epoch("us")[0] for end in ends)
    again = launched.refresh("lamps", config=tiny_spoke)
    assert again.cached and not again.retrained and again.after == result.after


def test_a_worse_one_is_refused(launched: Any, catalog: Any, later: Any, tiny_spoke: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(module.Judgement, "passes", False)
    with pytest.raises(QualityGateError, match=r"lamps:2 ranks the newest events of lamps worse .* stays live"):
        launched.refresh("lamps", catalog, later, config=tiny_spoke)
    live = launched.registry.releases.get(str(launched.domain.show("lamps").domain.live))
    assert (live.spoke, launched.index.list("lamps")[-2].items) == ("lamps:1", "snapshot:lamps/items/2")


def test_the_gate_of_the_category_is_asked_too(launched: Any, catalog: Any, later: Any, tiny_spoke: Any) -> None:
    launched.gate.set("lamps", minimum={"ndcg@10": 0.99})
    live = launched.domain.show("lamps").domain.live
    with pytest.raises(QualityGateError, match="lamps:2 does not meet the gate of lamps@live"):
        launched.refresh("lamps", catalog, later, config=tiny_spoke)
    assert launched.domain.show("lamps").domain.live == live


def test_too_few_shoppers_decide_nothing(launched: Any, catalog: Any, events: Any, tiny_spoke: Any) -> None:
    few = events.head(3).with_columns(pl.col("timestamp") + timedelta(days=365))
    result = launched.refresh("lamps", catalog, pl.concat([events, few]), retrain="always", config=tiny_spoke)
    assert not result.retrained and "shoppers" in result.why


def test_nothing_is_trained_where_nobody_wants_it(launched: Workspace, later: Any, catalog: Any, refused: Any) -> None:
    with launched.lock("refresh lamps"):
        refused(LockedError, "", launched.refresh, "lamps")
    launched.domain.add("bare", catalog)
    refused(UsageError, "launch it with `hubspoke launch bare --catalog FILE`", launched.refresh, "bare")
    result = launched.refresh("lamps", catalog, later, retrain="never")
    assert (result.retrained, result.why) == (False, "as asked for: never")
