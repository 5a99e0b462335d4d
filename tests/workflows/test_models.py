"""What every training shares: recipes, configs, rows that a killed process left, references to models."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.hub.config import HubConfig
from hubspoke.registry.kinds import ModelKind
from hubspoke.registry.records import Parent
from hubspoke.workflows.loading import ready_model
from hubspoke.workflows.models import Recipe, Trained, parse_config, train_once
from hubspoke.workflows.workspace import Workspace


def recipe(seed: int = 0, **config: Any) -> Recipe:
    return Recipe(ModelKind.HUB, None, {"seed": seed, **config}, {"domains": []}, seed)


def made(parents: list[Parent] | None = None) -> Trained:
    def save(folder: Path) -> None:
        (folder / "weights").write_text("weights")

    return Trained(save, "space", {"loss": 0.5, "table": [{"share": 0.0}]}, parents or [], seconds_before=2_000.0)


def refuse() -> Trained:
    raise AssertionError("trained again")


def test_config_inputs_and_kind_decide_a_recipe() -> None:
    plain = recipe().fingerprint
    # Keys in any order and moments in any config make one fingerprint.
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    assert recipe(a=1, b=moment).fingerprint == recipe(b=moment, a=1).fingerprint != plain
    others = {
        recipe(seed=1).fingerprint,
        recipe(text=None).fingerprint,
        Recipe(ModelKind.SPOKE, "garden", {"seed": 0}, {"domains": []}, 0).fingerprint,
        Recipe(ModelKind.HUB, None, {"seed": 0}, {"domains": ["x"]}, 0).fingerprint,
    }
    assert len(others | {plain}) == 5


def test_a_recipe_is_trained_once(each_ws: Workspace) -> None:
    planned = train_once(each_ws, recipe(), refuse, force=False, dry_run=True)
    assert (planned.ref, planned.status) == (None, "planned")
    assert each_ws.registry.models.list() == []
    first = train_once(each_ws, recipe(), made, force=False, dry_run=False)
    assert (first.ref, first.version, first.cached, first.status) == ("hub:1", 1, False, "ready")
    assert first.table == [{"share": 0.0}]
    assert first.summary["loss"] == 0.5
    # What processes took that were killed before counts in the record, and not in what this call took.
    assert first.seconds < 2_000 <= first.summary["seconds"]
    assert "table" not in first.summary
    again = train_once(each_ws, recipe(), refuse, force=False, dry_run=False)
    assert (again.ref, again.cached, again.table) == ("hub:1", True, [{"share": 0.0}])
    forced = train_once(each_ws, recipe(), made, force=True, dry_run=False)
    assert (forced.ref, forced.cached) == ("hub:2", False)
    record = each_ws.registry.models.get("hub:1")
    assert record.environment["packages"]["torch"]
    assert (record.seed, record.code_version != "") == (0, True)


def test_a_row_left_by_a_killed_process_is_taken_over(each_ws: Workspace) -> None:
    left = each_ws.registry.models.begin("hub", None, recipe().fingerprint, {})
    other = each_ws.registry.models.begin("hub", None, recipe(seed=1).fingerprint, {})
    assert (left.ref, other.ref) == ("hub:1", "hub:2")
    assert train_once(each_ws, recipe(), made, force=False, dry_run=False).ref == "hub:1"
    assert [model.status for model in each_ws.hub.list()] == ["ready", "training"]


def test_a_failure_and_an_interruption_are_recorded(each_ws: Workspace) -> None:
    def fail() -> Trained:
        raise ValueError("no luck")

    def stop() -> Trained:
        raise KeyboardInterrupt

    for train, error in ((fail, ValueError), (stop, KeyboardInterrupt)):
        with pytest.raises(error):
            train_once(each_ws, recipe(), train, force=False, dry_run=False)
    # A parent that does not exist: found when everything is trained and stored.
    with pytest.raises(NotFoundError):
        lost = made([Parent("snapshot:garden/items/9", "trained_on")])
        train_once(each_ws, recipe(), lambda: lost, force=False, dry_run=False)
    failed = each_ws.hub.list()
    assert [model.status for model in failed] == ["failed"] * 3
    assert [str(model.error).split(":")[0] for model in failed] == ["ValueError", "KeyboardInterrupt", "NotFoundError"]
    assert failed[0].error == "ValueError: no luck"
    assert train_once(each_ws, recipe(), made, force=False, dry_run=False).ref == "hub:4"


def test_a_config_with_an_unknown_key_is_a_usage_error() -> None:
    assert parse_config(HubConfig, None, "hub") == HubConfig()
    with pytest.raises(UsageError, match=r"hub config is not usable \(contrastive.stepz: Extra inputs"):
        parse_config(HubConfig, {"contrastive": {"stepz": 3}}, "hub")
    with pytest.raises(UsageError, match="text and image are both None"):
        parse_config(HubConfig, {"text": None, "image": None}, "hub")


def test_only_finished_versions_of_the_right_kind_are_ready(shop: Workspace) -> None:
    assert ready_model(shop, "hub@live", ModelKind.HUB).ref == "hub:1"
    with pytest.raises(UsageError, match="lamps:1 is a spoke, not a hub; name one like hub:1"):
        ready_model(shop, "lamps:1", ModelKind.HUB)
    shop.registry.models.begin("hub", None, "begun", {})
    with pytest.raises(UsageError, match="hub:2 is training, not ready"):
        ready_model(shop, "hub:2", ModelKind.HUB)
    with pytest.raises(NotFoundError):
        ready_model(shop, "hub:9", ModelKind.HUB)
