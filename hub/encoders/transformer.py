"""Hugging Face text encoders, the packaged all-MiniLM-L6-v2 among them. The door to transformers."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import HubspokeError, InvalidDataError
from ..config import TextEncoderConfig
from . import weights
from .base import SplitEncoder, masked_mean, with_parts
from .text import TextEncoder, pad

# Added to the attention score of a place that is none; a number that half precisions know too.
_HIDDEN = -1e9
# With `dense`, the name of BERT's other layers, the pooler that nothing reads would get an adapter too.
_TARGETS = ("query", "value")


class PooledText(TextEncoder):
    """A transformer whose last states are pooled; a subclass says how texts become ids and where weights come from."""

    pooling: str  # "mean" of the real tokens, or the "first"

    @property
    @abstractmethod
    def padding(self) -> int:
        """The id that fills a batch's shorter rows."""

    def _embed(self, tokens: Sequence[list[int]]) -> Tensor:
        ids, mask = (own.to(self.device) for own in pad(tokens, self.padding))  # (B, T)
        hidden: Tensor = self.module(input_ids=ids, attention_mask=mask).last_hidden_state  # (B, T, H)
        return hidden[:, 0] if self.pooling == "first" else masked_mean(hidden, mask)

    @property
    def depth(self) -> int:
        """Layers of the transformer."""
        return len(self._layers())

    def _layers(self) -> list[nn.Module]:
        """The transformer's layers, where they are such as an adapter takes."""
        model: Any = self.module
        stack = getattr(getattr(model, "encoder", None), "layer", None)
        kept = list(stack) if isinstance(stack, nn.ModuleList) else []
        attentions = [getattr(getattr(layer, "attention", None), "self", None) for layer in kept]
        if not kept or not all(isinstance(getattr(a, n, None), nn.Linear) for a in attentions for n in _TARGETS):
            raise self.not_adaptable("is no BERT-like encoder and ")
        return kept

    def split(self, layers: int) -> SplitEncoder:
        """Embeddings and first layers; the last layers and the pooling."""
        self.require_depth(layers)
        model: Any = self.module
        kept = self._layers()
        encoder = with_parts(model.encoder, layer=nn.ModuleList(kept[:-layers]))
        base = with_parts(model, encoder=encoder, pooler=None)

        def states_of(ids: Tensor) -> Tensor:  # texts of one length, hence without padding
            states: Tensor = base(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            return states

        width = int(kept[-1].attention.self.query.in_features)  # type: ignore[union-attr, arg-type]
        return SplitEncoder(states_of, _Head(kept[-layers:], self.pooling == "first"), _TARGETS, width)


class TransformerText(PooledText):
    """Mean-pooled, or by first token where the folder's sentence-transformers note asks for that."""

    def __init__(self, config: TextEncoderConfig, device: torch.device) -> None:
        self.folder = weights.transformer_folder(config.name)
        self.max_tokens = config.max_tokens
        own = weights.read_json(self.folder / "config.json")
        widths = [own[key] for key in ("hidden_size", "d_model", "dim", "n_embd") if isinstance(own.get(key), int)]
        if not widths:
            raise InvalidDataError(f"{self.folder / 'config.json'} names no hidden_size; choose a plain text encoder.")
        path = self.folder / weights.POOLING_FILE
        note = weights.read_json(path) if path.is_file() else {}
        by_first = note.get("pooling_mode_cls_token") or note.get("pooling_mode") == "cls"
        self.pooling = "first" if by_first else "mean"
        settings = {"kind": "transformer", "max_tokens": self.max_tokens, "pooling": self.pooling, "unit": True}
        names = weights.transformer_files(weights.folder_names(self.folder))
        # What the pooling note says stands in the settings; the rest of that file decides nothing.
        files = {name: self.folder / name for name in names if name != weights.POOLING_FILE}
        super().__init__(config, widths[0], device, settings, files)

    def _load(self) -> nn.Module:
        from transformers import AutoModel
        from transformers.utils import logging

        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # no bar of a foreign library on stderr
        try:
            with self._foreign_errors():
                model: nn.Module = AutoModel.from_pretrained(
                    str(self.folder),
                    local_files_only=True,
                    trust_remote_code=False,
                    weights_only=True,
                    dtype=torch.float32,
                )
        finally:
            if shown:
                logging.enable_progress_bar()
        return model

    @cached_property
    def tokenizer(self) -> Any:
        """The fast tokenizer of the folder."""
        from transformers import AutoTokenizer

        with self._foreign_errors():
            return AutoTokenizer.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False, use_fast=True
            )

    @contextlib.contextmanager
    def _foreign_errors(self) -> Iterator[None]:
        try:
            yield
        except HubspokeError:
            raise
        except Exception as error:  # OSError, ValueError, KeyError, ImportError, safetensors' own ...
            raise InvalidDataError(
                f"{self.name} cannot be loaded from {self.folder} ({weights.first_line(error)}); restore the folder or "
                "choose a text encoder that loads without code of its own."
            ) from error

    @property
    def padding(self) -> int:
        """The tokenizer's own, or 0 where it has none."""
        return self.tokenizer.pad_token_id or 0

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        cap = min(self.max_tokens, int(self.tokenizer.model_max_length))
        encoded = self.tokenizer(
            texts, truncation=True, max_length=cap, return_attention_mask=False, return_token_type_ids=False
        )
        # A tokenizer without special tokens gives an empty text no token at all; one padding token stands for it.
        return [ids or [self.padding] for ids in encoded["input_ids"]]


class _Head(nn.Module):
    """The last layers of a BERT, first to last, and the pooling."""

    def __init__(self, layers: list[nn.Module], first: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.first = first

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        # Added to the attention scores, as BERT does; without padding there is nothing to hide.
        hidden_from = None if bool(mask.all()) else (~mask).to(states.dtype)[:, None, None, :] * _HIDDEN
        for layer in self.layers:
            states = layer(states, hidden_from)
        return states[:, 0] if self.first else masked_mean(states, mask)
