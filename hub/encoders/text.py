"""Text encoders behind one `encode`, and the one string that stands for an item."""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.nn import functional as F

from ...arrays import FloatArray
from ...errors import UsageError
from ...progress import StepProgress
from ..config import TEXT_FIELDS
from .base import Encoder

_WORD = re.compile(r"[^\W_]+")


class TextEncoder(Encoder):
    """A subclass says how texts become token ids, and how a batch of ids becomes vectors."""

    kind = "text"

    def encode(self, inputs: Sequence[str], progress: StepProgress | None = None) -> FloatArray:
        """Unit vectors (N, D) float32 of N texts, in their order."""
        vectors = np.zeros((len(inputs), self.dimension), dtype=np.float32)
        if not len(inputs):
            return vectors
        tokens = self._tokenize(list(inputs))
        # By length, so that a batch pads little; longest first: what needs most memory fails at once or not at all.
        order = np.argsort([-len(ids) for ids in tokens], kind="stable")
        self.module.eval()
        batches = self._batches([tokens[row] for row in order])
        vectors[order] = self.run(
            lambda own: F.normalize(self._embed(own).float(), dim=-1), batches, len(tokens), self.dimension, progress
        )
        return vectors

    def through(
        self,
        base: Callable[[torch.Tensor], torch.Tensor],
        tokens: Sequence[list[int]],
        width: int,
        progress: StepProgress | None = None,
    ) -> FloatArray:
        """What a base makes of N token lists of one length, flattened to (N, width) float32."""
        ids = (torch.tensor(own, device=self.device) for own in self._batches(tokens))  # (B, T) each
        return self.run(base, ids, len(tokens), width, progress)

    def _batches(self, tokens: Sequence[list[int]]) -> Iterator[Sequence[list[int]]]:
        return (tokens[start : start + self.batch_size] for start in range(0, len(tokens), self.batch_size))

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text as the base of `split` reads them, unpadded."""
        return self._tokenize(list(texts)) if len(texts) else []

    @abstractmethod
    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, at least one each, unpadded where the encoder allows."""

    @abstractmethod
    def _embed(self, tokens: Sequence[list[int]]) -> torch.Tensor:
        """Vectors (B, D) of a batch, not yet normalised."""


def pad(tokens: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-pad to the longest row: ids (B, T) int64 and mask (B, T) int64, 1 on real tokens."""
    width = max(len(ids) for ids in tokens)
    ids = torch.tensor([[*own, *[padding] * (width - len(own))] for own in tokens])
    mask = torch.tensor([[1] * len(own) + [0] * (width - len(own)) for own in tokens])
    return ids, mask


def item_texts(items: pl.DataFrame, fields: Sequence[str] = TEXT_FIELDS, max_characters: int = 2000) -> list[str]:
    """One string per item, such as "Title. Brand. a > b > c. Description", in row order.

    Empty parts are left out, and so is a part whose words stand in the title already (a brand, an attribute's value).
    Longer strings are cut at a space near `max_characters` code points. A column that is missing counts as empty.
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
    texts = []
    for title, row in zip(titles, rows, strict=True):
        known = f" {_words(_clean(title))} "
        text = ""
        for name, value in zip(present, row, strict=True):
            for part, words in _parts(name, value):
                if part and (name == "title" or f" {words} " not in known):
                    joint = " " if text.endswith((".", "!", "?", "…", "。")) else ". "
                    text += f"{joint if text else ''}{part}"
        if len(text) > max_characters:
            head = text[:max_characters]
            space = -1 if text[max_characters].isspace() else head.rfind(" ")
            # A word of a fifth of the limit or more (no white space at all in some scripts) is cut through.
            text = (head[:space] if space > max_characters * 0.8 else head).rstrip()
        texts.append(text)
    return texts


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
