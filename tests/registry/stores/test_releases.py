from __future__ import annotations

from dataclasses import replace

import pytest
from hubspoke.errors import IncompatibleError, UsageError
from hubspoke.registry.records import ReleaseParts


def test_a_release_names_its_exact_parts_and_equal_parts_are_one_release(garden) -> None:
    rules, _ = garden.registry.rules.add("garden", {"pin": ["rose"]})
    parts = garden.parts(rules.ref)
    made, created = garden.registry.releases.add("garden", parts)
    assert (made.ref, made.parts, created) == ("release:garden/1", parts, True)
    assert garden.registry.releases.add("garden", parts) == (made, False)
    assert garden.registry.releases.find("garden", parts) == made
    plain = replace(parts, rules=None)
    assert garden.registry.releases.find("garden", plain) is None
    other, created = garden.registry.releases.add("garden", plain)
    assert (other.version, other.rules, created) == (2, None, True)
    assert garden.registry.releases.list("garden") == [made, other]
    assert garden.registry.releases.get("release:garden/2") == other
    named = {(e.parent, e.part) for e in garden.registry.lineage.upstream(made.ref).edges if e.child == made.ref}
    assert named == {
        ("hub:1", "hub"),
        ("garden:1", "spoke"),
        ("index:garden/1", "index"),
        ("rules:garden/1", "rules"),
    }


def test_the_hub_alone_serves_a_domain_on_day_zero(garden) -> None:
    # The index's space is the hub's, calibrated for this catalog: another fingerprint by design.
    index = garden.index("hub:1", space="s, whitened")
    made, _ = garden.registry.releases.add("garden", ReleaseParts("hub:1", index.ref))
    assert made.parts == ReleaseParts("hub:1", index.ref)


def test_an_index_of_another_model_or_space_is_refused(garden) -> None:
    first, second = garden.spoke("hub:1"), garden.spoke("hub:1")
    index = garden.index(first.ref)
    with pytest.raises(IncompatibleError, match=r"was filled by garden:1, not by garden:2; build an index with"):
        garden.registry.releases.add("garden", ReleaseParts("hub:1", index.ref, second.ref))
    stray = garden.index(first.ref, space="elsewhere")
    with pytest.raises(IncompatibleError, match="is of embedding space elsewhere, garden:1 speaks"):
        garden.registry.releases.add("garden", ReleaseParts("hub:1", stray.ref, first.ref))
    assert garden.registry.releases.list() == []


def test_a_spoke_is_released_with_its_own_hub(garden) -> None:
    spoke = garden.spoke("hub:1")
    index = garden.index(spoke.ref)
    garden.hub()
    with pytest.raises(IncompatibleError, match=r"garden:1 stands on hub:1, not on hub:2; release it with hub:1"):
        garden.registry.releases.add("garden", ReleaseParts("hub:2", index.ref, spoke.ref))


def test_a_reranker_fits_the_space_of_what_it_ranks(garden) -> None:
    parts = garden.parts()
    fits, stray = garden.reranker("garden:1"), garden.reranker("garden:1", space="elsewhere")
    assert (fits.ref, fits.domain, fits.kind) == ("reranker:garden/1", "garden", "reranker")
    made, _ = garden.registry.releases.add("garden", replace(parts, reranker=fits.ref))
    assert made.reranker == "reranker:garden/1"
    with pytest.raises(
        IncompatibleError, match=r"reranker:garden/2 is of embedding space elsewhere, garden:1 speaks s"
    ):
        garden.registry.releases.add("garden", replace(parts, reranker=stray.ref))


def test_parts_of_another_domain_or_kind_are_refused(garden) -> None:
    index = garden.index("hub:1")
    garden.registry.domains.add("pets")
    rules, _ = garden.registry.rules.add("pets", {"pin": ["bone"]})
    create = garden.registry.releases.add
    with pytest.raises(UsageError, match="index:garden/1 is not of domain pets"):
        create("pets", ReleaseParts("hub:1", index.ref))
    with pytest.raises(UsageError, match="hub:1 is of kind hub; name a spoke here"):
        create("garden", ReleaseParts("hub:1", index.ref, "hub:1"))
    with pytest.raises(UsageError, match="rules:pets/1 is not of domain garden"):
        create("garden", ReleaseParts("hub:1", index.ref, rules=rules.ref))
    with pytest.raises(UsageError, match="index:garden/1 is of kind index; name a rules here"):
        create("garden", ReleaseParts("hub:1", index.ref, rules=index.ref))


def test_parts_become_a_release_and_live_in_one_transaction(garden) -> None:
    parts = garden.parts()
    stray = replace(parts, index=garden.index("hub:1").ref)
    with pytest.raises(IncompatibleError):
        garden.registry.aliases.promote("garden", "live", stray, "ann")
    assert (garden.registry.releases.list(), garden.registry.aliases.history("garden")) == ([], [])
    moved = garden.registry.aliases.promote("garden", "live", parts, "ann", "first", expected=None)
    assert (moved.from_ref, moved.to_ref, moved.overridden) == (None, "release:garden/1", None)
    again = garden.registry.aliases.promote("garden", "live", parts, "ann", overridden="ndcg@10 at least 0.2")
    assert not again.changed and len(garden.registry.aliases.history("garden")) == 1
    with pytest.raises(UsageError, match="An alias of the hub cannot point at a release"):
        garden.registry.aliases.promote("hub", "live", parts, "ann")


def test_a_move_after_the_caller_looked_leaves_not_even_a_release(garden) -> None:
    first = garden.registry.aliases.promote("garden", "live", garden.parts(), "ann").to_ref
    from hubspoke.errors import LockedError

    with pytest.raises(LockedError, match=r"garden@live points at release:garden/1, no longer at nothing"):
        garden.registry.aliases.promote("garden", "live", garden.parts(), "bob", expected=None)
    assert [release.ref for release in garden.registry.releases.list()] == [first]
