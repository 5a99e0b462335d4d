"""Text encoders (transformers, open_clip) behind one `encode`, and the one string that stands for an item.

An encoder sorts its inputs by token length, so that a batch pads little, and restores the order. It always runs in
float32: a cached vector must not depend on the device that made it.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn
from torch.nn import functional as F

from ...arrays import FloatArray
from ...errors import HubspokeError, InvalidDataError, UsageError
from ..adapters.clip_heads import cut_text, ends, text_half
from ..adapters.heads import Cut, cut_transformer
from ..devices import Progress
from . import weights

TEXT_FIELDS = ("title", "brand", "category_path", "description")
"""Fields of an item's text, in order; `attributes` may be asked for as well."""
_WORD = re.compile(r"[^\W_]+")


class TextEncoder(ABC):
    """Shared body of the text encoders: batching by length, float32 inference, L2 normalisation.

    A subclass says how texts become token ids, how a batch of ids becomes vectors, and what its fingerprint covers.
    Adapting `module` in place makes the fingerprint stale: give an adapted encoder a name and fingerprint of its own.
    """

    def __init__(self, name: str, dimension: int, batch_size: int, device: torch.device) -> None:
        self.name = name
        self.dimension = dimension
        self.batch_size = batch_size
        self.device = device

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over the weights and every setting that changes the output; builds no model."""

    @cached_property
    def module(self) -> nn.Module:
        """The torch module, loaded on first use: frozen, in evaluation mode, on the encoder's device."""
        return self._load().to(self.device).eval().requires_grad_(False)

    def encode(self, inputs: Sequence[str], progress: Progress | None = None) -> FloatArray:
        """Unit vectors (N, dimension) float32 of N texts, in their order."""
        vectors = np.zeros((len(inputs), self.dimension), dtype=np.float32)
        if not len(inputs):
            return vectors
        tokens = self._tokenize(list(inputs))
        # Longest first: the batch that needs most memory fails at once or not at all.
        order = np.argsort([-len(ids) for ids in tokens], kind="stable")
        self.module.eval()
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            with torch.inference_mode():
                batch = F.normalize(self._embed([tokens[row] for row in rows]).float(), dim=-1)  # (B, D)
            vectors[rows] = batch.cpu().numpy()
            if progress is not None:
                progress(start + len(rows), len(order))
        return vectors

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, as `encode` reads them."""
        return self._tokenize(list(texts)) if len(texts) else []

    def cut(self, layers: int) -> Cut:
        """The encoder before its last `layers` layers; body and head share its weights.

        Raises:
            UsageError: encoders of this kind cannot be cut, or not there.
        """
        raise UsageError(
            f"Text encoder {self.name} cannot be adapted; take text out of encoder_adapter.encoders or train a hub on "
            "another text encoder."
        )

    @abstractmethod
    def _load(self) -> nn.Module:
        """Build the module on CPU."""

    @abstractmethod
    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, at least one each, unpadded where the encoder allows."""

    @abstractmethod
    def _embed(self, tokens: list[list[int]]) -> torch.Tensor:
        """Vectors (B, D) of a batch, not yet normalised."""


class TransformerText(TextEncoder):
    """A Hugging Face text encoder from a local folder: mean-pooled, or by first token where its folder says so."""

    def __init__(self, name: str, folder: Path, max_tokens: int, batch_size: int, device: torch.device) -> None:
        self.folder = folder
        self.max_tokens = max_tokens
        self.pooling = _pooling_of(folder)
        super().__init__(name, _width_of(folder), batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over weights, config and tokenizer files, token cap and pooling."""
        settings = {"kind": "transformer", "max_tokens": self.max_tokens, "pooling": self.pooling, "unit": True}
        names = weights.transformer_files(weights.folder_names(self.folder))
        files = {name: self.folder / name for name in names if name != weights.POOLING_FILE}
        return weights.fingerprint(settings, files)

    def _load(self) -> nn.Module:
        from transformers import AutoModel

        with _quiet_transformers(), _foreign_errors(self.name, self.folder):
            model: nn.Module = AutoModel.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False, weights_only=True, dtype=torch.float32
            )
        return model

    @cached_property
    def tokenizer(self) -> Any:
        """The fast tokenizer of the folder."""
        from transformers import AutoTokenizer

        with _foreign_errors(self.name, self.folder):
            return AutoTokenizer.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False, use_fast=True
            )

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        cap = min(self.max_tokens, int(self.tokenizer.model_max_length))
        encoded = self.tokenizer(
            texts, truncation=True, max_length=cap, return_attention_mask=False, return_token_type_ids=False
        )
        # A tokenizer without special tokens gives an empty text no token at all; one padding token stands for it.
        return [ids or [self._padding] for ids in encoded["input_ids"]]

    @property
    def _padding(self) -> int:
        padding = self.tokenizer.pad_token_id
        return 0 if padding is None else int(padding)

    def _embed(self, tokens: list[list[int]]) -> torch.Tensor:
        ids, mask = pad(tokens, self._padding)  # (B, T)
        hidden = self.module(input_ids=ids.to(self.device), attention_mask=mask.to(self.device)).last_hidden_state
        if self.pooling == "first":
            return hidden[:, 0]  # type: ignore[no-any-return]
        weight = mask.to(self.device).unsqueeze(-1).float()  # (B, T, 1)
        return (hidden * weight).sum(1) / weight.sum(1)  # type: ignore[no-any-return]

    def cut(self, layers: int) -> Cut:
        """Embeddings and first layers as the body, the last layers and the pooling as the head."""
        return cut_transformer(self.name, self.module, layers, self.pooling == "first")


class OpenClipText(TextEncoder):
    """The text half of an open_clip dual encoder; it reads the encoder's own context length."""

    def __init__(self, name: str, source: weights.OpenClipSource, batch_size: int, device: torch.device) -> None:
        self.source = source
        super().__init__(name, source.dimension, batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over weights, architecture and tokenizer."""
        return weights.fingerprint({"kind": "open_clip text", **self.source.settings()}, self.source.files())

    def _load(self) -> nn.Module:
        model: Any = weights.load_open_clip(self.source)
        model.visual = nn.Identity()  # the picture half would only take memory here
        return model  # type: ignore[no-any-return]

    @cached_property
    def tokenizer(self) -> Callable[[list[str]], torch.Tensor]:
        """Texts to ids (B, context length)."""
        return weights.open_clip_tokenizer(self.source)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # Encoders of this family pool at a fixed place, so every row keeps the full context length.
        ids: list[list[int]] = self.tokenizer(texts).tolist()
        return ids

    def _embed(self, tokens: list[list[int]]) -> torch.Tensor:
        model: Any = self.module
        vectors: torch.Tensor = model.encode_text(torch.tensor(tokens, device=self.device))
        return vectors

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text up to the one that it is pooled at; no earlier place sees a later one."""
        ids = self._tokenize(list(texts)) if len(texts) else []
        last = ends(text_half(self.name, self.module), torch.tensor(ids)).tolist() if ids else []
        return [own[: end + 1] for own, end in zip(ids, last, strict=True)]

    def cut(self, layers: int) -> Cut:
        """Embeddings and first blocks as the body, the last blocks and the projection as the head."""
        return cut_text(self.name, self.module, layers)


def pad(tokens: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-pad to the longest row: ids (B, T) int64 and mask (B, T) int64, 1 on real tokens."""
    width = max(len(ids) for ids in tokens)
    ids = np.full((len(tokens), width), padding, dtype=np.int64)
    mask = np.zeros((len(tokens), width), dtype=np.int64)
    for row, own in enumerate(tokens):
        ids[row, : len(own)] = own
        mask[row, : len(own)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def _width_of(folder: Path) -> int:
    config = weights.read_json(folder / "config.json")
    for key in ("hidden_size", "d_model", "dim", "n_embd"):
        if isinstance(config.get(key), int):
            return int(config[key])
    raise InvalidDataError(f"{folder / 'config.json'} names no hidden_size; choose a plain text encoder.")


def _pooling_of(folder: Path) -> str:
    """ "mean", or "first" where the folder's sentence-transformers note asks for the first token."""
    path = folder / weights.POOLING_FILE
    note = weights.read_json(path) if path.is_file() else {}
    first = note.get("pooling_mode_cls_token") or note.get("pooling_mode") == "cls"
    return "first" if first else "mean"


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No weight-loading bar of a foreign library on stderr, whatever the setting was before."""
    from transformers.utils import logging as messages

    shown = messages.is_progress_bar_enabled()
    messages.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            messages.enable_progress_bar()


@contextlib.contextmanager
def _foreign_errors(name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except HubspokeError:
        raise
    except Exception as error:  # transformers raises OSError, ValueError, KeyError, ImportError, safetensors' own ...
        raise InvalidDataError(
            f"{name} cannot be loaded from {folder} ({weights.first_line(error)}); restore the folder or choose a text "
            "encoder that loads without code of its own."
        ) from error


def item_texts(items: pl.DataFrame, fields: Sequence[str] = TEXT_FIELDS, max_characters: int = 2000) -> list[str]:
    """One string per item, such as "Title. Brand. a > b > c. Description", in row order.

    Empty parts are left out, and so is a part whose words stand in the title already (a brand, an attribute's value).
    White space is collapsed, text is in Unicode form NFC, control characters are dropped. Longer strings are cut at
    `max_characters`, at a space where there is one near.

    Args:
        items: canonical item columns; a column that is missing counts as empty.
        fields: any of `TEXT_FIELDS` and "attributes" ("key: value" each), in the order wanted.
        max_characters: cap on each string, in code points.

    Raises:
        UsageError: an unknown field, or a cap below 1.
    """
    unknown = [name for name in fields if name not in (*TEXT_FIELDS, "attributes")]
    if unknown:
        raise UsageError(f"Unknown text field {unknown[0]!r}; choose from {', '.join((*TEXT_FIELDS, 'attributes'))}.")
    if max_characters < 1:
        raise UsageError(f"max_characters is {max_characters}; give 1 or more.")
    present = [name for name in fields if name in items.columns]
    titles = items["title"].to_list() if "title" in items.columns else [None] * items.height
    columns = [items[name].to_list() for name in present]
    rows = zip(*columns, strict=True) if columns else iter([()] * items.height)
    return [
        _cut(_join(_clean(title), dict(zip(present, row, strict=True))), max_characters)
        for title, row in zip(titles, rows, strict=True)
    ]


def _join(title: str, values: dict[str, Any]) -> str:
    known = f" {_words(title)} "
    text = ""
    for name, value in values.items():
        for part, words in _parts(name, value):
            if not part or (name != "title" and f" {words} " in known):
                continue
            text += (" " if text.endswith((".", "!", "?", "…", "。")) else ". ") + part if text else part
    return text


def _parts(name: str, value: Any) -> list[tuple[str, str]]:
    """(part, its words for the comparison with the title) of one field's value."""
    if value is None:
        return []
    if name == "attributes":
        pairs = [(_clean(pair["key"]), _clean(pair["value"])) for pair in value]
        return [(f"{key}: {own}", _words(own)) for key, own in pairs if own]
    if name == "category_path" and not isinstance(value, str):
        value = " > ".join(filter(None, map(_clean, value)))
    part = _clean(value)
    return [(part, _words(part))]


def _clean(value: object) -> str:
    """NFC, without control characters, white space collapsed to single spaces."""
    if value is None:
        return ""
    text = str(value)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():  # rare, so the slow walk is too
        text = "".join(" " if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} else c for c in text)
    return " ".join(text.split())


def _words(text: str) -> str:
    """Case-folded words with punctuation as spaces, for whole-word containment."""
    return " ".join(_WORD.findall(text.casefold()))


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = text[:limit]
    space = -1 if text[limit].isspace() else head.rfind(" ")
    return (head[:space] if space > limit * 0.8 else head).rstrip()
