"""`hubspoke rules`: what each verb says, and the codes it ends with."""

from pathlib import Path
from typing import Any


def test_rules_are_registered_shown_and_held_against_the_catalog(garden: Any, home: Path) -> None:
    told = garden("rules", "set", "garden", "--set", "hide_items=[rose]", "--set", "max_per_brand=3")
    assert told.out.splitlines() == [
        "Registered: rules:garden/1.",
        "rules         hide_items: ['rose']; max_per_brand: 3",
        "items hidden  1",
        "Let them serve with `hubspoke promote garden --rules rules:garden/1`.",
    ]
    assert "rules:garden/1  " in garden("rules", "show", "garden").out
    assert garden("rules", "show", "garden", "--json").json["live"] is None
    fits = garden("rules", "check", "garden", "rules:garden/1")
    assert (fits.code, fits.out.splitlines()[0]) == (0, "rules:garden/1 fits the newest catalog of garden.")
    (home / "newer.csv").write_text("item_id,title\nfern,Green fern\n")
    assert garden("data", "ingest", "garden", "--items", "newer.csv").code == 0
    stray = garden("rules", "check", "garden", "rules:garden/1")
    assert (stray.code, stray.out.splitlines()[-1]) == (4, "unknown in hide_items  rose")
    for verb, code in (("set", 2), ("check", 5), ("clear", 5)):
        assert garden("rules", verb, "garden").code == code
