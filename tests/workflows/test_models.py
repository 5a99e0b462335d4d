"""What every training shares: recipes, configs, rows that a killed process left, references to models."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hubspoke.errors import HubspokeError, LockedError, NotFoundError, UsageError
from hubspoke.hub.config import HubConfig
from hubspoke.registry.kinds import ModelKind
from hubspoke.registry.records import Parent
from hubspoke.registry.store import Registry
from hubspoke.workflows.loading import ready_model
from hubspoke.workflows.models import Recipe, Trained, parse_config, train_once
from hubspoke.workflows.workspace import Workspace
from sqlalchemy import text


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


def another(ws: Workspace) -> Registry:
    """The registry as another process opens it."""
    return Registry(ws.url)


def test_a_training_whose_row_was_taken_over_leaves_it_alone(each_ws: Workspace) -> None:
    def overtaken() -> Trained:
        with another(each_ws) as registry:
            registry.models.begin("hub", None, recipe().fingerprint, {})
        return made()

    with pytest.raises(LockedError, match="Another process has taken hub:1 over"):
        train_once(each_ws, recipe(), overtaken, force=False, dry_run=False)
    assert [model.status for model in each_ws.hub.list()] == ["training"]
    # An error of its own is told before that.
    failing = Mock(side_effect=[ValueError("no luck")])
    with pytest.raises(ValueError, match="no luck"):
        train_once(each_ws, recipe(), lambda: failing(overtaken()), force=False, dry_run=False)
    assert [(model.status, model.error) for model in each_ws.hub.list()] == [("training", None)]


def test_what_was_made_while_a_training_waited_for_its_lock_is_found(
    each_ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = each_ws.lock

    def late(name: str) -> Any:
        monkeypatch.setattr(each_ws, "lock", lock)
        train_once(each_ws, recipe(), made, force=False, dry_run=False)
        return lock(name)

    monkeypatch.setattr(each_ws, "lock", late)
    assert train_once(each_ws, recipe(), refuse, force=False, dry_run=False).cached
    assert [model.ref for model in each_ws.hub.list()] == ["hub:1"]


def test_checkpoints_go_with_the_training_that_wrote_them_and_no_other(each_ws: Workspace, tmp_path: Path) -> None:
    given: dict[str, Any] = {"checkpoints": tmp_path / "kept", "dry_run": False}

    def leaves_some() -> Trained:
        (tmp_path / "kept").mkdir()
        # The same is found made already: nothing that another process works with is taken away.
        if each_ws.registry.models.list("hub", status="ready"):
            assert train_once(each_ws, recipe(), refuse, force=False, **given).cached
        assert (tmp_path / "kept").is_dir()
        return made()

    for _ in range(2):
        train_once(each_ws, recipe(), leaves_some, force=True, **given)
        assert not (tmp_path / "kept").exists()


@pytest.fixture
def ended(each_ws: Workspace) -> Callable[[], None]:
    """Takes this process's locks away, as a server that starts again does, or somebody who tidies up."""

    def end() -> None:
        if each_ws.registry.database.path:
            shutil.rmtree(each_ws.registry.database.path.parent / "locks")
            return
        with each_ws.registry.database.engine.connect() as connection:
            sessions = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) FROM ({sessions}) AS locks"))

    return end


@contextmanager
def held_elsewhere(ws: Workspace) -> Iterator[None]:
    """The lock as a process of another machine holds it."""
    if ws.registry.database.path is None:
        with another(ws) as registry, registry.lock("train hub"):
            yield
        return
    (folder := ws.registry.database.path.parent / "locks").mkdir(exist_ok=True)
    with (folder / "train%20hub.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_training_that_lost_its_lock_to_another_stops(each_ws: Workspace, ended: Callable[[], None]) -> None:
    with ExitStack() as stack:

        def lost() -> Trained:
            each_ws.check_locks()
            ended()
            stack.enter_context(held_elsewhere(each_ws))
            with pytest.raises(LockedError, match="lost its lock on 'train hub'"):
                each_ws.check_locks()  # as after each epoch
            return made()

        with pytest.raises(LockedError, match="lost its lock on 'train hub'"):
            train_once(each_ws, recipe(), lost, force=False, dry_run=False)
        (row,) = each_ws.hub.list()
        assert row.status == "failed" and str(row.error).startswith("LockedError: This process lost its lock")
        with pytest.raises(LockedError, match="holds 'train hub'"):
            train_once(each_ws, recipe(1), refuse, force=False, dry_run=False)
    assert train_once(each_ws, recipe(), made, force=False, dry_run=False).ref == "hub:2"


def test_a_training_that_lost_its_lock_goes_on_where_nobody_took_it(
    each_ws: Workspace, ended: Callable[[], None]
) -> None:
    def lost() -> Trained:
        ended()
        each_ws.check_locks()
        with another(each_ws) as registry, pytest.raises(LockedError):
            registry.lock("train hub").__enter__()
        return made()

    assert train_once(each_ws, recipe(), lost, force=False, dry_run=False).status == "ready"


def test_a_training_that_lost_its_lock_stops_where_another_was_there_meanwhile(
    each_ws: Workspace, ended: Callable[[], None]
) -> None:
    def lost() -> Trained:
        ended()
        with another(each_ws) as registry:
            registry.models.begin("hub", None, recipe().fingerprint, {})
        each_ws.check_locks()
        return refuse()

    with pytest.raises(LockedError, match="Another process has taken hub:1 over"):
        train_once(each_ws, recipe(), lost, force=False, dry_run=False)
    assert [model.status for model in each_ws.hub.list()] == ["training"]


def test_a_registry_that_does_not_answer_stops_no_training(each_ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(each_ws.progress, "note", notes.append)
    with each_ws.lock("train hub") as lock, monkeypatch.context() as patched:
        patched.setattr(lock, "check", Mock(side_effect=HubspokeError("The database x cannot be reached.")))
        for _ in range(3):
            each_ws.check_locks()
        patched.undo()
        each_ws.check_locks()
    told = "The database x cannot be reached. What is under way goes on meanwhile."
    assert notes == [told, "The registry answers again."]


def test_only_finished_versions_of_the_right_kind_are_ready(shop: Workspace, refused: Any) -> None:
    assert ready_model(shop, "hub@live", ModelKind.HUB).ref == "hub:1"
    with pytest.raises(UsageError, match="lamps:1 is a spoke, not a hub; name one like hub:1"):
        ready_model(shop, "lamps:1", ModelKind.HUB)
    shop.registry.models.begin("hub", None, "begun", {})
    refused(UsageError, "hub:2 is training, not ready", ready_model, shop, "hub:2", ModelKind.HUB)
    refused(NotFoundError, "", ready_model, shop, "hub:9", ModelKind.HUB)
