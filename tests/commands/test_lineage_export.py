"""`lineage export` writes one event a line to stdout or a file, or all of them as one JSON document."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openlineage.client", reason="lineage is exported by openlineage-python")


def test_events_go_to_stdout_one_a_line_or_to_a_file(garden: Any, home: Path) -> None:
    shown = garden("lineage", "export", "--openlineage")
    events = [json.loads(row) for row in shown.out.splitlines()]
    jobs = {(event["job"]["name"], event["eventType"]) for event in events}
    assert jobs == {(f"garden.{kind}.ingest", at) for kind in ("items", "events") for at in ("START", "COMPLETE")}
    one = garden("lineage", "export", "snapshot:garden/items/1", "--openlineage").out.splitlines()
    assert [json.loads(row)["job"]["name"] for row in one] == ["garden.items.ingest"] * 2
    document = garden("lineage", "export", "--openlineage", "--json").json
    assert (document["output"], document["n_events"], document["events"]) == (None, 4, events)
    written = garden("lineage", "export", "--openlineage", "--output", "events.ndjson")
    assert written.out == "4 events are in events.ndjson.\n"
    assert (home / "events.ndjson").read_text() == shown.out
    document = garden("lineage", "export", "--openlineage", "--output", "events.ndjson", "--json").json
    assert document == {"schema_version": 1, "output": "events.ndjson", "n_events": 4, "events": []}
    for arguments, code in ((("--output", "no/such/events.ndjson"), 2), (("garden:9",), 5)):
        refused = garden("lineage", "export", "--openlineage", *arguments)
        assert (refused.code, refused.out) == (code, "")


def test_without_the_client_the_extra_is_named(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    monkeypatch.delitem(sys.modules, "hubspoke.workflows.openlineage", raising=False)
    refused = garden("lineage", "export")
    assert (refused.code, refused.out) == (7, "")
    assert "pip install 'hubspoke[openlineage]'" in refused.err
