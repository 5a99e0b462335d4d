import json

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.errors import CorruptArtifactError, IncompatibleError, UsageError
from hubspoke.hub.adapters import adapted as adapted_module
from hubspoke.hub.adapters.adapted import adapt_encoders, chunks_of, load_encoders
from hubspoke.hub.cache import EmbeddingCache
from hubspoke.hub.config import HubConfig
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.model import Hub
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

TITLES = ["red rose", "green fern in a pot", None, "steel spade", "clay pot, large", "red shoe"]
BOTH, CPU = {"text": 1, "image": 1}, torch.device("cpu")
FILES = ["bodies.json", *(f"{own}/adapter_{rest}" for own in BOTH for rest in ("config.json", "model.safetensors"))]
KINDS = {
    "tiny": ("tiny", "tiny", BOTH, {"project"}),
    "packaged image": (None, "efficientnet", {"image": 2}, {"conv_pw", "conv_pwl", "conv_head"}),
    "stages of it": (None, "stages", {"image": 2}, {"conv_pw", "conv_pwl"}),
    "bert": ("bert", None, {"text": 2}, {"query", "value"}),
    "clip": ("clip", "clip", BOTH, {"query", "value"}),
}


def hub_of(text, image, **settings):
    text, image = text and {"name": text}, image and {"name": image, **settings}
    return Hub(HubConfig.model_validate({"text": text, "image": image, "fusion": {"hidden": 8}}), device="cpu")


@pytest.fixture
def encode(noise, tmp_path):
    """Six items: two pictures, none, one and no text, none, one, none."""
    pictures = [noise[:2], [], [noise[2]], [], [noise[3]], []]
    items = pl.DataFrame({"item_id": [str(row) for row in range(6)], "title": TITLES})
    return lambda hub, layers: hub.encode_items(items, pictures, EmbeddingCache(tmp_path / "cache"), heads=layers)


@pytest.fixture
def hub():
    return hub_of("tiny", "tiny")


@pytest.fixture
def encoded(encode, hub):
    return encode(hub, BOTH)


def moved(adapted):
    """The adapters as a training might leave them."""
    for name, weight in adapted.named_parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(len(name)))
    return adapted


def outputs(adapted, encoded):
    with torch.no_grad():
        return adapted(adapted.inputs(encoded, CPU)).numpy()


def trained(adapted):
    return {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}


def test_heads_start_as_the_encoders_alone_or_both_and_what_is_missing_stays_missing(hub, encoded):
    vectors = outputs(adapt_encoders(hub, BOTH, 2, 0), encoded)
    np.testing.assert_allclose(vectors, encoded.joined(), atol=1e-6)
    assert not vectors[2, :32].any() and not vectors[[1, 3, 5], 32:].any()
    vectors = outputs(moved(adapt_encoders(hub, BOTH, 2, 0)), encoded.without("text"))
    assert not vectors[:, :32].any() and vectors[0, 32:].any()
    vectors = outputs(moved(adapt_encoders(hub, {"text": 1}, 2, 0)), encoded)
    np.testing.assert_array_equal(vectors[:, 32:], encoded.image)
    assert not np.allclose(vectors[:, :32], encoded.text, atol=1e-3)


def test_the_mean_direction_of_an_items_pictures_and_some_items_in_any_order(hub, encoded):
    """Two pictures of one item, by hand: unit vectors, summed, made a unit again."""
    adapted = moved(adapt_encoders(hub, BOTH, 2, 0))
    with torch.no_grad():
        given, mask = (torch.from_numpy(own) for own in encoded.states["image"].take(np.arange(2)))
        each = torch.nn.functional.normalize(adapted.heads["image"](given, mask), dim=1)
    expected = (each[0] + each[1]) / torch.linalg.norm(each[0] + each[1])
    vectors = outputs(adapted, encoded)
    np.testing.assert_allclose(vectors[0, 32:], expected, atol=1e-6)
    assert not np.allclose(vectors[0, 32:], encoded.image[0], atol=1e-3)
    whole, given, rows = outputs(adapted, encoded), adapted.inputs(encoded, CPU), torch.tensor([4, 0, 3, 0])
    with torch.no_grad():
        np.testing.assert_allclose(adapted(given.rows(rows)), whole[rows], atol=1e-6)
        np.testing.assert_allclose(adapted(given.rows(rows).rows(rows[1:])), whole[[4, 0, 4]], atol=1e-6)
    assert given.rows(rows).states is given.states


