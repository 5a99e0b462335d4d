from dataclasses import replace

import pytest
from hubspoke.errors import LockedError, NotFoundError, UsageError
from hubspoke.registry.records import AliasRecord
from hubspoke.registry.stores.aliases import Seen

PROMOTE = """
import sys
from hubspoke.errors import LockedError
from hubspoke.registry.store import Registry
from hubspoke.registry.stores.aliases import Seen
url, ref, expected = sys.argv[1:4]
with Registry(url) as registry:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        registry.aliases.promote("garden", "live", ref, "process", seen=Seen(expected))
        print("won")
    except LockedError:
        print("told")
"""


@pytest.fixture
def releases(garden) -> list[str]:
    """Three releases of garden, which differ in their rules; none is live."""
    parts = garden.parts()
    rules = [garden.registry.rules.add("garden", {"n": n})[0].ref for n in range(3)]
    return [garden.promote(replace(parts, rules=ref), alias="made") for ref in rules]


def live(garden) -> str:
    return garden.registry.resolve("garden@live").ref


def test_promote_and_rollback_and_who_did_it(garden, releases: list[str]) -> None:
    aliases, (a, b, c) = garden.registry.aliases, releases
    assert aliases.promote("garden", "live", a, "ann").from_ref is None
    change = aliases.promote("garden", "live", b, "bob", reason="better")
    assert (change.ref, change.from_ref, change.to_ref, change.reason) == ("garden@live", a, b, "better")
    assert live(garden) == b
    aliases.promote("garden", "live", c, "ann")
    assert (aliases.rollback("garden", "live", "ann", "worse").to_ref, live(garden)) == (b, b)
    assert (aliases.rollback("garden", "live", "ann").to_ref, live(garden)) == (a, a)
    with pytest.raises(NotFoundError, match="garden@live has no earlier version"):
        aliases.rollback("garden", "live", "ann")
    # Promoting what is there already leaves no trace.
    assert not aliases.promote("garden", "live", a, "bob").changed
    moves = [(m.action, m.from_ref, m.to_ref, m.actor, m.reason) for m in aliases.history("garden", "live")]
    assert moves == [
        ("promote", None, a, "ann", None),
        ("promote", a, b, "bob", "better"),
        ("promote", b, c, "ann", None),
        ("rollback", c, b, "ann", "worse"),
        ("rollback", b, a, "ann", None),
    ]
    # A new promotion does not bring back what was rolled back.
    garden.promote(c)
    assert aliases.rollback("garden", "live", "ann").to_ref == a


def test_aliases_are_apart_by_name_and_scope(garden, releases: list[str]) -> None:
    aliases, (a, b, c) = garden.registry.aliases, releases
    garden.promote(a)
    garden.promote(b, alias="candidate")
    garden.promote("hub:1", scope="hub")
    assert [garden.registry.resolve(ref).ref for ref in ("garden@candidate", "hub@live")] == [b, "hub:1"]
    own = (("candidate", b), ("live", a), ("made", c))
    assert aliases.list("garden") == [AliasRecord("garden", *one) for one in own]
    assert (len(aliases.list()), len(aliases.history("garden"))) == (4, 3 + 2)


def test_an_alias_points_only_at_what_it_may(garden, releases: list[str]) -> None:
    registry = garden.registry
    registry.domains.add("pets")
    registry.models.begin("hub", None, "unfinished", {})
    for scope, ref in (("garden", "garden:1"), ("pets", releases[0]), ("hub", releases[0]), ("hub", "hub:2")):
        with pytest.raises(UsageError):
            garden.promote(ref, scope=scope)
    with pytest.raises(UsageError, match="cannot be an alias"):
        garden.promote(releases[0], alias="Live!")
    with pytest.raises(NotFoundError, match="did you mean garden"):
        registry.aliases.history("gardens")
    assert [alias.alias for alias in registry.aliases.list()] == ["made"]


def test_a_move_since_the_caller_looked_is_refused(garden, releases: list[str]) -> None:
    aliases, (a, b, _) = garden.registry.aliases, releases
    aliases.promote("garden", "live", a, "ann", seen=Seen(None))
    with pytest.raises(LockedError, match=f"garden@live points at {a}, no longer at nothing"):
        aliases.promote("garden", "live", b, "bob", seen=Seen(None))
    aliases.promote("garden", "live", b, "ann", seen=Seen(a))
    with pytest.raises(LockedError):
        aliases.rollback("garden", "live", "bob", expected=a)
    assert live(garden) == b


def race(start, url: str, targets: list[str], expected: str) -> list[str]:
    processes = [start(PROMOTE, url, ref, expected) for ref in targets]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate()[0].strip() for process in processes]


def test_of_processes_that_promote_at_once_one_wins_and_the_other_is_told(
    garden, releases, registry_url, start
) -> None:
    first, *rest = releases
    garden.promote(first)
    said = race(start, registry_url, rest, expected=first)
    assert sorted(said) == ["told", "won"]
    assert live(garden) == rest[said.index("won")]
    assert len(garden.registry.aliases.history("garden", "live")) == 2
    # Unconditional promotions form one chain.
    garden.promote(first)
    assert race(start, registry_url, rest, expected="*").count("won") == 2
    history = garden.registry.aliases.history("garden", "live")
    assert [m.from_ref for m in history[1:]] == [m.to_ref for m in history[:-1]]
    assert ({m.to_ref for m in history}, live(garden)) == (set(releases), history[-1].to_ref)
