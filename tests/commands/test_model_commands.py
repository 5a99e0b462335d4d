"""The commands of hub, spoke, index, evaluation and launch hand over what they were given and show what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hubspoke.evaluation.protocols import Protocol
from hubspoke.results import Record
from hubspoke.workflows.recommendations import Recommendations
from hubspoke.workflows.workspace import Workspace


@dataclass(frozen=True)
class Trained(Record):
    ref: str | None = "garden:1"
    version: int | None = 1
    cached: bool = False
    status: str = "ready"
    seconds: float = 2.5
    summary: Any = field(default_factory=dict)
    table: Any = ()
    index: str | None = None
    release: str | None = None


@dataclass(frozen=True)
class Checked(Record):
    ref: str
    ok: bool
    checks: Any


@dataclass(frozen=True)
class Said(Record):
    """Any result whose dictionary is given."""

    values: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.values


class Noun:
    """Stands for a noun of the workspace: remembers every call and answers what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, verb: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((verb, args, kwargs))
            return self.answer

        return call


def stand_in(monkeypatch: pytest.MonkeyPatch, noun: str, answer: Any) -> Noun:
    made = Noun(answer)
    monkeypatch.setattr(Workspace, noun, made)
    return made


SUMMARY = {"parameters": {"trained": 7}, "rows": [{"skipped": 1}]}
TABLE = [{"share": 0.5, "ndcg@10": 0.25}, {"share": 1.0, "low": 0.1}]
RECOMMENDED = Recommendations(
    ref="garden",
    index="index:garden/1",
    served_by="garden:1",
    session=[{"item_id": "rose", "title": "Red rose"}],
    unknown=["oak"],
    seen_items="ranked",
    rules=None,
    items=[
        {
            "rank": 1,
            "item_id": "pot",
            "title": "Clay pot",
            "score": 0.5,
            "brand": None,
            "category": None,
            "price": None,
            "cold": False,
            "pinned": False,
        }
    ],
)
EVALUATED = {
    "model": "garden:1",
    "domain": "garden",
    "evaluation": "evaluation:garden/1",
    "n_users": 12,
    "protocol": {"name": "leave-one-out", "description": "leave-one-out test, full ranking"},
    "metrics": {"all": {"ndcg@10": 0.25, "coverage@100": 1.0}},
    "intervals": {"all": {"ndcg@10": [0.2, 0.3]}},
    "n_targets": {"all": 12},
}


