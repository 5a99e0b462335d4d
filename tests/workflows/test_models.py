"""What every training shares: recipes, configs, rows that a killed process left, references to models."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

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


refuse = Mock(side_effect=AssertionError("trained again"))


def test_config_inputs_and_kind_decide_a_recipe(refused: Any) -> None:
    plain = recipe().fingerprint
    # Keys in any order and moments in any config make one fingerprint.
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    assert recipe(a=1, b=moment).fingerprint == recipe(b=moment, a=1).fingerprint != plain
    spoke = Recipe(ModelKind.SPOKE, "garden", {"seed": 0}, {"domains": []}, 0)
    inputs = Recipe(ModelKind.HUB, None, {"seed": 0}, {"domains": ["x"]}, 0)
    assert len({plain, *(own.fingerprint for own in (recipe(seed=1), recipe(text=None), spoke, inputs))}) == 5
    # A config with an unknown key is an error of usage.
    assert parse_config(HubConfig, None, "hub") == HubConfig()
    with pytest.raises(UsageError, match=r"hub config is not usable \(contrastive.stepz: Extra inputs"):
        parse_config(HubConfig, {"contrastive": {"stepz": 3}}, "hub")
    refused(UsageError, "text and image are both None", parse_config, HubConfig, {"text": None, "image": None}, "hub")


def test_a_recipe_is_trained_once(each_ws: Workspace) -> None:
    planned = train_once(each_ws, recipe(), refuse, force=False, dry_run=True)
    assert (planned.ref, planned.status) == (None, "planned")
    assert each_ws.registry.models.list() == []
    first = train_once(each_ws, recipe(), made, force=False, dry_run=False)
    assert (first.ref, first.version, first.cached, first.status) == ("hub:1", 1, False, "ready")
    assert (first.table, first.summary["loss"], "table" in first.summary) == ([{"share": 0.0}], 0.5, False)
    # What processes took that were killed before counts in the record, and not in what this call took.
    assert first.seconds < 2_000 <= first.summary["seconds"]
    again = train_once(each_ws, recipe(), refuse, force=False, dry_run=False)
    assert (again.ref, again.cached, again.table) == ("hub:1", True, [{"share": 0.0}])
    forced = train_once(each_ws, recipe(), made, force=True, dry_run=False)
    assert (forced.ref, forced.cached) == ("hub:2", False)
    record = each_ws.registry.models.get("hub:1")
    assert record.environment["packages"]["torch"] and (record.seed, record.code_version != "") == (0, True)


def test_failures_are_recorded_and_what_a_kill_left_is_taken_over(each_ws: Workspace, refused: Any) -> None:
    # The last has a parent that does not exist, which is found when everything is trained and stored.
    lost = made([Parent("snapshot:garden/items/9", "trained_on")])
    trainings = [Mock(side_effect=[end]) for end in (ValueError("no luck"), KeyboardInterrupt(), lost)]
    for train, error in zip(trainings, (ValueError, KeyboardInterrupt, NotFoundError), strict=True):
        refused(error, "", train_once, each_ws, recipe(), train, force=False, dry_run=False)
    failed = each_ws.hub.list()
    assert [model.status for model in failed] == ["failed"] * 3
    assert [str(model.error).split(":")[0] for model in failed] == ["ValueError", "KeyboardInterrupt", "NotFoundError"]
    assert failed[0].error == "ValueError: no luck"
    # A row that a killed process left is taken over.
    begun = [each_ws.registry.models.begin("hub", None, recipe(seed=n).fingerprint, {}).ref for n in range(2)]
    assert begun == ["hub:4", "hub:5"]
    assert train_once(each_ws, recipe(), made, force=False, dry_run=False).ref == "hub:4"
    assert [model.status for model in each_ws.hub.list()][3:] == ["ready", "training"]


def test_only_finished_versions_of_the_right_kind_are_ready(shop: Workspace, refused: Any) -> None:
    assert ready_model(shop, "hub@live", ModelKind.HUB).ref == "hub:1"
    with pytest.raises(UsageError, match="lamps:1 is a spoke, not a hub; name one like hub:1"):
        ready_model(shop, "lamps:1", ModelKind.HUB)
    shop.registry.models.begin("hub", None, "begun", {})
    refused(UsageError, "hub:2 is training, not ready", ready_model, shop, "hub:2", ModelKind.HUB)
    refused(NotFoundError, "", ready_model, shop, "hub:9", ModelKind.HUB)
