"""Opening and making workspaces: what is there, what is missing, what is of another schema."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import LockedError, NotFoundError, SchemaVersionError, UsageError
from hubspoke.registry.locks import FileLock, held
from hubspoke.settings import load_settings
from hubspoke.workflows.workspace import Workspace, open_workspace


def test_a_missing_workspace_is_not_found_and_create_makes_it(tmp_path: Path, refused: Any) -> None:
    refused(NotFoundError, "hubspoke init", open_workspace, environ={}, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    refused(UsageError, "did you mean device", open_workspace, environ={}, cwd=tmp_path, devise="cpu")
    with open_workspace(environ={}, cwd=tmp_path, create=True) as made:
        assert made.domain.list() == []
        made.domain.add("garden")
    with open_workspace(environ={}, cwd=tmp_path) as opened:
        assert [domain.name for domain in opened.domain.list()] == ["garden"]


def test_init_says_what_it_did_and_is_cached_the_second_time(tmp_path: Path, blank_url: str) -> None:
    with Workspace(load_settings({"registry_url": blank_url}, {}, tmp_path)) as ws:
        assert not ws.exists()
        planned = ws.init(dry_run=True)
        assert (planned.cached, planned.before, ws.exists()) == (False, None, False)
        assert not ws.init().cached
        assert ws.exists()
        assert ws.init().cached
        assert ws.schema().up_to_date and ws.settings.artifacts_dir.is_dir()


def test_a_lock_is_told_at_once_and_the_actor_is_the_login_name_unless_given(ws: Workspace, refused: Any) -> None:
    elsewhere = held(FileLock(ws.settings.workspace / "registry.db", "data garden"))
    with elsewhere, pytest.raises(LockedError, match="data garden"):
        ws.domain.add("garden")
    assert ws.domain.add("garden").domain is not None
    assert ws.actor == "tester" and Workspace(ws.settings).actor
    # Another schema is refused.
    for revision, said in (("0000", "newer hubspoke|registry upgrade"), ("9999", "newer hubspoke")):
        with closing(sqlite3.connect(ws.settings.workspace / "registry.db")) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        refused(SchemaVersionError, said, open_workspace, environ={}, workspace=ws.settings.workspace)


def test_another_actor_has_the_same_connections_and_a_name_of_its_own(each_ws: Workspace) -> None:
    each_ws.domain.add("garden")
    acting = each_ws.acting_as("ann")
    assert (acting.registry, acting.artifacts) == (each_ws.registry, each_ws.artifacts)
    assert (acting.hubs, acting.data_cache) == (each_ws.hubs, each_ws.data_cache)
    acting.gate.set("garden", minimum={"mrr": 0.1}, reason="hers")
    each_ws.gate.set("garden", minimum={"mrr": 0.2}, reason="ours")
    assert [gate.actor for gate in each_ws.gate.history("garden")] == ["tester", "ann"]
    assert each_ws.acting_as(None) is each_ws
