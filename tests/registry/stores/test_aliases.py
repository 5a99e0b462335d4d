from __future__ import annotations

from dataclasses import replace

import pytest
from hubspoke.errors import LockedError, NotFoundError, UsageError
from hubspoke.registry.records import AliasRecord
from hubspoke.registry.store import Registry

PROMOTE = """
import sys
from hubspoke.errors import LockedError
from hubspoke.registry.store import Registry
url, ref, expected = sys.argv[1:4]
with Registry(url) as registry:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        registry.aliases.promote("garden", "live", ref, "process", expected=expected)
        print("won")
    except LockedError:
        print("told")
"""


def releases(garden, count: int) -> list[str]:
    parts = garden.parts()
    rules = [garden.registry.rules.add("garden", {"n": n})[0].ref for n in range(count)]
    return [garden.registry.releases.add("garden", replace(parts, rules=ref))[0].ref for ref in rules]


def live(registry: Registry) -> str:
    return registry.resolve("garden@live").ref


def test_promote_and_rollback_and_who_did_it(garden) -> None:
    registry: Registry = garden.registry
    a, b, c = releases(garden, 3)
    assert registry.aliases.promote("garden", "live", a, "ann").from_ref is None
    change = registry.aliases.promote("garden", "live", b, "bob", reason="better")
    assert (change.ref, change.from_ref, change.to_ref, change.reason) == ("garden@live", a, b, "better")
    assert live(registry) == b
    registry.aliases.promote("garden", "live", c, "ann")
    assert (registry.aliases.rollback("garden", "live", "ann", "worse").to_ref, live(registry)) == (b, b)
    assert (registry.aliases.rollback("garden", "live", "ann").to_ref, live(registry)) == (a, a)
    with pytest.raises(NotFoundError, match="garden@live has no earlier version"):
        registry.aliases.rollback("garden", "live", "ann")
    moves = [(m.action, m.from_ref, m.to_ref, m.actor, m.reason) for m in registry.aliases.history("garden", "live")]
    assert moves == [
        ("promote", None, a, "ann", None),
        ("promote", a, b, "bob", "better"),
        ("promote", b, c, "ann", None),
        ("rollback", c, b, "ann", "worse"),
        ("rollback", b, a, "ann", None),
    ]


def test_rollback_after_a_new_promotion_skips_what_was_rolled_back(garden) -> None:
    registry: Registry = garden.registry
    a, b, c = releases(garden, 3)
    for ref in (a, b):
        registry.aliases.promote("garden", "live", ref, "ann")
    registry.aliases.rollback("garden", "live", "ann")
    registry.aliases.promote("garden", "live", c, "ann")
    assert registry.aliases.rollback("garden", "live", "ann").to_ref == a


def test_promoting_what_is_there_already_leaves_no_trace(garden) -> None:
    (a,) = releases(garden, 1)
    assert garden.registry.aliases.promote("garden", "live", a, "ann").changed
    assert not garden.registry.aliases.promote("garden", "live", a, "bob").changed
    assert len(garden.registry.aliases.history("garden")) == 1


def test_aliases_are_apart_by_name_and_scope(garden) -> None:
    registry: Registry = garden.registry
    a, b = releases(garden, 2)
    registry.aliases.promote("garden", "live", a, "ann")
    registry.aliases.promote("garden", "candidate", b, "ann")
    registry.aliases.promote("hub", "live", "hub:1", "ann")
    assert registry.resolve("garden@candidate").ref == b
    assert registry.resolve("hub@live").ref == "hub:1"
    assert registry.aliases.list("garden") == [
        AliasRecord("garden", "candidate", b),
        AliasRecord("garden", "live", a),
    ]
    assert len(registry.aliases.list()) == 3
    assert len(registry.aliases.history("garden")) == 2


def test_an_alias_points_only_at_what_it_may(garden) -> None:
    registry: Registry = garden.registry
    (a,) = releases(garden, 1)
    registry.domains.add("pets")
    registry.models.begin("hub", None, "unfinished", {})
    for scope, ref in (("garden", "garden:1"), ("pets", a), ("hub", a), ("hub", "hub:2")):
        with pytest.raises(UsageError):
            registry.aliases.promote(scope, "live", ref, "ann")
    with pytest.raises(UsageError, match="cannot be an alias"):
        registry.aliases.promote("garden", "Live!", a, "ann")
    with pytest.raises(NotFoundError, match="did you mean garden"):
        registry.aliases.history("gardens")
    assert registry.aliases.list() == []


def test_a_move_since_the_caller_looked_is_told(garden) -> None:
    registry: Registry = garden.registry
    a, b = releases(garden, 2)
    registry.aliases.promote("garden", "live", a, "ann", expected=None)
    with pytest.raises(LockedError, match=f"garden@live points at {a}, no longer at nothing"):
        registry.aliases.promote("garden", "live", b, "bob", expected=None)
    registry.aliases.promote("garden", "live", b, "ann", expected=a)
    with pytest.raises(LockedError):
        registry.aliases.rollback("garden", "live", "bob", expected=a)
    assert live(registry) == b


def race(start, url: str, targets: list[str], expected: str) -> list[str]:
    processes = [start(PROMOTE, url, ref, expected) for ref in targets]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate()[0].strip() for process in processes]


def test_of_processes_that_promote_at_once_one_wins_and_the_others_are_told(garden, registry_url, start) -> None:
    first, *rest = releases(garden, 3)
    garden.registry.aliases.promote("garden", "live", first, "ann")
    said = race(start, registry_url, rest, expected=first)
    assert sorted(said) == ["told", "won"]
    assert live(garden.registry) == rest[said.index("won")]
    assert len(garden.registry.aliases.history("garden", "live")) == 2


def test_unconditional_promotions_at_once_form_one_chain(garden, registry_url, start) -> None:
    first, *rest = releases(garden, 3)
    garden.registry.aliases.promote("garden", "live", first, "ann")
    assert race(start, registry_url, rest, expected="*") == ["won"] * 2
    history = garden.registry.aliases.history("garden", "live")
    assert [m.from_ref for m in history[1:]] == [m.to_ref for m in history[:-1]]
    assert {m.to_ref for m in history} == {first, *rest}
    assert live(garden.registry) == history[-1].to_ref
