"""Eight processes that write to one registry at once: whatever was acknowledged is there afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

from .shop import Counts, Shop, readers
from .warm import Beside, Ended

LOCKED = 8
NOTHING_BEFORE = (2, 5)  # a rollback where the alias never pointed anywhere else


class Writer:
    """One of the processes: its commands carry marks of their own, by which they are looked for afterwards."""

    def __init__(self, shop: Shop, name: str, seed: int) -> None:
        self.shop, self.name, self.random = shop, name, Random(f"{seed} {name}")
        self.counts = Counts()
        self.kept: list[tuple[str, Any]] = []  # what was acknowledged: kind, and what must be found

    def work(self, commands: int, first: int = 0) -> Writer:
        """Run so many commands; their marks are counted from `first`."""
        kinds: list[Callable[[str], None]] = [
            self._add, self._ingest, self._promote, self._roll_back, self._rule, self._gate, self._launch,
        ]  # fmt: skip
        for number in range(first, first + commands):
            self.random.choice(kinds)(f"{self.name}_{number}")
        return self

    def _run(self, *arguments: str, codes: tuple[int, ...] = (LOCKED,)) -> Ended:
        return self.counts.end(self.shop.run(*arguments, "--json", "--quiet"), *codes)

    def _add(self, mark: str) -> None:
        if self._run("domain", "add", mark, "--items", self.shop.items(mark, mark)).done:
            self.kept.append(("domain", mark))

    def _ingest(self, mark: str) -> None:
        ended = self._run("data", "ingest", "garden", "--items", self.shop.items(mark, mark))
        if ended.done:
            self.kept.append(("snapshot", [ended.json["items"]["ref"], ended.json["items"]["content_hash"]]))

    def _promote(self, mark: str) -> None:
        ended = self._run("promote", self.random.choice(["garden:1", "garden:2"]), "--reason", mark)
        if ended.done and not ended.json["cached"]:
            self.kept.append(("move", ["promote", mark, ended.json["before"], ended.json["after"]]))

    def _roll_back(self, mark: str) -> None:
        ended = self._run("rollback", "garden", "--reason", mark, codes=(LOCKED, *NOTHING_BEFORE))
        if ended.done:
            self.kept.append(("move", ["rollback", mark, ended.json["before"], ended.json["after"]]))

    def _rule(self, mark: str) -> None:
        ended = self._run("rules", "set", "garden", "--set", f"fresh_days={self.random.randrange(1, 10**6)}")
        if ended.done:
            self.kept.append(("rules", [ended.json["ref"], ended.json["content"]["fresh_days"]]))

    def _gate(self, mark: str) -> None:
        least = f"ndcg@10={self.random.random():.12f}"
        ended = self._run("gate", "set", "garden", "--alias", "candidate", "--min", least, "--reason", mark)
        if ended.done and not ended.json["cached"]:
            self.kept.append(("gate", mark))

    def _launch(self, mark: str) -> None:
        if self._run("launch", "new", mark, "--catalog", self.shop.items(mark, mark), "-k", "1").done:
            self.kept.append(("launch", mark))


def writers(shop: Shop, seed: int, processes: int = 8, commands: int = 12) -> Counts:
    """The part: all at once, then everything is looked for."""
    counts = Counts()
    with readers(shop, counts, allowed=both_answers(shop)):
        begun = [Beside(partial(Writer(shop, f"w{n}", seed).work, commands)) for n in range(processes)]
        ended: list[Writer] = [writer.result() for writer in begun]
    for writer in ended:
        counts.add(writer.counts)
    kept = [one for writer in ended for one in writer.kept]
    look(shop, counts, kept)
    shop.has_no_gaps(counts)
    shop.is_sound(counts, "after the writers")
    shop.leaves_nothing(counts)
    return counts


def both_answers(shop: Shop) -> list[tuple[Any, ...]]:
    """What the question is answered by where garden:1 and garden:2 serve; the second serves afterwards."""
    answers = []
    for spoke in ("garden:1", "garden:2"):
        shop.must("promote", spoke, "--quiet")
        answer = shop.answer()
        assert answer is not None
        answers.append(answer)
    return answers


def look(shop: Shop, counts: Counts, kept: list[tuple[str, Any]]) -> None:
    """Whether each thing that was acknowledged is there, with its own content."""
    domains = {row["name"]: row for row in _list(shop, "domain", "list")}
    moves = _list(shop, "history", "garden")
    there = {
        "domain": set(domains),
        "launch": {name for name, row in domains.items() if row["live"]},
        "snapshot": {(row["ref"], row["content_hash"]) for row in _list(shop, "data", "snapshots", "garden")},
        "move": {(m["action"], m["reason"], m["from_ref"], m["to_ref"]) for m in moves},
        "rules": {(row["ref"], row["content"]["fresh_days"]) for row in _list(shop, "rules", "show", "garden")},
        "gate": {row["reason"] for row in _list(shop, "gate", "history", "garden")},
    }
    for kind, what in kept:
        key = tuple(what) if isinstance(what, list) else what
        counts.check(key in there[kind], f"{kind} {what} was acknowledged and is not there")
    chain = [(move["from_ref"], move["to_ref"]) for move in moves]
    counts.check(
        all(before[1] == after[0] for before, after in pairwise(chain)),
        "a move of garden@live does not begin where the one before it ended",
    )
    for name in (what for kind, what in kept if kind == "launch"):
        counts.read(shop.run("recommend", name, "--session", "i3", "--json", "--quiet"))


def _list(shop: Shop, *arguments: str) -> list[Any]:
    """The rows of a listing."""
    content = shop.must(*arguments, "--json", "--quiet").json
    return next(value for value in content.values() if isinstance(value, list))
