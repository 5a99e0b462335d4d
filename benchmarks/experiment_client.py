"""Simulated shoppers who come at a steady rate: each asks for a list, looks at its places, and tells what it did.

It reads what to do as JSON from stdin and writes what it found as JSON to stdout; the standard library alone, as
`serving_client`, which holds the connections.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import log2
from typing import Any

from benchmarks.serving_client import Connection, at, encoded, summed


@dataclass
class Tally:
    """What the shoppers of one connection did."""

    seconds: list[float] = field(default_factory=list)  # of each list, from its request to its answer
    late: float = 0.0  # seconds that a shopper came after their time, at most
    statuses: Counter[str] = field(default_factory=Counter)
    arms: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)  # clicks and purchases
    wrong_lists: int = 0  # that are not those of their arm


def examination(rank: int) -> float:
    """The chance that a place is looked at."""
    return 1 / log2(1 + rank)


def behaviour(
    items: list[str], attraction: dict[str, float], buying: float, rng: random.Random
) -> Iterator[tuple[str, str]]:
    """(type, item) of what a shopper does on a list: clicks on what they look at and like, and buys some of it."""
    for rank, item in enumerate(items, 1):
        if rng.random() < examination(rank) * attraction[item]:
            yield "click", item
            if rng.random() < buying:
                yield "purchase", item


@dataclass(frozen=True)
class Crowd:
    """Everything that a run is told."""

    port: int
    domain: str
    rate: float  # shoppers a second
    clients: int
    seed: int
    k: int
    buying: float  # the chance that what is clicked is bought
    # Each: `session`, `attraction` and `price` by item, and `lists` by arm.
    tastes: list[dict[str, Any]]
    shoppers: list[int]  # the taste of each

    def visit(self, number: int, connection: Connection, tally: Tally) -> None:
        """One shopper from their coming to their going."""
        taste, name = self.tastes[self.shoppers[number]], f"shopper-{number}"
        asked = {"session": taste["session"], "shopper": name, "k": self.k, "fields": []}
        began = time.perf_counter()
        status, body = connection.ask(encoded(f"/v1/domains/{self.domain}/recommend", asked))
        tally.seconds.append(time.perf_counter() - began)
        tally.statuses[status] += 1
        if status != "200":
            return
        answer = json.loads(body)
        arm = answer["experiment"]["arm"] if answer["experiment"] else "none"
        items = [own["item_id"] for own in answer["items"]]
        tally.arms[arm] += 1
        tally.wrong_lists += items != taste["lists"].get(arm)
        self._tell(name, taste, answer["recommendation_id"], items, connection, tally, number)

    def _tell(
        self,
        name: str,
        taste: dict[str, Any],
        shown: str,
        items: list[str],
        connection: Connection,
        tally: Tally,
        n: int,
    ) -> None:
        events = []
        for kind, item in behaviour(items, taste["attraction"], self.buying, random.Random(f"{self.seed} {n}")):
            event = {"event_id": f"{shown} {item} {kind}", "user_id": name, "item_id": item, "event_type": kind}
            value = {"value": taste["price"][item]} if kind == "purchase" else {}
            events.append({**event, **value, "recommendation_id": shown})
            tally.done[kind] += 1
        if events:
            status, _ = connection.ask(encoded(f"/v1/domains/{self.domain}/events", events))
            tally.statuses[status] += 1

    def run(self) -> dict[str, Any]:
        """All of them, each at their time as far as the service keeps up."""
        tallies, numbers, lock = (
            [Tally() for _ in range(self.clients)],
            iter(range(len(self.shoppers))),
            threading.Lock(),
        )
        began = time.perf_counter()

        def serve(tally: Tally) -> None:
            with Connection(self.port) as connection:
                while (number := following()) is not None:
                    wait = began + number / self.rate - time.perf_counter()
                    if wait > 0:
                        time.sleep(wait)
                    tally.late = max(tally.late, -wait)
                    self.visit(number, connection, tally)

        def following() -> int | None:
            with lock:
                return next(numbers, None)

        threads = [threading.Thread(target=serve, args=(tally,)) for tally in tallies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        latencies = sorted(own for tally in tallies for own in tally.seconds)
        return {
            "shoppers": len(latencies),
            "seconds": round(took, 2),
            "per_second": round(len(latencies) / took, 1),
            "late_seconds": round(max(tally.late for tally in tallies), 3),
            **{f"p{share}": round(1000 * at(latencies, share / 100), 2) for share in (50, 95, 99)},
            "statuses": summed(tally.statuses for tally in tallies),
            "arms": summed(tally.arms for tally in tallies),
            "done": summed(tally.done for tally in tallies),
            "wrong_lists": sum(tally.wrong_lists for tally in tallies),
        }


if __name__ == "__main__":
    json.dump(Crowd(**json.load(sys.stdin)).run(), sys.stdout)
