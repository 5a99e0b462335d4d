"""From an event to a fresh recommendation: how long a shopper waits for it, that it is the batch's, what is taken in.

Recorded shoppers of a category go on shopping, event after event. In one process (feed, session, recommender) and over
HTTP (`hubspoke serve` in a process of its own) an event is told and a list of ten is asked for; each list of the first
is compared with that of a recommender which is given the same events at once.

    python -m benchmarks.streaming amazon_beauty=FOLDER --keep-workspace DIR --out streaming.json
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from hubspoke.catalog.schema import EVENT_TYPES
from hubspoke.serving.events import Feed
from hubspoke.serving.sessions import LiveSessions
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.question import Followed, Question, SessionEvent
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace

from benchmarks.categories import parser_of, run, workspace
from benchmarks.launch_floor import machine, versions
from benchmarks.serving import prepare, serving

K = 10
BATCH = 100  # events of one request, where many are told at once
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run on one category."""
    (domain,) = arguments.category
    with workspace(arguments) as ws:
        prepare(ws, domain, arguments.epochs)
        visits = visits_of(ws, domain, arguments.shoppers, arguments.events)
        recommender = Recommender(ws, domain)
        found = in_process(recommender, domain, visits)
        found |= over_http(ws, domain, visits)
        shutil.rmtree(ws.settings.events_dir / domain)  # a workspace that is kept is left as it was found
        spoke = recommender.loaded.record.model
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine("cpu"),
            "versions": versions(),
            "category": domain,
            "items": len(recommender.item_ids),
            "spoke": {"ref": spoke, "config": dict(ws.registry.models.get(spoke).config)},
            "shoppers": len(visits),
            "events": arguments.events,
            **found,
        }


def visits_of(ws: Workspace, domain: str, shoppers: int, events: int) -> list[list[dict[str, Any]]]:
    """What some recorded shoppers do next: items of the catalog, a minute apart, from now on."""
    dataset, rng = load_dataset(ws, domain), random.Random(0)
    users = rng.sample(dataset.sequences.user_ids, min(shoppers, len(dataset.sequences.user_ids)))
    ids, start = dataset.items["item_id"].to_list(), datetime.now(UTC) - timedelta(minutes=events)
    return [
        [
            {
                "user_id": user,
                "item_id": rng.choice(ids),
                "event_type": rng.choice(("view", "cart")),
                "timestamp": (start + timedelta(minutes=minute)).isoformat(),
            }
            for minute in range(events)
        ]
        for user in users
    ]


