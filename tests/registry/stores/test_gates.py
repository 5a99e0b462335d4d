import pytest
from hubspoke.errors import LockedError, NotFoundError
from hubspoke.registry.stores.aliases import Seen


def test_the_newest_gate_is_in_force_and_every_one_is_kept(garden) -> None:
    gates, conditions = garden.registry.gates, ({"metric": "ndcg@10", "minimum": 0.1},)
    assert gates.get("garden") is None
    first = gates.set("garden", conditions, "ann", "launch")
    assert gates.get("garden") == first
    assert (first.conditions, first.actor, first.reason) == (conditions, "ann", "launch")
    none = gates.set("garden", [], "bob")
    assert (gates.list("garden"), gates.get("garden").conditions) == ([none, first], ())
    for ask in (lambda: gates.set("pets", [], "ann"), lambda: gates.get("pets")):
        with pytest.raises(NotFoundError, match="There is no domain 'pets'"):
            ask()


def test_a_move_that_was_judged_by_another_gate_is_refused(garden) -> None:
    registry, parts = garden.registry, garden.parts()
    judged, newer = (registry.gates.set("garden", [{"kind": "minimum"}], "ann") for _ in range(2))
    assert registry.gates.get("garden") == newer
    for other in (None, judged):
        with pytest.raises(LockedError, match="The gate of garden has changed since this move was judged"):
            registry.aliases.promote("garden", "live", parts, "ann", seen=Seen(gate=other))
    assert registry.aliases.list("garden") == []
    assert registry.aliases.promote("garden", "live", parts, "ann", seen=Seen(gate=newer)).changed
    # The hub has no gate to be judged by.
    assert registry.aliases.promote("hub", "live", "hub:1", "ann", seen=Seen(gate=None)).changed
