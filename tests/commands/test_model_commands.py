"""The commands of hub, spoke, index, evaluation and launch hand over what they were given and show what comes back."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hubspoke.evaluation.comparison import ComparisonRow
from hubspoke.evaluation.protocols import Protocol
from hubspoke.registry.records import ModelRecord
from hubspoke.registry.store import Registry
from hubspoke.retrieval.measurement import IndexRequest
from hubspoke.workflows.answers import Recommendations, SearchResults
from hubspoke.workflows.assessment.business import BusinessCard
from hubspoke.workflows.assessment.records import CardRow
from hubspoke.workflows.evaluations import CompareResult, EvaluationResult
from hubspoke.workflows.hubs import EmbedResult
from hubspoke.workflows.index_check import IndexCheck
from hubspoke.workflows.index_measurement import IndexBench
from hubspoke.workflows.indexes import IndexAddition, IndexRefresh, IndexResult
from hubspoke.workflows.launches import LaunchResult
from hubspoke.workflows.models import ModelResult
from hubspoke.workflows.newcomers import Elsewhere
from hubspoke.workflows.quality import QualityCard, VersionDrift
from hubspoke.workflows.workspace import Workspace


@dataclass
class Noun:
    """Stands for a noun, or a verb, of the workspace: remembers every call and gives one answer."""

    answer: Any
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, verb: str) -> Any:
        return lambda *args, **kwargs: self.calls.append((verb, args, kwargs)) or self.answer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, "")(*args, **kwargs)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(name: str, answer: Any) -> Noun:
        monkeypatch.setattr(Workspace, name, noun := Noun(answer))
        return noun

    return make


TABLE = [{"share": 0.5, "ndcg@10": 0.25}, {"share": 1.0, "low": 0.1}]
TRAINED = ModelResult("hub:2", 2, False, "ready", 2.5, {"parameters": {"trained": 7}, "rows": [{"skipped": 1}]}, TABLE)
POT = {"rank": 1, "item_id": "pot", "title": "Clay pot", "score": 0.5, "cold": False, "pinned": False}
POT |= dict.fromkeys(("brand", "category", "price"))
RECOMMENDED = Recommendations(
    ref="garden",
    release="release:garden/1",
    index="index:garden/1",
    served_by="garden:1",
    session=[{"item_id": "rose", "title": "Red rose"}],
    unknown=["oak"],
    seen_items="ranked",
    rules=None,
    behind=None,
    known_from=[],
    items=[POT],
)
EVALUATED = EvaluationResult(
    domain="garden",
    model="garden:1",
    events="snapshot:garden/events/1",
    evaluation="evaluation:garden/1",
    note=None,
    metrics={"all": {"ndcg@10": 0.25, "coverage@100": 1.0}},
    intervals={"all": {"ndcg@10": [0.2, 0.3]}},
    protocol={"name": "leave-one-out", "description": "leave-one-out test, full ranking"},
    n_users=12,
    n_left_out=0,
    n_targets={"all": 12},
    n_dropped_targets=0,
    empty_slices=[],
)


def test_hub_train_and_listings_of_nothing(garden: Any, stand_in: Any) -> None:
    assert garden("hub", "list").out.startswith("No hub yet")
    assert garden("spoke", "list", "garden", "--json").json == {"schema_version": 1, "spokes": []}
    assert garden("index", "list").out.startswith("No index yet")
    noun = stand_in("hub", TRAINED)
    shown = garden("hub", "train", "--domains", "garden,pots", "--held-out", "toys", "--steps", "5", "--set", "seed=3")
    options = {"domains": ["garden", "pots"], "held_out": "toys", "config": {"seed": 3}, "steps": 5}
    options |= {"preset": "balanced", "parent": None} | dict.fromkeys(
        ("from_scratch", "promote", "force", "dry_run"), False
    )
    assert noun.calls == [("train", (), options)]
    assert shown.lines == [
        ["hub:2 is ready after 2.5 s."],
        ["parameters.trained", "7"],
        ["share", "ndcg@10", "low"],
        ["0.5", "0.25", "-"],
        ["1", "-", "0.1"],
    ]


def test_a_hub_is_shown_with_how_it_reads_and_the_evidence_for_it(garden: Any, stand_in: Any) -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    row = {"stage": "reading", "held_out": "pots", "share": 0.5, "ndcg@10": 0.25}
    summary = {"reading": {"is": "learned on its domains", "text": [1.0, 0.5]}, "table": [row]}
    hub = ModelRecord(
        "hub:2",
        "hub",
        None,
        2,
        "ready",
        "f" * 64,
        "5" * 64,
        {},
        summary,
        "",
        0,
        {},
        "a" * 64,
        moment,
        moment,
        moment,
        None,
    )
    stand_in("hub", hub)
    shown = garden("hub", "show", "hub:2").lines
    assert shown[-2:] == [["stage", "held_out", "share", "ndcg@10"], ["reading", "pots", "0.5", "0.25"]]
    assert ["reading.is", "learned on its domains"] in shown


def test_spoke_train(garden: Any, stand_in: Any) -> None:
    noun = stand_in("spoke", replace(TRAINED, cached=True))
    split = ("--split", "temporal", "--test-from", "2017-07-01", "--no-index")
    shown = garden("spoke", "train", "garden", "--hub", "hub:4", "--refit", *split, "--force", "--dry-run")
    options = {"hub": "hub:4", "split": "temporal", "test_from": datetime(2017, 7, 1, tzinfo=UTC), "on": "all"}
    options |= dict.fromkeys(("refit", "force", "dry_run"), True) | dict.fromkeys(("index", "promote"), False)
    options |= dict.fromkeys(("items", "events", "parent", "transfer"))
    assert noun.calls == [("train", ("garden", None), options)]
    assert "(cached; --force trains again)" in shown.out
    assert garden("spoke", "train", "garden", "--json").json["cached"] is True
    garden("spoke", "train", "garden", "--set", "model=sasrec", "--set", "seed=3", "--model", "bert4rec")
    assert noun.calls[-1][1] == ("garden", {"model": "bert4rec", "seed": 3})
    garden("spoke", "train", "garden", "--from", "pots:3", "--on", "new")
    assert (noun.calls[-1][2]["parent"], noun.calls[-1][2]["on"]) == ("pots:3", "new")
    garden("spoke", "train", "garden", "--transfer", "auto")
    assert noun.calls[-1][2]["transfer"] == "auto"


def test_a_spoke_is_shown_with_its_transfer_audit(garden: Any, versions_of: Any, home: Path) -> None:
    effect = {"difference": 0.0213, "low": 0.015, "high": 0.028}
    trials = [{"policy": "none", "all": 0.1, "warm": 0.1, "cold": None, "epochs": 3, "seconds": 1.5}]
    trials.append({**trials[0], "policy": "text", "all": 0.1213})
    part = {"part": "text", "inherited": True, "beside": "none", "all": effect, "verdict": "text, inherited: in words"}
    against = [{"policy": "none", "all": effect, "warm": effect, "cold": None}]
    audit = {"policy": "text", "metric": "ndcg@10", "part": "validation", "users": 60}
    audit |= {"trials": trials, "against": against, "parts": [part]}
    with Registry(f"sqlite:///{home}/.hubspoke/registry.db") as registry:
        models = versions_of(registry)
        models.hub()
        models.spoke(transfer=audit)
    shown = garden("spoke", "show", "garden:1")
    assert shown.lines[-7:] == [
        ["transfer audit: ndcg@10 on validation, 60 users"],
        ["policy", "all", "warm", "cold", "epochs", "seconds"],
        ["none", "0.1", "0.1", "-", "3", "1.5"],
        ["*", "text", "0.1213", "0.1", "-", "3", "1.5"],
        ["against", "all", "warm", "cold"],
        ["none", "+0.0213 [0.0150, 0.0280]", "+0.0213 [0.0150, 0.0280]", "-"],
        ["text, inherited: in words"],
    ]
    assert garden("spoke", "show", "garden:1", "--json").json["summary"]["transfer"]["parts"] == [part]


def test_hub_embed_and_index_build(garden: Any, stand_in: Any) -> None:
    noun = stand_in("hub", EmbedResult("garden", "hub:4", "snapshot:garden/items/1", 3, 3, 0, 384, 0.5))
    shown = garden("hub", "embed", "garden", "--hub", "hub:4")
    assert (shown.lines[0], shown.lines[3]) == (["domain", "garden"], ["n_items", "3"])
    assert noun.calls == [("embed", ("garden",), {"hub": "hub:4", "items": None})]
    noun = stand_in("index", IndexResult("index:garden/1", True, "hub:4", "snapshot:garden/items/1", 3, 384, 0.5))
    shown = garden("index", "build", "hub:4", "--domain", "garden")
    assert shown.lines[:2] == [["ref", "index:garden/1"], ["cached", "yes"]]
    given: dict[str, Any] = {"domain": "garden", "items": None, "force": False, "dry_run": False}
    assert noun.calls == [("build", ("hub:4",), {**given, "request": IndexRequest()})]
    garden("index", "build", "hub:4", "--domain", "garden", "--kind", "auto", "--latency-ms", "20", "--memory-gb", "4")
    wanted = IndexRequest(kind="auto", latency_ms=20, memory_gb=4)
    assert noun.calls[1] == ("build", ("hub:4",), {**given, "request": wanted})


def test_what_an_index_was_found_to_be_is_shown_as_a_table(garden: Any, stand_in: Any) -> None:
    row = {"kind": "ivf", "effort": 8, "n_vectors": 40, "n_queries": 20, "recall": 0.98, "p50_ms": 0.1, "p99_ms": 0.2}
    row |= {"per_second": 900.0, "bytes_per_vector": 52.0, "build_seconds": 0.5, "missed": ["recall@10 0.9800 < 0.99"]}
    stand_in("index", IndexBench("index:garden/1", "snapshot:garden/items/1", 40, "sessions", None, [row]))
    shown = garden("index", "bench", "garden")
    assert shown.out.startswith("40 vectors of index:garden/1, asked as sessions of its category ask.")
    assert "recall@10 0.9800 < 0.99" in shown.out and "auto takes none: no kind meets the targets." in shown.out
    addition = IndexAddition("index:garden/2", "index:garden/1", False, 3, 37, 1, 0.5, "30% has changed")
    stand_in("index", IndexRefresh(addition, "release:garden/2"))
    assert "addition.retrained  30% has changed" in garden("index", "refresh", "garden", "--promote").out


def test_index_check_ends_with_6_where_it_does_not_fit(garden: Any, stand_in: Any) -> None:
    stand_in("index", IndexCheck("index:garden/1", False, [{"check": "space", "ok": False, "message": "differs"}]))
    shown = garden("index", "check", "index:garden/1")
    assert (shown.code, shown.out.splitlines()[0]) == (6, "index:garden/1 is not sound.")
    assert garden("index", "check", "index:garden/1", "--json").json["ok"] is False


def test_recommend_and_similar(garden: Any, stand_in: Any) -> None:
    recommend, similar = stand_in("recommend", RECOMMENDED), stand_in("similar", RECOMMENDED)
    shown = garden("recommend", "garden", "--session", "rose, oak", "-k", "3", "--exclude-seen")
    assert shown.lines == [
        ["Served by garden:1, items of the session are ranked."],
        ["after rose", "Red rose"],
        ["Unknown items left out: oak."],
        ["rank", "item_id", "title", "score", "cold"],
        ["1", "pot", "Clay pot", "0.5", "no"],
    ]
    newcomer = {"served_by": "newcomer-popularity", "session": [], "unknown": [], "known_from": [Elsewhere("pots", 2)]}
    recommend.answer = replace(RECOMMENDED, **newcomer)
    shown = garden("recommend", "garden", "--user", "ann")
    assert shown.lines[:2] == [
        ["Served by newcomer-popularity, for there is no session here."],
        ["The shopper is known from pots (2 events); that has no part in this list."],
    ]
    garden("similar", "garden:1", "rose")
    options = {"exclude_seen": False, "diversity": 0.0, "near": None, "filter": None}
    assert [own[1:] for own in recommend.calls] == [
        (("garden", ["rose", "oak"], None), {**options, "k": 3, "exclude_seen": True}),
        (("garden", [], "ann"), {**options, "k": 10}),
    ]
    assert [args for _, args, _ in similar.calls] == [("garden:1", "rose", 10, None)]
    assert garden("recommend", "garden", "--user", "ann", "--session", "rose").code == 2


def test_search_by_words_and_by_picture(garden: Any, stand_in: Any) -> None:
    found = SearchResults("garden", None, "index:garden/1", "garden:1", "clay pot", None, "rules:garden/2", None, [POT])
    search = stand_in("search", found)
    shown = garden("search", "garden", "clay pot", "-k", "3")
    assert shown.lines == [
        ["Served by garden:1, most like 'clay pot'."],
        ["Rules: rules:garden/2."],
        ["rank", "item_id", "title", "score", "cold"],
        ["1", "pot", "Clay pot", "0.5", "no"],
    ]
    search.answer = replace(found, text=None, picture="pot.jpg", rules=None)
    assert garden("search", "garden", "--image", "pot.jpg").lines[0] == ["Served by garden:1, most like pot.jpg."]
    assert [args for _, args, _ in search.calls] == [
        ("garden", "clay pot", None, 3, None),
        ("garden", None, "pot.jpg", 10, None),
    ]


def test_evaluate_run(garden: Any, stand_in: Any) -> None:
    noun = stand_in("evaluate", EVALUATED)
    command = ("evaluate", "run", "--domain", "garden", "--model", "garden:1")
    shown = garden(*command, "--k", "10", "--exclude-seen")
    assert shown.lines[4:] == [
        ["protocol", "leave-one-out test, full ranking"],
        ["slice", "metric", "value", "low", "high", "targets"],
        ["all", "ndcg@10", "0.25", "0.2", "0.3", "12"],
        ["all", "coverage@100", "1", "-", "-", "12"],
    ]
    protocol = Protocol(ks=(10,), exclude_seen=True)
    assert noun.calls == [("run", ("garden", "garden:1", protocol), {"events": None, "by": (), "record": True})]
    stand_in("evaluate", replace(EVALUATED, note="counts all events"))
    assert garden(*command).out.splitlines()[4] == "note        counts all events"


def test_evaluate_compare(garden: Any, stand_in: Any) -> None:
    rows = [ComparisonRow("popularity", "all", "ndcg@10", 0.25)]
    noted = replace(EVALUATED, model="popularity-7d", note="counts all events")
    compared = CompareResult("garden", EVALUATED.events, "hub:1", EVALUATED.protocol, 12, rows, [EVALUATED, noted])
    noun = stand_in("evaluate", compared)
    shown = garden("evaluate", "compare", "--domain", "garden", "--models", "popularity,hub", "--no-record")
    assert shown.lines[3:5] == [["compared with", "hub:1"], ["popularity-7d", "counts all events"]]
    assert shown.lines[6][:4] == ["popularity", "all", "ndcg@10", "0.25"]
    asked = ("garden", ["popularity", "hub"], None, Protocol())
    assert noun.calls == [("compare", asked, {"events": None, "by": (), "record": False})]


def test_launch(run: Any, stand_in: Any) -> None:
    steps = [{"step": "index", "ref": "index:garden/1", "cached": False, "seconds": 1.0}]
    noun = stand_in("launch", LaunchResult("garden", "day zero", "release:garden/1", 3.0, steps, [RECOMMENDED], None))
    shown = run("launch", "garden", "--catalog", "items.csv", "--images", "photos", "--set", "seed=1", "-k", "3")
    assert "Made a new workspace in" in shown.err
    assert "mode     day zero" in shown.out and "Clay pot" in shown.out
    ((_, args, options),) = noun.calls
    given = {"images": "photos", "k": 3, "config": {"seed": 1}, "sessions": None, "dry_run": False}
    assert (args, options | given) == (("garden", "items.csv", None), options)


def test_evaluate_quality_prints_a_card_of_four_dimensions(garden: Any, stand_in: Any) -> None:
    own = {"low": 1.0, "high": 3.0, "unit": "skewness", "better": "lower"}
    rows = [
        CardRow("intrinsic", "hubness", "all", 2.5, threshold=2.0, met=False, **own),
        CardRow("intrinsic", "hubness", "image", 1.5, threshold=None, met=None, **own),
    ]
    measured: dict[str, Any] = {
        "protocols": {"quality": "space and index"},
        "evaluations": {},
    }
    where = ("garden:1", "garden", "garden:1", None, "snapshot:garden/items/1", None)
    card = QualityCard(*where, rows=rows, notes=["downstream: nothing to ask."], **measured)
    noun = stand_in("quality", card)
    shown = garden("evaluate", "quality", "garden", "--dimension", "intrinsic", "--sample", "500", "--no-record")
    given = {"domain": None, "dimensions": ("intrinsic",), "events": None, "sample": 500, "protocol": Protocol()}
    assert noun.calls == [("card", ("garden",), {**given, "record": False})]
    assert ["hubness", "all", "2.5", "1", "3", "skewness", "<= 2", "NO"] in shown.lines
    assert ["hubness", "image", "1.5", "1", "3", "skewness", "-", "-"] not in shown.lines
    assert [line for line in shown.out.splitlines() if line.isupper()] == [
        "INTRINSIC",
        "DOWNSTREAM",
        "OPERATIONAL",
        "BUSINESS",
    ]
    assert shown.out.endswith("not measured\n\ndownstream: nothing to ask.\n")
    every = garden("evaluate", "quality", "garden", "--slices")
    assert ["hubness", "image", "1.5", "1", "3", "skewness", "-", "-"] in every.lines
    assert garden("evaluate", "quality", "garden", "--json").json["rows"][1]["met"] is None


def test_evaluate_drift(garden: Any, stand_in: Any) -> None:
    row = CardRow("operational", "drift", "all", 0.05, 0.04, 0.06, "vector lengths", "lower", 0.1, True)
    noun = stand_in("quality", VersionDrift("garden", "garden:1", "garden:2", "drift of garden:2", 40, None, [row]))
    shown = garden("evaluate", "drift", "garden:1", "garden:2", "--no-record")
    assert noun.calls == [("drift", ("garden:1", "garden:2", None), {"events": None, "record": False})]
    assert ["drift", "all", "0.05", "0.04", "0.06", "vector lengths", "<= 0.1", "yes"] in shown.lines


def test_evaluate_business(garden: Any, stand_in: Any) -> None:
    row = CardRow("business", "revenue_per_impression", "all", 0.12, 0.1, 0.14, "money", "higher", None, None)
    told = ("garden:1", "garden", False, "weighted", 900, 4000, None, 612.5, 10.0, 0.01, "evaluation:garden/3", [row])
    noun = stand_in("quality", BusinessCard(*told))
    shown = garden("evaluate", "business", "garden:1", "--log", "shown.csv", "--clip", "10")
    assert noun.calls == [("business", ("garden:1", "shown.csv", None), {"clip": 10.0, "record": True})]
    assert ["effective sample size", "612.5"] in shown.lines
    assert ["revenue_per_impression", "all", "0.12", "0.1", "0.14", "money", "-", "-"] in shown.lines


def test_evaluate_business_without_a_log_is_a_simulation(garden: Any, stand_in: Any) -> None:
    told = ("garden:1", "garden", True, "SIMULATION", 900, None, 950, None, None, None, None, [], ["no long tail"])
    noun = stand_in("quality", BusinessCard(*told))
    shown = garden("evaluate", "business", "garden:1", "--k", "5", "--no-record")
    (verb, given, options), *_ = noun.calls
    assert (verb, given) == ("simulated_business", ("garden:1", None))
    assert (options["k"], options["record"], options["protocol"].name) == (5, False, "leave-one-out")
    assert ["purchases", "950"] in shown.lines and ["note", "no long tail"] in shown.lines
    assert not any(line[:1] == ["clip"] for line in shown.lines)
    refused = garden("evaluate", "business", "garden:1", "--clip", "10")
    assert refused.code == 2 and "give --log FILE too" in refused.err
