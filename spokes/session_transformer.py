"""The sequence transformer for one session at a time, in numpy: what `SequenceTransformer` gives after the last event.

Serving a trained spoke takes no torch, whose import costs more than a second and half a gigabyte. Of the last block
only the last position is computed, which for one block leaves little more than the keys and values of the session.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import Histories, History
from .config import INTERVAL_BUCKETS, SpokeConfig

PREFIX = "transformer."
# As PyTorch's layer norm has it.
NORM_EPSILON = 1e-5
# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: the error function to 1.5e-7, single precision.
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_SCALE = 0.3275911


@dataclass(frozen=True)
class _Frame:
    """What a block is told of the F events that it reads, which stand at `first` and after in a window of S."""

    intervals: IntArray | None  # (F, S) buckets of the time between two events
    first: int
    memory: FloatArray | None  # (2, H, max_length, D/H) keys and values of this block

    def with_earlier(self, new: FloatArray) -> FloatArray:
        """(2, H, S, D/H) keys and values of all events, of which (2, H, F, D/H) are new."""
        if self.memory is None:
            return new
        size = self.first + new.shape[2]
        self.memory[:, :, self.first : size] = new
        return self.memory[:, :, :size]


@dataclass(frozen=True)
class SessionTransformer:
    """Weights of a trained transformer by their names in its file."""

    config: SpokeConfig
    weights: Mapping[str, FloatArray]
    mask: FloatArray | None = None  # (D,) stands for the item that BERT4Rec is asked for

    @classmethod
    def load(cls, directory: Path) -> SessionTransformer:
        """Read the transformer of a saved spoke; raises what a damaged file raises."""
        config = SpokeConfig.from_stored(json.loads((directory / "config.json").read_text(encoding="utf-8")))
        stored = load_file(directory / "behaviour.safetensors")
        weights = {name.removeprefix(PREFIX): own for name, own in stored.items() if name.startswith(PREFIX)}
        made = cls(config, weights, stored["mask"] if config.model == "bert4rec" else None)
        made.encode(np.zeros((1, config.transformer.dimension), np.float32))  # all is there, in its shape
        return made

    def session_vectors(self, vectors: FloatArray, histories: Histories) -> FloatArray:
        """(B, D) embeddings after the last event of each history, by (N, D) item vectors; zero for an empty one."""
        found = np.zeros((len(histories), self.config.transformer.dimension), np.float32)
        for b, history in enumerate(histories):
            own = history if isinstance(history, History) else History(history)
            if len(own):
                found[b] = self._session(vectors, own)
        return found

    def _session(self, vectors: FloatArray, history: History) -> FloatArray:
        recent = history[-self.room :]
        return self.encode(vectors[recent.items], recent.timestamps, recent.event_types)

    @property
    def room(self) -> int:
        """Events that a session may rest on."""
        return self.config.transformer.max_length - (self.mask is not None)

    def empty_memory(self) -> FloatArray:
        """(blocks, 2, H, max_length, D/H) for the keys and values of every block, of no event yet."""
        own = self.config.transformer
        return np.zeros((own.blocks, 2, own.heads, own.max_length, own.dimension // own.heads), np.float32)

    def encode(
        self,
        x: FloatArray,
        times: IntArray | None = None,
        types: IntArray | None = None,
        memory: FloatArray | None = None,
        first: int = 0,
    ) -> FloatArray:
        """(D,) embedding after the last event of a window of at most `room`.

        `x` (F, D) holds the item vectors of the events from `first` on, whose keys and values are written into
        `memory`, where those of earlier events stand; `times` and `types` (first + F,) are those of all events.
        """
        if self.mask is not None:
            # The place that is asked for comes when the last event does, and is of no type.
            x = np.concatenate([x, self.mask[None]])
            times = None if times is None else np.append(times, times[-1])
            types = None if types is None else np.append(types, 0)
        x = self._inputs(x, times, types, first)
        intervals = None
        if self.config.transformer.time_bias and times is not None:
            intervals = interval_buckets(times[first:, None] - times[None, :])  # (F, S)
        blocks = self.config.transformer.blocks
        for nth in range(blocks):
            remembered = None if memory is None else memory[nth]
            x = self._block(f"blocks.{nth}.", x, _Frame(intervals, first, remembered), last=nth == blocks - 1)
        out: FloatArray = self._norm("norm", x)[-1]
        return out

    def _inputs(self, x: FloatArray, times: IntArray | None, types: IntArray | None, first: int) -> FloatArray:
        """(F, D) item vectors with what places, times and types add."""
        settings, size = self.config.transformer, first + len(x)
        if settings.scale_inputs:
            x = x * np.float32(settings.dimension**0.5)
        positions = self.weights["positions"][:size]
        # BERT4Rec counts from the right.
        x = x + (positions if self.mask is None else positions[::-1])[first:]
        if settings.event_types and types is not None:
            x = x + self.weights["type_vectors.weight"][types[first:]]
        if settings.dwell and times is not None:
            x = x + self.weights["dwell_vectors.weight"][interval_buckets(np.diff(times, prepend=times[:1]))[first:]]
        return x

    def _block(self, name: str, x: FloatArray, frame: _Frame, last: bool) -> FloatArray:
        """(F, D) to (F, D), or to (1, D) of the last place."""
        normed = self._norm(f"{name}attention_norm", x)
        asking = slice(-1, None) if last else slice(None)
        x = x[asking] + self._attention(f"{name}attention.", normed, asking, frame)
        hidden = gelu(self._linear(f"{name}feed_forward.0", self._norm(f"{name}feed_forward_norm", x)))
        return x + self._linear(f"{name}feed_forward.3", hidden)

    def _attention(self, name: str, x: FloatArray, asking: slice, frame: _Frame) -> FloatArray:
        """(A, D) what the asking ones of (F, D) events see of all S."""
        f, d = x.shape
        heads = self.config.transformer.heads
        weight, bias = self.weights[f"{name}query_key_value.weight"], self.weights[f"{name}query_key_value.bias"]
        q = (x[asking] @ weight[:d].T + bias[:d]).reshape(-1, heads, d // heads).transpose(1, 0, 2)  # (H, A, D/H)
        new = (x @ weight[d:].T + bias[d:]).reshape(f, 2, heads, d // heads).transpose(1, 2, 0, 3)
        k, v = frame.with_earlier(new)  # (H, S, D/H) each
        logits = (q * np.float32((d // heads) ** -0.5)) @ k.transpose(0, 2, 1)  # (H, A, S)
        if frame.intervals is not None:
            logits += self.weights[f"{name}interval_bias.weight"][frame.intervals[asking]].transpose(2, 0, 1)
        if self.mask is None:
            places = np.arange(frame.first + f)
            logits = np.where(places > places[frame.first :][asking][:, None], -np.inf, logits)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        seen = (weights @ v).transpose(1, 0, 2).reshape(-1, d)  # (A, D)
        return self._linear(f"{name}output", seen)

    def _linear(self, name: str, x: FloatArray) -> FloatArray:
        out: FloatArray = x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return out

    def _norm(self, name: str, x: FloatArray) -> FloatArray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(NORM_EPSILON))
        out: FloatArray = centred / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return out


def interval_buckets(microseconds: IntArray) -> IntArray:
    """0 for less than a second, else 1 + floor(log2(seconds)), 31 at most; any shape, any sign."""
    seconds = np.abs(microseconds) // 1_000_000
    # frexp writes s as m * 2^e with m in [1/2, 1): e is the bucket, exactly, where a logarithm would round.
    return np.minimum(np.frexp(seconds.astype(np.float64))[1], INTERVAL_BUCKETS - 1).astype(np.int64)


def gelu(x: FloatArray) -> FloatArray:
    """x times the normal distribution function of x. Hendrycks and Gimpel, 2016."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(_ERF_SCALE) * z)
    series = np.zeros_like(t)
    for coefficient in reversed(_ERF):
        series = (series + np.float32(coefficient)) * t
    erf = np.copysign(1 - series * np.exp(-z * z), x)
    out: FloatArray = np.float32(0.5) * x * (1 + erf)
    return out
