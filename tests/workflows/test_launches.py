"""Launches: from a catalog to recommendations in one call, on day zero and with events, once and again."""

from typing import Any
from unittest.mock import Mock

import polars as pl
import pytest
from hubspoke.catalog.sequences import build_sequences
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import CorruptArtifactError, InvalidDataError, NotFoundError, UsageError
from hubspoke.hub.config import HubConfig, ImageEncoderConfig, TextEncoderConfig
from hubspoke.workflows.launches import LaunchResult
from hubspoke.workflows.workspace import Workspace


@pytest.fixture
def ready(ws: Workspace, tiny_hub: Any) -> Workspace:
    """A workspace with a live hub and no category yet."""
    ws.hub.train(domains=[], config=tiny_hub)
    return ws


def done(result: LaunchResult) -> list[tuple[str, str | None, bool]]:
    return [(step["step"], step["ref"], step["cached"]) for step in result.steps]


def test_the_whole_way_and_back_on_both_databases(each_ws: Any, market: Any, tiny_hub: Any, tiny_spoke: Any) -> None:
    files = market["lamps"]
    each_ws.hub.train(domains=[], config=tiny_hub)
    launched = each_ws.launch("lamps", files.items)
    assert (launched.mode, launched.release) == ("day zero", "release:lamps/1")
    each_ws.data.ingest("lamps", events=files.events)
    trained = each_ws.spoke.train("lamps", config=tiny_spoke)
    assert (trained.ref, trained.index, trained.release) == ("lamps:1", "index:lamps/2", None)
    assert each_ws.recommend("lamps", ["lamps-0001"], k=3).served_by == "hub:1"
    promoted = each_ws.promote("lamps:1", reason="better")
    assert (promoted.before, promoted.after, promoted.spoke) == ("release:lamps/1", "release:lamps/2", "lamps:1")
    assert each_ws.recommend("lamps", ["lamps-0001"], k=3).served_by == "lamps:1"
    upstream = {reached.ref for reached in each_ws.registry.lineage.upstream("release:lamps/2").nodes}
    assert upstream >= {"lamps:1", "hub:1", "index:lamps/2", "snapshot:lamps/items/1", "snapshot:lamps/events/1"}
    downstream = {reached.ref for reached in each_ws.registry.lineage.downstream("snapshot:lamps/events/1").nodes}
    assert {"lamps:1", "index:lamps/2", "release:lamps/2"} <= downstream - {"release:lamps/1"} == downstream
    assert each_ws.rollback("lamps").after == "release:lamps/1"
    assert each_ws.recommend("lamps", ["lamps-0001"], k=3).served_by == "hub:1"
    moves = [f"{move.action} {move.to_ref}" for move in each_ws.history("lamps")]
    assert moves == ["promote release:lamps/1", "promote release:lamps/2", "rollback release:lamps/1"]


def test_a_user_whose_sessions_are_too_short_is_told_how_to_get_one(ready: Workspace, catalog: pl.DataFrame) -> None:
    times = ["2024-05-01 10:00", "2024-05-03 12:00", "2024-05-04 12:00"]
    seen = pl.DataFrame({"user_id": ["ann"] * 3, "item_id": catalog["item_id"].head(3), "timestamp": times})
    launched = ready.launch("lamps", catalog, seen)
    assert launched.items is not None
    assert launched.items.mapping["title"] == "title"
    assert launched.events is not None
    assert launched.events.sessions is not None
    assert launched.events.sessions["hint"].startswith("every session is shorter than 3 items; --sessions per_user")
    why = "'ann' has 3 events in lamps but no session: every session is shorter than 3 items; --sessions per_user"
    with pytest.raises(NotFoundError, match=why):
        ready.recommend("lamps", user="ann")


