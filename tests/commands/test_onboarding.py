"""What the commands tell of how files were read: format, mapping, losses, times, sessions."""

from pathlib import Path
from typing import Any

EXPORT = "sku,name,Regular price,stock\n007,Pot,4.5,3\n008,Pan,cheap,0\n,Lid,1,1\n"


def test_launch_and_add_print_and_return_how_the_files_were_read(run: Any, home: Path) -> None:
    (home / "export.csv").write_text(EXPORT)
    (home / "seen.csv").write_text("user,item,date\nann,007,2024-05-01 10:00\nann,zzz,2024-05-02 11:30\n")
    files = ("--on-error", "skip", "--dry-run", "--events", "seen.csv")
    launched = run("launch", "pots", "--catalog", "export.csv", *files)
    added = run("domain", "add", "pots", "--items", "export.csv", *files)
    for outcome in (launched, added):
        assert outcome.code == 0, outcome.err
        for line in (
            "a new snapshot of items (dry run): 2 rows of 3",
            "  item_id <- sku",
            "  available <- stock:positive",
            "  repeated rows and rows with problems left out: 3 rows became 2",
            "  1 x bad_price: price 'cheap' is no number; write it like 12.99.",
            "  1 x missing_item_id: the row has no item_id; give it one.",
            "  1 x unknown_item: item 'zzz' is not in the catalog; add the item or correct the event.",
            "  note: times from 2024-05-01 10:00 to 2024-05-02 11:30 UTC, read as ISO 8601",
            "  0 sessions of 0 users on 0 items (mode gap)",
            "  no session: every session is shorter than 3 items, and so are all events of a user; more events are "
            "needed",
        ):
            assert line in outcome.out.splitlines(), line
    found = run("launch", "pots", "--catalog", "export.csv", *files, "--json").json
    assert found["items"]["mapping"] == {
        "item_id": "sku", "title": "name", "price": "Regular price", "available": "stock:positive",
    }  # fmt: skip
    assert found["items"]["report"]["reasons"]["title"] == "by a common name"
    assert [told["code"] for told in found["events"]["report"]["told"]] == ["unknown_item"]


def test_validate_shows_mapping_and_repeated_values(run: Any, home: Path) -> None:
    (home / "export.csv").write_text(EXPORT.replace("4.5", "cheap").replace("Regular price", "Price"))
    outcome = run("domain", "validate", "--items", "export.csv")
    assert "read as generic: item_id <- sku, title <- name, " in outcome.out
    assert "error: bad_price x 2 (rows 1, 2) ['cheap' x 2]: " in outcome.out
    report = run("domain", "validate", "--items", "export.csv", "--json").json["reports"][0]
    assert (report["format"], report["mapping"]["available"]) == ("generic", "stock:positive")


def test_an_unmapped_title_stops_a_launch(run: Any, home: Path) -> None:
    (home / "mugs.csv").write_text("sku,label\n1,Red mug\n2,Blue mug\n")
    refused = run("launch", "mugs", "--catalog", "mugs.csv", "--on-error", "skip")
    assert (refused.code, "map one with --map title=label" in refused.err) == (4, True)
    meant = run("domain", "add", "mugs", "--items", "mugs.csv", "--map", "title=", "--dry-run")
    assert (meant.code, "  2 x no_content: " in meant.out) == (0, True)


def test_columns_with_blanks_commas_and_forms_are_mapped(run: Any, home: Path) -> None:
    (home / "ean.csv").write_text('EAN ,"Name, long"\n"0001 ",Mint tea\n0002,Black tea\n')
    (home / "seen.csv").write_text("user,code,date\nann,1,2024-05-01\nann,2,2024-05-02\n")
    add = ("domain", "add", "tea", "--items", "ean.csv", "--events", "seen.csv", "--dry-run", "--json")
    mapped = (*add, "--map", 'item_id=EAN ,title="Name, long"', "--event-map")
    refused = run(*mapped, "item_id=code")
    assert "all 2 would match with leading zeros to 4 places: --event-map item_id=code:zfill4" in refused.err
    read = run(*mapped, "item_id=code:zfill4").json
    assert read["items"]["mapping"] == {"item_id": "EAN", "title": "Name, long"}
    assert (read["events"]["rows"], read["events"]["mapping"]["item_id"]) == (2, "code:zfill4")


def test_events_without_a_session_say_how_to_get_one(garden: Any, home: Path) -> None:
    moments = enumerate(("rose", "fern", "pot"), start=1)
    (home / "far.csv").write_text("user,item,date\n" + "".join(f"ann,{i},2024-05-0{d} 10:00\n" for d, i in moments))
    said = "every session is shorter than 3 items; --sessions per_user takes all events of a user as one"
    ingested = garden("data", "ingest", "garden", "--events", "far.csv")
    assert f"  no session: {said} (1 users would have one)" in ingested.out
    trained = garden("spoke", "train", "garden")
    assert (trained.code, f"garden has events but no session: {said}" in trained.err) == (4, True)
