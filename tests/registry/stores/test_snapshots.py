"""Snapshots: equal content is registered once, until it is taken again after other content."""

from collections.abc import Callable

from hubspoke.registry.artifacts.manifests import StoredArtifact
from hubspoke.registry.store import Registry


def test_content_that_comes_back_is_the_newest_again(
    registry: Registry, stored: Callable[[str], StoredArtifact]
) -> None:
    registry.domains.add("garden", "", {})

    def take(content: str, again: bool) -> tuple[str, bool]:
        snapshot, made = registry.snapshots.add("garden", "items", content, 1, stored(content), again=again)
        assert snapshot.content == content
        return snapshot.ref, made

    first, second = "snapshot:garden/items/1", "snapshot:garden/items/2"
    assert [take("a", True), take("ab", True)] == [(first, True), (second, True)]
    assert [take("ab", True), take("a", False)] == [(second, False), (first, False)]
    assert [take("a", True), take("a", True)] == [("snapshot:garden/items/3", True), ("snapshot:garden/items/3", False)]
    assert [take("ab", True), take("a", True)] == [
        ("snapshot:garden/items/4", True),
        ("snapshot:garden/items/5", True),
    ]
    hashes = [own.content_hash for own in registry.snapshots.list("garden", "items")]
    assert hashes == ["a", "ab", "a+2", "ab+2", "a+3"]
    assert registry.snapshots.newest() == {("garden", "items"): "snapshot:garden/items/5"}
