"""Commands that are killed (SIGKILL, the whole group) at a random moment: nothing is lost or half-written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from . import warm
from .shop import Counts, Shop, readers
from .writers import both_answers

QUIET = ("--json", "--quiet")


@dataclass(frozen=True)
class Victim:
    """A kind of command: `arguments` of the nth one, and what has to be there once it was repeated."""

    name: str
    arguments: Callable[[Shop, int], tuple[str, ...]]
    before: Callable[[Shop, int], None] = lambda shop, number: None


def _launch(shop: Shop, number: int) -> tuple[str, ...]:
    tables = ("--catalog", "files/items.csv", "--events", "files/events.csv", "--config", "files/spoke.json")
    return ("launch", "new", f"launched_{number}", *tables, "-k", "1")


def _ingest(shop: Shop, number: int) -> tuple[str, ...]:
    items, events = shop.items(f"items_{number}", f"new_{number}"), shop.events(f"events_{number}", number)
    return ("data", "ingest", "garden", "--items", items, "--events", events)


def _litter(shop: Shop, number: int) -> None:
    """Artifacts without rows, for gc to remove."""
    warm.Beside(_commit_without_rows, shop, number).result()


def _commit_without_rows(shop: Shop, number: int) -> None:
    from hubspoke.workflows.workspace import open_workspace

    with open_workspace(shop.url, environ={}, cwd=shop.folder, workspace=shop.folder / ".hubspoke") as workspace:
        for part in range(20):
            with workspace.artifacts.stage() as staged:
                (staged / "data").write_text(f"{number} {part} " * 1000, encoding="utf-8")
                workspace.artifacts.commit(staged, "test")


VICTIMS = (
    Victim("launch", _launch),
    Victim("spoke train", lambda shop, number: shop.training(str(100 + number))),
    Victim("promote", lambda shop, number: ("promote", f"garden:{1 + number % 2}", "--reason", str(number))),
    Victim("gc", lambda shop, number: ("gc", "--yes", "--older-than", "0"), _litter),
    Victim("data ingest", _ingest),
)


def kills(shop: Shop, seed: int, each: int = 20) -> Iterator[tuple[str, Counts]]:
    """The part: each kind of command so many times, each kill on what the one before it left; counts by kind."""
    answers = both_answers(shop)
    for victim in VICTIMS:
        counts = Counts()
        with readers(shop, counts, answers):
            seconds = _duration(shop, victim, counts)
            moments = Random(f"{seed} {victim.name}")
            for number in range(1, each + 1):
                _kill(shop, victim, number, moments.uniform(0, seconds), counts, answers)
        shop.leaves_nothing(counts)
        shop.has_no_gaps(counts)
        yield victim.name, counts
        print(f"{victim.name}: killed {counts.killed} of {each} within {seconds:.1f} s", file=sys.stderr, flush=True)


def _duration(shop: Shop, victim: Victim, counts: Counts) -> float:
    """Seconds that the command takes where nobody kills it."""
    victim.before(shop, 0)
    return counts.end(shop.run(*victim.arguments(shop, 0), *QUIET)).seconds


def _kill(shop: Shop, victim: Victim, number: int, moment: float, counts: Counts, answers: list[Any]) -> None:
    """One kill and what must hold after it."""
    victim.before(shop, number)
    kept = _kept(shop)
    served = shop.answer() if victim.name == "promote" else answers[-1]
    arguments = (*victim.arguments(shop, number), *QUIET)
    ended = counts.end(shop.start(*arguments).kill(moment))
    when = f"{victim.name} {number}, {'killed' if ended.code == -9 else 'ended before the kill'} at {moment:.2f} s"
    shop.is_sound(counts, when)
    lost = kept - _kept(shop)
    counts.check(not lost, f"{when}: {sorted(lost)} is gone")
    now = shop.answer()
    moved = victim.name == "promote" and now in answers
    counts.check(now == served or moved, f"{when}: served {str(served)[:60]}, now {str(now)[:60]}")
    again = counts.end(shop.run(*arguments))
    counts.check(again.done, f"{when}: repeated, it ends {again}", "wrong exit code")
    if victim.name == "promote":  # the others are tried on what the second one serves
        shop.must("promote", "garden:2", "--quiet")


def _kept(shop: Shop) -> set[tuple[str, str]]:
    """Every version that is finished, with its identity."""
    query = (
        "SELECT ref, uid FROM nodes WHERE id NOT IN (SELECT id FROM models WHERE status <> 'ready')"
        " UNION SELECT 'move ' || a.id, a.alias FROM alias_changes a"
    )
    rows = shop.must("registry", "sql", query, *QUIET).json["rows"]
    return {(str(row["ref"]), str(row["uid"])) for row in rows}
