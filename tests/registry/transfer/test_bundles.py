"""Rows from one registry into another: what belongs to a bundle, who is who, numbers, refusals that leave nothing."""

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import IncompatibleError, InvalidDataError, NotFoundError, UsageError
from hubspoke.registry.records import ModelPart, ReleaseParts
from hubspoke.registry.schema import Base
from hubspoke.registry.store import Registry
from hubspoke.registry.transfer.bundle_rows import LEFT_BEHIND, OWNERS, BundleRows, read_rows

ROOT = "release:garden/1"
Tables = dict[str, list[dict[str, Any]]]
METRICS = (("all", "ndcg@10", 0.1 + 0.2, 0.0, None), ("cold", "hr@10", 1.0))


@pytest.fixture
def other(tmp_path: Path, sqlite_template: Path) -> Iterator[Registry]:
    """A second, empty registry."""
    shutil.copy(sqlite_template, tmp_path / "other.db")
    with Registry(f"sqlite:///{tmp_path / 'other.db'}") as opened:
        yield opened


@pytest.fixture
def released(garden: Any) -> Any:
    """release:garden/1 with a part of its own, rules, a re-ranker, and evaluations of which two belong to it."""
    registry = garden.registry
    rules, _ = registry.rules.add("garden", {"pin": ["rose"]})
    parts = garden.parts(rules.ref)
    trees = [ModelPart("trees", "f" * 64, 10, 3), ModelPart("hub", "e" * 64, source="hub:1")]
    release = garden.promote(replace(parts, reranker=garden.reranker("garden:1", parts=trees).ref))
    garden.measure("garden:1", *METRICS)
    garden.measure(release, *METRICS)
    garden.measure("hub:1", *METRICS, events=garden.snapshot("events", "newer").ref)
    garden.measure(None, *METRICS, details={"model": "popularity"})
    garden.spoke()
    return garden


def travel(rows: BundleRows) -> BundleRows:
    """The rows as they come out of a file."""
    return read_rows(rows.root, json.loads(json.dumps(rows.tables)))


def refs_in(rows: BundleRows) -> set[str]:
    return {node["ref"] for node in rows.tables["nodes"]}


def test_a_bundle_holds_the_lineage_and_the_evaluations_measured_within_it(released: Any) -> None:
    # Every table travels or is left behind on purpose.
    assert set(Base.metadata.tables) == set(OWNERS) | LEFT_BEHIND
    rows = released.registry.bundles.rows(ROOT)
    lineage = {"domain:garden", "hub:1", "snapshot:garden/events/1", "snapshot:garden/items/1", "garden:1", ROOT}
    lineage |= {"index:garden/1", "reranker:garden/1", "rules:garden/1"}
    assert refs_in(rows) == lineage | {"evaluation:garden/1", "evaluation:garden/2"}
    assert set(released.registry.lineage.upstream(ROOT).refs) | {ROOT} == lineage
    once = ("domain", "event_snapshot", "hub", "index", "item_snapshot", "release", "reranker", "rules", "spoke")
    assert rows.counts == {"evaluation": 2} | dict.fromkeys(once, 1)
    assert len(rows.tables["metrics"]) == 4
    assert travel(rows).tables == rows.tables


def test_what_is_not_there_or_not_ready_is_no_bundle_and_a_domain_is_there_without_an_edge(garden: Any) -> None:
    bundles = garden.registry.bundles
    with pytest.raises(NotFoundError, match="release:garden/9"):
        bundles.rows("release:garden/9")
    garden.model("spoke")
    assert refs_in(bundles.rows("garden:1")) == {"domain:garden", "garden:1"}
    garden.registry.models.begin("spoke", "garden", "f", {})
    with pytest.raises(UsageError, match=r"garden:2 is training; bundle what is made of ready models"):
        bundles.rows("garden:2")


def test_an_empty_registry_becomes_equal_to_the_last_value_and_stays_so(released: Any, other: Registry) -> None:
    source = released.registry
    rows = source.bundles.rows(ROOT)
    planned = other.bundles.place(rows, rehearse=True)
    assert (other.domains.list(), other.artifacts.list()) == ([], [])
    placed = other.bundles.place(travel(rows))
    assert (placed, placed.root, placed.refs) == (planned, ROOT, {ref: ref for ref in placed.refs})
    assert set(placed.created) == set(placed.refs)
    assert placed.artifacts == {row["digest"] for row in rows.tables["artifacts"]}
    for ref in placed.refs:
        if ref != "domain:garden":  # its counts are of each registry's own
            assert other.get(ref) == source.get(ref)
    assert other.lineage.upstream(ROOT) == source.lineage.upstream(ROOT)
    there, here = ({a.digest: a for a in registry.artifacts.list()} for registry in (other, source))
    assert there.items() <= here.items()
    again = other.bundles.place(rows)
    assert (again.created, again.root, source.bundles.place(rows).created) == ((), ROOT, ())
    assert (other.bundles.rows(ROOT), other.aliases.list()) == (rows, [])


