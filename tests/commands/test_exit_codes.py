"""Every way to go wrong has its exit code and one sentence with the remedy, on stderr and with --json on stdout."""

import errno
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.registry.database import HEAD_REVISION
from hubspoke.registry.locks import FileLock, held
from hubspoke.workflows.domains import Domains


def set_revision(home: Path, revision: str) -> None:
    connection = sqlite3.connect(home / ".hubspoke" / "registry.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()


def check(outcome: Any, code: int, said: str) -> None:
    assert outcome.code == code, outcome
    sentences = [line for line in outcome.err.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1
    assert said in sentences[0]
    assert "Traceback" not in outcome.err
    if outcome.out:
        error = outcome.json["error"]
        assert (error["exit_code"], f"Error: {error['message']}") == (code, sentences[0])
        assert outcome.json["schema_version"] == 1


def test_no_workspace_and_what_processes_cannot_share(run: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ((), ("--json",)):
        check(run("domain", "list", *form), 5, "hubspoke init")
    monkeypatch.setenv("WORLD_SIZE", "2")
    check(run("launch", "garden", "--catalog", "items.csv", "--json"), 2, "only `spoke train` and `hub train` share")
    check(run("init"), 2, "run this command once, without torchrun")
    assert not (home / ".hubspoke").exists()


def test_an_empty_catalog_and_one_item(run: Any, home: Path) -> None:
    (home / "empty.csv").write_text("item_id,title\n")
    check(run("domain", "add", "garden", "--items", "empty.csv", "--json"), 4, "no item is left")
    assert run("domain", "list", "--json").json["domains"] == []
    (home / "one.csv").write_text("item_id,title\nrose,Red rose\n")
    added = run("domain", "add", "garden", "--items", "one.csv", "--json")
    assert (added.code, added.json["items"]["rows"]) == (0, 1)


def test_events_on_unknown_items(run: Any, home: Path) -> None:
    (home / "stray.csv").write_text("user_id,item_id,timestamp\nann,oak,2024-05-01\nbob,elm,2024-05-02\n")
    outcome = run("domain", "add", "garden", "--items", "items.csv", "--events", "stray.csv", "--json")
    check(
        outcome, 4, "(2 x unknown_item): no event is left: all 2 are on an item that the catalog lacks, such as 'oak'"
    )
    assert [problem["row"] for problem in outcome.json["error"]["report"]["problems"]] == [0, 1, 2]
    assert "rows 1, 2" in outcome.err
    assert run("domain", "list", "--json").json["domains"] == []


def test_no_readable_picture(run: Any, home: Path) -> None:
    (home / "rose.png").write_bytes(b"no picture")
    (home / "pictured.csv").write_text("item_id,title,image\nrose,Red rose,rose.png\nfern,Green fern,fern.png\n")
    add = ("domain", "add", "garden", "--items", "pictured.csv")
    check(run(*add, "--json"), 4, "1 x image_missing, 1 x image_unreadable")
    assert run("domain", "list", "--json").json["domains"] == []
    assert run(*add, "--on-error", "skip", "--json").json["items"]["rows"] == 2
    assert run("domain", "validate", "garden").out.endswith("pictures: 0 pictures of 0 items\n")


REFUSED = {
    "promote garden/7": (2, "is not a reference"),
    "lineage show index:garden": (2, "is not a reference"),
    "data diff snapshot:garden/items/0 snapshot:garden/items/1": (2, "is not a reference"),
    "data sessions garden --events garden:events": (2, "is not a reference"),
    "hub train --set epochs": (2, "write KEY=VALUE"),
    "spoke train garden --set epochs": (2, "write KEY=VALUE"),
    "data ingest garden --items none.csv": (5, "none.csv"),
    "hub train --config none.yaml": (5, "no config file none.yaml"),
    "data ingest garden --items items.csv --map none.yaml": (5, "none.yaml"),
}
UNKNOWN = ("domain show", "data sessions", "domain archive", "history", "rollback")


def test_what_is_named_wrongly(garden: Any) -> None:
    for command, (code, said) in (REFUSED | {f"{verb} gardn": (5, "did you mean garden") for verb in UNKNOWN}).items():
        check(garden(*command.split()), code, said)


@pytest.mark.parametrize(("revision", "said"), [("9999", "made by a newer hubspoke"), ("0000", "hubspoke")])
def test_a_registry_of_another_schema(garden: Any, home: Path, revision: str, said: str) -> None:
    set_revision(home, revision)
    for command in ("domain list", "domain add pots --items items.csv", "init", "init --dry-run"):
        check(garden(*command.split()), 6, said)
    assert garden("registry", "current", "--json").json["current"] == revision
    assert garden("doctor").code == 6


def test_an_older_registry_a_lock_of_another_and_a_typo_in_the_settings(garden: Any, home: Path, monkeypatch) -> None:
    with held(FileLock(home / ".hubspoke" / "registry.db", "data garden")):
        check(garden("data", "ingest", "garden", "--items", "items.csv"), 8, "holds 'data garden'")
    monkeypatch.setattr("hubspoke.registry.database.REVISIONS", ("0000", HEAD_REVISION))
    set_revision(home, "0000")
    check(garden("domain", "list"), 6, "hubspoke registry upgrade")
    (home / "hubspoke.yaml").write_text("devise: cpu\n")
    check(garden("domain", "list"), 2, "did you mean device")


def test_a_wrong_config_value_names_the_setting(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for values, said in (({"gap": 3}, "'gap' is no setting"), ({"gap_minutes": -1}, "gap_minutes is -1")):
        monkeypatch.setattr(Domains, "list", lambda *_, values=values: SessionSettings(**values))
        check(garden("domain", "list", "--json"), 2, said)


def test_a_corrupted_artifact(garden: Any, home: Path) -> None:
    for data in (home / ".hubspoke" / "artifacts").rglob("data.parquet"):
        data.write_bytes(data.read_bytes()[::-1])
    check(garden("data", "sessions", "garden"), 4, "hubspoke data ingest garden --events FILE")
    validated = garden("domain", "validate", "garden", "--json")
    assert (validated.code, validated.json["ok"]) == (4, False)
    assert garden("doctor", "--verify").code == 4


def test_a_full_disk(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/store/x")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        check(garden("domain", "add", "pots", "--items", "items.csv"), 1, "free some and repeat")
        patched.setattr("hubspoke.workflows.domains.Domains.list", full)
        check(garden("domain", "list"), 1, "No space is left on the disk that holds /store/x")
    assert [d["name"] for d in garden("domain", "list", "--json").json["domains"]] == ["garden"]


def test_a_fault_of_ours_and_an_interruption_are_one_sentence(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: BaseException) -> None:
        raise error

    for error, code, said in (
        (ValueError("seven is\nno colour."), 1, "ValueError: seven is no colour; --debug shows the traceback."),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ):
        monkeypatch.setattr(Domains, "list", lambda *_, error=error: fails(error))
        check(garden("domain", "list", "--json"), code, said)
        assert "Traceback" in garden("domain", "list", "--debug").err


WRONG = ["domain add", "domain fly", "domain list --colour", "recommend garden -k 0", "data ingest garden --until soon"]
WRONG += ["evaluate run --domain garden --model hub --k 10,none"]
WRONG += ["gc --yes --dry-run", "gc --older-than -1", "gc --older-than nan"]


def test_a_wrong_call(garden: Any) -> None:
    for command in WRONG:
        outcome = garden(*command.split(), "--json")
        assert (outcome.code, outcome.json["error"]["exit_code"], "Error: " in outcome.err) == (2, 2, True), command
        assert garden(*command.split()).out == ""
