"""Judgements are kept as they come; of several by one person on one thing the newest counts."""

import pytest
from hubspoke.errors import NotFoundError
from hubspoke.registry.store import Registry


def test_the_newest_judgement_of_a_person_counts(garden, registry: Registry) -> None:
    garden.model("spoke")
    keep = registry.judgements.add
    for item, good in (("rose", True), ("tulip", False), ("rose", False)):
        keep("garden", "garden:1", ["lily", "iris"], item, good, "ann")
    keep("garden", "garden:1", ["lily", "iris"], "rose", True, "bob")
    keep("garden", "garden:1", ["iris", "lily"], "rose", True, "ann")
    assert [(own.item, own.good, own.actor, own.session, own.ref) for own in registry.judgements.list("garden")] == [
        ("tulip", False, "ann", ("lily", "iris"), "garden:1"),
        ("rose", False, "ann", ("lily", "iris"), "garden:1"),
        ("rose", True, "bob", ("lily", "iris"), "garden:1"),
        ("rose", True, "ann", ("iris", "lily"), "garden:1"),
    ]
    registry.domains.add("pets")
    assert registry.judgements.list("pets") == []
    with pytest.raises(NotFoundError):
        keep("garden", "garden:9", ["lily"], "rose", True, "ann")
