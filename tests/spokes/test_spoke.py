import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hubspoke.errors import CorruptArtifactError, IncompatibleError
from hubspoke.hub.config import HubConfig
from hubspoke.hub.model import Hub
from hubspoke.hub.reading import recency_weighted
from hubspoke.spokes.spoke import Behaviour, Spoke

HISTORIES = [np.array(row, np.int64) for row in ([0, 1, 2], [5], [], [9, 3, 4, 4, 10, 11])]
BEHAVIOUR = ["config.json", "known_items.json", "behaviour.safetensors"]
ADAPTER = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"]
FILES = ["spoke.json", "content_space.safetensors", *BEHAVIOUR, *ADAPTER]


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_one_inner_product_is_the_weighted_sum_of_the_parts(spoke, encoded, item_ids, exclude_seen):
    vectors = spoke.embed_items(item_ids, encoded)
    scores = spoke.embed_sessions(vectors, HISTORIES, exclude_seen=exclude_seen) @ vectors.T
    weights = spoke.mixture.weights(exclude_seen)
    content = spoke.space.embed(spoke.fusion.fuse(encoded))
    query = recency_weighted(content, HISTORIES, weights.recency_decay, weights.recent_events)
    split = spoke.space.text_rank
    text, image = (query[:, own] @ content[:, own].T for own in (slice(split), slice(split, None)))
    model = spoke.behaviour.model
    items = model.item_vectors(spoke.behaviour.inputs(item_ids, encoded))
    behaviour, cold = model.session_vectors(items, HISTORIES) @ items.T, np.arange(12) >= 9
    started = np.array([len(history) > 0 for history in HISTORIES])[:, None]
    share = weights.image_share
    expected = behaviour + weights.cold * cold * started + weights.content * ((1 - share) * text + share * image)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_the_floor_is_the_hub_alone(floor, hub, encoded, item_ids):
    vectors = floor.embed_items(item_ids, encoded)
    content = floor.space.embed(hub.fusion.fuse(encoded))
    np.testing.assert_array_equal(vectors, content)
    assert floor.behaviour_dimension == 0 and floor.dimension == content.shape[1]
    weights = floor.space.modality_weights(hub.config.image_share)
    query = recency_weighted(content, HISTORIES, hub.config.recency_decay, hub.config.recent_events)
    np.testing.assert_allclose(floor.embed_sessions(vectors, HISTORIES), query * weights, atol=1e-6)
    assert floor.behaviour_sessions(vectors, HISTORIES).shape == (4, 0)


def test_an_item_keeps_its_blocks_in_another_catalog_and_a_new_one_has_the_cold_flag(spoke, encoded, item_ids):
    vectors = spoke.embed_items(item_ids, encoded)
    assert vectors.shape == (12, spoke.dimension) == (12, 8 + 1 + 64) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[:, 8], [0] * 9 + [1] * 3)
    # Neither text nor picture: no content, but an ID of its own.
    assert not vectors[3, 9:].any() and vectors[3, :8].any()
    sessions = spoke.embed_sessions(vectors, HISTORIES)
    assert not sessions[2].any() and sessions[[0, 1, 3]].any(axis=1).all()
    assert spoke.embed_sessions(vectors, []).shape == (0, spoke.dimension)
    order = np.array([7, 2, 11, 0, 0, 0])
    moved = spoke.embed_items([*(item_ids[row] for row in order[:4]), "never seen", "nor this"], encoded.rows(order))
    np.testing.assert_allclose(moved[:4], vectors[order[:4]], atol=1e-5)
    # The content of item 0 and the residual that all new items share.
    assert moved[4, 8] == 1 and vectors[0, 8] == 0
    np.testing.assert_allclose(moved[4, 9:], vectors[0, 9:], atol=1e-5)
    assert np.abs(moved[4, :8] - vectors[0, :8]).max() > 1e-3
    np.testing.assert_allclose(moved[4], moved[5], atol=1e-6)  # to the last digit depends on a row's place in a product


