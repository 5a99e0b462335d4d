"""A real training on PostgreSQL whose sessions the server ends (`pg_terminate_backend`) while it is at work."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hubspoke.registry.migrate import upgrade
from hubspoke.workflows.workspace import Workspace, open_workspace
from sqlalchemy import text

pytestmark = pytest.mark.slow

CHECK = "hubspoke.workflows.context:Context.check_locks"  # after an epoch
STORE = "hubspoke.registry.stores.models:add_edges"  # in the transaction that makes the version ready
END = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE :name"
Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def shop(postgres: Any, tmp_path: Path, market: Any, tiny_hub: Any) -> Iterator[Workspace]:
    """A workspace on a database of its own with hub:1 and the category lamps."""
    url = postgres.create()
    upgrade(url)
    with open_workspace(url, environ={}, cwd=tmp_path, workspace=tmp_path / "shop", create=True) as ws:
        ws.domain.add("lamps", market["lamps"].items, market["lamps"].events)
        ws.hub.train(domains=[], config=tiny_hub)
        yield ws
    postgres.drop(url)


@pytest.fixture
def command(shop: Workspace, tmp_path: Path, tiny_spoke: Any) -> tuple[str, ...]:
    """`hubspoke spoke train` as a shell calls it, for three epochs."""
    (tmp_path / "spoke.json").write_text(json.dumps(tiny_spoke))
    where = ("--registry", shop.shown_url, "--workspace", str(shop.settings.workspace))
    return ("spoke", "train", "lamps", "--config", str(tmp_path / "spoke.json"), "--quiet", "--json", *where)


def end_sessions(shop: Workspace, process: subprocess.Popen[str]) -> int:
    """Have the server end all that a process has open; how many those were."""
    with shop.registry.database.engine.connect() as connection:
        return len(connection.execute(text(END), {"name": f"hubspoke {process.pid}@%"}).all())


def finish(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    """Let a stopped process go on: its exit code, its JSON, and what it wrote on stderr."""
    out, err = process.communicate("")
    return process.returncode, json.loads(out), err


def is_whole(shop: Workspace) -> bool:
    """Nothing is half-written: rows, artifacts, and what no row names."""
    assert list((shop.artifacts.root / "staging").iterdir()) == []
    assert sorted(own.digest for own in shop.registry.artifacts.list()) == list(shop.artifacts.digests())
    return shop.doctor(verify=True).ok


def test_a_training_takes_its_lock_again_where_nobody_did(shop: Workspace, command: Any, stopped: Started) -> None:
    process = stopped(CHECK, 2, *command)
    assert end_sessions(shop, process) >= 1
    code, result, err = finish(process)
    assert (code, result["ref"], result["cached"], err) == (0, "lamps:1", False, "")
    assert is_whole(shop)
    assert shop.spoke.train("lamps", config=json.loads(Path(command[4]).read_text())).cached


def test_a_training_whose_lock_another_took_ends_with_8(shop: Workspace, command: Any, stopped: Started) -> None:
    first = stopped(CHECK, 2, *command)
    assert end_sessions(shop, first) >= 1
    second = stopped(CHECK, 1, *command)
    code, result, err = finish(first)
    assert (code, result["error"]["exit_code"], result["error"]["type"]) == (8, 8, "LockedError"), err
    assert "lost its lock on 'train lamps' (the database ended its session), and another one has taken it" in err
    assert [(own.ref, own.status) for own in shop.spoke.list("lamps")] == [("lamps:1", "training")]
    # The other one goes on, whose row and files the first left alone.
    code, result, err = finish(second)
    assert (code, result["ref"], err) == (0, "lamps:1", "")
    assert is_whole(shop)
    config = json.loads(Path(command[4]).read_text())
    assert shop.spoke.train("lamps", config=config).cached


def test_a_session_that_ends_inside_a_transaction_takes_it_back(
    shop: Workspace, command: Any, stopped: Started
) -> None:
    process = stopped(STORE, 1, *command)
    assert end_sessions(shop, process) >= 2  # of the lock, and of the transaction
    code, result, err = finish(process)
    assert (code, result["error"]["exit_code"]) == (1, 1)
    assert err.startswith("Error: The database ") and "cannot be reached" in err and len(err.splitlines()) == 1
    (failed,) = shop.spoke.list("lamps")
    assert failed.status == "failed" and "cannot be reached" in str(failed.error)
    result = shop.spoke.train("lamps", config=json.loads(Path(command[4]).read_text()))
    assert (result.ref, result.cached) == ("lamps:2", False)
    assert is_whole(shop)
