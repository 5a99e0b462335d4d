"""Hubs in memory: read once, shared by all spokes on them, bounded, and never another than was asked for."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
from hubspoke.errors import CorruptArtifactError
from hubspoke.hub.model import Hub
from hubspoke.workflows.cache import Cache
from hubspoke.workflows.loading import load_hub, load_spoke
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace, open_workspace


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that hubs were read from."""
    found: list[str] = []
    load = Hub.load

    def counted(directory: Any, **options: Any) -> Hub:
        found.append(str(directory))
        return load(directory, **options)

    monkeypatch.setattr(Hub, "load", counted)
    return found


@pytest.fixture
def two(shop: Workspace, market: Any, tiny_spoke: Any) -> Workspace:
    """The shop with a second category on the same hub."""
    shop.domain.add("mugs", market["mugs"].items, market["mugs"].events)
    shop.spoke.train("mugs", config={**tiny_spoke, "seed": 4})
    return shop


def test_many_spokes_read_their_hub_once_and_share_its_frozen_weights(two: Workspace, loads: list[str]) -> None:
    with open_workspace(environ={}, workspace=two.settings.workspace) as fresh:
        spokes = [load_spoke(fresh, fresh.spoke.show(ref)) for ref in ("lamps:1", "mugs:1", "lamps:1")]
        assert len(loads) == 1
        assert len({id(hub) for _, hub in spokes}) == 1
        hub = spokes[0][1]
        shared = {weight.untyped_storage().data_ptr() for weight in hub.fusion.parameters()}
        for spoke, _ in spokes:
            assert spoke.behaviour is not None
            named = dict(spoke.behaviour.model.named_parameters())
            frozen = [w for n, w in named.items() if n.startswith("content.fusion.") and "lora_" not in n]
            assert {weight.untyped_storage().data_ptr() for weight in frozen} == shared
            adapters = [weight for name, weight in named.items() if "lora_" in name]
            assert adapters and not {weight.untyped_storage().data_ptr() for weight in adapters} & shared


def test_two_categories_answer_in_turn_as_each_would_alone(two: Workspace, loads: list[str]) -> None:
    asked = {"lamps": ["lamps-0003", "lamps-0006"], "mugs": ["mugs-0002", "mugs-0009"]}
    alone = {}
    for name, session in asked.items():
        with open_workspace(environ={}, workspace=two.settings.workspace) as ws:
            alone[name] = Recommender(ws, f"{name}:1").recommend(session, k=5).items
    loads.clear()
    with open_workspace(environ={}, workspace=two.settings.workspace) as ws:
        loaded = {name: Recommender(ws, f"{name}:1") for name in asked}
        for name in ("lamps", "mugs", "lamps", "mugs", "mugs", "lamps"):
            assert loaded[name].recommend(asked[name], k=5).items == alone[name]
        assert ws.recommend("mugs:1", asked["mugs"], k=5).items == alone["mugs"]
    assert len(loads) == 1


def test_training_beside_a_hub_in_memory_leaves_it_as_it_is(two: Workspace, tiny_spoke: Any) -> None:
    hub, record = load_hub(two, "hub:1")
    before = hub.fingerprint
    two.spoke.train("lamps", config={**tiny_spoke, "seed": 9}, index=False)
    assert load_hub(two, "hub:1")[0] is hub
    assert hub.fingerprint == before == record.space_fingerprint
    assert all(weight.requires_grad for weight in hub.fusion.parameters())


def test_a_damaged_hub_is_told_although_it_is_in_memory(two: Workspace) -> None:
    _, record = load_hub(two, "hub:1")
    weights = two.artifacts.open(str(record.artifact)) / "fusion.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"damaged")
    with pytest.raises(CorruptArtifactError):
        load_hub(two, "hub:1")


def test_another_hub_is_another_one(two: Workspace, tiny_hub: Any, loads: list[str]) -> None:
    two.hub.train(domains=[], config={**tiny_hub, "text": {"name": "tiny:3"}})
    first, second = load_hub(two, "hub:1")[0], load_hub(two, "hub:2")[0]
    assert first.fingerprint != second.fingerprint
    assert load_hub(two, "hub:1")[0] is first


def test_the_values_used_last_are_kept() -> None:
    made: list[str] = []

    def load(name: str) -> str:
        made.append(name)
        return name.upper()

    cache: Cache[str] = Cache(2)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert cache.get(name, lambda name=name: load(name)) == name.upper()  # type: ignore[misc]
    assert made == ["a", "b", "c", "b"]
    cache.clear()
    cache.get("b", lambda: load("b"))
    assert made[-1] == "b" and len(made) == 5


def test_threads_that_ask_at_once_load_once() -> None:
    cache: Cache[object] = Cache(2)
    made: list[int] = []
    found: list[object] = []

    def load() -> object:
        made.append(1)
        return object()

    threads = [Thread(target=lambda: found.append(cache.get("a", load))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len({id(value) for value in found}) == 1


def test_a_value_that_cannot_be_loaded_is_not_kept() -> None:
    cache: Cache[str] = Cache(2)

    def fail() -> str:
        raise CorruptArtifactError("gone")

    with pytest.raises(CorruptArtifactError):
        cache.get("a", fail)
    assert cache.get("a", lambda: "a") == "a"