def test_only_the_low_rank_pairs_learn(hub, encoded):
    adapted = adapt_encoders(hub, BOTH, 2, 0)
    learns = trained(adapted)
    assert sorted(tuple(p.shape) for p in learns.values()) == sorted([(2, 32), (32, 2), (2, 64), (32, 2)])
    adapted(adapted.inputs(encoded, CPU)).mul(torch.arange(64.0)).sum().backward()
    # The first factor starts at random and the second at zero, so that only the second has a gradient at once.
    assert all("lora_" in name and weight.grad.any() == ("lora_B" in name) for name, weight in learns.items())
    assert all(p.grad is None for encoder in (hub.text, hub.image) for p in encoder.module.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_learnt_loads_to_the_bit_and_leaves_the_encoders_alone(names, encode, tmp_path, kind):
    text, image, layers, targets = KINDS[kind]
    size = {"image_size": 32} if image in ("efficientnet", "stages") else {}
    hub = hub_of(names.get(text), names.get(image), **size)
    encoded = encode(hub, layers)
    before, adapted = encoded.joined(), moved(adapt_encoders(hub, layers, 2, 0))
    assert {name.split(".lora_A")[0].rsplit(".", 1)[-1] for name in trained(adapted) if "lora_A" in name} == targets
    # Not even in training does a normalisation take the batch's own statistics: they would not reload.
    assert not any(part.training for part in adapted.train().modules())
    buffers = {name: buffer.clone() for name, buffer in adapted.named_buffers()}
    optimiser = torch.optim.SGD(trained(adapted).values(), lr=0.1)
    adapted(adapted.inputs(encoded, CPU)).mul(torch.linspace(-1, 1, before.shape[1])).sum().backward()
    assert all(weight.grad.any() for weight in trained(adapted).values())
    optimiser.step()
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in adapted.named_buffers())
    adapted.save(tmp_path)
    np.testing.assert_array_equal(outputs(load_encoders(hub, layers, tmp_path), encoded), outputs(adapted, encoded))
    np.testing.assert_array_equal(encode(hub, layers).joined(), before)


@pytest.mark.parametrize("lean", [True, False])
def test_chunks_change_nothing_and_are_not_kept(hub, encoded, monkeypatch, lean):
    """Gradients of chunks whose activations are computed twice, against those of one pass over all items."""

    def run(numbers):
        monkeypatch.setattr(adapted_module, "CHUNK_NUMBERS", numbers)
        adapted, calls = moved(adapt_encoders(hub, BOTH, 2, 0)), []
        for head in adapted.heads.values():
            head.register_forward_hook(lambda head, given, out: calls.append(len(out)))
        if not lean:
            return torch.from_numpy(outputs(adapted, encoded)), {}, calls
        out = adapted(adapted.inputs(encoded, CPU))
        out.square().mul(torch.arange(64.0)).sum().backward()
        return out.detach(), {name: weight.grad for name, weight in trained(adapted).items()}, calls

    whole, expected, once = run(1 << 22)
    out, found, calls = run(5 * 32)
    torch.testing.assert_close(out, whole, atol=1e-6, rtol=0)
    assert sum(once) == 9 and max(calls) < 5 and sum(calls) == (18 if lean else 9)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.fixture
def saved(hub, tmp_path):
    moved(adapt_encoders(hub, BOTH, 2, 0)).save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_corrupt(hub, saved, name, damage):
    damage(saved / "trunks" / name)
    with pytest.raises(CorruptArtifactError, match="--force"):
        load_encoders(hub, BOTH, saved)


def test_the_adapters_alone_are_written_all_of_them_are_read_and_that_of_another_encoder_is_refused(hub, saved):
    files = {path.relative_to(saved / "trunks").as_posix(): path.stat().st_size for path in saved.glob("trunks/**/*.*")}
    assert sorted(files) == sorted(FILES) and sum(files.values()) < 10_000
    path, bodies = saved / "trunks/text/adapter_model.safetensors", saved / "trunks/bodies.json"
    save_file(dict(list(load_file(path).items())[:1]), path)
    with pytest.raises(CorruptArtifactError, match="--force"):
        load_encoders(hub, BOTH, saved)
    bodies.write_text(json.dumps(json.loads(bodies.read_text()) | {"text": "0" * 64}))
    with pytest.raises(IncompatibleError, match="adapter of the text encoder was made for 000000000000"):
        load_encoders(hub, BOTH, saved)


def test_an_encoder_that_is_not_there_or_not_so_deep_and_missing_states_are_refused(hub, encoded):
    with pytest.raises(UsageError, match="adapts the text encoder, but the states of 6 items"):
        adapt_encoders(hub, BOTH, 2, 0).inputs(EncodedItems(encoded.text, encoded.image), CPU)
    with pytest.raises(UsageError, match="hub has no image encoder to adapt"):
        adapt_encoders(hub_of("tiny", None), BOTH, 2, 0)
    with pytest.raises(UsageError, match="has 1 layers that can be adapted, not 2"):
        adapt_encoders(hub, {"text": 2}, 2, 0)


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 200))
def test_chunks_hold_all_inputs_once_and_pad_little(lengths, places):
    own = np.array(lengths, np.int64)
    chunks = chunks_of(own, places)
    assert sorted(row for chunk in chunks for row in chunk.tolist()) == list(range(len(own)))
    for chunk in chunks:
        longest = own[chunk].max()
        assert own[chunk].min() >= 0.7 * longest or longest == 0
        assert len(chunk) == 1 or len(chunk) * longest <= places
