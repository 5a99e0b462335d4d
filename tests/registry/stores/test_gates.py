from __future__ import annotations

import pytest
from hubspoke.errors import LockedError, NotFoundError
from hubspoke.registry.store import Registry


def test_the_newest_gate_is_in_force_and_every_one_is_kept(garden) -> None:
    assert garden.registry.get_gate("garden") is None
    first = garden.registry.set_gate("garden", [{"metric": "ndcg@10", "minimum": 0.1}], "ann", "launch")
    assert garden.registry.get_gate("garden") == first
    assert (first.conditions, first.actor, first.reason) == (({"metric": "ndcg@10", "minimum": 0.1},), "ann", "launch")
    none = garden.registry.set_gate("garden", [], "bob")
    assert garden.registry.list_gates("garden") == [none, first]
    assert garden.registry.get_gate("garden").conditions == ()


def test_a_gate_needs_its_domain(garden) -> None:
    for ask in (lambda: garden.registry.set_gate("pets", [], "ann"), lambda: garden.registry.get_gate("pets")):
        with pytest.raises(NotFoundError, match="There is no domain 'pets'"):
            ask()


def test_a_move_that_was_judged_by_another_gate_is_refused(garden) -> None:
    registry: Registry = garden.registry
    release = garden.release().ref
    judged = registry.set_gate("garden", [{"kind": "minimum"}], "ann")
    assert registry.get_gate("garden") == judged
    newer = registry.set_gate("garden", [{"kind": "minimum"}], "ann")
    for other in (None, judged):
        with pytest.raises(LockedError, match="The gate of garden has changed since this move was judged"):
            registry.promote("garden", "live", release, "ann", judged=other)
    assert registry.list_aliases("garden") == []
    assert registry.promote("garden", "live", release, "ann", judged=newer).changed
    # The hub has no gate to be judged by.
    assert registry.promote("hub", "live", "hub:1", "ann", judged=None).changed
