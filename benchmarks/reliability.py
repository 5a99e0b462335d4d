"""What is lost, half-written or untold where writers meet, commands are killed, the disk is full and the server stops.

Every part runs on a small shop with a tiny encoder and made-up tables, so that no data is needed. Counted are commands
that were tried and acknowledged (exit code 0), and every fault: something acknowledged that is gone, something that
others see half-written, an exit code outside the contract, an error without its one sentence, a raw traceback.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults import warm
from benchmarks.faults.full_disk import SIZE_MB, full_disk, small_disk
from benchmarks.faults.kills import kills
from benchmarks.faults.server import Server, postgres, server
from benchmarks.faults.shop import KINDS, Counts, Shop
from benchmarks.faults.writers import writers
from benchmarks.registry import about

PARTS = ("writers", "kills", "full-disk", "server")
DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Size:
    """How much is tried."""

    writers: int
    commands: int
    kills: int
    points: int
    stops: int


class Trial:
    """One run: a fresh shop for every part on every database."""

    def __init__(self, folder: Path, size: Size, seed: int, pg: Server | None) -> None:
        self.folder, self.size, self.seed, self.pg = folder, size, seed, pg
        self._shops = 0

    def shop(self, database: str, folder: Path | None = None) -> Shop:
        """A shop that is built anew."""
        self._shops += 1
        name = f"shop{self._shops}"
        url = self.pg.create(name) if database == "postgresql" and self.pg else None
        made = Shop((folder or self.folder) / name, url)
        made.build()
        return made

    def run(self, part: str, database: str) -> Iterator[tuple[str, Counts]]:
        """Counts of a part on a database, by what was tried in it."""
        size, seed = self.size, self.seed
        if part == "writers":
            yield "all commands", writers(self.shop(database), seed, size.writers, size.commands)
        elif part == "kills":
            yield from kills(self.shop(database), seed, size.kills)
        elif part == "full-disk" and database == "sqlite":  # a server's disk is its own
            with small_disk(self.folder / "disk") as disk:
                yield from full_disk(self.shop(database, disk), disk, seed, size.points)
        elif part == "server" and database == "postgresql" and self.pg:
            yield "all commands", server(self.shop(database), self.pg, seed, size.stops)


def measure(parts: Sequence[str], databases: Sequence[str], size: Size, seed: int) -> dict[str, Any]:
    """The whole run."""
    warm.warm_up()
    rows: list[dict[str, Any]] = []
    folder = Path(tempfile.mkdtemp(prefix="hubspoke-reliability-"))
    started = time.monotonic()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        pg = stack.enter_context(postgres(folder / "postgres")) if "postgresql" in databases else None
        trial = Trial(folder, size, seed, pg)
        for part in parts:
            for database in databases:
                for what, counts in trial.run(part, database):
                    rows.append({"part": part, "database": database, "what": what, **counts.to_json()})
                    print(f"{part} on {database}, {what}: {counts.to_json()}", file=sys.stderr, flush=True)
    minutes = round((time.monotonic() - started) / 60, 1)
    protocol = {"seed": seed, "tmpfs_mb": SIZE_MB, **vars(size)}
    return {"rows": rows, "protocol": protocol, "minutes": minutes, **about()}


def markdown(report: Mapping[str, Any]) -> str:
    """A row for each part, database and kind of command, and their sum."""
    numbers = ("attempts", "acknowledged", "refused", "killed", "reads", *KINDS)
    rows = [(row["part"], row["database"], row["what"], *(row[name] for name in numbers)) for row in report["rows"]]
    total = ("all", "", "", *(sum(row[name] for row in report["rows"]) for name in numbers))
    size = report["protocol"]
    lines = [
        f"| part | database | what | {' | '.join(numbers)} |",
        f"|---|---|---|{'---:|' * len(numbers)}",
        *(
            f"| {' | '.join(f'{value:,}' if isinstance(value, int) else value for value in row)} |"
            for row in (*rows, total)
        ),
        "",
        f"- writers: {size['writers']} processes, {size['commands']} commands each, drawn with seed {size['seed']}.",
        f"- kills: SIGKILL of the process group at {size['kills']} moments of each command, even over its time.",
        f"- full disk: a tmpfs of {size['tmpfs_mb']} MB, filled to {size['points']} levels for each command.",
        f"- server: {size['stops']} fast and {size['stops']} immediate stops of PostgreSQL, 0 to 2 seconds each.",
        "- Commands are forked from a process that has imported everything, each with a group of its own.",
        f"- {report['minutes']} minutes; {report['machine']}; "
        f"{', '.join(f'{k} {v}' for k, v in report['versions'].items())}; {report['date']}.",
    ]
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Parse, try, print; 1 where a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="which of them (default: all)")
    parser.add_argument("--databases", default=",".join(DATABASES), help="which of them (default: both)")
    parser.add_argument("--writers", type=int, default=8, help="processes that write at once")
    parser.add_argument("--commands", type=int, default=12, help="commands of each writer")
    parser.add_argument("--kills", type=int, default=20, help="kills of each kind of command")
    parser.add_argument("--points", type=int, default=8, help="amounts of room that each command is given")
    parser.add_argument("--stops", type=int, default=10, help="stops of the server of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="FILE", help="write the report as JSON too")
    options = parser.parse_args(given)
    parts, databases = options.parts.split(","), options.databases.split(",")
    for name, known in ((name, PARTS) for name in parts):
        if name not in known:
            parser.error(f"there is no part {name!r}; choose among {', '.join(known)}")
    size = Size(options.writers, options.commands, options.kills, options.points, options.stops)
    report = measure(parts, databases, size, options.seed)
    print(markdown(report))
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(any(row[kind] for row in report["rows"] for kind in KINDS))


if __name__ == "__main__":
    sys.exit(main())
