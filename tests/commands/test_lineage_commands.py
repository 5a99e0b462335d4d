"""`hubspoke lineage` and what `domain show` says is behind: text, JSON, drawings, forms that exclude each other."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hubspoke.registry.records import MetricRecord, ModelPart, Parent
from hubspoke.registry.stores.evaluations import NewEvaluation
from hubspoke.registry.stores.indexes import NewIndex
from hubspoke.workflows.workspace import open_workspace

EVENTS = "snapshot:garden/events/1"
ITEMS = "snapshot:garden/items/1"
MEASURED = [MetricRecord("all", name, 0.1) for name in ("mrr", "ndcg@10")]


@pytest.fixture
def live(garden: Any, monkeypatch: pytest.MonkeyPatch, stored: Any) -> Any:
    """`run` where release:garden/1 of hub:1, garden:1 and index:garden/1 is live, and garden:2 is not."""
    moment = datetime.now(UTC)
    # No model takes any time, however slow the machine: all that is counted is the index's.
    monkeypatch.setattr("hubspoke.registry.stores.models.now", lambda: moment)
    with open_workspace() as ws:
        registry = ws.registry
        hub = registry.models.begin("hub", None, "h", {})
        registry.models.finish(hub.ref, stored("h"), "h", parents=[Parent(ITEMS, "trained_on", "items")])
        for name, layers in (("one", 1), ("two", 2)):
            begun = registry.models.begin("spoke", "garden", name, {"transformer": {"layers": layers}})
            parents = [Parent("hub:1", "adapted_from", "fusion"), Parent(EVENTS, "trained_on", "events")]
            parts = [
                ModelPart("text encoder", "e" * 64, source="hub:1"),
                ModelPart("mixture", hashlib.sha256(name.encode()).hexdigest()),
                ModelPart("transformer", str(layers) * 64, 4000 * layers, 1000 * layers),
            ]
            registry.models.finish(begun.ref, stored(name), "s", {}, parents, parts)
            registry.evaluations.add(NewEvaluation("garden", begun.ref, EVENTS, {}, 3, MEASURED))
        made = ("i", "s", "Flat", 4, "inner_product", 3, stored("i"), 75)
        registry.indexes.add(NewIndex("garden", "garden:1", ITEMS, *made))
        ws.promote("garden:1")
    return garden


def test_show_cut_short(live: Any) -> None:
    lines = live("lineage", "show", "garden", "--depth", "1").out.splitlines()
    assert (len(lines), lines[2][-20:]) == (4, "  ndcg@10 0.100  ...")
    assert lines[2].startswith("├─ garden:1  released as (spoke)  20")
    told = live("lineage", "show", "garden", "--depth", "1", "--json").json["lineage"]
    below = [(ref, 1, True) for ref in ("hub:1", "garden:1", "index:garden/1")]
    assert [(line["ref"], line["depth"], line["cut"]) for line in told["lines"]] == [
        ("release:garden/1", 0, False),
        *below,
    ]
    assert live("lineage", "show", "garden", "--depth", "0").code == 2


def test_upstream_and_downstream_as_flat_lists(live: Any) -> None:
    up = live("lineage", "upstream", "garden:1").out.splitlines()
    assert up[0].split() == ["ref", "kind", "domain", "depth", "created", "relation"]
    assert up[2].split()[:5] == [EVENTS, "event", "snapshot", "garden", "1"]
    assert up[3].split()[:3] == ["hub:1", "hub", "-"] and up[3].endswith("adapted from (fusion)")
    down = live("lineage", "downstream", "hub:1", "--json").json["lineage"]
    assert (down["direction"], down["root"]["ref"]) == ("downstream", "hub:1")
    assert [(n["ref"], n["depth"], n["relations"]) for n in down["nodes"]][1:4] == [
        ("garden:1", 1, ["adapted_from"]),
        ("garden:2", 1, ["adapted_from"]),
        ("release:garden/1", 1, ["released_as"]),
    ]
    assert live("lineage", "upstream", "domain:garden").out == "domain:garden was made from nothing.\n"
    assert "has had nothing made from it" in live("lineage", "downstream", "garden").out


def test_drawings_are_cut_like_the_tree_and_forms_exclude_each_other(live: Any) -> None:
    for verb in ("show", "upstream", "downstream"):
        assert live("lineage", verb, "garden:1", "--dot").out.startswith("digraph lineage {\n")
        assert live("lineage", verb, "garden:1", "--mermaid").out.startswith("flowchart LR\n")
        for pair in (("--dot", "--mermaid"), ("--json", "--dot"), ("--json", "--mermaid")):
            refused = live("lineage", verb, "garden:1", *pair)
            assert (refused.code, f"{pair[0]} and {pair[1]} are forms of one answer" in refused.err) == (2, True)
    assert '"domain:garden" ->' in live("lineage", "show", "garden:1", "--dot", "--domains").out
    assert "domain:garden" not in live("lineage", "show", "garden:1", "--dot").out
    near = live("lineage", "show", "hub:1", "--downstream", "--depth", "1", "--mermaid").out
    assert "release:garden/1" in near and "index:garden/1" not in near


def test_impact(live: Any) -> None:
    told = live("lineage", "impact", "hub:1").out.splitlines()
    assert told[0].split() == ["#", "do", "ref", "items", "took", "serves", "after"]
    do = ["retrain garden:1", "retrain garden:2", "rebuild index:garden/1", "re-release release:garden/1"]
    assert [line.split()[1:3] for line in told[2:6]] == [step.split() for step in do]
    assert told[4].split()[3:] == ["3", "1", "min", "15", "s", "yes", "garden:1"]
    assert told[5].endswith("garden@live  garden:1, index:garden/1")
    assert told[-1].startswith("4 steps: retrain 2, rebuild 1, re-release 1 (1 live); 1 min 15 s last time; ")
    assert told[-1].endswith("2 evaluations speak of this.")
    answer = live("lineage", "impact", EVENTS, "--live", "--json").json
    assert [step["ref"] for step in answer["steps"]] == ["garden:1", "index:garden/1", "release:garden/1"]
    assert (answer["live"], answer["totals"]["live_releases"]) == (True, 1)
    nothing = "Nothing has to be made again because of garden:2; 1 ev"
    assert live("lineage", "impact", "garden:2").out.startswith(nothing)
    assert live("lineage", "impact", "garden:2", "--live").out.startswith("Nothing serves from garden:2")


def test_diff(live: Any) -> None:
    told = live("lineage", "diff", "garden:1", "garden:2")
    lines = told.out.splitlines()
    assert (told.code, lines[0], lines[2]) == (0, "garden:1 and garden:2 differ.", "config")
    config = [["config", "garden:1", "garden:2"], ["transformer.layers", "1", "2"]]
    assert [line.split() for line in lines[3:6:2]] == config and "data" not in lines
    parts = lines[lines.index("parts") + 3 :][:2]
    assert [line.split("  ")[0] for line in parts] == ["mixture", "transformer"]
    assert parts[1].split("  ", 1)[1].strip() == "111111111111, 1,000 parameters  222222222222, 2,000 parameters"
    assert lines[-1].split()[:5] == ["ndcg@10", "all", "0.1", "0.1", "0"]
    assert not any(line.startswith("mrr") for line in lines)
    answer = live("lineage", "diff", "garden:1", "garden:2", "--json").json
    assert (answer["same"], answer["kind"], answer["data"][0]["same"]) == (False, "spoke", True)
    assert live("lineage", "diff", "hub:1", "hub:1").out == "hub:1 and hub:1 do not differ.\n"
    assert [live("lineage", "diff", "hub:1", other).code for other in ("garden:1", "hub:9")] == [2, 5]


def test_domain_show_says_what_is_behind(live: Any, home: Path) -> None:
    assert live("domain", "show", "garden").out.endswith("\n\nup to date\n")
    (home / "more.csv").write_text("item_id,title\nrose,Red rose\nivy,Ivy\n")
    assert live("data", "ingest", "garden", "--items", "more.csv").code == 0
    shown = live("domain", "show", "garden").out
    assert "\n\nbehind\npart  " in shown
    # The catalog of this workspace is real, so the missing item is counted.
    assert "items in the newest catalog missing from index:garden/1: 1 of 2" in shown
    told = live("domain", "show", "garden", "--json").json["staleness"]
    assert [(one["part"], one["what"]) for one in told] == [("hub:1", "newer items"), ("index:garden/1", "newer items")]


def test_a_domain_where_nothing_is_live_is_neither_behind_nor_up_to_date(garden: Any) -> None:
    shown = garden("domain", "show", "garden").out
    assert "behind" not in shown and "up to date" not in shown
