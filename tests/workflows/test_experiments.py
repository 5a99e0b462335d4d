"""Experiments on shoppers: what can be compared with what, one at a time, and who is told when live moves."""

from datetime import timedelta
from typing import Any

import pytest
from hubspoke.errors import LockedError, NotFoundError, UsageError
from hubspoke.workflows.workspace import Workspace

CONTROL, CANDIDATE = "release:garden/1", "release:garden/2"


@pytest.fixture
def told(two: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the workspace says by the way."""
    said: list[str] = []
    monkeypatch.setattr(two.progress, "note", said.append)
    return said


@pytest.fixture
def two(two_spokes: Workspace) -> Workspace:
    """garden:1 is live and garden:2 the candidate."""
    two_spokes.promote("garden:1")
    two_spokes.promote("garden:2", "candidate")
    return two_spokes


def test_the_live_release_is_compared_with_what_an_alias_names(two: Workspace) -> None:
    planned = two.experiments.start("garden", "garden@candidate", dry_run=True)
    assert (planned.experiment.ref, planned.experiment.salt, planned.dry_run) == ("experiment:garden/1", "", True)
    assert two.experiments.list() == []
    window = timedelta(hours=12)
    how: Any = {"share": 0.1, "metric": "purchases", "planned": 500, "window": window, "reason": "new spoke"}
    made = two.experiments.start("garden", "garden@candidate", **how)
    own = made.experiment
    assert (own.control, own.candidate, own.share, own.metric) == (CONTROL, CANDIDATE, 0.1, "purchases")
    assert (own.planned, own.window_seconds, own.actor, own.reason) == (500, 43_200, "tester", "new spoke")
    assert (made.gate, made.cached, made.dry_run) == (None, False, False)
    assert two.experiments.list("garden") == [own] == [two.experiments.find("garden")]
    with pytest.raises(LockedError, match="experiment:garden/1 runs in garden"):
        two.experiments.start("garden", CANDIDATE, dry_run=True)


def test_it_is_stopped_once(two: Workspace) -> None:
    with pytest.raises(NotFoundError, match="garden has had no experiment; start one with"):
        two.experiments.stop("garden")
    first = two.experiments.start("garden", CANDIDATE).experiment
    assert two.experiments.stop("garden", dry_run=True).experiment == first
    ended = two.experiments.stop("garden", reason="enough")
    assert (ended.cached, ended.experiment.stop_reason, ended.experiment.stopped_by) == (False, "enough", "tester")
    for ref in ("garden", first.ref):
        again = two.experiments.stop(ref, reason="once more")
        assert (again.cached, again.experiment) == (True, ended.experiment)
    second = two.experiments.start("garden", CANDIDATE).experiment
    assert two.experiments.find("garden") == second
    assert two.experiments.find(first.ref) == ended.experiment


def test_what_cannot_be_compared_is_told_with_the_remedy(two: Workspace, refused: Any) -> None:
    start = two.experiments.start
    remedy = "garden:2 is no release; make it one with `hubspoke promote garden:2 --to candidate`"
    refused(UsageError, remedy, start, "garden", "garden:2")
    refused(UsageError, "release:garden/1 is live in garden already", start, "garden", "garden")
    refused(
        UsageError,
        "No experiment goes by 'clickbait'; use one of revenue",
        start,
        "garden",
        CANDIDATE,
        metric="clickbait",
    )
    refused(UsageError, "leaves one side without shoppers", start, "garden", CANDIDATE, share=1.0)
    refused(UsageError, "counts nothing", start, "garden", CANDIDATE, window=timedelta(0))
    refused(NotFoundError, "no domain 'nowhere'", start, "nowhere", CANDIDATE)
    two.domain.add("pets")
    refused(NotFoundError, "Nothing is live in pets yet", start, "pets", CANDIDATE)
    two.domain.archive("garden")
    refused(UsageError, "bring it back with `hubspoke domain archive garden --restore`", start, "garden", CANDIDATE)


def test_a_candidate_that_would_not_be_promoted_may_be_tried_and_that_is_said(two: Workspace) -> None:
    two.gate.set("garden", {"ndcg@10": 0.9})
    made = two.experiments.start("garden", CANDIDATE)
    assert made.gate is not None and made.gate.startswith("release:garden/2 does not meet it now: ")


def test_whoever_moves_live_under_an_experiment_is_told(two: Workspace, told: list[str]) -> None:
    two.experiments.start("garden", CANDIDATE)
    two.promote("garden:1", "candidate")
    two.promote("garden:1")
    two.promote("garden:2", dry_run=True)
    assert told == []
    two.promote("garden:2")
    assert told == [
        "experiment:garden/1 compares release:garden/1 with release:garden/2, and release:garden/2 is live now: "
        "shoppers are no longer split. `hubspoke experiment stop garden` ends it."
    ]
    two.rollback("garden")  # the control is live again
    assert len(told) == 1
    two.rules.set("garden", {"max_per_brand": 3})
    two.promote("garden:1", rules="rules:garden/1")
    assert "release:garden/3 is live now" in told[1]
    two.experiments.stop("garden")
    two.promote("garden:2")
    assert len(told) == 2


def test_whoever_archives_a_category_with_an_experiment_is_told(two: Workspace, told: list[str]) -> None:
    two.experiments.start("garden", CANDIDATE)
    two.domain.archive("garden", dry_run=True)
    assert told == []
    two.domain.archive("garden")
    two.domain.archive("garden", restore=True)
    assert told == [
        "experiment:garden/1 still runs, and nobody takes part while garden is archived; `hubspoke experiment stop "
        "garden` ends it."
    ]