def test_hub_train(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noun = stand_in(monkeypatch, "hub", Trained("hub:2", summary=SUMMARY, table=TABLE))
    shown = garden("hub", "train", "--domains", "garden,pots", "--held-out", "toys", "--steps", "5", "--set", "seed=3")
    assert noun.calls == [
        (
            "train",
            (),
            {
                "domains": ["garden", "pots"],
                "held_out": "toys",
                "config": {"seed": 3},
                "steps": 5,
                "promote": False,
                "force": False,
                "dry_run": False,
            },
        )
    ]
    assert shown.lines == [
        ["hub:2 is ready after 2.5 s."],
        ["parameters.trained", "7"],
        ["share", "ndcg@10", "low"],
        ["0.5", "0.25", "-"],
        ["1", "-", "0.1"],
    ]


def test_spoke_train(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noun = stand_in(monkeypatch, "spoke", Trained(cached=True))
    split = ("--split", "temporal", "--test-from", "2017-07-01", "--no-index")
    shown = garden("spoke", "train", "garden", "--hub", "hub:4", "--refit", *split, "--force", "--dry-run")
    _, args, options = noun.calls[0]
    assert args == ("garden", None)
    assert options == {
        "hub": "hub:4",
        "items": None,
        "events": None,
        "refit": True,
        "split": "temporal",
        "test_from": datetime(2017, 7, 1, tzinfo=UTC),
        "force": True,
        "dry_run": True,
        "index": False,
        "promote": False,
        "parent": None,
        "on": "all",
    }
    assert "(cached; --force trains again)" in shown.out
    assert garden("spoke", "train", "garden", "--json").json["cached"] is True
    garden("spoke", "train", "garden", "--set", "model=sasrec", "--set", "seed=3", "--model", "bert4rec")
    assert noun.calls[-1][1] == ("garden", {"model": "bert4rec", "seed": 3})
    garden("spoke", "train", "garden", "--from", "pots:3", "--on", "new")
    assert (noun.calls[-1][2]["parent"], noun.calls[-1][2]["on"]) == ("pots:3", "new")


def test_hub_embed_and_listings(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert garden("hub", "list").out.startswith("No hub yet")
    assert garden("spoke", "list", "garden", "--json").json == {"schema_version": 1, "spokes": []}
    assert garden("index", "list").out.startswith("No index yet")
    noun = stand_in(monkeypatch, "hub", Said({"domain": "garden", "n_items": 3}))
    assert garden("hub", "embed", "garden", "--hub", "hub:4").out == "domain   garden\nn_items  3\n"
    assert noun.calls == [("embed", ("garden",), {"hub": "hub:4", "items": None})]


def test_index_check_ends_with_6_where_it_does_not_fit(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Checked("index:garden/1", False, [{"check": "space", "ok": False, "message": "differs"}])
    stand_in(monkeypatch, "index", answer)
    shown = garden("index", "check", "index:garden/1")
    assert shown.code == 6
    assert shown.out.splitlines()[0] == "index:garden/1 is not sound."
    assert garden("index", "check", "index:garden/1", "--json").json["ok"] is False


def test_index_build(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noun = stand_in(monkeypatch, "index", Said({"ref": "index:garden/1", "cached": True}))
    assert garden("index", "build", "hub:4", "--domain", "garden").out == "ref     index:garden/1\ncached  yes\n"
    options = {"domain": "garden", "items": None, "force": False, "dry_run": False}
    assert noun.calls == [("build", ("hub:4",), options)]


def test_recommend_and_similar(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def answer(_: Workspace, *args: Any) -> Recommendations:
        calls.append(args)
        return RECOMMENDED

    monkeypatch.setattr(Workspace, "recommend", answer)
    monkeypatch.setattr(Workspace, "similar", answer)
    shown = garden("recommend", "garden", "--session", "rose, oak", "-k", "3", "--exclude-seen")
    assert shown.lines == [
        ["Served by garden:1, items of the session are ranked."],
        ["after rose", "Red rose"],
        ["Unknown items left out: oak."],
        ["rank", "item_id", "title", "score", "cold"],
        ["1", "pot", "Clay pot", "0.5", "no"],
    ]
    garden("recommend", "garden", "--user", "ann")
    garden("similar", "garden:1", "rose")
    assert calls == [
        ("garden", ["rose", "oak"], None, 3, True),
        ("garden", [], "ann", 10, False),
        ("garden:1", "rose", 10),
    ]
    assert garden("recommend", "garden", "--user", "ann", "--session", "rose").code == 2


def test_evaluate_run_and_compare(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noun = stand_in(monkeypatch, "evaluate", Said(EVALUATED))
    shown = garden("evaluate", "run", "--domain", "garden", "--model", "garden:1", "--k", "10", "--exclude-seen")
    assert shown.lines[4:] == [
        ["protocol", "leave-one-out test, full ranking"],
        ["slice", "metric", "value", "low", "high", "targets"],
        ["all", "ndcg@10", "0.25", "0.2", "0.3", "12"],
        ["all", "coverage@100", "1", "-", "-", "12"],
    ]
    _, args, options = noun.calls[0]
    assert args == ("garden", "garden:1", Protocol(ks=(10,), exclude_seen=True))
    assert options == {"events": None, "record": True}
    compared = {**EVALUATED, "events": "snapshot:garden/events/1", "baseline": "popularity", "rows": TABLE}
    noun = stand_in(monkeypatch, "evaluate", Said(compared))
    shown = garden("evaluate", "compare", "--domain", "garden", "--models", "popularity,hub", "--no-record")
    assert "compared with  popularity" in shown.out
    _, args, options = noun.calls[0]
    assert args == ("garden", ["popularity", "hub"], None, Protocol())
    assert options == {"events": None, "record": False}


def test_what_a_baseline_says_of_itself_stands_above_its_numbers(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = {**EVALUATED, "model": "popularity-7d", "note": "counts all events"}
    stand_in(monkeypatch, "evaluate", Said(noted))
    shown = garden("evaluate", "run", "--domain", "garden", "--model", "popularity-7d")
    assert shown.out.splitlines()[4] == "note        counts all events"
    both = {"events": "e", "baseline": "hub:1", "rows": TABLE, "results": [{**EVALUATED, "note": None}, noted]}
    stand_in(monkeypatch, "evaluate", Said({**EVALUATED, **both}))
    shown = garden("evaluate", "compare", "--domain", "garden", "--models", "hub,popularity-7d")
    assert shown.out.splitlines()[4] == "popularity-7d  counts all events"


def test_launch(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    @dataclass(frozen=True)
    class Launched(Record):
        domain: str
        mode: str
        release: str | None
        seconds: float
        steps: Any
        recommendations: Any

    def answer(_: Workspace, *args: Any, **options: Any) -> Launched:
        seen.append((args, options))
        steps = [{"step": "index", "ref": "index:garden/1", "cached": False, "seconds": 1.0}]
        return Launched("garden", "day zero", "release:garden/1", 3.0, steps, [RECOMMENDED])

    monkeypatch.setattr(Workspace, "launch", answer)
    shown = run("launch", "garden", "--catalog", "items.csv", "--images", "photos", "--set", "seed=1", "-k", "3")
    assert "Made a new workspace in" in shown.err
    assert "mode     day zero" in shown.out
    assert "Clay pot" in shown.out
    args, options = seen[0]
    assert (args, options["images"], options["k"]) == (("garden", "items.csv", None), "photos", 3)
    assert (options["config"], options.get("sessions"), options["dry_run"]) == ({"seed": 1}, None, False)
