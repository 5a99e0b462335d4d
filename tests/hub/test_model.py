import json

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.errors import CorruptArtifactError, IncompatibleError, InvalidDataError
from hubspoke.hub.cache import EmbeddingCache, file_hashes
from hubspoke.hub.config import HubConfig
from hubspoke.hub.model import Hub
from hubspoke.progress import Progress

CONFIG = {"text": {"name": "tiny"}, "image": {"name": "tiny"}, "fusion": {"hidden": 8}}
SCHEMA = {"item_id": pl.String, "title": pl.String}
CHANGES = [
    *({"text_fields": ["title"]}, {"calibration": {"power": 0.5}}, {"image_calibration": {"max_rank": 7}}),
    *({"text": {"name": "tiny:1"}}, {"image": None}, {"seed": 1}),
]


def hub(**changes):
    return Hub(HubConfig.model_validate(CONFIG | changes), device="cpu")


@pytest.fixture
def shop(noise):
    """Four items: text and picture, two pictures, text only, neither."""
    titles = ["red rose", None, "steel spade", None]
    return pl.DataFrame({"item_id": list("abcd"), "title": titles}, schema=SCHEMA), [noise[:1], noise[1:3], [], []]


def runs_of(monkeypatch, made):
    """What the encoders of a hub are run on."""
    runs = []
    for name in ("text", "image"):
        encoder = getattr(made, name)
        encode = encoder.encode
        monkeypatch.setattr(encoder, "encode", lambda x, p=None, n=name, e=encode: runs.append((n, len(x))) or e(x, p))
    return runs


def test_encoder_vectors_item_by_item_and_a_second_call_runs_no_encoder(shop, cache, noise, tmp_path, monkeypatch):
    seen, (made, again) = [], (hub(), hub())
    runs, none = (runs_of(monkeypatch, own) for own in (made, again))
    monkeypatch.setattr(Progress, "__call__", lambda _, *call: seen.append(call))
    x = made.encode_items(*shop, cache, Progress())
    assert runs == [("text", 2), ("image", 3)]
    assert seen[-1] == ("encoding pictures", 3, 3) and ("encoding texts", 2, 2) in seen
    np.testing.assert_array_equal(again.encode_items(*shop, cache).joined(), x.joined())
    assert none == [] and "module" not in vars(again.text) and "module" not in vars(again.image)
    assert x.text.shape == (4, 32) and x.image.shape == (4, 32)
    np.testing.assert_array_equal(x.has_text, [True, False, True, False])
    np.testing.assert_array_equal(x.has_image, [True, True, False, False])
    np.testing.assert_allclose(x.text[[0, 2]], hub().text.encode(["red rose", "steel spade"]), atol=1e-6)
    red, blue, green = hub().image.encode(noise[:3])
    mean = (blue + green) / 2
    np.testing.assert_allclose(x.image[0], red, atol=1e-6)
    np.testing.assert_allclose(x.image[1], mean / np.linalg.norm(mean), atol=1e-6)
    # Texts that are not read run no encoder.
    unread = made.encode_items(*shop, EmbeddingCache(tmp_path / "new"), texts=False)
    assert runs[2:] == [("image", 3)] and (unread.joined() == x.without("text").joined()).all()


def test_known_hashes_save_reading_the_files_for_the_cache(shop, cache, noise):
    items, paths = shop
    red, blue, green = file_hashes(noise[:3])

    def told(*hashes):
        return items.with_columns(image_sha256=pl.Series(hashes, dtype=pl.List(pl.String)))

    hashed = told([red], [blue, green], None, [])
    x = hub().encode_items(hashed, paths, cache)
    for path in noise:
        path.unlink()
    np.testing.assert_array_equal(hub().encode_items(hashed, paths, cache).image, x.image)
    # As many hashes as pictures, but not item by item, are not taken.
    for unknown in (items, told([blue, green], [red], None, None)):
        with pytest.raises(InvalidDataError, match="cannot be read"):
            hub().encode_items(unknown, paths, cache)


@pytest.mark.parametrize(("missing", "left"), [("text", "image"), ("image", "text")])
def test_a_hub_of_one_encoder(shop, cache, missing, left):
    made = hub(**{missing: None})
    x = made.encode_items(*shop, cache)
    assert getattr(x, missing).shape == (4, 0) and getattr(x, left).shape == (4, 32)
    assert list(made.encoder_fingerprints) == [left]
    np.testing.assert_array_equal(made.fusion.fuse(x).joined(), x.joined())
    assert hub().encode_items(pl.DataFrame(schema=SCHEMA), [], cache).joined().shape == (0, 64)


def test_the_fingerprint_is_the_same_for_the_same_hub_and_follows_what_changes_an_embedding():
    torch.manual_seed(5)  # initialisation does not listen to the global generator
    before = torch.random.get_rng_state()
    assert hub().fingerprint == hub().fingerprint
    assert torch.equal(before, torch.random.get_rng_state())
    moved = hub()
    with torch.no_grad():
        moved.fusion.up.bias[3] = 1e-3
    prints = [made.fingerprint for made in (hub(), moved, *(hub(**changes) for changes in CHANGES))]
    assert len(set(prints)) == len(prints)


@pytest.fixture
def saved(tmp_path):
    made = hub()
    torch.nn.init.normal_(made.fusion.up.weight, generator=torch.Generator().manual_seed(1))
    folder = tmp_path / "hub"
    folder.mkdir()
    made.save(folder)
    return made, folder


def test_a_saved_hub_loads_the_same(saved, shop, cache):
    made, folder = saved
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "fusion.safetensors", "trunks.json"]
    loaded = Hub.load(folder, device="cpu")
    assert loaded.fingerprint == made.fingerprint and loaded.config == made.config
    x = made.encode_items(*shop, cache)
    np.testing.assert_array_equal(loaded.fusion.fuse(x).joined(), made.fusion.fuse(x).joined())
    assert not loaded.fusion.training


def test_another_encoder_is_incompatible_and_weights_of_another_shape_are_corrupt(saved, tmp_path):
    wide = tmp_path / "wide"
    wide.mkdir()
    hub(fusion={"hidden": 9}).save(wide)
    weights = saved[1] / "fusion.safetensors"
    kept = weights.read_bytes()
    (wide / "fusion.safetensors").replace(weights)
    with pytest.raises(CorruptArtifactError, match="cannot be read"):
        Hub.load(saved[1], device="cpu")
    weights.write_bytes(kept)
    path = saved[1] / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"text": config["text"] | {"name": "tiny:7"}}))
    with pytest.raises(IncompatibleError, match="text encoder on this machine"):
        Hub.load(saved[1], device="cpu")


@pytest.mark.parametrize("name", ["config.json", "trunks.json", "fusion.safetensors"])
def test_a_damaged_file_is_corrupt(saved, name, damage):
    damage(saved[1] / name)
    with pytest.raises(CorruptArtifactError, match="--force"):
        Hub.load(saved[1], device="cpu")
