"""Backups of a workspace's registry on both databases, and what they say of artifacts."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.registry.database import HEAD_REVISION
from hubspoke.settings import load_settings
from hubspoke.workflows.workspace import Workspace, open_workspace


def unopened(folder: Path, told: Any = None) -> Workspace:
    return Workspace(load_settings({"workspace": str(folder)}, {}, folder), told)


def test_a_backup_says_what_is_in_it_and_makes_a_workspace(each_ws: Workspace, tmp_path: Path) -> None:
    each_ws.domain.add("garden")
    file = tmp_path / "copy.db"
    planned = each_ws.backup(file, dry_run=True)
    assert (planned.dry_run, planned.bytes, file.exists()) == (True, 0, False)
    made = each_ws.backup(file)
    assert made.to_dict() == {
        "file": str(file),
        "url": f"sqlite:///{file}",
        "registry": each_ws.schema().registry,
        "schema": HEAD_REVISION,
        "rows": dict(planned.rows),
        "bytes": file.stat().st_size,
        "artifacts": str(tmp_path / "shop" / "artifacts"),
        "dry_run": False,
    }
    assert (made.rows["domains"], made.rows["models"]) == (1, 0)
    with open_workspace(f"sqlite:///{file}", environ={}, cwd=tmp_path, workspace=tmp_path / "other") as opened:
        assert [domain.name for domain in opened.domain.list()] == ["garden"]
    # A workspace that is not there yet is made from it.
    told = Mock(spec=["note"])
    with unopened(tmp_path / "new", told) as new:
        planned = new.restore(file)
        assert (planned.dry_run, planned.rows["nodes"], new.exists(), told.mock_calls) == (True, 1, False, [])
        made = new.restore(file, dry_run=False)
        assert (made.before, made.schema, made.rows) == (HEAD_REVISION, HEAD_REVISION, planned.rows)
        assert made.artifacts == tmp_path / "new" / "artifacts"
        stages = [call.args for call in told.call_args_list]
        assert (stages[0][1], stages[-1][1], told.note.called) == (0, stages[-1][2], False)
        assert [domain.name for domain in new.domain.list()] == ["garden"]
        with pytest.raises(UsageError, match="has rows already"):
            new.restore(file, dry_run=False)


def test_a_missing_workspace_has_no_backup(tmp_path: Path) -> None:
    with unopened(tmp_path / "none") as missing, pytest.raises(NotFoundError, match="hubspoke init"):
        missing.backup(tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []
