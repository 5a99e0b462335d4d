"""Hugging Face text encoders, the packaged all-MiniLM-L6-v2 among them. The door to transformers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
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


class TransformerText(TextEncoder):
    """Mean-pooled, or by first token where the folder's sentence-transformers note asks for that."""

    def __init__(self, config: TextEncoderConfig, device: torch.device) -> None:
        self.folder = weights.transformer_folder(config.name)
        self.max_tokens = config.max_tokens
        self.pooling = _pooling_of(self.folder)
        super().__init__(config.name, _width_of(self.folder), config.batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over weights, config and tokenizer files, token cap and pooling."""
        settings = {"kind": "transformer", "max_tokens": self.max_tokens, "pooling": self.pooling, "unit": True}
        names = weights.transformer_files(weights.folder_names(self.folder))
        files = {name: self.folder / name for name in names if name != weights.POOLING_FILE}
        return weights.fingerprint(settings, files)

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

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        cap = min(self.max_tokens, int(self.tokenizer.model_max_length))
        encoded = self.tokenizer(
            texts, truncation=True, max_length=cap, return_attention_mask=False, return_token_type_ids=False
        )
        # A tokenizer without special tokens gives an empty text no token at all; one padding token stands for it.
        return [ids or [self._padding] for ids in encoded["input_ids"]]

    @property
    def _padding(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    def _embed(self, tokens: list[list[int]]) -> Tensor:
        ids, mask = (own.to(self.device) for own in pad(tokens, self._padding))  # (B, T)
        hidden: Tensor = self.module(input_ids=ids, attention_mask=mask).last_hidden_state  # (B, T, H)
        return hidden[:, 0] if self.pooling == "first" else masked_mean(hidden, mask)

    def split(self, layers: int) -> SplitEncoder:
        """Embeddings and first layers; the last layers and the pooling."""
        model: Any = self.module
        stack = getattr(getattr(model, "encoder", None), "layer", None)
        if not isinstance(stack, nn.ModuleList) or not all(_is_bert_layer(layer) for layer in stack):
            raise self.not_adaptable("is no BERT-like encoder and ")
        self.require_depth(layers, len(stack))
        kept = list(stack)
        encoder = with_parts(model.encoder, layer=nn.ModuleList(kept[:-layers]))
        base = with_parts(model, encoder=encoder, pooler=None)

        def states_of(ids: Tensor) -> Tensor:  # texts of one length, hence without padding
            states: Tensor = base(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            return states

        width = int(kept[-1].attention.self.query.in_features)  # type: ignore[union-attr, arg-type]
        return SplitEncoder(states_of, _Head(kept[-layers:], self.pooling == "first"), ("query", "value"), width)


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


def _is_bert_layer(layer: nn.Module) -> bool:
    attention = getattr(getattr(layer, "attention", None), "self", None)
    return all(isinstance(getattr(attention, name, None), nn.Linear) for name in ("query", "value"))


def _width_of(folder: Path) -> int:
    config = weights.read_json(folder / "config.json")
    for key in ("hidden_size", "d_model", "dim", "n_embd"):
        if isinstance(config.get(key), int):
            return int(config[key])
    raise InvalidDataError(f"{folder / 'config.json'} names no hidden_size; choose a plain text encoder.")


def _pooling_of(folder: Path) -> str:
    path = folder / weights.POOLING_FILE
    note = weights.read_json(path) if path.is_file() else {}
    return "first" if note.get("pooling_mode_cls_token") or note.get("pooling_mode") == "cls" else "mean"
