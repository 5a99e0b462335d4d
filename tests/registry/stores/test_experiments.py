"""Of a domain one experiment runs at a time; each has its own split, and stays when it has ended."""

from dataclasses import replace
from typing import Any

import pytest
from hubspoke.errors import LockedError, NotFoundError, UsageError
from hubspoke.registry.database import HEAD_REVISION
from hubspoke.registry.query import run_sql
from hubspoke.registry.records import ExperimentPlan
from hubspoke.registry.references import parse_experiment
from hubspoke.registry.store import Registry
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

PLAN = ExperimentPlan(share=0.1, planned=20_000, window_seconds=604_800, metric="revenue")


@pytest.fixture
def releases(garden: Any) -> tuple[str, str]:
    parts, registry = garden.parts(), garden.registry
    registry.aliases.promote("garden", "live", parts, "ann")
    rules, _ = registry.rules.add("garden", {"pin": ["rose"]})
    registry.aliases.promote("garden", "candidate", replace(parts, rules=rules.ref), "ann")
    return "release:garden/1", "release:garden/2"


def test_one_runs_until_it_is_stopped(registry: Registry, releases: tuple[str, str]) -> None:
    store = registry.experiments
    assert (store.running("garden"), store.all_running(), store.list()) == (None, [], [])
    first = store.add("garden", *releases, PLAN, "ann", "a new spoke")
    assert (first.ref, first.domain, first.version, first.control, first.candidate) == (
        "experiment:garden/1",
        "garden",
        1,
        *releases,
    )
    assert (first.share, first.planned, first.window_seconds, first.metric) == (0.1, 20_000, 604_800, "revenue")
    assert (first.actor, first.reason, first.stopped_at, len(first.salt)) == ("ann", "a new spoke", None, 32)
    assert store.running("garden") == first == store.get(first.ref)
    with pytest.raises(LockedError, match=r"experiment:garden/1 runs in garden.*`hubspoke experiment stop garden`"):
        store.add("garden", *releases, PLAN, "bob")
    ended = store.stop(first.ref, "bob", "seen enough")
    assert (ended.stopped_by, ended.stop_reason) == ("bob", "seen enough")
    assert ended.stopped_at is not None and ended.stopped_at >= ended.started_at
    assert store.stop(first.ref, "cem") == ended == store.get(first.ref)
    assert store.all_running() == []
    query = "SELECT experiment, domain, control, candidate, share, metric, actor, stopped_by FROM v_experiments"
    wanted = (first.ref, "garden", *releases, 0.1, "revenue", "ann", "bob")
    assert [tuple(row) for row in run_sql(registry, query).rows] == [wanted]
    # An alias is followed once, when it starts; another experiment is another split.
    second = store.add("garden", "garden@candidate", "garden", PLAN, "ann")
    assert (second.version, second.control, second.candidate) == (2, *reversed(releases))
    assert second.salt != first.salt
    assert store.list("garden") == store.list() == [ended, second]


def test_what_runs_anywhere_is_one_query(registry: Registry, releases: tuple[str, str]) -> None:
    running = registry.experiments.add("garden", *releases, PLAN, "ann")
    asked: list[str] = []
    event.listen(registry.database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    assert registry.experiments.all_running() == [running]
    assert sum("experiments" in statement for statement in asked) == 1
    assert sum(statement.startswith("SELECT") for statement in asked) == 1


def test_what_cannot_be_compared_is_refused(registry: Registry, releases: tuple[str, str]) -> None:
    add = registry.experiments.add
    control, candidate = releases
    registry.domains.add("pets")
    for domain, arms, plan, message in (
        ("garden", (control, control), PLAN, "cannot be compared with itself"),
        ("garden", (control, "hub:1"), PLAN, "name a release here"),
        ("pets", (control, candidate), PLAN, "does not serve pets"),
        ("garden", releases, replace(PLAN, share=1), "leaves one side without shoppers"),
        ("garden", releases, replace(PLAN, share=0), "leaves one side without shoppers"),
        ("garden", releases, replace(PLAN, share=float("nan")), "leaves one side without shoppers"),
        ("garden", releases, replace(PLAN, planned=0), "give at least 1"),
        ("garden", releases, replace(PLAN, window_seconds=0), "counts nothing"),
        ("garden", releases, replace(PLAN, window_seconds=float("inf")), "counts nothing"),
    ):
        with pytest.raises(UsageError, match=message):
            add(domain, *arms, plan, "ann")
    assert registry.experiments.list() == []


def test_one_is_called_by_its_domain_and_number(registry: Registry, releases: tuple[str, str]) -> None:
    assert parse_experiment(" experiment:garden/12 ") == ("garden", 12)
    for text in ("garden", "experiment:garden", "experiment:garden/0", "experiment:Garden/1", "release:garden/1"):
        with pytest.raises(UsageError, match="write one like experiment:garden/1"):
            registry.experiments.get(text)
    with pytest.raises(NotFoundError, match="There is no experiment:garden/3; see `hubspoke experiment list garden`"):
        registry.experiments.get("experiment:garden/3")
    with pytest.raises(NotFoundError, match="There is no domain 'pets'"):
        registry.experiments.list("pets")


def test_the_database_itself_keeps_a_second_one_from_running(registry: Registry, releases: tuple[str, str]) -> None:
    first = registry.experiments.add("garden", *releases, PLAN, "ann")
    registry.experiments.stop(first.ref, "ann")
    registry.experiments.add("garden", *releases, PLAN, "ann")
    assert HEAD_REVISION >= "0006"
    with registry.database.writer.connect() as connection, pytest.raises(IntegrityError):
        connection.exec_driver_sql("UPDATE experiments SET stopped_at = NULL")