@pytest.fixture
def taken(other: Registry, versions_of: Any, stored: Any) -> Registry:
    """A registry whose numbers are taken by other versions, and which has the same events under another number."""
    other.domains.add("garden", "ours", {"theirs": False})
    made = versions_of(other)
    made.snapshot("items", "z")
    made.snapshot("events", "y")
    made.registry.snapshots.add("garden", "events", "a", 10, stored("written by another library"))
    made.hub()
    for content in ({"other": 1}, {"pin": ["rose"]}):
        made.registry.rules.add("garden", content)
    return made.registry


def test_taken_numbers_go_on_and_equal_content_is_one(released: Any, taken: Registry) -> None:
    source, other = released.registry, taken
    placed = other.bundles.place(source.bundles.rows(ROOT))
    changed = {"snapshot:garden/items/1": "snapshot:garden/items/2", "hub:1": "hub:2"}
    changed |= {"snapshot:garden/events/1": "snapshot:garden/events/2", "rules:garden/1": "rules:garden/2"}
    assert placed.refs == {ref: changed.get(ref, ref) for ref in refs_in(source.bundles.rows(ROOT))}
    assert "rules:garden/2" not in placed.created
    assert other.domains.get("garden").settings == {"theirs": False}
    assert other.resolve("hub:2").label == "hub, version 2"
    assert other.resolve("snapshot:garden/items/2").label == "garden items, version 2"
    parts = ReleaseParts("hub:2", "index:garden/1", "garden:1", "reranker:garden/1", "rules:garden/2")
    assert other.releases.get(ROOT).parts == parts
    assert other.models.hub_of("garden:1").ref == "hub:2"
    assert [part.source for part in other.models.get("reranker:garden/1").parts] == ["hub:2", None]
    # Of the events there is a copy of other bytes here, so those of the bundle are not needed.
    events = source.snapshots.get("snapshot:garden/events/1").artifact
    assert events not in placed.artifacts | {artifact.digest for artifact in other.artifacts.list()}
    assert other.evaluations.get("evaluation:garden/2").metrics == source.evaluations.get("evaluation:garden/2").metrics


def test_lineage_is_the_same_under_the_new_names_there_and_back(released: Any, taken: Registry) -> None:
    source, other = released.registry, taken
    there = other.bundles.place(source.bundles.rows(ROOT))
    ours = source.lineage.upstream(ROOT).edges
    named = {replace(e, parent=there.refs[e.parent], child=there.refs[e.child]) for e in ours}
    assert named == set(other.lineage.upstream(there.root).edges)
    back = source.bundles.place(travel(other.bundles.rows(there.root)))
    assert (back.created, {there.refs[ref]: ref for ref in there.refs}) == ((), back.refs)


def test_later_evaluations_follow_a_release_that_is_there_with_their_data(released: Any, other: Registry) -> None:
    other.bundles.place(released.registry.bundles.rows(ROOT))
    made = released.measure("hub:1", *METRICS).ref
    placed = other.bundles.place(released.registry.bundles.rows(ROOT))
    assert (placed.refs[made], placed.created) == (made, (made,))
    events = "snapshot:garden/events/2"
    evidence = released.measure("garden:1", *METRICS, events=events).ref
    for ref in (ROOT, "garden:1"):
        assert {evidence, events} <= refs_in(released.registry.bundles.rows(ref))
    placed = other.bundles.place(released.registry.bundles.rows(ROOT))
    assert other.evaluations.get(placed.refs[evidence]).subject == "garden:1"


def test_the_same_parts_are_one_release(released: Any, other: Registry, versions_of: Any) -> None:
    other.bundles.place(released.registry.bundles.rows("index:garden/1"))
    parts = ReleaseParts("hub:1", "index:garden/1", "garden:1")
    own, theirs = versions_of(other).promote(parts), released.promote(parts)
    placed = other.bundles.place(released.registry.bundles.rows(theirs))
    assert (theirs, placed.root, own, placed.created) == ("release:garden/2", ROOT, ROOT, ())


def tables_of(registry: Registry, ref: str = ROOT) -> Tables:
    return copy.deepcopy({name: list(map(dict, rows)) for name, rows in registry.bundles.rows(ref).tables.items()})


def row_of(tables: Tables, ref: str) -> dict[str, Any]:
    uid = next(node["uid"] for node in tables["nodes"] if node["ref"] == ref)
    names = ("domains", "snapshots", "models", "index_versions", "evaluations", "rule_sets", "releases")
    return next(row for name in names for row in tables[name] if row["id"] == uid)