def test_day_zero_needs_a_catalog_and_nothing_else(ready: Workspace, catalog: pl.DataFrame) -> None:
    result = ready.launch("lamps", catalog, k=4, description="Lamps of all kinds")
    assert done(result) == [
        ("snapshot of items", "snapshot:lamps/items/1", False),
        ("hub", "hub:1", True),
        ("index", "index:lamps/1", False),
        ("release", "release:lamps/1", False),
        ("first recommendations", None, False),
    ]
    assert (result.domain, result.mode, result.release) == ("lamps", "day zero", "release:lamps/1")
    asked = [answer.session[0]["item_id"] for answer in result.recommendations]
    assert asked == ["lamps-0000", "lamps-0020", "lamps-0039"]
    for item, answer in zip(asked, result.recommendations, strict=True):
        assert (len(answer.items), answer.served_by) == (4, "hub:1")
        assert item not in {item["item_id"] for item in answer.items}
    assert sum(step["seconds"] for step in result.steps) <= result.seconds + 0.1
    again = ready.launch("lamps", catalog, k=4)
    assert all(cached for step, _, cached in done(again) if step != "first recommendations")
    assert again.recommendations == result.recommendations
    assert len(ready.history("lamps")) == 1


def test_with_events_a_spoke_serves(ready: Any, catalog: Any, events: Any, tiny_spoke: Any, monkeypatch: Any) -> None:
    counted = Mock(wraps=build_sequences)
    monkeypatch.setattr("hubspoke.workflows.datasets.build_sequences", counted)
    result = ready.launch("lamps", catalog, events=events, config=tiny_spoke)
    assert counted.call_count == 1  # all steps share the data in memory
    steps = ["snapshot of items", "snapshot of events", "hub", "index", "release", "spoke", "release"]
    assert [step for step, _, _ in done(result)] == [*steps, "first recommendations"]
    assert (result.mode, result.release) == ("trained", "release:lamps/2")
    spoke = ready.spoke.show("lamps")
    assert spoke.summary["split"] == {"name": "all", "test_from": None, "refit": True}
    assert spoke.summary["training_events"] == events.height
    assert {answer.served_by for answer in result.recommendations} == {"lamps:1"}
    again = ready.launch("lamps", catalog, events=events, config=tiny_spoke)
    assert all(cached for step, _, cached in done(again) if step != "first recommendations")
    assert (again.mode, again.release) == ("trained", "release:lamps/2")
    assert again.recommendations == result.recommendations
    assert (len(ready.history("lamps")), len(ready.spoke.list())) == (2, 1)


def test_too_few_events_leave_the_hub_to_serve(ready: Workspace, catalog: Any, events: Any, tiny_spoke: Any) -> None:
    notes: list[str] = []
    ready.progress.note = notes.append  # type: ignore[method-assign]
    two = events.sort("user_id", "timestamp").group_by("user_id", maintain_order=True).head(2)
    result = ready.launch("lamps", catalog, events=two, config=tiny_spoke, sessions=SessionSettings(mode="per_user"))
    assert (result.mode, result.release) == ("day zero", "release:lamps/1")
    assert {answer.served_by for answer in result.recommendations} == {"hub:1"}
    assert any("more events" in note for note in notes)
    later = ready.launch("lamps", catalog, events=events, config=tiny_spoke)
    assert (later.mode, ready.recommend("lamps", ["lamps-0001"]).served_by) == ("trained", later.steps[-3]["ref"])


def test_damaged_data_is_made_whole_by_a_launch(ready: Any, catalog: Any, events: Any, tiny_spoke: Any) -> None:
    ready.launch("lamps", catalog)
    snapshot = ready.registry.snapshots.get("snapshot:lamps/items/1")
    table = next(ready.artifacts.path(snapshot.artifact).rglob("*.parquet"))
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptArtifactError, match="repeat the ingest"):
        ready.recommend("lamps", ["lamps-0001"])
    assert ready.launch("lamps", catalog).release == "release:lamps/1"
    assert ready.recommend("lamps", ["lamps-0001"], k=3).items
    assert ready.doctor(verify=True).ok
    # A damaged hub is not taken for a lack of events.
    ready.launch("lamps", catalog, events=events, config=tiny_spoke)
    weights = next(ready.artifacts.path(str(ready.hub.show().artifact)).rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptArtifactError, match="--force"):
        ready.launch("lamps", catalog, events=events, config={**tiny_spoke, "seed": 1})
    assert [model.status for model in ready.spoke.list("lamps")] == ["ready", "failed"]


