"""The commands that only ask the registry: init, doctor, registry, promote, rollback, history."""

from pathlib import Path
from typing import Any

from hubspoke.registry.database import HEAD_REVISION
from hubspoke.registry.views import VIEWS


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


def test_sql_has_forms_and_limits_and_doctor_says_what_it_found(garden: Any) -> None:
    query = "SELECT ref, kind FROM nodes ORDER BY id"
    assert garden("registry", "sql", query).out.splitlines()[2].split() == ["domain:garden", "domain"]
    answer = garden("registry", "sql", query, "--json").json
    assert answer["columns"] == ["ref", "kind"]
    assert answer["rows"][1] == {"ref": "snapshot:garden/items/1", "kind": "item_snapshot"}
    assert garden("registry", "sql", query, "--csv").out.splitlines()[:2] == ["ref,kind", "domain:garden,domain"]
    assert garden("registry", "sql", "DROP TABLE nodes").code == 2
    assert garden("registry", "sql", query, "--csv", "--json").code == 2
    assert garden("registry", "sql", query, "--csv", "--limit", "1").out == "ref,kind\ndomain:garden,domain\n"
    assert garden("registry", "sql", query, "--limit", "0").code == 2
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    stopped = garden("registry", "sql", forever, "--timeout", "0.1")
    assert (stopped.code, "stopped after 0.1 seconds" in stopped.err) == (1, True)
    views = garden("registry", "sql", "SELECT ref, rows FROM v_snapshots ORDER BY ref", "--json").json["rows"]
    assert views == [{"ref": f"snapshot:garden/{kind}/1", "rows": 3} for kind in ("events", "items")]
    assert "hubspoke registry schema" in garden("registry", "sql", "--help").out
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
    made = [f"{move['action']} {move['to_ref']}" for move in moves]
    assert made == ["promote release:garden/1", "promote release:garden/2", "rollback release:garden/1"]
    assert "better" in two_spokes("history", "garden").out
    assert two_spokes("promote", "hub:1").out.splitlines()[0] == "hub@live points at hub:1."


def test_schema_prints_the_views_without_a_registry(run: Any, home: Path) -> None:
    told = run("registry", "schema").out
    assert [line.split(":")[0] for line in told.splitlines() if line.startswith("v_")] == [v.name for v in VIEWS]
    parts = run("registry", "schema", "v_parts").out.splitlines()
    assert parts[0] == "v_parts: One row per named part of a model version."
    assert parts[1].split() == ["column", "type", "meaning"]
    assert parts[3].split() == ["model", "text", "reference", "of", "the", "model"]
    listed = run("registry", "schema", "v_parts", "v_models", "--json").json["views"]
    assert [view["name"] for view in listed] == ["v_parts", "v_models"]
    assert listed[0]["columns"][0] == {"name": "model", "type": "text", "meaning": "reference of the model"}
    assert not (home / ".hubspoke").exists()
    refused = run("registry", "schema", "v_model")
    assert (refused.code, "There is no view 'v_model'" in refused.err) == (5, True)


def test_backup_and_restore(garden: Any, home: Path) -> None:
    planned = garden("registry", "backup", "copy.db", "--dry-run").out.splitlines()
    assert "would be copied" in planned[0] and not (home / "copy.db").exists()
    told = garden("registry", "backup", "copy.db").out.splitlines()
    assert f" copied to {home}/copy.db (schema 000" in told[0]
    assert told[1].startswith("Artifacts are not in it: copy ") and "hubspoke bundle export" in told[1]
    assert told[2] == f"`--registry sqlite:///{home}/copy.db` opens it."
    assert garden("domain", "list", "--json", "--registry", "sqlite:///copy.db").json["domains"][0]["name"] == "garden"
    again = garden("registry", "backup", "copy.db")
    assert (again.code, "--force" in again.err) == (2, True)
    assert garden("registry", "backup", "copy.db", "--force", "--json").json["rows"]["snapshots"] == 2
    into = ("--workspace", "restored")
    assert garden("registry", "restore", "copy.db", "--yes", "--dry-run", *into).code == 2
    planned = garden("registry", "restore", "copy.db", *into)
    assert ("would be copied" in planned.out, "`--yes` restores it" in planned.err) == (True, True)
    assert not (home / "restored").exists()
    assert garden("registry", "restore", "copy.db", "--yes", "--json", *into).json["rows"]["snapshots"] == 2
    assert "garden" in garden("domain", "list", *into).out
    twice = garden("registry", "restore", "copy.db", "--yes", *into)
    assert (twice.code, "has rows already" in twice.err) == (2, True)
    assert garden("registry", "restore", "none.db", "--yes", "--workspace", "other").code == 5
