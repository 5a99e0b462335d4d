"""The shop that is put to the test (a small category and its trained spokes), and what is counted of every command."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

from hubspoke.registry.sqlite import open_sqlite

from . import warm
from .warm import Ended

HUB = {"text": {"name": "tiny"}, "image": None, "contrastive": {"steps": 0}}
SPOKE = {
    "transformer": {"dimension": 8},
    "min_item_count": 3,
    "statistics": None,
    "training": {"max_epochs": 1, "validate_every": 1, "negatives": 8, "mixture_users": 5},
}
WORDS = ("red rose", "green fern", "clay pot", "steel spade", "garden hose", "white bulb")
QUESTION = ("recommend", "garden", "--session", "i3,i9", "-k", "24", "--json", "--quiet")
# What readers ask all the time while others write, break off, or find the disk full.
READS = (
    QUESTION,
    ("domain", "list", "--json", "--quiet"),
    ("data", "snapshots", "garden", "--json", "--quiet"),
    ("index", "list", "--json", "--quiet"),
    ("history", "garden", "--json", "--quiet"),
    ("lineage", "show", "garden", "--json", "--quiet"),
)
READ_SECONDS = 0.2  # between two questions of a reader: the writers are to be slowed by each other
KINDS = ("lost", "half-written", "wrong exit code", "no sentence", "raw traceback")


@dataclass
class Counts:
    """What was tried in one part, how it ended, and every fault by its kind with what showed it."""

    attempts: int = 0
    acknowledged: int = 0
    refused: int = 0
    killed: int = 0
    reads: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def end(self, ended: Ended, *codes: int) -> Ended:
        """Count the end of a command that may end with 0 or one of `codes`."""
        self.attempts += 1
        self.acknowledged += ended.done
        self.killed += ended.code == -9
        self.refused += ended.code > 0
        if ended.code != -9:
            self._judge(ended, *codes)
        return ended

    def read(self, ended: Ended, *codes: int) -> Ended:
        """Count the end of a command that only reads."""
        self.reads += 1
        self._judge(ended, *codes)
        return ended

    def _judge(self, ended: Ended, *codes: int) -> None:
        if (kind := ended.fault(*codes)) is not None:
            self.fault(kind, str(ended))

    def fault(self, kind: str, what: str) -> None:
        """Note a fault; the first ones are told at once, for whoever watches."""
        self.faults[kind].append(what)
        if len(self.faults[kind]) <= 5:
            print(f"{kind}: {what}", file=sys.stderr, flush=True)

    def check(self, holds: bool, what: str, kind: str = "lost") -> None:
        """Note a fault where something does not hold."""
        if not holds:
            self.fault(kind, what)

    def add(self, other: Counts) -> None:
        """Take over what another process counted."""
        for name in ("attempts", "acknowledged", "refused", "killed", "reads"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, found in other.faults.items():
            self.faults[kind] += found

    def to_json(self) -> dict[str, Any]:
        """The numbers, and the first faults of each kind."""
        numbers = {k: getattr(self, k) for k in ("attempts", "acknowledged", "refused", "killed", "reads")}
        kinds = {kind: len(found) for kind, found in self.faults.items()}
        return {**numbers, **kinds, "examples": [what for found in self.faults.values() for what in found[:5]]}


class Shop:
    """A workspace in `folder` with the category garden, whose spokes garden:1 and garden:2 were both live."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder, self.url = folder, url
        self.environment = {} if url is None else {"HUBSPOKE_REGISTRY_URL": url}
        self.files = folder / "files"

    def start(self, *arguments: str) -> warm.Running:
        """Begin a command in the shop's folder."""
        return warm.start(*arguments, folder=self.folder, environment=self.environment)

    def run(self, *arguments: str) -> Ended:
        """Run a command in the shop's folder."""
        return self.start(*arguments).wait()

    def must(self, *arguments: str) -> Ended:
        """Run a command without which nothing can be tried."""
        ended = self.run(*arguments)
        if not ended.done:
            raise SystemExit(f"{ended}\n{ended.out}")
        return ended

    def build(self) -> None:
        """Make the files, the hub, two spokes and two releases."""
        self.files.mkdir(parents=True)
        self.write("hub.json", json.dumps(HUB))
        self.write("spoke.json", json.dumps(SPOKE))
        self.items("items")
        self.events("events")
        self.must("init")
        self.must("hub", "train", "--domains", "", "--config", "files/hub.json", "--quiet")
        self.must("domain", "add", "garden", "--items", "files/items.csv", "--events", "files/events.csv", "--quiet")
        for seed in ("1", "2"):
            self.must(*self.training(seed), "--promote", "--quiet")

    def training(self, seed: str) -> tuple[str, ...]:
        """The command that trains a spoke of garden by this seed."""
        seeded = ("--config", "files/spoke.json", "--set", f"seed={seed}")
        return ("spoke", "train", "garden", *seeded)

    def write(self, name: str, text: str) -> str:
        """A file of the shop; its path from the shop's folder."""
        (self.files / name).write_text(text, encoding="utf-8")
        return f"files/{name}"

    def items(self, name: str, *more: str) -> str:
        """A catalog of 24 items, and `more` ids."""
        lines = [f"i{n},{WORDS[n % 6]} {n},brand {n % 3},{2 + n}" for n in range(24)]
        lines += [f"{own},{own} thing,brand 9,9" for own in more]
        return self.write(f"{name}.csv", "\n".join(["item_id,title,brand,price", *lines, ""]))

    def events(self, name: str, more: int = 0) -> str:
        """30 shoppers who walk round the items, and as many as `more` again."""
        walks = ((user, step) for user in range(30 + more) for step in range(5))
        lines = [f"u{u},i{(u + 5 * s) % 24},2026-05-{1 + u % 20:02d}T10:{3 * s:02d}:00Z,view" for u, s in walks]
        return self.write(f"{name}.csv", "\n".join(["user_id,item_id,timestamp,event_type", *lines, ""]))

    # ---- what must hold ----

    def answer(self) -> tuple[Any, ...] | None:
        """What the question is answered by, None where it is not answered."""
        ended = self.run(*QUESTION)
        return answered(ended.json) if ended.done else None

    def is_sound(self, counts: Counts, when: str) -> None:
        """The registry and every byte of the store are what they should be."""
        ended = counts.read(self.run("doctor", "--verify", "--json", "--quiet"))
        failed = (
            [found["message"] for found in ended.json["checks"] if found["status"] == "failed"] if ended.out else []
        )
        counts.check(ended.done, f"{when}: doctor says {failed}", "half-written")
        if self.url is None:
            with closing(open_sqlite(self.folder / ".hubspoke" / "registry.db", "ro")) as database:
                found = database.execute("PRAGMA integrity_check").fetchall()
                broken = database.execute("PRAGMA foreign_key_check").fetchall()
            counts.check(
                found == [("ok",)] and not broken, f"{when}: SQLite says {found[:3]} {broken[:3]}", "half-written"
            )

    def has_no_gaps(self, counts: Counts) -> None:
        """The versions of everything are counted from 1 without a gap."""
        rows = self.must("registry", "sql", "SELECT ref FROM nodes", "--json", "--quiet").json["rows"]
        numbers: dict[str, list[int]] = {}
        for row in rows:
            if (found := re.fullmatch(r"(.*[:/])(\d+)", row["ref"])) is not None:
                numbers.setdefault(found[1], []).append(int(found[2]))
        for scope, own in numbers.items():
            counts.check(sorted(own) == list(range(1, len(own) + 1)), f"versions of {scope} are {sorted(own)}")

    def leaves_nothing(self, counts: Counts) -> None:
        """After a collection the store holds what the registry names, and no temporary file is left anywhere."""
        counts.end(self.run("gc", "--yes", "--older-than", "0", "--quiet"))
        rows = self.must("registry", "sql", "SELECT digest FROM artifacts", "--json", "--quiet").json["rows"]
        named, store = {row["digest"] for row in rows}, self.folder / ".hubspoke" / "artifacts"
        held = {path.name for path in store.glob("*/*") if re.fullmatch("[0-9a-f]{64}", path.name)}
        counts.check(held == named, f"gc left {sorted(held - named)}, took {sorted(named - held)}")
        left = [
            str(path) for path in (self.folder / ".hubspoke").rglob("*") if re.search(r"\.tmp$|writing-", path.name)
        ]
        left += [str(path) for path in (store / "staging").glob("*")]
        counts.check(not left, f"gc left {left}", "half-written")


