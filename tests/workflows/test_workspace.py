"""Opening and making workspaces: what is there, what is missing, what is of another schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hubspoke.errors import LockedError, NotFoundError, SchemaVersionError, UsageError
from hubspoke.registry.locks import file_lock
from hubspoke.workflows.workspace import Workspace, open_workspace


def set_revision(ws: Workspace, revision: str) -> None:
    with sqlite3.connect(ws.settings.workspace / "registry.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()


def test_a_missing_workspace_is_not_found_and_says_init(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="hubspoke init"):
        open_workspace(environ={}, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_create_makes_it_and_opens_it_again(tmp_path: Path) -> None:
    with open_workspace(environ={}, cwd=tmp_path, create=True) as made:
        assert made.domain.list() == []
        made.domain.add("garden")
    with open_workspace(environ={}, cwd=tmp_path) as opened:
        assert [domain.name for domain in opened.domain.list()] == ["garden"]


def test_init_says_what_it_did_and_is_cached_the_second_time(tmp_path: Path, blank_url: str) -> None:
    from hubspoke.settings import load_settings

    settings = load_settings({"registry_url": blank_url}, {}, tmp_path)
    with Workspace(settings) as ws:
        assert not ws.exists()
        planned = ws.init(dry_run=True)
        assert (planned.cached, planned.before) == (False, None)
        assert not ws.exists()
        assert not ws.init().cached
        assert ws.exists()
        assert ws.init().cached
        assert ws.schema().up_to_date
        assert ws.settings.artifacts_dir.is_dir()


@pytest.mark.parametrize(
    ("revision", "said"), [("0000", "newer hubspoke|registry upgrade"), ("9999", "newer hubspoke")]
)
def test_another_schema_is_refused(ws: Workspace, revision: str, said: str) -> None:
    set_revision(ws, revision)
    with pytest.raises(SchemaVersionError, match=said):
        open_workspace(environ={}, workspace=ws.settings.workspace)


def test_an_unknown_setting_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean device"):
        open_workspace(environ={}, cwd=tmp_path, devise="cpu")


def test_a_lock_is_told_at_once(ws: Workspace) -> None:
    held = file_lock(ws.settings.workspace / "locks", "data garden")
    with held, pytest.raises(LockedError, match="data garden"):
        ws.domain.add("garden")
    assert ws.domain.add("garden").domain is not None


def test_the_actor_is_the_login_name_unless_given(ws: Workspace) -> None:
    assert ws.actor == "tester"
    assert Workspace(ws.settings).actor