def test_what_contradicts_the_registry_or_itself_is_refused_and_leaves_nothing(released: Any, other: Registry) -> None:
    """A known hub of other settings, the known domain under another name, an index of another space."""
    for known in ("hub:1", "domain:garden"):
        other.bundles.place(released.registry.bundles.rows(known))

    def state() -> Any:
        return other.bundles.rows("hub:1"), other.artifacts.list(), other.rules.list(), other.models.list()

    before = state()
    hub, index, domain = (tables_of(released.registry, root) for root in (ROOT, ROOT, "domain:garden"))
    row_of(hub, "hub:1")["config"] = {"layers": 2}
    row_of(index, "index:garden/1")["space_fingerprint"] = "another"
    domain["nodes"][0]["ref"], domain["domains"][0]["name"] = "domain:mugs", "mugs"
    for root, tables, error, said in (
        (ROOT, hub, InvalidDataError, r"hub:1 of the bundle is hub:1 here, but has another config; .* backup"),
        (ROOT, index, IncompatibleError, "is of embedding space another"),
        ("domain:mugs", domain, InvalidDataError, "domain:mugs of the bundle is domain:garden here"),
    ):
        with pytest.raises(error, match=said):
            other.bundles.place(read_rows(root, tables))
        assert state() == before


def edit(table: str, place: int = 0, **values: Any) -> Any:
    return lambda tables: tables[table][place].update(values)


def add(table: str, **values: Any) -> Any:
    """The first row of a table once more, with these values."""
    return lambda tables: tables[table].append(tables[table][0] | values)


def point(table: str, column: str, ref: str) -> Any:
    """The first row of a table refers to another node."""
    return lambda tables: tables[table][0].update({column: row_of(tables, ref)["id"]})


UNFIT = {
    "a table is missing": lambda tables: tables.pop("gates", tables.pop("edges")),
    "a table too many": lambda tables: tables.update(aliases=[]),
    "a table that is no list": lambda tables: tables.update(edges={}),
    "a row that is no object": lambda tables: tables["edges"].append(1),
    "a column is missing": lambda tables: tables["models"][0].pop("seed"),
    "a column too many": edit("models", extra=1),
    "a null where there is none": edit("models", config=None),
    "a number too large": edit("models", version=1 << 31),
    "a truth value for a number": edit("models", version=True),
    "no number": edit("metrics", value="0.3"),
    "a text too long": edit("models", code_version="x" * 121),
    "a zero character": edit("models", code_version="\0"),
    "no object": edit("models", config=[]),
    "no time": edit("models", started_at="yesterday"),
    "a time without a zone": edit("models", started_at="2026-01-01T00:00:00"),
    "a uid that is none": edit("nodes", uid="../x"),
    "a uid that is no text": edit("edges", parent_id=7),
    "an unknown kind": edit("nodes", kind="cat"),
    "an unknown relation": edit("edges", relation="knows"),
    "an unknown status of a domain": edit("domains", status="gone"),
    "a model in training": edit("models", status="training"),
    "a model without an artifact": edit("models", artifact=None),
    "another name": edit("nodes", ref="domain:mugs"),
    "a reserved name": lambda tables: (edit("nodes", ref="domain:hub")(tables), edit("domains", name="hub")(tables)),
    "a version of zero": edit("models", version=0),
    "a name taken twice": lambda tables: tables["nodes"][1].update(ref=tables["nodes"][2]["ref"]),
    "a parent outside": edit("edges", parent_id="0" * 32),
    "a child outside": edit("edges", child_id="0" * 32),
    "a parent after its child": lambda tables: [e.update(parent_id=e["child_id"]) for e in tables["edges"][:1]],
    "nodes out of order": lambda tables: tables["nodes"].reverse(),
    "a node without its row": lambda tables: tables["releases"].pop(0),
    "a row without its node": lambda tables: tables["nodes"].pop(),
    "an artifact that nothing names": add("artifacts", digest="0" * 64),
    "an artifact that is missing": lambda tables: tables["artifacts"].pop(0),
    "an artifact twice": add("artifacts"),
    "an edge twice": add("edges"),
    "a metric twice": add("metrics"),
    "an index over events": point("index_versions", "items_id", "snapshot:garden/events/1"),
    "an index of a rule set": point("index_versions", "model_id", "rules:garden/1"),
    "a hub with a domain": lambda tables: [
        node.update(domain_id=row_of(tables, "domain:garden")["id"])
        for node in tables["nodes"]
        if node["ref"] == "hub:1"
    ],
    "a spoke that says hub": lambda tables: row_of(tables, "garden:1").update(kind="hub"),
}


def test_rows_that_contradict_each_other_are_refused(released: Any) -> None:
    sound = tables_of(released.registry)
    read_rows(ROOT, copy.deepcopy(sound))
    for what, change in UNFIT.items():
        tables = copy.deepcopy(sound)
        change(tables)
        with pytest.raises(InvalidDataError, match=r"The bundle contradicts itself \(.*\); export it once more\."):
            read_rows(ROOT, tables)
            pytest.fail(f"{what} was accepted")
    with pytest.raises(InvalidDataError, match="its root release:garden/9 is not in it"):
        read_rows("release:garden/9", sound)
    for nothing in (None, [], {}, 3):
        with pytest.raises(InvalidDataError, match="its tables are not those of a registry"):
            read_rows("hub:1", nothing)
