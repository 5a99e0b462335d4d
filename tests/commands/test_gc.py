"""`hubspoke gc`: nothing is removed without --yes, and what it says of itself."""

import os
from pathlib import Path
from typing import Any

import pytest
from hubspoke.registry.artifacts.local import ArtifactStore


@pytest.fixture
def spare(garden: Any, home: Path) -> Path:
    """An artifact that no row names, three days old."""
    store = ArtifactStore(home / ".hubspoke" / "artifacts")
    with store.stage() as staged:
        (staged / "a").write_text("x")
        path = store.path(store.commit(staged, "spoke").digest)
    age = 3 * 24 * 3600
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_without_yes_nothing_is_removed(garden: Any, spare: Path, flags: tuple[str, ...]) -> None:
    bytes_ = sum(file.stat().st_size for file in spare.iterdir())
    planned = garden("gc", *flags)
    assert planned.code == 0
    assert planned.out.splitlines()[2].split() == [spare.name[:12], "spoke", str(bytes_)]
    assert "1 would be removed from " in planned.out and f"{bytes_:,} bytes." in planned.out
    assert "`hubspoke gc --yes` removes it" in planned.err
    told = garden("gc", *flags, "--json").json
    assert told["artifacts"] == [{"digest": spare.name, "kind": "spoke", "bytes": bytes_}]
    assert (told["bytes"], told["dry_run"], told["grace_hours"], told["young"]) == (bytes_, True, 24.0, 0)
    assert spare.is_dir()


def test_yes_removes_what_is_old_enough(garden: Any, spare: Path) -> None:
    kept = garden("gc", "--yes", "--older-than", "100")
    assert kept.out == "Nothing to remove.\n1 more that nothing refers to kept: younger than 100 hours.\n"
    assert "1 removed from " in garden("gc", "--yes").out
    assert not spare.exists()
    assert garden("gc", "--yes").out == "Nothing to remove.\n"
    assert garden("doctor", "--verify").code == 0
