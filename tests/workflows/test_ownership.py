"""A store belongs to one registry: who else may do what with it, through the workspace."""

import os
import re
import shutil
from datetime import timedelta
from pathlib import Path

import hubspoke
import pytest
from hubspoke.errors import IncompatibleError
from hubspoke.registry.artifacts.marks import MARK
from hubspoke.workflows.workspace import Workspace

NOW = timedelta(0)
LONG_AGO = 1_000_000_000.0


def open_on(garden: Workspace, url: Path) -> Workspace:
    """A workspace of another registry over the same artifacts."""
    settings = {"workspace": garden.settings.workspace, "artifacts": str(garden.settings.artifacts_location)}
    return hubspoke.open(f"sqlite:///{url}", create=True, **settings)


def put(ws: Workspace, text: str) -> str:
    """An artifact that nothing refers to, long ago; its digest."""
    with ws.stage() as staged:
        (staged / "a").write_text(text)
        digest = ws.commit(staged, "model").digest
    os.utime(ws.artifacts.path(digest), (LONG_AGO, LONG_AGO))
    return digest


def finding(ws: Workspace) -> tuple[str, int]:
    found = {check.name: check for check in ws.doctor().checks}["store"]
    return found.status, found.exit_code


def test_a_blank_registry_beside_a_full_store_changes_nothing(garden: Workspace, tmp_path: Path) -> None:
    held = set(garden.artifacts.digests())
    with open_on(garden, tmp_path / "other.db") as blank:
        assert finding(blank) == ("failed", 6)
        acts = [lambda: blank.gc(grace=NOW), lambda: blank.gc(dry_run=False, grace=NOW), lambda: put(blank, "x")]
        for act in acts:
            with pytest.raises(IncompatibleError, match="belong to another registry"):
                act()
        checks = {check.name: check for check in blank.doctor(sweep=True).checks}
        assert "leftovers" not in checks
        assert checks["artifacts"].message.endswith(f"; {len(held)} more that no row names, which are left alone")
    assert set(garden.artifacts.digests()) == held
    assert finding(garden) == ("ok", 0)


def test_the_file_left_behind_by_a_move_collects_nothing_of_what_came_after(garden: Workspace, tmp_path: Path) -> None:
    put(garden, "a")
    garden.backup(tmp_path / "copy.db")
    with open_on(garden, tmp_path / "copy.db") as left:
        assert left.gc(grace=NOW).artifacts != ()  # nothing has happened since
        new = put(garden, "b")
        for act in (lambda: left.gc(grace=NOW), lambda: left.gc(dry_run=False, grace=NOW), lambda: put(left, "c")):
            with pytest.raises(IncompatibleError, match="older copy"):
                act()
        assert finding(left) == ("failed", 6)
        assert new in set(garden.artifacts.digests())

        planned = left.adopt()
        assert (planned.before, planned.cached, planned.dry_run) == ("ahead", False, True)
        assert planned.unknown >= 2 and planned.known + planned.unknown == len(set(garden.artifacts.digests()))
        assert finding(left) == ("failed", 6)
        assert left.adopt(dry_run=False).before == "ahead"
        assert left.adopt(dry_run=False).cached
        left.gc(dry_run=False, grace=NOW)
        with pytest.raises(IncompatibleError, match="older copy"):
            garden.gc()
    assert new not in set(garden.artifacts.digests())


def test_collection_leaves_a_store_that_still_belongs_to_its_registry(garden: Workspace) -> None:
    digest = put(garden, "x")
    assert digest in {artifact.digest for artifact in garden.gc(dry_run=False, grace=NOW).artifacts}
    assert finding(garden) == ("ok", 0)
    assert garden.gc().artifacts == ()


def test_a_store_of_version_0_1_0_is_claimed_by_the_next_command_that_stores(garden: Workspace) -> None:
    (garden.artifacts.root / MARK).unlink(missing_ok=True)
    garden.gc()
    assert garden.artifacts.mark() is None
    put(garden, "x")
    assert finding(garden) == ("ok", 0) and garden.artifacts.mark() is not None


def test_a_restored_registry_keeps_the_store_that_the_blank_one_had_marked(garden: Workspace, tmp_path: Path) -> None:
    garden.backup(tmp_path / "copy.db")
    with hubspoke.open(workspace=tmp_path / "restored", create=True) as blank:
        put(blank, "x")
        blank.gc(dry_run=False, grace=NOW)
        blank.restore(tmp_path / "copy.db", dry_run=False)
        put(blank, "y")
        shutil.copytree(garden.artifacts.root, blank.artifacts.root, dirs_exist_ok=True)
        assert finding(blank) == ("ok", 0)


def test_nothing_stores_past_the_owner() -> None:
    package = Path(hubspoke.__file__).parent
    past = re.compile(r"artifacts\.(stage\(\)|commit\()")
    files = [path for path in package.glob("workflows/**/*.py") if path.name != "context.py"]
    assert len(files) > 50 and [path.name for path in files if past.search(path.read_text())] == []