@pytest.mark.parametrize("with_events", [False, True])
def test_a_newer_catalog_goes_live(ready: Any, catalog: Any, events: Any, tiny_spoke: Any, with_events: bool) -> None:
    first = ready.launch("lamps", catalog, events=events if with_events else None, config=tiny_spoke)
    newer = pl.concat([catalog.with_columns(item_id="new-" + pl.col("item_id"))[:3], catalog])
    result = ready.launch("lamps", newer)
    assert result.release != first.release and result.mode == first.mode
    assert {answer.served_by for answer in result.recommendations} == {"lamps:1" if with_events else "hub:1"}
    assert result.recommendations[0].session[0]["item_id"] == "new-lamps-0000"
    assert ready.recommend("lamps", ["new-lamps-0001"], k=43).items[-1]["rank"] == 43
    assert ready.rollback("lamps").after == first.release


def test_without_a_hub_one_is_made_and_pictures_are_read(ws: Workspace, market: Any, monkeypatch: Any) -> None:
    tiny = HubConfig(text=TextEncoderConfig(name="tiny"), image=ImageEncoderConfig(name="tiny"))
    monkeypatch.setattr("hubspoke.workflows.hubs.parse_config", lambda *_: tiny)
    items = pl.read_csv(market["lamps"].items).with_columns(image=pl.col("item_id") + ".png")
    result = ws.launch("lamps", items, images=market["lamps"].images)
    assert ("hub", "hub:1", False) in done(result)
    assert (ws.hub.live(), ws.hub.show().summary["domains"]) == ("hub:1", [])
    assert result.recommendations[0].items[0]["image"].endswith(".png")
    assert ws.hub.embed("lamps").with_image == 40
    blind = ws.launch("plain", items.drop("image"))
    assert ws.hub.embed("plain").with_image == 0
    assert len(blind.recommendations) == 3


def test_a_dry_run_and_bad_data_leave_nothing(ready: Any, catalog: Any, events: Any, tree: Any, tmp_path: Any) -> None:
    before = tree(ready.settings.workspace)
    planned = ready.launch("lamps", catalog, events=events, dry_run=True)
    assert (planned.mode, planned.release, planned.recommendations) == ("planned", None, [])
    assert [step["step"] for step in planned.steps] == ["snapshot of items", "snapshot of events"]
    with pytest.raises(InvalidDataError):
        ready.launch("lamps", catalog.head(0), dry_run=True)
    assert (tree(ready.settings.workspace), ready.domain.list()) == (before, [])
    broken = tmp_path / "pictures"
    broken.mkdir()
    for item in catalog["item_id"]:
        (broken / f"{item}.png").write_bytes(b"no picture")
    named = catalog.with_columns(image=pl.col("item_id") + ".png")
    elsewhere = events.with_columns(item_id="other-" + pl.col("item_id"))
    for error, table, options in (
        (InvalidDataError, named, {"images": broken}),
        (InvalidDataError, catalog.head(0), {}),
        (InvalidDataError, catalog, {"events": elsewhere}),
        (InvalidDataError, catalog.drop("item_id"), {}),
        (NotFoundError, tmp_path / "missing.csv", {}),
        (UsageError, catalog, {"name": "no such name"}),
        (NotFoundError, catalog, {"hub": "hub:9"}),
        (UsageError, catalog, {"events": events, "config": {"layers": 2}}),
    ):
        with pytest.raises(error):
            ready.launch(**{"name": "lamps", "catalog": table, **options})
        assert ready.domain.list() == []
    # A catalog of one item is launched.
    result = ready.launch("one", catalog.head(1))
    assert (result.mode, [answer.items for answer in result.recommendations]) == ("day zero", [[]])
    assert ready.recommend("one").items[0]["item_id"] == "lamps-0000"
    assert ready.index.check("index:one/1").ok
