from dataclasses import replace

import pytest
from hubspoke.errors import IncompatibleError, LockedError, UsageError
from hubspoke.registry.records import ReleaseParts
from hubspoke.registry.stores.aliases import Seen


def test_a_release_names_its_exact_parts_and_equal_parts_are_one_release(garden) -> None:
    rules, _ = garden.registry.rules.add("garden", {"pin": ["rose"]})
    parts = garden.parts(rules.ref)
    assert garden.promote(parts) == garden.promote(parts) == "release:garden/1"
    made = garden.registry.releases.find("garden", parts)
    assert (made.ref, made.parts) == ("release:garden/1", parts)
    plain = replace(parts, rules=None)
    assert garden.registry.releases.find("garden", plain) is None
    other = garden.registry.releases.get(garden.promote(plain))
    assert (other.version, other.rules) == (2, None)
    assert garden.registry.releases.list("garden") == [made, other]
    named = {(e.parent, e.part) for e in garden.registry.lineage.upstream(made.ref).edges if e.child == made.ref}
    assert named == {(ref, name) for name, ref in parts.named().items()}


def test_the_hub_alone_serves_on_day_zero_and_a_reranker_fits_the_space_of_what_it_ranks(garden) -> None:
    # The index's space is the hub's, calibrated for this catalog: another fingerprint by design.
    floor, parts = ReleaseParts("hub:1", garden.index("hub:1", space="s, whitened").ref), garden.parts()
    fits = garden.reranker("garden:1")
    assert (fits.ref, fits.domain, fits.kind) == ("reranker:garden/1", "garden", "reranker")
    for made in (floor, replace(parts, reranker=fits.ref)):
        assert garden.registry.releases.get(garden.promote(made)).parts == made


def test_parts_that_do_not_belong_together_are_refused_and_leave_nothing(garden) -> None:
    """The parts: hub:1 with garden:1, garden:2, and indexes of both, of another space and of the hub itself."""
    registry = garden.registry
    for make in (garden.spoke, garden.spoke, garden.hub):
        make()
    registry.domains.add("pets")
    registry.rules.add("pets", {"pin": ["bone"]})
    own, stray, floor = (garden.index(*of).ref for of in (("garden:1",), ("garden:1", "elsewhere"), ("hub:1",)))
    fits = ReleaseParts("hub:1", own, "garden:1")
    garden.reranker("garden:1", space="elsewhere")
    for changes, said in (
        ({"spoke": "garden:2"}, r"filled by garden:1, not by garden:2; build an"),
        ({"index": stray}, "is of embedding space elsewhere, garden:1 speaks s"),
        ({"index": floor}, "was filled by hub:1, not by garden:1"),
        ({"hub": "hub:2"}, "garden:1 stands on hub:1, not on hub:2; release it"),
        ({"reranker": "reranker:garden/1"}, "reranker:garden/1 is of embedding space elsewhere, garden:1 speaks s"),
    ):
        with pytest.raises(IncompatibleError, match=said):
            garden.promote(replace(fits, **changes))
    for scope, parts, said in (
        ("pets", ReleaseParts("hub:1", floor), "index:garden/3 is not of domain pets"),
        ("garden", replace(fits, spoke="hub:1"), "hub:1 is of kind hub; name a spoke here"),
        ("garden", replace(fits, rules="rules:pets/1"), "rules:pets/1 is not of domain garden"),
        ("garden", replace(fits, rules=own), "index:garden/1 is of kind index; name rules here"),
        ("hub", fits, "An alias of the hub cannot point at a release"),
    ):
        with pytest.raises(UsageError, match=said):
            garden.promote(parts, scope=scope)
    assert (registry.releases.list(), registry.aliases.list()) == ([], [])


def test_parts_become_a_release_and_live_in_one_transaction(garden) -> None:
    promote, parts = garden.registry.aliases.promote, garden.parts()
    moved = promote("garden", "live", parts, "ann", "first", seen=Seen(None))
    assert (moved.from_ref, moved.to_ref, moved.overridden) == (None, "release:garden/1", None)
    again = promote("garden", "live", parts, "ann", overridden="ndcg@10 at least 0.2")
    assert not again.changed and len(garden.registry.aliases.history("garden")) == 1
    with pytest.raises(LockedError, match=r"garden@live points at release:garden/1, no longer at nothing"):
        promote("garden", "live", garden.parts(), "bob", seen=Seen(None))
    assert [release.ref for release in garden.registry.releases.list()] == [moved.to_ref]


def test_a_release_keeps_the_report_of_its_newest_launch(garden, stored) -> None:
    release, releases = garden.promote(garden.parts()), garden.registry.releases
    assert releases.report(release) is None
    first, second = stored("first"), stored("second")
    releases.keep_report(release, first)
    releases.keep_report(release, second)
    assert releases.report(release) == second.digest
    assert garden.registry.artifacts.users(second.digest) == (release,)
    assert first.digest not in garden.registry.artifacts.referenced()
    with pytest.raises(UsageError):
        releases.keep_report("hub:1", first)
