from __future__ import annotations

import pytest
from hubspoke.errors import LockedError, NotFoundError
from hubspoke.registry.store import Registry


def test_the_newest_gate_is_in_force_and_every_one_is_kept(garden) -> None:
    assert garden.registry.gates.get("garden") is None
    first = garden.registry.gates.set("garden", [{"metric": "ndcg@10", "minimum": 0.1}], "ann", "launch")
    assert garden.registry.gates.get("garden") == first
    assert (first.conditions, first.actor, first.reason) == (({"metric": "ndcg@10", "minimum": 0.1},), "ann", "launch")
    none = garden.registry.gates.set("garden", [], "bob")
    assert garden.registry.gates.list("garden") == [none, first]
    assert garden.registry.gates.get("garden").conditions == ()


def test_a_gate_needs_its_domain(garden) -> None:
    for ask in (lambda: garden.registry.gates.set("pets", [], "ann"), lambda: garden.registry.gates.get("pets")):
        with pytest.raises(NotFoundError, match="There is no domain 'pets'"):
            ask()


def test_a_move_that_was_judged_by_another_gate_is_refused(garden) -> None:
    registry: Registry = garden.registry
    release = garden.release().ref
    judged = registry.gates.set("garden", [{"kind": "minimum"}], "ann")
    assert registry.gates.get("garden") == judged
    newer = registry.gates.set("garden", [{"kind": "minimum"}], "ann")
    for other in (None, judged):
        with pytest.raises(LockedError, match="The gate of garden has changed since this move was judged"):
            registry.aliases.promote("garden", "live", release, "ann", judged=other)
    assert registry.aliases.list("garden") == []
    assert registry.aliases.promote("garden", "live", release, "ann", judged=newer).changed
    # The hub has no gate to be judged by.
    assert registry.aliases.promote("hub", "live", "hub:1", "ann", judged=None).changed
