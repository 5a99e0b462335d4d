"""Launch reports: kept with the release, complete, true to the launch, and gone with it."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.reports.launch import launch_page
from hubspoke.workflows.launch_reports import space_checks
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace


def test_a_launch_leaves_a_report_with_its_release(shop: Workspace, market: Any) -> None:
    launched = shop.launch("mugs", market["mugs"].items, k=4)
    stored = shop.launch_report("mugs")
    report = stored.report
    assert (report.release, report.mode, report.n_items) == (launched.release, "day zero", 40)
    assert list(report.steps) == launched.steps
    items = pl.read_csv(market["mugs"].items)
    assert report.coverage["picture"] == pytest.approx(items["image"].is_not_null().mean())
    assert [part["kind"] for part in report.read] == ["items"] and report.read[0]["rows"] == 40
    assert [near.domain for near in report.nearest] == ["lamps"]
    assert {check.name for check in report.space} >= {"without content", "random pairs", "near-duplicates"}
    assert [len(sample["items"]) for sample in report.samples] == [4, 4, 4]
    assert all((stored.folder / item["picture"]).is_file() for item in report.samples[0]["items"] if item["picture"])
    assert any("launch refresh mugs --events" in step for step in report.next_steps)
    page = launch_page(stored)
    assert "data:image/jpeg;base64," in page and "<script" not in page
    assert all(item["title"] in page for item in report.samples[0]["items"])
    # Nothing refers to it any more once another launch has reported on the same release.
    assert shop.launch("mugs", market["mugs"].items, k=4).report != launched.report
    assert launched.report not in shop.registry.artifacts.referenced()


def test_only_rows_with_problems_are_to_be_corrected(shop: Workspace) -> None:
    items = pl.DataFrame({"item_id": ["a", "b", "c", None], "title": ["Red", "Blue", "Green", "Grey"]})
    events = pl.DataFrame({"user_id": ["u"] * 3, "item_id": ["a", "b", None], "timestamp": ["2024-05-01"] * 3,
                           "event_type": ["view", "view", "session_start"]})  # fmt: skip
    shop.launch("pots", items, events=events, on_error="skip")
    steps = [step for step in shop.launch_report("pots").report.next_steps if step.startswith("Look at")]
    assert steps == ["Look at the 1 rows of items that were left out, correct them and launch again."]


def test_what_has_no_report_is_told(shop: Workspace) -> None:
    with pytest.raises(NotFoundError, match="was not made by a launch"):
        shop.launch_report("lamps")
    with pytest.raises(UsageError, match="name a category or a release"):
        shop.launch_report("hub:1")


def test_the_embedding_space_is_judged_by_what_is_in_it(shop: Workspace, tmp_path: Path) -> None:
    recommender = Recommender(shop, "lamps")
    fine = {check.name: check for check in space_checks(recommender)}
    assert fine["without content"].value == 0 and abs(fine["random pairs"].value) < 0.2
    recommender.vectors = np.ones_like(recommender.vectors)
    alike = {check.name: check for check in space_checks(recommender)}
    assert alike["random pairs"].value == pytest.approx(1) and not alike["random pairs"].ok
    assert alike["near-duplicates"].value == 1 and not alike["near-duplicates"].ok
    recommender.vectors = np.zeros_like(recommender.vectors)
    assert [(check.name, check.value, check.ok) for check in space_checks(recommender)] == [
        ("without content", 1, False)
    ]
