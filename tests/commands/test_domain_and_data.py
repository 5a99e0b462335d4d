"""`hubspoke domain` and `hubspoke data`: results on stdout as text and JSON, everything else on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_a_newcomer_needs_no_init(run: Any, home: Path) -> None:
    added = run("domain", "add", "garden", "--items", "items.csv", "--events", "events.csv")
    assert added.code == 0
    assert "Made a new workspace in" in added.err
    assert added.out.splitlines()[:2] == ["garden is there.", "snapshot:garden/items/1: 3 rows of 3"]
    assert "1 sessions of 1 users on 3 items (mode gap)" in added.out
    again = run("domain", "add", "garden", "--items", "items.csv", "--events", "events.csv", "--json", "--quiet")
    assert again.err == ""
    assert (again.json["schema_version"], again.json["cached"]) == (1, True)


def test_a_dry_run_makes_no_workspace(run: Any, home: Path) -> None:
    before = sorted(home.rglob("*"))
    planned = run("domain", "add", "garden", "--items", "items.csv", "--events", "events.csv", "--dry-run")
    assert planned.code == 0
    assert planned.out.startswith("garden would be added.\na new snapshot of items (dry run): 3 rows of 3\n")
    assert sorted(home.rglob("*")) == before


def test_a_registry_elsewhere_is_never_made_by_the_way(run: Any, home: Path) -> None:
    outcome = run("domain", "add", "garden", "--registry", "sqlite:///other.db")
    assert (outcome.code, (home / "other.db").exists()) == (5, False)
    assert run("init", "--registry", "sqlite:///other.db").code == 0
    assert run("domain", "add", "garden", "--registry", "sqlite:///other.db").code == 0


def test_list_and_show(garden: Any) -> None:
    listed = garden("domain", "list")
    assert listed.out.splitlines()[0].split() == [
        "domain", "items", "events", "spokes", "indexes", "releases", "live", "description",
    ]  # fmt: skip
    assert listed.out.splitlines()[2].split() == ["garden", "1", "1", "0", "0", "0", "-"]
    domains = garden("domain", "list", "--json").json["domains"]
    assert domains[0]["counts"] == {
        "item_snapshots": 1,
        "event_snapshots": 1,
        "spokes": 0,
        "indexes": 0,
        "evaluations": 0,
        "releases": 0,
    }
    assert "snapshot:garden/items/1, 3 rows" in garden("domain", "show", "garden").out
    assert garden("domain", "show", "garden", "--json").json["items"]["rows"] == 3


def test_archive_and_restore(garden: Any) -> None:
    assert garden("domain", "archive", "garden", "--dry-run").out == "garden would be archived.\n"
    assert garden("domain", "archive", "garden").out == "garden is archived.\n"
    assert garden("domain", "archive", "garden").out == "garden is archived already.\n"
    assert garden("domain", "list").out.startswith("No domain yet")
    assert "garden (archived)" in garden("domain", "list", "--archived").out
    assert garden("domain", "archive", "garden", "--restore").out == "garden is active.\n"


def test_validate_needs_no_workspace_for_files(run: Any, home: Path) -> None:
    assert run("domain", "validate", "--items", "items.csv", "--events", "events.csv").code == 0
    (home / "bad.csv").write_text("item_id,title\n,nameless\nrose,Rose\n")
    bad = run("domain", "validate", "--items", "bad.csv")
    assert bad.code == 4
    assert "error: missing_item_id x 1 (rows 1)" in bad.out
    assert not (home / ".hubspoke").exists()


def test_mappings_as_option_and_as_file(run: Any, home: Path) -> None:
    (home / "odd.csv").write_text("key,label,euro\na,A,3\n")
    (home / "map.yaml").write_text("items:\n  item_id: key\n  title: label\n")
    planned = run("domain", "add", "pots", "--items", "odd.csv", "--map", "map.yaml", "--dry-run", "--json")
    assert planned.json["items"]["mapping"] == {"item_id": "key", "title": "label"}
    added = run("domain", "add", "pots", "--items", "odd.csv", "--map", "item_id=key,title=label,price=euro")
    assert "  price <- euro" in added.out


def test_ingest_snapshots_sessions_diff(garden: Any, home: Path) -> None:
    (home / "more.csv").write_text((home / "items.csv").read_text() + "ivy,Ivy\n")
    assert garden("data", "ingest", "garden", "--items", "more.csv", "--json").json["items"]["rows"] == 4
    assert "(cached)" in garden("data", "ingest", "garden", "--items", "more.csv").out
    listed = garden("data", "snapshots", "garden", "--kind", "items", "--json").json["snapshots"]
    assert [snapshot["ref"] for snapshot in listed] == ["snapshot:garden/items/1", "snapshot:garden/items/2"]
    assert "more.csv" in garden("data", "snapshots").out
    shown = garden("data", "diff", "snapshot:garden/items/1", "snapshot:garden/items/2").out
    assert shown.splitlines()[1:] == ["1 added: ivy", "0 removed", "0 changed"]
    sessions = garden("data", "sessions", "garden")
    assert "cut at pauses of 30 minutes and at searches" in sessions.out
    tried = garden("data", "sessions", "garden", "--sessions", "per_user", "--json")
    assert (tried.json["mode"], tried.json["sessions"]) == ("per_user", 1)
    changed = garden("data", "ingest", "garden", "--sessions", "per_user")
    assert changed.out == "The session settings of garden are set.\n"
    assert garden("data", "sessions", "garden", "--json").json["mode"] == "per_user"


def test_until_cuts_the_events(garden: Any) -> None:
    cut = garden("data", "ingest", "garden", "--events", "events.csv", "--until", "2024-05-01T10:02:00Z", "--json")
    assert (cut.json["events"]["ref"], cut.json["events"]["rows"]) == ("snapshot:garden/events/2", 2)
