"""Rows out of one registry and into another: what belongs to a bundle, who is who, numbers, and refusals that leave
nothing.
"""

from __future__ import annotations

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


def test_every_table_travels_or_is_left_behind_on_purpose() -> None:
    assert set(Base.metadata.tables) == set(OWNERS) | LEFT_BEHIND


def test_a_bundle_holds_the_lineage_and_the_evaluations_measured_within_it(released: Any) -> None:
    rows = released.registry.bundles.rows("release:garden/1")
    refs = [node["ref"] for node in rows.tables["nodes"]]
    assert sorted(refs) == [
        "domain:garden",
        "evaluation:garden/1",
        "evaluation:garden/2",
        "garden:1",
        "hub:1",
        "index:garden/1",
        "release:garden/1",
        "reranker:garden/1",
        "rules:garden/1",
        "snapshot:garden/events/1",
        "snapshot:garden/items/1",
    ]
    upstream = released.registry.lineage.upstream("release:garden/1")
    assert set(upstream.refs) | {"release:garden/1"} == {ref for ref in refs if not ref.startswith("evaluation")}
    assert rows.counts == {
        "domain": 1,
        "evaluation": 2,
        "event_snapshot": 1,
        "hub": 1,
        "index": 1,
        "item_snapshot": 1,
        "release": 1,
        "reranker": 1,
        "rules": 1,
        "spoke": 1,
    }
    assert len(rows.tables["metrics"]) == 4
    assert travel(rows).tables == rows.tables


def test_a_domain_that_no_edge_leads_to_is_there_all_the_same(registry: Registry, versions_of: Any) -> None:
    registry.domains.add("garden")
    versions_of(registry).model("spoke")
    assert [node["ref"] for node in registry.bundles.rows("garden:1").tables["nodes"]] == ["domain:garden", "garden:1"]


def test_what_is_not_there_or_not_ready_is_no_bundle(garden: Any) -> None:
    with pytest.raises(NotFoundError, match="release:garden/9"):
        garden.registry.bundles.rows("release:garden/9")
    garden.registry.models.begin("spoke", "garden", "f", {})
    with pytest.raises(UsageError, match=r"garden:1 is training; bundle what is made of ready models"):
        garden.registry.bundles.rows("garden:1")


def test_an_empty_registry_becomes_equal_to_the_last_value(released: Any, other: Registry) -> None:
    source = released.registry
    rows = source.bundles.rows("release:garden/1")
    placed = other.bundles.place(travel(rows))
    assert placed.root == "release:garden/1"
    assert placed.refs == {ref: ref for ref in placed.refs}
    assert set(placed.created) == set(placed.refs)
    assert placed.artifacts == {row["digest"] for row in rows.tables["artifacts"]}
    for ref in placed.refs:
        if ref != "domain:garden":  # its counts are of each registry's own
            assert other.get(ref) == source.get(ref)
    assert other.lineage.upstream(placed.root) == source.lineage.upstream("release:garden/1")
    assert other.bundles.rows(placed.root) == rows
    assert {a.digest: a for a in other.artifacts.list()}.items() <= {
        a.digest: a for a in source.artifacts.list()
    }.items()
    assert other.aliases.list() == []


def test_the_same_bundle_again_changes_nothing(released: Any, other: Registry) -> None:
    rows = released.registry.bundles.rows("release:garden/1")
    other.bundles.place(rows)
    again = other.bundles.place(rows)
    assert (again.created, again.root) == ((), "release:garden/1")
    home = released.registry.bundles.place(rows)
    assert home.created == ()
    assert other.bundles.rows("release:garden/1") == rows