@pytest.mark.parametrize("kind", ["floor", "without an adapter", "without content"])
def test_a_saved_spoke_loads_bit_for_bit(build, floor, space, hub, encoded, item_ids, tmp_path, kind):
    made = {
        "floor": lambda: floor,
        "without an adapter": lambda: build(adapter=None),
        "without content": lambda: build(space=replace(space, text=None, image=None)),
    }[kind]()
    made.save(tmp_path)
    assert (tmp_path / "adapter").exists() == (kind == "without content")
    loaded = Spoke.load(tmp_path, Hub(hub.config, device="cpu", fusion=hub.fusion))
    vectors = made.embed_items(item_ids, encoded)
    assert vectors.shape[1] == made.dimension == {"floor": 64, "without content": 9}.get(kind, 73)
    np.testing.assert_array_equal(loaded.embed_items(item_ids, encoded), vectors)
    for policy in (False, True):
        sessions = (own.embed_sessions(vectors, HISTORIES, exclude_seen=policy) for own in (loaded, made))
        np.testing.assert_array_equal(*sessions)
    assert loaded.space_fingerprint == made.space_fingerprint
    assert loaded.mixture == made.mixture and (loaded.behaviour is None) == (kind == "floor")


def test_the_fingerprint_follows_everything_that_decides_an_item_vector(spoke, floor, hub):
    before, known = spoke.space_fingerprint, tuple(reversed(spoke.behaviour.known_items))
    changes = {"space": replace(spoke.space, image=None), "behaviour": replace(spoke.behaviour, known_items=known)}
    others = [replace(spoke, **{name: own}) for name, own in {**changes, "hub_fingerprint": "other"}.items()]
    assert before not in [own.space_fingerprint for own in (floor, *others)]
    # The mixture stands on the session side: another one needs no other index.
    assert replace(spoke, mixture=floor.mixture).space_fingerprint == before
    with torch.no_grad():
        spoke.behaviour.model.ids.weight[4, 0] += 1e-3
    assert spoke.space_fingerprint != before


def storages(module):
    """Bytes of memory by its address, every tensor of a module counted."""
    tensors = [*module.parameters(), *module.buffers()]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


@pytest.mark.parametrize("adapter", [True, False])
def test_many_spokes_on_one_hub_hold_its_fusion_once(spoke, encoded, item_ids, tmp_path, adapter):
    tiny = {"text": {"name": "tiny"}, "image": {"name": "tiny"}, "fusion": {"hidden": 8192}}
    hub = Hub(HubConfig.model_validate(tiny), device="cpu")
    config = spoke.behaviour.config if adapter else spoke.behaviour.config.model_copy(update={"adapter": None})
    model = type(spoke.behaviour.model)(config, hub.fusion, spoke.space, 9)
    behaviour = Behaviour(config, model, spoke.behaviour.known_items)
    made = replace(spoke, fusion=hub.fusion, hub_fingerprint=hub.fingerprint, behaviour=behaviour)
    made.save(tmp_path)
    loaded, shared, own = [Spoke.load(tmp_path, hub) for _ in range(10)], storages(hub.fusion), {}
    assert sum(shared.values()) > 4_000_000 and all(one.fusion is hub.fusion for one in loaded)
    for one in loaded:
        own |= {address: size for address, size in storages(one.behaviour.model).items() if address not in shared}
    # Calibration, adapter, projection, ids and transformer; of the hub nothing, and of each other nothing either.
    assert sum(own.values()) / len(loaded) < 200_000
    adapters = {p.data_ptr() for one in loaded for n, p in one.behaviour.model.named_parameters() if "lora_" in n}
    assert len(adapters) == (10 * 4 if adapter else 0)
    before = loaded[1].embed_items(item_ids, encoded)
    with torch.no_grad():
        for weight in loaded[0].behaviour.model.parameters():
            if weight.requires_grad:
                weight.add_(1.0)
    np.testing.assert_array_equal(loaded[1].embed_items(item_ids, encoded), before)
    assert hub.fingerprint == made.hub_fingerprint and all(p.requires_grad for p in hub.fusion.parameters())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [b"", b"garbage", b"[1]", b"\xff\xfe"], indirect=True)
def test_a_damaged_part_is_corrupt(spoke, hub, tmp_path, name, damage):
    spoke.save(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(CorruptArtifactError, match="--force"):
        Spoke.load(tmp_path, hub)


def test_a_trained_spoke_without_its_config_is_no_launch_floor(spoke, hub, tmp_path):
    spoke.save(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CorruptArtifactError, match="--force"):
        Spoke.load(tmp_path, hub)


def test_nothing_that_is_saved_can_execute_code_and_all_of_it_must_fit(spoke, hub, tmp_path):
    spoke.save(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(FILES)
    (tmp_path / "known_items.json").write_text(json.dumps(["one"]))
    with pytest.raises(CorruptArtifactError, match="--force"):
        Spoke.load(tmp_path, hub)
    with torch.no_grad():
        hub.fusion.up.bias[0] += 1e-3
    with pytest.raises(IncompatibleError, match="made on a hub"):
        Spoke.load(tmp_path, hub)
