import json

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.errors import CorruptArtifactError, IncompatibleError, InvalidDataError
from hubspoke.hub.cache import file_hashes
from hubspoke.hub.config import HubConfig
from hubspoke.hub.model import Hub
from hubspoke.progress import Progress

CONFIG = HubConfig.model_validate({"text": {"name": "tiny"}, "image": {"name": "tiny"}, "fusion": {"hidden": 8}})


def other(**changes):
    return HubConfig.model_validate(CONFIG.model_dump() | changes)


def hub(config=CONFIG):
    return Hub(config, device="cpu")


@pytest.fixture
def pictures(noise):
    return noise[:3]


@pytest.fixture
def shop(pictures):
    """Four items: text and picture, two pictures, text only, neither."""
    red, blue, green = pictures
    items = pl.DataFrame(
        {"item_id": ["a", "b", "c", "d"], "title": ["red rose", None, "steel spade", None]},
        schema={"item_id": pl.String, "title": pl.String},
    )
    return items, [[red], [blue, green], [], []]


def runs_of(monkeypatch, made):
    """What the encoders of a hub are run on."""
    runs = []
    for name in ("text", "image"):
        encoder = getattr(made, name)
        encode = encoder.encode
        monkeypatch.setattr(encoder, "encode", lambda x, p=None, n=name, e=encode: runs.append((n, len(x))) or e(x, p))
    return runs


def test_encoder_vectors_item_by_item(shop, cache, pictures):
    made = hub()
    x = made.encode_items(*shop, cache)
    assert x.text.shape == (4, 32) and x.image.shape == (4, 32)
    np.testing.assert_array_equal(x.has_text, [True, False, True, False])
    np.testing.assert_array_equal(x.has_image, [True, True, False, False])
    np.testing.assert_allclose(x.text[[0, 2]], made.text.encode(["red rose", "steel spade"]), atol=1e-6)
    red, blue, green = made.image.encode(pictures)
    np.testing.assert_allclose(x.image[0], red, atol=1e-6)
    mean = (blue + green) / 2
    np.testing.assert_allclose(x.image[1], mean / np.linalg.norm(mean), atol=1e-6)


def test_texts_that_are_not_read_run_no_encoder(shop, cache, monkeypatch):
    made = hub()
    runs = runs_of(monkeypatch, made)
    x = made.encode_items(*shop, cache, texts=False)
    assert runs == [("image", 3)]
    np.testing.assert_array_equal(x.joined(), made.encode_items(*shop, cache).without("text").joined())


def test_a_second_call_runs_no_encoder(shop, cache, monkeypatch):
    first = hub()
    runs = runs_of(monkeypatch, first)
    x = first.encode_items(*shop, cache)
    assert runs == [("text", 2), ("image", 3)]
    again = hub()
    runs = runs_of(monkeypatch, again)
    np.testing.assert_array_equal(again.encode_items(*shop, cache).joined(), x.joined())
    assert runs == []
    assert "module" not in vars(again.text) and "module" not in vars(again.image)


def test_progress_names_its_stages(shop, cache):
    seen = []

    class Recorded(Progress):
        def __call__(self, *call):
            seen.append(call)

    hub().encode_items(*shop, cache, Recorded())
    assert seen[-1] == ("encoding pictures", 3, 3)
    assert ("encoding texts", 2, 2) in seen


def test_known_hashes_save_reading_the_files_for_the_cache(shop, cache, pictures):
    items, paths = shop
    red, blue, green = file_hashes(pictures)
    hashed = items.with_columns(image_sha256=pl.Series([[red], [blue, green], None, []], dtype=pl.List(pl.String)))
    x = hub().encode_items(hashed, paths, cache)
    for path in pictures:
        path.unlink()
    np.testing.assert_array_equal(hub().encode_items(hashed, paths, cache).image, x.image)
    with pytest.raises(InvalidDataError, match="cannot be read"):
        hub().encode_items(items, paths, cache)
    # As many hashes as pictures, but not item by item, are not taken.
    shifted = items.with_columns(image_sha256=pl.Series([[blue, green], [red], None, None], dtype=pl.List(pl.String)))
    with pytest.raises(InvalidDataError, match="cannot be read"):
        hub().encode_items(shifted, paths, cache)


@pytest.mark.parametrize(("missing", "left"), [("text", "image"), ("image", "text")])
def test_a_hub_of_one_encoder(shop, cache, missing, left):
    made = hub(other(**{missing: None}))
    x = made.encode_items(*shop, cache)
    assert getattr(x, missing).shape == (4, 0) and getattr(x, left).shape == (4, 32)
    assert list(made.encoder_fingerprints) == [left]
    np.testing.assert_array_equal(made.fusion.fuse(x).joined(), x.joined())


def test_no_items(cache):
    items = pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
    assert hub().encode_items(items, [], cache).joined().shape == (0, 64)


def test_the_fingerprint_is_the_same_for_the_same_hub():
    torch.manual_seed(5)  # initialisation does not listen to the global generator
    before = torch.random.get_rng_state()
    assert hub().fingerprint == hub().fingerprint
    assert torch.equal(before, torch.random.get_rng_state())
    moved = hub()
    with torch.no_grad():
        moved.fusion.up.bias[3] = 1e-3
    assert moved.fingerprint != hub().fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"text_fields": ["title"]},
        {"calibration": {"power": 0.5}},
        {"image_calibration": {"max_rank": 7}},
        {"text": {"name": "tiny:1"}},
        {"image": None},
        {"seed": 1},
    ],
)
def test_the_fingerprint_follows_what_changes_an_embedding(changes):
    assert hub(other(**changes)).fingerprint != hub().fingerprint


@pytest.fixture
def saved(tmp_path):
    made = hub()
    with torch.no_grad():
        made.fusion.up.weight.normal_(generator=torch.Generator().manual_seed(1))
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


def test_another_encoder_is_incompatible(saved):
    _, folder = saved
    config = json.loads((folder / "config.json").read_text())
    config["text"]["name"] = "tiny:7"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(IncompatibleError, match="text encoder on this machine"):
        Hub.load(folder, device="cpu")


@pytest.mark.parametrize("name", ["config.json", "trunks.json", "fusion.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00", None])
def test_a_damaged_file_is_corrupt(saved, name, content):
    _, folder = saved
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(CorruptArtifactError, match="--force"):
        Hub.load(folder, device="cpu")


def test_weights_of_another_shape_are_corrupt(saved, tmp_path):
    _, folder = saved
    wide = tmp_path / "wide"
    wide.mkdir()
    hub(other(fusion={"hidden": 9})).save(wide)
    (wide / "fusion.safetensors").replace(folder / "fusion.safetensors")
    with pytest.raises(CorruptArtifactError, match="cannot be read"):
        Hub.load(folder, device="cpu")
