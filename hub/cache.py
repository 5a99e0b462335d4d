"""The embedding cache: an encoder runs once per input, ever, unless its weights or settings change.

Vectors lie in safetensors shards, one folder per encoder fingerprint. A shard is written whole, renamed into place and
never changed, so that a killed run resumes and processes may share a cache without locks. A cache that cannot be
written costs a note and the time to encode again, not the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..arrays import BoolArray, FloatArray
from ..errors import HubspokeError, InvalidDataError, UsageError
from ..files import atomic_write, why
from ..progress import Remark, StepProgress
from .encoders import weights

Keys = npt.NDArray[np.uint8]
Input = TypeVar("Input", contravariant=True)

SHARD_ROWS = 1000  # new vectors per shard: about half a minute of work that a kill may cost
COMPACT_AT = 16  # small shards of one encoder that may gather before they are merged
SMALL_BYTES = 16 << 20
_STALE_S = 3600.0
_FORMAT = "1"
_LOG = logging.getLogger(__name__)


class Encoder(Protocol[Input]):
    """What the cache asks of an encoder; `encoders.base.Encoder` is one, and so is a part of it."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def dimension(self) -> int: ...  # noqa: D102

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def encode(self, inputs: Sequence[Input], progress: StepProgress | None) -> FloatArray: ...  # noqa: D102


def text_hashes(texts: Sequence[str]) -> list[str]:
    """SHA-256 in hex of each text."""
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]


def file_hashes(paths: Sequence[str | Path]) -> list[str]:
    """SHA-256 in hex of each file's bytes."""
    try:
        return [weights.file_digest(Path(path)) for path in paths]
    except OSError as error:
        raise InvalidDataError(
            f"{error.filename} cannot be read ({error.strerror}); restore the file or drop it."
        ) from error


