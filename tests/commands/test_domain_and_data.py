"""`hubspoke domain` and `hubspoke data`: results on stdout as text and JSON, everything else on stderr."""

from pathlib import Path
from typing import Any

from hubspoke.registry.store import Registry


def test_a_newcomer_needs_no_init_and_a_dry_run_makes_no_workspace(run: Any, home: Path) -> None:
    before, add = sorted(home.rglob("*")), ("domain", "add", "garden", "--items", "items.csv", "--events", "events.csv")
    planned = run(*add, "--dry-run")
    assert (planned.code, sorted(home.rglob("*"))) == (0, before)
    assert planned.out.startswith("garden would be added.\na new snapshot of items (dry run): 3 rows of 3\n")
    added = run(*add)
    assert (added.code, "Made a new workspace in" in added.err) == (0, True)
    assert added.out.splitlines()[:2] == ["garden is there.", "snapshot:garden/items/1: 3 rows of 3"]
    assert "1 sessions of 1 users on 3 items (mode gap)" in added.out
    again = run(*add, "--json", "--quiet")
    assert (again.err, again.json["schema_version"], again.json["cached"]) == ("", 1, True)


def test_a_registry_elsewhere_is_never_made_by_the_way(run: Any, home: Path) -> None:
    outcome = run("domain", "add", "garden", "--registry", "sqlite:///other.db")
    assert (outcome.code, (home / "other.db").exists()) == (5, False)
    assert run("init", "--registry", "sqlite:///other.db").code == 0
    assert run("domain", "add", "garden", "--registry", "sqlite:///other.db").code == 0


def test_list_show_archive_and_restore(garden: Any) -> None:
    listed = [line.split() for line in garden("domain", "list").out.splitlines()]
    assert listed[0] == ["domain", "items", "events", "spokes", "indexes", "releases", "live", "description"]
    assert listed[2] == ["garden", "1", "1", "0", "0", "0", "-"]
    (domain,) = garden("domain", "list", "--json").json["domains"]
    none = dict.fromkeys(("spokes", "indexes", "evaluations", "releases"), 0)
    assert domain["counts"] == {"item_snapshots": 1, "event_snapshots": 1, **none}
    assert "snapshot:garden/items/1, 3 rows" in garden("domain", "show", "garden").out
    assert garden("domain", "show", "garden", "--json").json["items"]["rows"] == 3
    for flags, said in (("--dry-run", "would be archived"), ("", "is archived"), ("", "is archived already")):
        assert garden("domain", "archive", "garden", *flags.split()).out == f"garden {said}.\n"
    assert garden("domain", "list").out.startswith("No domain yet")
    assert "garden (archived)" in garden("domain", "list", "--archived").out
    assert garden("domain", "archive", "garden", "--restore").out == "garden is active.\n"


def test_validate_needs_no_workspace_for_files(run: Any, home: Path) -> None:
    assert run("domain", "validate", "--items", "items.csv", "--events", "events.csv").code == 0
    (home / "bad.csv").write_text("item_id,title\n,nameless\nrose,Rose\n")
    bad = run("domain", "validate", "--items", "bad.csv")
    assert (bad.code, "error: missing_item_id x 1 (rows 1)" in bad.out) == (4, True)
    assert not (home / ".hubspoke").exists()


def test_mappings_as_option_and_as_file(run: Any, home: Path) -> None:
    (home / "odd.csv").write_text("key,label,euro\na,A,3\n")
    (home / "map.yaml").write_text("items:\n  item_id: key\n  title: label\n")
    planned = run("domain", "add", "pots", "--items", "odd.csv", "--map", "map.yaml", "--dry-run", "--json")
    assert planned.json["items"]["mapping"] == {"item_id": "key", "title": "label"}
    added = run("domain", "add", "pots", "--items", "odd.csv", "--map", "item_id=key,title=label,price=euro")
    assert "  price <- euro" in added.out


def test_an_export_that_fails_leaves_nothing(garden: Any, home: Path) -> None:
    with Registry(f"sqlite:///{home}/.hubspoke/registry.db") as registry:
        digest = registry.snapshots.get("snapshot:garden/events/1").artifact
    (events,) = (home / ".hubspoke" / "artifacts").glob(f"*/{digest}/table/*.parquet")
    events.chmod(0o644)
    events.write_bytes(b"damaged")
    assert garden("data", "export", "garden", "-o", "deep/out").code == 4
    assert not (home / "deep").exists()
    (home / "out").mkdir()
    (home / "out" / "items.csv").write_text("old")
    assert garden("data", "export", "garden", "-o", "out", "--force").code == 4
    assert [(path.name, path.read_text()) for path in (home / "out").iterdir()] == [("items.csv", "old")]


def test_export_writes_what_can_be_ingested_again(garden: Any, home: Path) -> None:
    would = garden("data", "export", "garden", "-o", "out", "--dry-run")
    assert "3 rows of events would be written to out/events.csv" in would.out
    assert not (home / "out").exists()
    written = garden("data", "export", "garden", "--format", "jsonl", "-o", "out", "--json").json
    assert written["rows"] == {"items": 3, "events": 3}
    again = ("--items", written["files"]["items"], "--events", written["files"]["events"])
    assert garden("data", "ingest", "garden", *again, "--json").json["cached"] is True
    there = garden("data", "export", "garden", "--format", "jsonl", "-o", "out")
    assert (there.code, "--force" in there.err) == (2, True)
    cut = garden("data", "export", "garden", "--format", "recbole", "--cut", "-o", "out")
    assert cut.out.splitlines()[1] == "3 rows of events written to out/garden.inter"
    head, *lines = (home / "out" / "garden.inter").read_text().splitlines()
    assert head.split("\t")[-1] == "session_id:token"
    assert {line.split("\t")[-1] for line in lines} == {"0"}


def test_ingest_snapshots_sessions_diff_until(garden: Any, home: Path) -> None:
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
    cut = garden("data", "ingest", "garden", "--events", "events.csv", "--until", "2024-05-01T10:02:00Z", "--json")
    assert (cut.json["events"]["ref"], cut.json["events"]["rows"]) == ("snapshot:garden/events/2", 2)