def test_a_rehearsal_says_all_and_leaves_nothing(released: Any, other: Registry) -> None:
    rows = released.registry.bundles.rows("release:garden/1")
    planned = other.bundles.place(rows, rehearse=True)
    assert other.domains.list() == []
    assert other.artifacts.list() == []
    assert other.bundles.place(rows) == planned


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
    placed = other.bundles.place(source.bundles.rows("release:garden/1"))
    assert placed.refs == {
        "domain:garden": "domain:garden",
        "snapshot:garden/items/1": "snapshot:garden/items/2",
        "snapshot:garden/events/1": "snapshot:garden/events/2",
        "hub:1": "hub:2",
        "garden:1": "garden:1",
        "index:garden/1": "index:garden/1",
        "rules:garden/1": "rules:garden/2",
        "reranker:garden/1": "reranker:garden/1",
        "release:garden/1": "release:garden/1",
        "evaluation:garden/1": "evaluation:garden/1",
        "evaluation:garden/2": "evaluation:garden/2",
    }
    assert "rules:garden/2" not in placed.created
    assert other.domains.get("garden").settings == {"theirs": False}
    assert other.resolve("hub:2").label == "hub, version 2"
    assert other.resolve("snapshot:garden/items/2").label == "garden items, version 2"
    assert other.releases.get("release:garden/1").parts == ReleaseParts(
        "hub:2", "index:garden/1", "garden:1", "reranker:garden/1", "rules:garden/2"
    )
    assert other.models.hub_of("garden:1").ref == "hub:2"
    assert [part.source for part in other.models.get("reranker:garden/1").parts] == ["hub:2", None]
    # Of the events there is a copy of other bytes here, so those of the bundle are not needed.
    events = source.snapshots.get("snapshot:garden/events/1").artifact
    assert events not in placed.artifacts
    assert events not in {artifact.digest for artifact in other.artifacts.list()}
    assert other.evaluations.get("evaluation:garden/2").metrics == source.evaluations.get("evaluation:garden/2").metrics


def mapped(edges: Any, refs: dict[str, str]) -> set[tuple[Any, ...]]:
    return {(refs[e.parent], refs[e.child], e.relation, e.part, e.reason) for e in edges}


def test_lineage_is_the_same_under_the_new_names_there_and_back(released: Any, taken: Registry) -> None:
    source, other = released.registry, taken
    there = other.bundles.place(source.bundles.rows("release:garden/1"))
    ours, theirs = source.lineage.upstream("release:garden/1"), other.lineage.upstream(there.root)
    assert mapped(ours.edges, dict(there.refs)) == mapped(
        theirs.edges, {ref: ref for ref in (*theirs.refs, there.root)}
    )
    back = source.bundles.place(travel(other.bundles.rows(there.root)))
    assert back.created == ()
    assert {there.refs[ref]: ref for ref in there.refs} == back.refs


def test_the_evidence_for_what_serves_comes_with_its_data(released: Any, other: Registry) -> None:
    made = released.measure("garden:1", *METRICS, events="snapshot:garden/events/2").ref
    for ref in ("release:garden/1", "garden:1"):
        refs = {node["ref"] for node in released.registry.bundles.rows(ref).tables["nodes"]}
        assert {made, "snapshot:garden/events/2"} <= refs
    placed = other.bundles.place(released.registry.bundles.rows("release:garden/1"))
    assert other.evaluations.get(placed.refs[made]).subject == "garden:1"


def test_later_evaluations_follow_a_release_that_is_there(released: Any, other: Registry) -> None:
    other.bundles.place(released.registry.bundles.rows("release:garden/1"))
    made = released.measure("hub:1", *METRICS).ref
    placed = other.bundles.place(released.registry.bundles.rows("release:garden/1"))
    assert (placed.refs[made], placed.created) == (made, (made,))


def test_the_same_parts_are_one_release(released: Any, other: Registry, versions_of: Any) -> None:
    spoke = released.registry.bundles.rows("index:garden/1")
    other.bundles.place(spoke)
    parts = ReleaseParts("hub:1", "index:garden/1", "garden:1")
    own, theirs = versions_of(other).promote(parts), released.promote(parts)
    placed = other.bundles.place(released.registry.bundles.rows(theirs))
    assert (theirs, placed.root, own) == ("release:garden/2", "release:garden/1", "release:garden/1")
    assert placed.created == ()


def tables_of(registry: Registry, ref: str = "release:garden/1") -> Tables:
    return copy.deepcopy(
        {name: [dict(row) for row in rows] for name, rows in registry.bundles.rows(ref).tables.items()}
    )


def row_of(tables: Tables, ref: str) -> dict[str, Any]:
    uid = next(node["uid"] for node in tables["nodes"] if node["ref"] == ref)
    names = ("domains", "snapshots", "models", "index_versions", "evaluations", "rule_sets", "releases")
    return next(row for name in names for row in tables[name] if row["id"] == uid)


