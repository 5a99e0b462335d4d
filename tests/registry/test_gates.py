from __future__ import annotations

import pytest
from hubspoke.errors import NotFoundError


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
