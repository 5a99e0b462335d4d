from datetime import UTC, datetime, timedelta, timezone

import pytest
from hubspoke.errors import HubspokeError, NotFoundError, UsageError
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
        record = garden.registry.get(node)
        assert (node.ref, record.ref, type(record)) == (ref, ref, kind)
    assert [garden.registry.resolve(text).domain for text in ("hub", "garden:1")] == [None, "garden"]


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


def test_what_takes_nothing_says_so_before_anything_is_stored(garden, read_only) -> None:
    registry: Registry = garden.registry
    before = registry.lineage.upstream("hub:1")
    registry.require_writable()
    with read_only(registry), pytest.raises(HubspokeError, match=r"cannot be written; give this user write access"):
        registry.require_writable()
    registry.require_writable()
    assert registry.lineage.upstream("hub:1") == before


def test_domains_are_listed_with_counts_and_what_is_live(garden) -> None:
    registry: Registry = garden.registry
    registry.domains.add("cosmetics")
    garden.promote()
    cosmetics, listed = registry.domains.list()
    assert (cosmetics.name, cosmetics.counts, cosmetics.live) == ("cosmetics", DomainCounts(), None)
    assert listed == registry.domains.get("garden") == registry.domains.find("garden")
    assert listed.counts == DomainCounts(item_snapshots=1, event_snapshots=1, spokes=1, indexes=1, releases=1)
    assert (listed.ref, listed.description, listed.live) == ("domain:garden", "plants and pots", "release:garden/1")


def test_domains_are_archived_brought_back_and_set_up(garden) -> None:
    domains = garden.registry.domains
    assert domains.archive("garden").status == "archived"
    assert (domains.list(), [domain.name for domain in domains.list(archived=True)]) == ([], ["garden"])
    assert domains.archive("garden", archived=False).status == "active"
    settings = {"sessions": {"gap_minutes": 30}, "currency": "€"}
    assert domains.set_settings("garden", settings).settings == domains.get("garden").settings == settings


def test_a_name_is_taken_once_and_must_be_a_word(garden, registry: Registry) -> None:
    for name, said in (("garden", "a domain 'garden' already"), ("hub", "reserved word")):
        with pytest.raises(UsageError, match=said):
            registry.domains.add(name)
    assert registry.domains.find("pets") is None


def test_an_unknown_domain_in_an_empty_registry(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match=r"nor any other yet; add it with `hubspoke domain add garden`\."):
        registry.domains.get("garden")


def test_equal_content_is_one_snapshot(garden, stored) -> None:
    first, snapshots = garden.snapshot("items"), garden.registry.snapshots
    assert snapshots.add("garden", "items", "a", 10, stored("other")) == (first, False)
    second, created = snapshots.add("garden", "items", "b", 12, stored("b"), details={"in": 12})
    assert (second.ref, second.version, second.details, created) == ("snapshot:garden/items/2", 2, {"in": 12}, True)
    assert snapshots.get("snapshot:garden/items/latest") == second
    assert snapshots.get("snapshot:garden/events/latest").ref == "snapshot:garden/events/1"
    assert (snapshots.list("garden", "items"), len(snapshots.list())) == ([first, second], 3)
    assert snapshots.newest() == {("garden", "items"): second.ref, ("garden", "events"): "snapshot:garden/events/1"}
    garden.registry.domains.archive("garden")
    assert snapshots.newest() == {}
    # Its artifact is recorded once with its files.
    (record,) = (artifact for artifact in garden.registry.artifacts.list() if artifact.digest == first.artifact)
    assert (record.ref, record.bytes, record.files) == (first.artifact, len("itemsa"), {"data": first.artifact})


def test_timestamps_come_back_in_utc_and_a_naive_one_is_refused_and_leaves_nothing(garden, stored) -> None:
    snapshots = garden.registry.snapshots
    with pytest.raises(Exception, match="has no time zone"):
        snapshots.add("garden", "items", "n", 1, stored("n"), as_of=datetime(2017, 6, 1))
    assert snapshots.get("snapshot:garden/items/latest").version == 1
    assert len(garden.registry.artifacts.list()) == 3
    as_of = datetime(2017, 6, 1, 12, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    record, _ = snapshots.add("garden", "events", "later", 1, stored("e"), as_of=as_of)
    assert (record.as_of, record.as_of.tzinfo, record.created_at.tzinfo) == (as_of, UTC, UTC)
    assert abs(datetime.now(UTC) - record.created_at) < timedelta(minutes=1)
    assert record.to_dict()["as_of"] == "2017-06-01T10:30:00.123456+00:00"


def test_unknown_words_are_refused_with_the_known_ones(garden) -> None:
    for ask, said in (
        (lambda: garden.registry.snapshots.list("garden", "orders"), "use one of items, events"),
        (lambda: garden.registry.models.list(status="done"), "use one of training, ready, failed"),
        (
            lambda: garden.registry.snapshots.get("hub:1"),
            "kind hub; name an item snapshot or an event snapshot here",
        ),
    ):
        with pytest.raises(UsageError, match=said):
            ask()
