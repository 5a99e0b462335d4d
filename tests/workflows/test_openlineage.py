"""Exported lineage is what OpenLineage's own Python client would have sent, and says where every node came from."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hubspoke.errors import HubspokeError, NotFoundError, UsageError
from hubspoke.registry.database import Database
from hubspoke.registry.records import Parent, ReleaseParts
from hubspoke.registry.stores.indexes import NewIndex
from hubspoke.workflows.workspace import Workspace
from sqlalchemy import event as sql_event
from sqlalchemy import make_url

pytest.importorskip("openlineage.client", reason="lineage is exported by openlineage-python")
from hubspoke.workflows.openlineage import PRODUCER, dataset_namespace, export, line, run_events, write_lines

Event = dict[str, Any]


@pytest.fixture
def recorded(each_ws: Workspace, versions_of: Any, stored: Any) -> Workspace:
    """A registry with one run of every kind, one that failed and one that still goes on."""
    registry, artifact = each_ws.registry, lambda text, size: replace(stored(text), bytes=size)
    registry.domains.add("garden")
    registry.snapshots.add("garden", "items", "i" * 64, 4, artifact("items", 400))
    registry.snapshots.add("garden", "events", "e" * 64, 9, artifact("events", 900))
    items, events = Parent("snapshot:garden/items/1", "trained_on"), Parent("snapshot:garden/events/1", "trained_on")
    registry.models.begin("hub", None, "h1", {}, code_version="0.0.9")
    registry.models.finish("hub:1", artifact("hub", 7000), "space", {}, [items])
    registry.models.begin("spoke", "garden", "s1", {})
    parts = [Parent("hub:1", "inherits", "text", "language transfers"), Parent("hub:1", "adapted_from", "fusion")]
    registry.models.finish("garden:1", artifact("spoke", 800), "space", {}, [*parts, events])
    registry.models.begin("spoke", "garden", "s2", {})
    registry.models.fail("garden:2", "MemoryError: too large")
    registry.models.begin("spoke", "garden", "s3", {})
    made = ("f", "space", "Flat", 8, "inner_product", 4, artifact("index", 128), 2.5)
    registry.indexes.add(NewIndex("garden", "garden:1", "snapshot:garden/items/1", *made))
    protocol = {"name": "leave-one-out", "test_from": None}
    versions_of(registry).measure("garden:1", ("all", "ndcg@10", 0.25, 0.2), protocol=protocol, n_users=2)
    parts = ReleaseParts("hub:1", "index:garden/1", "garden:1")
    registry.aliases.promote("garden", "live", parts, "tester")
    return each_ws


def ended(ws: Workspace, *refs: str) -> dict[str, Event]:
    """The last event of every run by its output, or by its job where there is none."""
    found = [event for event in run_events(ws, refs) if event["eventType"] != "START"]
    return {event["outputs"][0]["name"] if event["outputs"] else event["job"]["name"]: event for event in found}


def test_every_line_is_an_event_of_the_specification(recorded: Workspace) -> None:
    events = list(run_events(recorded))
    assert len(events) == 2 * 8 + 1 and list(run_events(recorded)) == events
    for event in events:
        assert json.loads(line(event)) == event
        assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
        facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
        facets += [facet for one in event["outputs"] for facet in (one["facets"] | one["outputFacets"]).values()]
        assert all(facet["_producer"] == PRODUCER and facet["_schemaURL"].startswith("https://") for facet in facets)
    # Runs have jobs.
    jobs = {name: (event["job"]["name"], event["eventType"]) for name, event in ended(recorded).items()}
    assert jobs == {
        "snapshot:garden/items/1": ("garden.items.ingest", "COMPLETE"),
        "snapshot:garden/events/1": ("garden.events.ingest", "COMPLETE"),
        "hub:1": ("hub.train", "COMPLETE"),
        "garden:1": ("garden.spoke.train", "COMPLETE"),
        "garden.spoke.train": ("garden.spoke.train", "FAIL"),
        "index:garden/1": ("garden.index.build", "COMPLETE"),
        "evaluation:garden/1": ("garden.evaluate", "COMPLETE"),
        "release:garden/1": ("garden.release.make", "COMPLETE"),
    }
    starts, ends = ([e["run"]["runId"] for e in events if (e["eventType"] == "START") is own] for own in (True, False))
    assert len(set(starts)) == len(starts) == 9  # garden:3 is still in training
    assert set(ends) < set(starts)
    # Times are those of the rows.
    assert [event["eventTime"] for event in events] == sorted(event["eventTime"] for event in events)
    hub, index = recorded.registry.models.get("hub:1"), recorded.registry.indexes.get("index:garden/1")
    for job, times in (
        ("hub.train", (hub.started_at, hub.finished_at)),
        ("garden.index.build", (index.created_at - timedelta(seconds=2.5), index.created_at)),
    ):
        found = [event["eventTime"] for event in events if event["job"]["name"] == job]
        assert found == [moment.isoformat() for moment in times]


def test_inputs_and_outputs_have_relations_content_and_size(recorded: Workspace) -> None:
    by_output = ended(recorded)
    (domain,) = by_output["snapshot:garden/items/1"]["inputs"]
    assert (domain["name"], domain["facets"]) == ("domain:garden", {})
    hub, events = by_output["garden:1"]["inputs"]
    assert (hub["name"], events["name"]) == ("hub:1", "snapshot:garden/events/1")
    assert hub["inputFacets"]["hubspoke_relation"]["relations"] == [
        {"relation": "adapted_from", "part": "fusion"},
        {"relation": "inherits", "part": "text", "reason": "language transfers"},
    ]
    assert events["facets"]["version"]["datasetVersion"] == "e" * 64
    release = {one["name"] for one in by_output["release:garden/1"]["inputs"]}
    assert release == {"hub:1", "garden:1", "index:garden/1"}
    names = ("snapshot:garden/items/1", "hub:1", "evaluation:garden/1")
    (items,), (hub,), (evaluation,) = (by_output[name]["outputs"] for name in names)
    assert items["facets"]["version"]["datasetVersion"] == "i" * 64
    assert items["facets"]["datasetType"]["datasetType"] == "FILE"
    sizes = [one["outputFacets"]["outputStatistics"] for one in (items, hub)]
    assert [(own.get("rowCount"), own["size"]) for own in sizes] == [(4, 400), (None, 7000)]
    facet = evaluation["outputFacets"]["hubspoke_evaluation"]
    assert (facet["nUsers"], facet["protocol"]) == (2, {"name": "leave-one-out"})
    assert facet["metrics"] == [{"slice": "all", "name": "ndcg@10", "value": 0.25, "low": 0.2}]
    # The run says who made it and what went wrong.
    engine = by_output["hub:1"]["run"]["facets"]["processing_engine"]
    assert (engine["name"], engine["version"]) == ("hubspoke", "0.0.9")
    assert "processing_engine" not in by_output["garden:1"]["run"]["facets"]
    failed = by_output["garden.spoke.train"]
    assert failed["run"]["facets"]["errorMessage"]["message"] == "MemoryError: too large"
    assert failed["outputs"] == []


def test_a_reference_exports_what_is_upstream_of_it(recorded: Workspace, refused: Any) -> None:
    everything = {event["run"]["runId"]: event for event in run_events(recorded)}
    items, events = "snapshot:garden/items/1", "snapshot:garden/events/1"
    assert set(ended(recorded, "index:garden/1")) == {items, events, "hub:1", "garden:1", "index:garden/1"}
    assert set(ended(recorded, "hub:1")) == {items, "hub:1"}
    assert set(ended(recorded, "hub:1", events)) == {items, events, "hub:1"}
    assert list(run_events(recorded, ["domain:garden"])) == []
    assert all(everything[event["run"]["runId"]] == event for event in ended(recorded, "release:garden/1").values())
    refused(NotFoundError, "", run_events, recorded, ["garden:99"])
    # The number of queries does not depend on the number of nodes.
    counted = Mock()
    sql_event.listen(recorded.registry.database.engine, "before_cursor_execute", lambda *_: counted())

    def asked(*refs: str) -> int:
        counted.reset_mock()
        assert list(run_events(recorded, refs))
        return int(counted.call_count)

    before = asked(), asked("garden:1")
    for number in range(20):
        recorded.registry.models.begin("spoke", "garden", f"more{number}", {})
    assert (asked(), asked("garden:1")) == before


def test_a_file_is_written_whole_or_not_at_all(recorded: Workspace, tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "events.ndjson"
    result = export(recorded, ["hub:1"], path)
    assert (result.output, result.n_events, result.events) == (path, 4, ())
    assert [json.loads(row) for row in path.read_text().splitlines()] == list(run_events(recorded, ["hub:1"]))

    def broken() -> Iterator[Event]:
        yield {}
        raise HubspokeError("the registry went away")

    kept = path.read_bytes()
    refused(HubspokeError, "", write_lines, broken(), path)
    assert path.read_bytes() == kept
    assert [one.name for one in tmp_path.iterdir() if "ndjson" in one.name] == ["events.ndjson"]
    for wrong, words in ((tmp_path, "is a folder"), (tmp_path / "none" / "events.ndjson", "no folder")):
        refused(UsageError, words, export, recorded, [], wrong)
    # Without a file the events come back.
    result = export(recorded, ["hub:1"])
    assert (result.output, result.n_events, len(result.events)) == (None, 4, 4)
    assert {event["producer"] for event in result.events} == {PRODUCER}


def test_the_namespace_tells_no_secret_and_that_of_a_file_is_its_path(ws: Workspace, tmp_path: Path) -> None:
    for url, namespace in (
        ("postgresql+psycopg://ann:secret@db:5433/shop?password=secret", "postgresql://db:5433/shop"),
        ("postgresql+psycopg:///shop?host=/run/pg&user=ann", "postgresql://%2Frun%2Fpg:5432/shop"),
        ("postgresql+psycopg://ann@[::1]/shop", "postgresql://[::1]:5432/shop"),
    ):
        database = Database.__new__(Database)
        database.url, database.path = make_url(url), None
        assert dataset_namespace(database) == namespace
    assert dataset_namespace(ws.registry.database) == f"sqlite:///{tmp_path / 'shop' / 'registry.db'}"
