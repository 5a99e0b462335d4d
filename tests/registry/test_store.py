from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.registry.records import DomainCounts, DomainRecord, ModelRecord, ReleaseRecord, SnapshotRecord
from hubspoke.registry.store import Registry


def test_every_reference_resolves_to_its_node_and_record(garden) -> None:
    release = garden.promote()
    garden.promote("hub:1", scope="hub")
    expected = {
        "hub": ("hub:1", ModelRecord),
        "hub@live": ("hub:1", ModelRecord),
        "garden": (release, ReleaseRecord),
        "garden:1": ("garden:1", ModelRecord),
        "snapshot:garden/items/latest": ("snapshot:garden/items/1", SnapshotRecord),
        "release:garden/latest": (release, ReleaseRecord),
        "domain:garden": ("domain:garden", DomainRecord),
    }
    for text, (ref, kind) in expected.items():
        node = garden.registry.resolve(text)
        assert node.ref == ref
        record = garden.registry.get(node)
        assert isinstance(record, kind)
        assert record.ref == ref
    assert garden.registry.resolve("hub").domain is None
    assert garden.registry.resolve("garden:1").domain == "garden"


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("gardne:1", r"no domain 'gardne'; did you mean garden\?"),
        ("garden", "garden@live points at nothing yet"),
        ("garden:9", "no garden:9, nor any other spoke of garden yet"),
        ("hub:9", "no hub:9; the newest hub version is hub:1"),
        ("snapshot:garden/items/7", "the newest item snapshot of garden is snapshot:garden/items/1"),
        ("index:garden/latest", "no index:garden/latest, nor any other index of garden"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(garden, reference: str, sentence: str) -> None:
    with pytest.raises(NotFoundError, match=sentence):
        garden.registry.resolve(reference)


def test_domains_are_listed_with_counts_and_what_is_live(garden) -> None:
    registry: Registry = garden.registry
    registry.domains.add("cosmetics")
    garden.promote()
    cosmetics, listed = registry.domains.list()
    assert (cosmetics.name, cosmetics.counts, cosmetics.live) == ("cosmetics", DomainCounts(), None)
    assert listed == registry.domains.get("garden") == registry.domains.find("garden")
    assert listed.counts == DomainCounts(item_snapshots=1, event_snapshots=1, spokes=1, indexes=1, releases=1)
    assert (listed.ref, listed.description, listed.live) == ("domain:garden", "plants and pots", "release:garden/1")


def test_an_archived_domain_leaves_the_listing_and_may_return(garden) -> None:
    registry: Registry = garden.registry
    assert registry.domains.archive("garden").status == "archived"
    assert registry.domains.list() == []
    assert [d.name for d in registry.domains.list(archived=True)] == ["garden"]
    assert registry.domains.archive("garden", archived=False).status == "active"


def test_domain_settings_are_replaced(garden) -> None:
    settings = {"sessions": {"gap_minutes": 30}, "currency": "€"}
    assert garden.registry.domains.set_settings("garden", settings).settings == settings
    assert garden.registry.domains.get("garden").settings == settings


def test_a_name_is_taken_once_and_must_be_a_word(garden) -> None:
    with pytest.raises(UsageError, match="a domain 'garden' already"):
        garden.registry.domains.add("garden")
    with pytest.raises(UsageError, match="reserved word"):
        garden.registry.domains.add("hub")
    assert garden.registry.domains.find("pets") is None


def test_an_unknown_domain_in_an_empty_registry(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match=r"nor any other yet; add it with `hubspoke domain add garden`\."):
        registry.domains.get("garden")


def test_equal_content_is_one_snapshot(garden, stored) -> None:
    first = garden.snapshot("items")
    again, created = garden.registry.snapshots.add("garden", "items", "a", 10, stored("other"))
    assert (again, created) == (first, False)
    second, created = garden.registry.snapshots.add("garden", "items", "b", 12, stored("b"), details={"in": 12})
    assert (second.ref, second.version, second.details, created) == ("snapshot:garden/items/2", 2, {"in": 12}, True)
    assert garden.registry.snapshots.get("snapshot:garden/items/latest") == second
    assert garden.registry.snapshots.get("snapshot:garden/events/latest").ref == "snapshot:garden/events/1"
    assert garden.registry.snapshots.list("garden", "items") == [first, second]
    assert len(garden.registry.snapshots.list()) == 3


def test_timestamps_come_back_in_utc(garden, stored) -> None:
    as_of = datetime(2017, 6, 1, 12, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    record, _ = garden.registry.snapshots.add("garden", "events", "later", 1, stored("e"), as_of=as_of)
    assert record.as_of == as_of
    assert record.as_of.tzinfo is UTC
    assert record.created_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - record.created_at) < timedelta(minutes=1)
    assert record.to_dict()["as_of"] == "2017-06-01T10:30:00.123456+00:00"


def test_a_naive_timestamp_is_refused_and_nothing_is_left(garden, stored) -> None:
    with pytest.raises(Exception, match="has no time zone"):
        garden.registry.snapshots.add("garden", "items", "n", 1, stored("n"), as_of=datetime(2017, 6, 1))
    assert garden.registry.snapshots.get("snapshot:garden/items/latest").version == 1
    assert len(garden.registry.artifacts.list()) == 3


def test_an_artifact_is_recorded_once_with_its_files(garden, stored) -> None:
    digest = garden.registry.snapshots.get("snapshot:garden/items/latest").artifact
    (record,) = (artifact for artifact in garden.registry.artifacts.list() if artifact.digest == digest)
    assert (record.ref, record.bytes, record.files) == (digest, len("itemsa"), {"data": digest})


def test_unknown_words_are_refused_with_the_known_ones(garden) -> None:
    with pytest.raises(UsageError, match="use one of items, events"):
        garden.registry.snapshots.list("garden", "orders")
    with pytest.raises(UsageError, match="use one of training, ready, failed"):
        garden.registry.models.list(status="done")
    with pytest.raises(UsageError, match="is of kind hub; name a item snapshot or event snapshot here"):
        garden.registry.snapshots.get("hub:1")
