"""Real kills in the middle of `hubspoke domain add`: the same command afterwards gives what it would have given."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hubspoke.workflows.workspace import Workspace, open_workspace

PLACES = [
    ("hubspoke.files:flush", 1),  # the first table and its manifest are written, not yet flushed
    ("hubspoke.registry.artifacts.local:ArtifactStore.commit", 2),  # the second table is staged
    ("hubspoke.registry.stores.domains:DomainStore.add", 1),  # both artifacts stand, no row does
    ("hubspoke.registry.stores.snapshots:SnapshotStore.add", 1),  # the domain stands alone
    ("hubspoke.registry.stores.snapshots:SnapshotStore.add", 2),  # its events are missing
]


def contents(ws: Workspace) -> list[tuple[Any, ...]]:
    snapshots = ws.data.snapshots("garden")
    return [(s.ref, s.content_hash, s.rows, s.artifact, s.as_of, s.details) for s in snapshots]


@pytest.mark.parametrize(("place", "nth"), PLACES)
def test_a_killed_domain_add_is_repeated_to_the_same_result(
    garden: Workspace, files: Any, tmp_path: Path, stopped: Any, place: str, nth: int
) -> None:
    folder = tmp_path / "killed"
    with open_workspace(environ={}, workspace=folder, create=True) as ws:
        add = ("domain", "add", "garden", "--items", str(files.items), "--events", str(files.events))
        process = stopped(place, nth, *add, "--workspace", str(folder))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not ws.domain.list() or ws.domain.list()[0].counts.event_snapshots == 0
        again = ws.domain.add("garden", files.items, files.events)
        assert not again.cached
        assert contents(ws) == contents(garden)
        # Nothing of the killed process is left: no staged folder, no artifact that no row names.
        assert ws.doctor(verify=True, sweep=True).ok
        assert list((ws.artifacts.root / "staging").iterdir()) == []
        assert sorted(a.digest for a in ws.registry.artifacts.list()) == list(ws.artifacts.digests())
        assert ws.domain.add("garden", files.items, files.events).cached


@pytest.fixture
def ingesting(garden: Workspace, files: Any, stopped: Any) -> Any:
    """An ingest that is about to commit the files of its events."""
    ingest = ("data", "ingest", "garden", "--events", str(files.events), "--until", "2024-05-02")
    folder = ("--workspace", str(garden.settings.workspace))
    return stopped("hubspoke.registry.artifacts.local:ArtifactStore.commit", 1, *ingest, *folder)


def test_a_killed_ingest_leaves_the_earlier_snapshots_alone(garden: Workspace, files: Any, ingesting: Any) -> None:
    before = contents(garden)
    ingesting.kill()
    assert ingesting.wait() == -signal.SIGKILL
    assert contents(garden) == before
    result = garden.data.ingest("garden", events=files.events, until=datetime(2024, 5, 2, tzinfo=UTC))
    assert result.events is not None
    assert (result.events.ref, result.events.cached) == ("snapshot:garden/events/2", False)
    assert list((garden.artifacts.root / "staging").iterdir()) == []


def test_a_request_to_end_cleans_up_and_gives_130(garden: Workspace, ingesting: Any) -> None:
    ingesting.send_signal(signal.SIGTERM)
    assert ingesting.wait() == 130
    assert "Interrupted" in ingesting.stderr.read()
    assert list((garden.artifacts.root / "staging").iterdir()) == []
    assert len(garden.data.snapshots("garden")) == 2
