from __future__ import annotations

import pytest
from hubspoke.errors import IncompatibleError, UsageError


def test_a_release_names_its_exact_parts_and_equal_parts_are_one_release(garden) -> None:
    made = garden.release(diversity=0.2)
    assert (made.ref, made.hub, made.spoke, made.index) == ("release:garden/1", "hub:1", "garden:1", "index:garden/1")
    create = garden.registry.create_release
    assert create("garden", "hub:1", "garden:1", "index:garden/1", {"diversity": 0.2}) == (made, False)
    other, created = create("garden", "hub:1", "garden:1", "index:garden/1", {"diversity": 0.3})
    assert (other.version, other.rules, created) == (2, {"diversity": 0.3}, True)
    assert garden.registry.list_releases("garden") == [made, other]
    assert garden.registry.get_release("release:garden/2") == other
    parts = {(e.parent, e.part) for e in garden.registry.upstream(made.ref).edges if e.child == made.ref}
    assert parts == {("hub:1", "hub"), ("garden:1", "spoke"), ("index:garden/1", "index")}


def test_the_hub_alone_serves_a_domain_on_day_zero(garden) -> None:
    # The index's space is the hub's, calibrated for this catalog: another fingerprint by design.
    index = garden.index("hub:1", space="s, whitened")
    made, _ = garden.registry.create_release("garden", "hub:1", None, index.ref)
    assert (made.spoke, made.index, made.rules) == (None, index.ref, {})


def test_an_index_of_another_model_or_space_is_refused(garden) -> None:
    first, second = garden.spoke("hub:1"), garden.spoke("hub:1")
    index = garden.index(first.ref)
    with pytest.raises(IncompatibleError, match=r"was filled by garden:1, not by garden:2; build an index with"):
        garden.registry.create_release("garden", "hub:1", second.ref, index.ref)
    stray = garden.index(first.ref, space="elsewhere")
    with pytest.raises(IncompatibleError, match="holds vectors of space elsewhere, garden:1 speaks s"):
        garden.registry.create_release("garden", "hub:1", first.ref, stray.ref)
    assert garden.registry.list_releases() == []


def test_parts_of_another_domain_or_kind_are_refused(garden) -> None:
    index = garden.index("hub:1")
    garden.registry.add_domain("pets")
    with pytest.raises(UsageError, match="index:garden/1 is not of domain pets"):
        garden.registry.create_release("pets", "hub:1", None, index.ref)
    with pytest.raises(UsageError, match="hub:1 is of kind hub; name a spoke here"):
        garden.registry.create_release("garden", "hub:1", "hub:1", index.ref)
