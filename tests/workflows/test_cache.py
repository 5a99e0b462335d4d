"""Hubs in memory: read once, shared by all spokes on them, bounded, and never another than was asked for."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from unittest.mock import Mock, call

import pytest
from hubspoke.errors import CorruptArtifactError
from hubspoke.hub.model import Hub
from hubspoke.workflows.cache import Cache, Memo
from hubspoke.workflows.loading import load_hub, load_spoke
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace, open_workspace


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Mock:
    counted = Mock(wraps=Hub.load)
    monkeypatch.setattr(Hub, "load", counted)
    return counted


@pytest.fixture
def two(shop: Workspace, market: Any, tiny_spoke: Any) -> Workspace:
    """The shop with a second category on the same hub."""
    shop.domain.add("mugs", market["mugs"].items, market["mugs"].events)
    shop.spoke.train("mugs", config={**tiny_spoke, "seed": 4})
    return shop


def test_many_spokes_read_their_hub_once_and_share_its_frozen_weights(two: Workspace, loads: Mock) -> None:
    with open_workspace(environ={}, workspace=two.settings.workspace) as fresh:
        spokes = [load_spoke(fresh, fresh.spoke.show(ref)) for ref in ("lamps:1", "mugs:1", "lamps:1")]
        assert (loads.call_count, len({id(hub) for _, hub in spokes})) == (1, 1)
        hub = spokes[0][1]
        shared = {weight.untyped_storage().data_ptr() for weight in hub.fusion.parameters()}
        for spoke, _ in spokes:
            named = dict(spoke.behaviour.model.named_parameters())
            frozen = [w for n, w in named.items() if n.startswith("content.fusion.") and "lora_" not in n]
            assert {weight.untyped_storage().data_ptr() for weight in frozen} == shared
            adapters = [weight for name, weight in named.items() if "lora_" in name]
            assert adapters and not {weight.untyped_storage().data_ptr() for weight in adapters} & shared
    # Two categories answer in turn as each would alone.
    asked = {"lamps": ["lamps-0003", "lamps-0006"], "mugs": ["mugs-0002", "mugs-0009"]}
    alone = {}
    for name, session in asked.items():
        with open_workspace(environ={}, workspace=two.settings.workspace) as ws:
            alone[name] = Recommender(ws, f"{name}:1").recommend(session, k=5).items
    loads.reset_mock()
    with open_workspace(environ={}, workspace=two.settings.workspace) as ws:
        loaded = {name: Recommender(ws, f"{name}:1") for name in asked}
        for name in ("lamps", "mugs", "lamps", "mugs", "mugs", "lamps"):
            assert loaded[name].recommend(asked[name], k=5).items == alone[name]
        assert ws.recommend("mugs:1", asked["mugs"], k=5).items == alone["mugs"]
        # A session is answered without the hub; a search reads it, once for both.
        assert loads.call_count == 0
        for own in loaded.values():
            own.search("oak")
    assert loads.call_count == 1


def test_a_hub_in_memory_stays_as_it_is(two: Workspace, tiny_hub: Any, tiny_spoke: Any, refused: Any) -> None:
    hub, record = load_hub(two, "hub:1")
    before = hub.fingerprint
    two.spoke.train("lamps", config={**tiny_spoke, "seed": 9}, index=False)
    assert load_hub(two, "hub:1")[0] is hub
    assert hub.fingerprint == before == record.space_fingerprint
    assert all(weight.requires_grad for weight in hub.fusion.parameters())
    # Another hub is another one, and damage is told although the hub is in memory.
    two.hub.train(domains=[], config={**tiny_hub, "text": {"name": "tiny:3"}})
    assert load_hub(two, "hub:2")[0].fingerprint != hub.fingerprint and load_hub(two, "hub:1")[0] is hub
    weights = two.artifacts.open(str(record.artifact)) / "fusion.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"damaged")
    refused(CorruptArtifactError, "", load_hub, two, "hub:1")


def test_the_values_used_last_are_kept(refused: Any) -> None:
    load, cache = Mock(side_effect=str.upper), Cache[str](2)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert cache.get(name, partial(load, name)) == name.upper()
    assert load.mock_calls == [call(name) for name in "abcb"]
    cache.clear()
    cache.get("b", partial(load, "b"))
    assert load.mock_calls == [call(name) for name in "abcbb"]
    # A value that cannot be loaded is not kept.
    refused(CorruptArtifactError, "", cache.get, "d", Mock(side_effect=CorruptArtifactError("gone")))
    assert cache.get("d", lambda: "D") == "D"
    # Threads that ask at once load once.
    load, fresh = Mock(side_effect=object), Cache[object](2)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fresh.get("a", load), range(8)))
    assert load.call_count == 1 and len({id(value) for value in found}) == 1


def test_a_memo_keeps_what_was_used_last_and_makes_no_circle_with_its_owner() -> None:
    class Owner:
        def __init__(self) -> None:
            self.made: list[str] = []
            self.memo: Memo[str] = Memo(2)

        def get(self, key: str) -> str:
            return self.memo.get(key, lambda: self.make(key))

        def make(self, key: str) -> str:
            self.made.append(key)
            return key.upper()

    owner = Owner()
    assert [owner.get(key) for key in "abacab"] == [*"ABACAB"]
    assert owner.made == [*"abcb"]  # c put b out
    gone = weakref.ref(owner)
    del owner
    assert gone() is None