def answered(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """What serves and what it shows, of the JSON of a recommendation."""
    return (result["served_by"], *((item["item_id"], item["score"]) for item in result["items"]))


def read_on(
    shop: Shop, stop: Event, allowed: Sequence[tuple[Any, ...]], seed: int, codes: Sequence[int] = ()
) -> Counts:
    """Ask until told to stop; every answer must be whole, and lists be among those `allowed`."""
    counts, choose = Counts(), Random(seed).choice
    while not stop.is_set():
        ended = counts.read(shop.run(*choose(READS)), *codes)
        if ended.done and ended.arguments == QUESTION:
            found = answered(ended.json)
            counts.check(found in allowed, f"a reader was shown {found[:3]} ... of no release", "half-written")
        time.sleep(READ_SECONDS)
    return counts


@contextmanager
def readers(
    shop: Shop, counts: Counts, allowed: Sequence[tuple[Any, ...]], n: int = 1, codes: Sequence[int] = ()
) -> Iterator[None]:
    """Processes that read all the while; what they met is counted at the end."""
    stop = warm.FORKED.Event()
    begun = [warm.Beside(partial(read_on, shop, stop, allowed, seed, codes)) for seed in range(n)]
    try:
        yield
    finally:
        stop.set()
        for reader in begun:
            counts.add(reader.result())
