"""Texts without a transformer: a weighted mean of the word-piece vectors that all-MiniLM-L6-v2 begins with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InvalidDataError
from ..config import TextEncoderConfig
from . import weights
from .text import TextEncoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Per token that is read; a piece has five on average, with its space.
_CHARACTERS = 8
_MODEL, _TOKENIZER = "model.safetensors", "tokenizer.json"


class StaticText(TextEncoder):
    """A function of one text alone: of order it knows how far from the beginning a piece stands.

    Chosen on the validation events of three categories: the further a piece, and the more often it comes, the less it
    weighs. To weigh rare ones more, by the vocabulary's rank (Zipf's law) or by a catalog's frequencies, gained less.
    """

    def __init__(self, config: TextEncoderConfig, device: torch.device) -> None:
        self.folder = weights.package_folder(config.name.partition(":")[2]) / "model"
        self.max_tokens = config.max_tokens
        own = weights.read_json(self.folder / "config.json")
        self.epsilon = float(own["layer_norm_eps"])
        settings = {"kind": "static", "max_tokens": self.max_tokens, "unit": True}
        files = {name: self.folder / name for name in (_MODEL, _TOKENIZER)}
        super().__init__(config, int(own["hidden_size"]), device, settings | {"epsilon": self.epsilon}, files)

    def _load(self) -> nn.Module:
        """The table of word pieces as a text's first layer would get them, but for their places."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / _MODEL, framework="pt") as file:  # reads these tensors alone
                words, kinds = (
                    file.get_tensor(f"embeddings.{name}_embeddings.weight") for name in ("word", "token_type")
                )
                scale, shift = (file.get_tensor(f"embeddings.LayerNorm.{name}") for name in ("weight", "bias"))
        except (SafetensorError, OSError) as error:
            raise InvalidDataError(
                f"{self.folder / _MODEL} cannot be read ({weights.first_line(error)}); reinstall its package."
            ) from error
        table = F.layer_norm(words.float() + kinds[0].float(), (self.dimension,), scale, shift, self.epsilon)  # (V, D)
        return nn.EmbeddingBag.from_pretrained(table, mode="sum")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The folder's own, without special tokens."""
        from tokenizers import Tokenizer

        made = Tokenizer.from_file(str(self.folder / _TOKENIZER))
        made.no_padding()
        made.enable_truncation(self.max_tokens)
        return made

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        heads = [_head(text, self.max_tokens * _CHARACTERS) for text in texts]
        found = self._pieces(heads)
        # The rare ones whose beginning was too short are read whole.
        short = [row for row, ids in enumerate(found) if len(ids) < self.max_tokens and heads[row] != texts[row]]
        for row, ids in zip(short, self._pieces([texts[row] for row in short]), strict=True):
            found[row] = ids
        return [ids or [0] for ids in found]  # an empty text is one padding token

    def _pieces(self, texts: list[str]) -> list[list[int]]:
        return [own.ids for own in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _embed(self, tokens: Sequence[list[int]]) -> Tensor:
        lengths = torch.tensor([len(ids) for ids in tokens])
        ids = torch.tensor(list(itertools.chain.from_iterable(tokens)))  # (P,) pieces of all texts
        starts = lengths.cumsum(0) - lengths  # (B,)
        shares = piece_weights(ids, lengths, starts)
        # Of unit vectors a weighted sum says the same as a weighted mean.
        vectors: Tensor = self.module(ids.to(self.device), starts.to(self.device), shares.to(self.device))  # (B, D)
        return vectors


def piece_weights(ids: Tensor, lengths: Tensor, starts: Tensor) -> Tensor:
    """Weights (P,) of pieces that lie text after text: 1 / sqrt(place * n) of the piece that its text has n times."""
    rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths)  # (P,)
    places = torch.arange(len(ids)) - starts[rows] + 1
    # One number for a piece of one text: comparing columns of two would take as long as all the rest.
    keys = rows * (ids.max() + 1) + ids
    _, kinds, times = torch.unique(keys, return_inverse=True, return_counts=True)
    shares: Tensor = (places * times[kinds]).rsqrt()
    return shares


def _head(text: str, characters: int) -> str:
    """The beginning of a text up to a space; words are cut into pieces one by one, so its pieces are the text's."""
    return text if len(text) <= characters else text[: max(text.rfind(" ", 0, characters), 0)]