def in_process(recommender: Recommender, domain: str, visits: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """An event told and a list made in this process; the first of a shopper reads what is recorded."""
    sessions = LiveSessions()
    first, later, batch, processor, differences, same = [], [], [], [], [0.0], 0
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        feed = Feed(domain, Path(folder), sessions)
        for visit in visits:
            for nth, event in enumerate(visit):
                began, taken = time.perf_counter(), time.process_time()
                feed.take([event])
                followed = sessions.followed(domain, event["user_id"], recommender)
                answer = recommender.answer(Question(user=event["user_id"], followed=followed, k=K))
                (later if nth else first).append(time.perf_counter() - began)
                processor.append(time.process_time() - taken)
                assert followed is not None
                question = Question(session_of(recommender, followed), k=K)
                began = time.perf_counter()
                wanted = recommender.answer(question)
                batch.append(time.perf_counter() - began)
                same += [own["item_id"] for own in answer.items] == [own["item_id"] for own in wanted.items]
                scores = zip(answer.items, wanted.items, strict=True)
                differences.append(max(abs(a["score"] - b["score"]) for a, b in scores))
        feed.close()
    return {
        "in process": {
            "first event of a shopper": spread(first),
            "each later event": spread(later),
            "each event, processor time": spread(processor),
        },
        "the same events given at once": spread(batch),
        "lists in the same order": same / len(batch),
        "largest difference of a score": max(differences),
        "bytes of a session": sessions.bytes // max(1, len(sessions)),
    }


def session_of(recommender: Recommender, followed: Followed) -> list[SessionEvent]:
    """The events that a followed shopper is seen by, as a session is given."""
    history = followed.history
    assert history.timestamps is not None and history.event_types is not None
    told = zip(history.items.tolist(), history.timestamps.tolist(), history.event_types.tolist(), strict=True)
    return [
        SessionEvent(
            recommender.item_ids[row], EPOCH + timedelta(microseconds=own), EVENT_TYPES[code - 1] if code else None
        )
        for row, own, code in told
    ]


def over_http(ws: Workspace, domain: str, visits: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """An event told and a list asked for over one connection; then all events again and others by the hundred."""
    path, first, later = f"/v1/domains/{domain}", [], []
    with ExitStack() as stack:
        served = stack.enter_context(serving(ws, domain))
        connection = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)))
        for visit in visits:
            for nth, event in enumerate(visit):
                began = time.perf_counter()
                tell(connection, f"{path}/events", event, 202)
                tell(connection, f"{path}/recommend", {"user": event["user_id"], "k": K}, 200)
                (later if nth else first).append(time.perf_counter() - began)
        many = [event for visit in visits for event in visit]
        began = time.perf_counter()
        for batch in batches(many):
            tell(connection, f"{path}/events", [{**own, "quantity": 1} for own in batch], 202)
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        taken = ws.data.ingest(domain, from_log=True, dry_run=True).log
        return {
            "over HTTP": {"first event of a shopper": spread(first), "each later event": spread(later)},
            "events told a second": round(len(many) / seconds),
            "ingest": {
                "events in the log": taken.rows if taken else 0,
                "seconds": round(time.perf_counter() - began, 2),
                "rows before": ws.registry.snapshots.list(domain, "events")[-1].rows,
            },
            "memory of the service, MB": round(served.memory_mb()),
        }


def tell(connection: http.client.HTTPConnection, path: str, body: Any, status: int) -> None:
    """One request that must end so."""
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == status, content


def batches(events: list[Any]) -> Iterator[list[Any]]:
    """The events by the hundred."""
    return (events[start : start + BATCH] for start in range(0, len(events), BATCH))


def spread(seconds: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    p50, p95, p99 = np.percentile(1000 * np.array(seconds), (50, 95, 99))
    return {"p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2), "max": round(1000 * max(seconds), 2)}


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a table."""
    shape = report["spoke"]["config"]["transformer"]
    lines = [
        f"{report['category']}: {report['items']:,} items, {report['spoke']['ref']} ({shape['blocks']} blocks of "
        f"{shape['dimension']}, {shape['max_length']} events); {report['shoppers']} recorded shoppers, "
        f"{report['events']} events each, k = {K}; {report['machine']['cpu']}; {report['date']}.",
        "",
        "| event to list, ms | p50 | p95 | p99 | max |",
        "|---|---|---|---|---|",
    ]
    rows = {f"{where}, {what}": own for where in ("in process", "over HTTP") for what, own in report[where].items()}
    rows["in process, the same events given at once (no event told)"] = report["the same events given at once"]
    lines += [f"| {name} | {own['p50']} | {own['p95']} | {own['p99']} | {own['max']} |" for name, own in rows.items()]
    ingest = report["ingest"]
    lines += [
        "",
        f"Lists in the order of the batch: {report['lists in the same order']:.2%}; largest difference of a score: "
        f"{report['largest difference of a score']:.1e}. A session takes {report['bytes of a session']:,} bytes. "
        f"{report['events told a second']:,} events a second are told in requests of {BATCH}; adding "
        f"{ingest['events in the log']:,} of the log to {ingest['rows before']:,} takes {ingest['seconds']} s.",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = parser_of(__doc__)
    parser.add_argument("--shoppers", type=int, default=500, metavar="N")
    parser.add_argument("--events", type=int, default=10, metavar="N", help="of each shopper")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="of a spoke, where there is none yet")
    run(parser, argv, measure, markdown)


if __name__ == "__main__":
    main(sys.argv[1:])
