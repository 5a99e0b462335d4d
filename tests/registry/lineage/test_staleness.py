"""Staleness: what serves and has been overtaken by a newer hub, newer items or newer events, and what is left out."""

import pytest
from hubspoke.errors import NotFoundError
from hubspoke.registry.lineage.staleness import Staleness
from hubspoke.registry.records import Parent, ReleaseParts

ITEMS = "snapshot:garden/items"
EVENTS = "snapshot:garden/events"


def short(findings: list[Staleness]) -> list[tuple[str, str, str, str, str]]:
    return [(f.domain, f.part, f.what, f.has, f.newest) for f in findings]


@pytest.fixture
def live(garden):
    """garden with a live release of hub:1, which is hub@live, on the newest of everything."""
    garden.promote()
    garden.promote("hub:1", scope="hub")
    return garden


def test_what_is_fresh_and_what_is_not_live_is_not_behind(live) -> None:
    registry = live.registry
    registry.domains.add("attic")
    live.hub()  # trained, but promoted nowhere
    live.spoke("hub:1")
    assert [registry.lineage.staleness(name) for name in (None, "garden", "attic")] == [[], [], []]
    assert registry.releases.live() == {"garden": "release:garden/1"}
    with pytest.raises(NotFoundError):
        registry.lineage.staleness("cellar")


def test_newer_snapshots_put_the_parts_behind_that_saw_an_older_one(live) -> None:
    registry = live.registry
    live.snapshot("items", "b")
    newest = live.snapshot("items", "c").ref
    live.snapshot("events", "b")
    # A spoke on two parts of one snapshot is named once.
    registry.lineage.add_edge("garden:1", Parent(f"{EVENTS}/1", "trained_on", "again"))
    found = registry.lineage.staleness("garden")
    assert short(found) == [
        ("garden", "garden:1", "newer events", f"{EVENTS}/1", f"{EVENTS}/2"),
        ("garden", "hub:1", "newer items", f"{ITEMS}/1", newest),
        ("garden", "index:garden/1", "newer items", f"{ITEMS}/1", newest),
    ]
    assert found[0].detail == f"10 rows in {EVENTS}/1, 10 rows in {EVENTS}/2"
    assert registry.lineage.staleness() == found
    # The hub is told on even where nothing of the domain serves from it any more.
    registry.domains.archive("garden")
    assert (registry.lineage.staleness(), registry.releases.live()) == ([], {})


def test_a_hub_that_has_moved_on_and_one_that_was_taken_back(live) -> None:
    registry = live.registry
    live.hub()
    live.promote("hub:2", scope="hub")
    assert short(registry.lineage.staleness()) == [("garden", "release:garden/1", "newer hub", "hub:1", "hub:2")]
    assert registry.lineage.staleness("garden")[0].detail == "serves from hub:1 while hub@live is hub:2"
    spoke = live.spoke("hub:2").ref
    release = live.promote(ReleaseParts("hub:2", live.index(spoke).ref, spoke))
    assert registry.lineage.staleness() == []
    registry.aliases.rollback("hub", "live", "ann")
    assert short(registry.lineage.staleness()) == [("garden", release, "other hub", "hub:2", "hub:1")]


def test_the_hub_that_is_live_is_looked_at_though_nothing_serves_from_it(live) -> None:
    registry = live.registry
    registry.domains.add("attic")
    old = live.snapshot("items", "a", "attic")
    live.model("hub", [Parent(old.ref, "trained_on"), Parent(f"{ITEMS}/1", "trained_on")])
    live.promote("hub:2", scope="hub")
    new = live.snapshot("items", "b", "attic")
    assert short(registry.lineage.staleness()) == [
        ("attic", "hub:2", "newer items", old.ref, new.ref),
        ("garden", "release:garden/1", "newer hub", "hub:1", "hub:2"),
    ]
    # One domain is told of its own data only.
    assert [f.what for f in registry.lineage.staleness("garden")] == ["newer hub"]