def test_a_known_node_of_another_content_is_refused_and_leaves_nothing(released: Any, other: Registry) -> None:
    other.bundles.place(released.registry.bundles.rows("hub:1"))
    before = other.bundles.rows("hub:1")
    tables = tables_of(released.registry)
    row_of(tables, "hub:1")["config"] = {"layers": 2}
    with pytest.raises(InvalidDataError, match=r"hub:1 of the bundle is hub:1 here, but has another config; .* backup"):
        other.bundles.place(read_rows("release:garden/1", tables))
    assert other.bundles.rows("hub:1") == before
    assert other.rules.list() == []


def test_parts_that_do_not_fit_are_refused_and_leave_nothing(released: Any, other: Registry) -> None:
    tables = tables_of(released.registry)
    row_of(tables, "index:garden/1")["space_fingerprint"] = "another"
    with pytest.raises(IncompatibleError, match="is of embedding space another"):
        other.bundles.place(read_rows("release:garden/1", tables))
    assert (other.domains.list(), other.models.list(), other.artifacts.list()) == ([], [], [])


def test_a_domains_identity_under_another_name_is_refused(released: Any, other: Registry) -> None:
    other.bundles.place(released.registry.bundles.rows("domain:garden"))
    tables = tables_of(released.registry, "domain:garden")
    tables["nodes"][0]["ref"], tables["domains"][0]["name"] = "domain:mugs", "mugs"
    with pytest.raises(InvalidDataError, match="domain:mugs of the bundle is domain:garden here"):
        other.bundles.place(read_rows("domain:mugs", tables))


def edit(table: str, place: int = 0, **values: Any) -> Any:
    def change(tables: Tables) -> None:
        tables[table][place].update(values)

    return change


def drop(table: str, place: int = 0) -> Any:
    return lambda tables: tables[table].pop(place)


def twice(table: str) -> Any:
    return lambda tables: tables[table].append(dict(tables[table][0]))


def swap(tables: Tables) -> None:
    nodes = tables["nodes"]
    nodes[0], nodes[-1] = nodes[-1], nodes[0]


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
    "nodes out of order": swap,
    "a node without its row": drop("releases"),
    "a row without its node": drop("nodes", -1),
    "an artifact that nothing names": lambda tables: tables["artifacts"].append(
        {**tables["artifacts"][0], "digest": "0" * 64}
    ),
    "an artifact that is missing": drop("artifacts"),
    "an artifact twice": twice("artifacts"),
    "an edge twice": twice("edges"),
    "a metric twice": twice("metrics"),
    "an index over events": lambda tables: tables["index_versions"][0].update(
        items_id=row_of(tables, "snapshot:garden/events/1")["id"]
    ),
    "an index of a rule set": lambda tables: tables["index_versions"][0].update(
        model_id=row_of(tables, "rules:garden/1")["id"]
    ),
    "a hub with a domain": lambda tables: [
        edit("nodes", place, domain_id=row_of(tables, "domain:garden")["id"])(tables)
        for place, node in enumerate(tables["nodes"])
        if node["ref"] == "hub:1"
    ],
    "a spoke that says hub": lambda tables: row_of(tables, "garden:1").update(kind="hub"),
}


def test_rows_that_contradict_each_other_are_refused(released: Any) -> None:
    sound = tables_of(released.registry)
    read_rows("release:garden/1", copy.deepcopy(sound))
    for what, change in UNFIT.items():
        tables = copy.deepcopy(sound)
        change(tables)
        with pytest.raises(InvalidDataError, match=r"The bundle contradicts itself \(.*\); export it once more\."):
            read_rows("release:garden/1", tables)
            pytest.fail(f"{what} was accepted")
    with pytest.raises(InvalidDataError, match="its root release:garden/9 is not in it"):
        read_rows("release:garden/9", sound)


@pytest.mark.parametrize("tables", [None, [], {}, 3])
def test_what_is_no_tables_is_refused(tables: Any) -> None:
    with pytest.raises(InvalidDataError, match="its tables are not those of a registry"):
        read_rows("hub:1", tables)
