"""`lineage export` writes one event a line to stdout or a file, or all of them as one JSON document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_events_go_to_stdout_one_a_line(garden: Any) -> None:
    shown = garden("lineage", "export", "--openlineage")
    events = [json.loads(row) for row in shown.out.splitlines()]
    jobs = {(event["job"]["name"], event["eventType"]) for event in events}
    assert jobs == {
        (f"garden.{kind}.ingest", moment) for kind in ("items", "events") for moment in ("START", "COMPLETE")
    }
    one = garden("lineage", "export", "snapshot:garden/items/1", "--openlineage").out.splitlines()
    assert [json.loads(row)["job"]["name"] for row in one] == ["garden.items.ingest"] * 2
    document = garden("lineage", "export", "--openlineage", "--json").json
    assert (document["output"], document["n_events"], document["events"]) == (None, 4, events)


def test_events_go_to_a_file(garden: Any, home: Path) -> None:
    shown = garden("lineage", "export", "--openlineage", "--output", "events.ndjson")
    assert shown.out == "4 events are in events.ndjson.\n"
    told = garden("lineage", "export", "--openlineage").out
    assert (home / "events.ndjson").read_text() == told
    document = garden("lineage", "export", "--openlineage", "--output", "events.ndjson", "--json").json
    assert document == {"schema_version": 1, "output": "events.ndjson", "n_events": 4, "events": []}
    refused = garden("lineage", "export", "--openlineage", "--output", "no/such/events.ndjson")
    assert (refused.code, refused.out) == (2, "")


def test_a_form_has_to_be_named(garden: Any) -> None:
    refused = garden("lineage", "export")
    assert (refused.code, refused.out) == (2, "")
    assert "--openlineage" in refused.err


def test_what_does_not_exist_is_not_exported(garden: Any) -> None:
    refused = garden("lineage", "export", "garden:9", "--openlineage")
    assert (refused.code, refused.out) == (5, "")
