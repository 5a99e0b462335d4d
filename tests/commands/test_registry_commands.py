"""The commands that only ask the registry: init, doctor, registry, lineage, promote, rollback, history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubspoke.registry.database import HEAD_REVISION


def test_init_twice(run: Any, home: Path) -> None:
    assert run("init", "--dry-run").out.startswith("The workspace would be made.\n")
    assert not (home / ".hubspoke").exists()
    first = run("init", "--json")
    assert (first.json["cached"], first.json["before"], first.json["schema"]) == (False, None, HEAD_REVISION)
    assert run("init").out.startswith("The workspace is up to date.\n")


def test_upgrade_and_current(run: Any) -> None:
    assert run("registry", "current", "--json").json["current"] is None
    assert f"from nothing to {HEAD_REVISION}" in run("registry", "upgrade").out
    assert f"is already at {HEAD_REVISION}" in run("registry", "upgrade").out
    assert run("registry", "current", "--json").json["up_to_date"] is True


def test_sql_as_table_json_and_csv(garden: Any) -> None:
    query = "SELECT ref, kind FROM nodes ORDER BY id"
    assert garden("registry", "sql", query).out.splitlines()[2].split() == ["domain:garden", "domain"]
    answer = garden("registry", "sql", query, "--json").json
    assert answer["columns"] == ["ref", "kind"]
    assert answer["rows"][1] == {"ref": "snapshot:garden/items/1", "kind": "item_snapshot"}
    assert garden("registry", "sql", query, "--csv").out.splitlines()[:2] == ["ref,kind", "domain:garden,domain"]
    assert garden("registry", "sql", "DROP TABLE nodes").code == 2
    assert garden("registry", "sql", query, "--csv", "--json").code == 2


def test_doctor_says_what_it_found(garden: Any, run: Any) -> None:
    told = garden("doctor", "--verify", "--json").json
    checks = {check["name"]: check["status"] for check in told["checks"]}
    assert checks["registry"] == checks["artifacts"] == checks["leftovers"] == "ok"
    assert "every byte as recorded" in garden("doctor", "--verify").out


def test_promote_history_rollback(two_spokes: Any) -> None:
    planned = two_spokes("promote", "garden:1", "--dry-run")
    assert planned.out.splitlines()[0] == "garden@live would point at a new release."
    assert two_spokes("history", "garden").out == "No alias has been moved yet.\n"
    assert two_spokes("promote", "garden:1").out.splitlines()[0] == "garden@live points at release:garden/1."
    moved = two_spokes("promote", "garden:2", "--reason", "better", "--json").json
    assert (moved["before"], moved["after"], moved["spoke"]) == ("release:garden/1", "release:garden/2", "garden:2")
    back = two_spokes("rollback", "garden", "--dry-run")
    assert back.out.splitlines()[0] == "garden@live would point at release:garden/1."
    assert two_spokes("rollback", "garden").out.splitlines()[0] == "garden@live points at release:garden/1."
    moves = two_spokes("history", "garden", "--json").json["history"]
    assert [(move["action"], move["to_ref"]) for move in moves] == [
        ("promote", "release:garden/1"),
        ("promote", "release:garden/2"),
        ("rollback", "release:garden/1"),
    ]
    assert "better" in two_spokes("history", "garden").out
    assert two_spokes("promote", "hub:1").out.splitlines()[0] == "hub@live points at hub:1."


def test_the_lineage_tree_of_what_is_live(two_spokes: Any) -> None:
    two_spokes("promote", "garden:1")
    shown = two_spokes("lineage", "show", "garden").out.splitlines()
    assert shown[0].startswith("release:garden/1  20")
    assert any("garden:1  released as (spoke)  20" in line for line in shown)
    assert any("hub:1  adapted from" in line for line in shown)
    tree = two_spokes("lineage", "show", "garden", "--json").json["lineage"]
    assert tree["node"]["ref"] == "release:garden/1"
    down = two_spokes("lineage", "show", "snapshot:garden/items/1", "--downstream").out
    assert "release:garden/1" in down