class EmbeddingCache:
    """Vectors by (encoder fingerprint, input hash) under one directory.

    A shard holds `keys` (n, 32) uint8 and `vectors` (n, D) float32 with a SHA-256 over both. Float32: half precision
    would save disk only, and whitening amplifies the rounding of small directions.
    """

    def __init__(self, directory: Path, note: Callable[[str], object] = _LOG.warning) -> None:
        """The cache in a folder, which is made when something is stored; `note` is told where that cannot be."""
        self.directory = Path(directory)
        self._faults = Remark(note, over=f"The embedding cache {directory} can be written again.")

    def get(self, fingerprint: str, keys: Sequence[bytes], dimension: int) -> tuple[FloatArray, BoolArray]:
        """Vectors (N, D) of N distinct 32-byte keys, and which of them were found (N,); the others' rows are zero."""
        places = {key: row for row, key in enumerate(keys)}
        vectors = np.zeros((len(keys), dimension), dtype=np.float32)
        found = np.zeros(len(keys), dtype=np.bool_)
        seen: set[Path] = set()
        # A neighbour may merge shards while they are read: what vanishes reappears in a shard listed anew.
        while fresh := [path for path in self._shards(fingerprint) if path not in seen]:
            seen.update(fresh)
            for path in fresh:
                if found.all():
                    return vectors, found
                if (shard := _read(path, dimension, places)) is not None:
                    rows = [(row, places[key]) for row, key in enumerate(_apart(shard[0])) if key in places]
                    source, target = np.array(rows).T
                    vectors[target] = shard[1][source]
                    found[target] = True
        return vectors, found

    def _shards(self, fingerprint: str) -> list[Path]:
        return sorted((self.directory / fingerprint).glob("*.safetensors"))

    def put(self, fingerprint: str, keys: Sequence[bytes], vectors: FloatArray) -> None:
        """Store vectors (N, D) under N keys as one shard, then merge small shards where many have gathered.

        Where that cannot be done, nothing is stored and a note says why, once for each cause.
        """
        packed = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), 32)
        try:
            self._write(fingerprint, packed, np.ascontiguousarray(vectors, dtype=np.float32))
            self._compact(fingerprint)
        except (OSError, HubspokeError) as error:
            reason = why(error.__cause__ or error)
            self._faults(f"The embedding cache {self.directory} cannot be written ({reason}); going on without.")
        else:
            self._faults("")

    def _write(self, fingerprint: str, keys: Keys, vectors: FloatArray) -> None:
        folder = self.directory / fingerprint
        metadata = {"format": _FORMAT, "sha256": _checksum(keys, vectors)}
        folder.mkdir(parents=True, exist_ok=True)
        # A name of its own: processes that encode the same inputs write both, and merging drops one.
        with atomic_write(folder / f"{uuid.uuid4().hex}.safetensors", "wb") as stream:
            stream.write(save({"keys": keys, "vectors": vectors}, metadata=metadata))

    def _compact(self, fingerprint: str) -> None:
        """Merge small shards once there are many; the merged shard is in place before the old ones go."""
        small = []
        for path in self._shards(fingerprint):
            with contextlib.suppress(FileNotFoundError):  # merged away meanwhile: nothing left to merge
                if path.stat().st_size < SMALL_BYTES:
                    small.append(path)
        if len(small) <= COMPACT_AT:
            return
        read = {path: shard for path in small if (shard := _read(path)) is not None}
        if len(read) > 1 and len({vectors.shape[1] for _, vectors in read.values()}) == 1:
            keys, vectors = (np.concatenate(parts) for parts in zip(*read.values(), strict=True))
            first = np.unique(keys, axis=0, return_index=True)[1]
            self._write(fingerprint, keys[first], vectors[first])
            for path in read:
                path.unlink(missing_ok=True)
        # What killed writers left behind, but not what a neighbour may be writing now.
        for path in (self.directory / fingerprint).glob(".*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_S:
                    path.unlink()


def encode_cached(
    encoder: Encoder[Input],
    inputs: Sequence[Input],
    input_hashes: Sequence[str],
    cache: EmbeddingCache,
    progress: StepProgress | None = None,
) -> FloatArray:
    """Vectors (N, D) of N inputs, from the cache where known; equal hashes are one input, and progress counts these."""
    if len(input_hashes) != len(inputs):
        raise UsageError(f"{len(inputs)} inputs came with {len(input_hashes)} hashes; give one hash per input.")
    for own in input_hashes:
        if len(own) != 64 or not set(own) <= set("0123456789abcdef"):
            raise UsageError(f"Input hash {own!r} is not 64 hex digits; give SHA-256 hex digests.")
    keys = [bytes.fromhex(own) for own in input_hashes]
    first = {key: row for row, key in reversed(list(enumerate(keys)))}  # first row of each distinct input
    distinct = sorted(first, key=first.__getitem__)
    vectors, found = cache.get(encoder.fingerprint, distinct, encoder.dimension)
    if progress is not None:
        progress(int(found.sum()), len(distinct))
    missing = np.flatnonzero(~found)
    for start in range(0, len(missing), SHARD_ROWS):
        rows = missing[start : start + SHARD_ROWS]
        done = len(distinct) - len(missing) + start
        chunk = [inputs[first[distinct[row]]] for row in rows]
        made = encoder.encode(chunk, shifted(progress, done, len(distinct)))
        if not np.isfinite(made).all():
            raise HubspokeError(
                f"Encoder {encoder.name} gave vectors that are not finite; check or reinstall its weights."
            )
        vectors[rows] = made
        cache.put(encoder.fingerprint, [distinct[row] for row in rows], vectors[rows])
    row_of = {key: row for row, key in enumerate(distinct)}
    return vectors[np.array([row_of[key] for key in keys], dtype=np.int64)]


def shifted(progress: StepProgress | None, offset: int, total: int) -> StepProgress | None:
    """Progress of one part of a whole."""
    return None if progress is None else lambda done, _: progress(offset + done, total)


def _checksum(keys: Keys, vectors: FloatArray) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(keys).data)
    digest.update(np.ascontiguousarray(vectors).data)
    return digest.hexdigest()


def _apart(keys: Keys) -> list[bytes]:
    raw = keys.tobytes()
    return [raw[start : start + 32] for start in range(0, len(raw), 32)]


def _read(
    path: Path, dimension: int | None = None, wanted: Mapping[bytes, int] | None = None
) -> tuple[Keys, FloatArray] | None:
    """Keys (n, 32) and vectors (n, D) of a shard; None where it has nothing that is wanted, or is of no use."""
    try:
        with safe_open(path, framework="numpy") as shard:
            keys: Keys = shard.get_tensor("keys")
            if wanted is not None and wanted.keys().isdisjoint(_apart(keys)):
                return None  # its vectors are never read
            vectors: FloatArray = shard.get_tensor("vectors")
            metadata = shard.metadata() or {}
        if keys.shape != (len(keys), 32) or vectors.ndim != 2 or len(keys) != len(vectors):
            raise ValueError(f"shapes {keys.shape} and {vectors.shape}")
        if dimension is not None and vectors.shape[1] != dimension:
            raise ValueError(f"width {vectors.shape[1]} instead of {dimension}")
        if metadata.get("sha256") != _checksum(keys, vectors):
            raise ValueError("checksum mismatch")
    except FileNotFoundError:  # merged away by a neighbour
        return None
    except (SafetensorError, ValueError, TypeError, OSError) as error:
        _LOG.warning("Cached embeddings in %s are corrupt (%s) and will be computed again.", path, error)
        if not isinstance(error, OSError):
            with contextlib.suppress(OSError):  # set aside, so that it is warned of once
                path.replace(path.with_suffix(".corrupt"))
        return None
    return keys, vectors
