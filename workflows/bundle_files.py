"""The file of a bundle: an uncompressed tar of a fixed form, which only one sequence of bytes has for a given content.

`bundle.json` comes first and names everything, then the artifacts' files, last `bundle.sha256`. Whoever reads predicts
every byte of every header from `bundle.json`, so no name, link or size of the archive is ever trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import CorruptArtifactError, HubspokeError, InvalidDataError, NotFoundError
from ..files import atomic_write, file_faults
from ..progress import StepProgress

MANIFEST = "bundle.json"
SEAL = "bundle.sha256"
# Hundreds of thousands of rows take less; what is larger is no bundle, and is not read into memory.
MAX_MANIFEST_BYTES = 1 << 28
_BLOCK = 512
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """One file of an artifact: its name in the archive, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


def member_name(digest: str, path: str) -> str:
    """Name in the archive of an artifact's file."""
    return f"artifacts/{digest}/{path}"


def encode(document: Mapping[str, Any]) -> bytes:
    """The content of `bundle.json`; InvalidDataError where JSON in UTF-8 has no word for a number or text."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:  # UnicodeEncodeError is one
        raise InvalidDataError(
            f"A row of the registry cannot be written as JSON ({error}); make that version again."
        ) from error


def size_of(manifest: bytes, members: Sequence[Member]) -> int:
    """Bytes of the whole file."""
    pieces = _layout(manifest, members)
    return sum(piece.size if isinstance(piece, Member) else len(piece) for _, piece in pieces)


def write_bundle(path: Path, manifest: bytes, members: Sequence[Member], source: Callable[[Member], Path]) -> str:
    """Write a bundle whole or not at all, readable by its owner alone; `source` is where each member lies.

    Its SHA-256 is returned; a file that is not what its member says is a CorruptArtifactError.
    """
    if not path.parent.is_dir():
        raise NotFoundError(f"There is no folder {path.parent}; make it, or give another --output.")
    digest = hashlib.sha256()
    with file_faults(path.parent), atomic_write(path, "wb", private=True) as out:
        for name, piece in _layout(manifest, members):
            if isinstance(piece, bytes):
                out.write(piece)
                digest.update(piece)
                continue
            changed = CorruptArtifactError(f"{name} changed while it was read; run `hubspoke doctor --verify`.")
            with source(piece).open("rb") as file:
                if os.fstat(file.fileno()).st_size != piece.size:
                    raise changed
                for chunk in _checked(file, piece, changed):
                    out.write(chunk)
                    digest.update(chunk)
    return digest.hexdigest()


def _layout(manifest: bytes, members: Sequence[Member]) -> Iterator[tuple[str, bytes | Member]]:
    """The whole file in its order: bytes as they stand, and members whose content is elsewhere, each with its name."""
    yield MANIFEST, _header(MANIFEST, len(manifest)) + manifest + _padding(len(manifest))
    for member in members:
        yield member.name, _header(member.name, member.size)
        yield member.name, member
        yield member.name, _padding(member.size)
    yield SEAL, _end(manifest)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _end(manifest: bytes) -> bytes:
    """The last member, which is what `sha256sum bundle.json` writes, and the archive's end."""
    seal = f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()
    return _header(SEAL, len(seal)) + seal + _padding(len(seal)) + bytes(2 * _BLOCK)


def _checked(file: IO[bytes], member: Member, fault: HubspokeError) -> Iterator[bytes]:
    """The next bytes of a file in pieces; `fault` at the end where they were not the member's."""
    left, digest = member.size, hashlib.sha256()
    while left and (chunk := file.read(min(_CHUNK, left))):
        left -= len(chunk)
        digest.update(chunk)
        yield chunk
    if left or digest.hexdigest() != member.sha256:
        raise fault


class BundleFile:
    """A bundle opened for reading; use it with `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise NotFoundError(f"There is no bundle {path}; check the path.")
        with file_faults(path):
            self._file = path.open("rb")
        try:
            self.bytes = os.fstat(self._file.fileno()).st_size
            self.manifest = self._read_manifest()
        except BaseException:
            self._file.close()
            raise
        self._offsets: dict[str, int] = {}

    def __enter__(self) -> BundleFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def document(self) -> Any:
        """What `bundle.json` says; InvalidDataError where it is no JSON as this package writes it."""
        try:
            found = json.loads(self.manifest)
            # Keys given twice, numbers beyond all bounds and the like have no place in what this package writes.
            if encode(found) == self.manifest:
                return found
        except (ValueError, TypeError, RecursionError, InvalidDataError):
            pass
        raise self._damaged(MANIFEST)

    def verify(self, members: Sequence[Member], progress: StepProgress) -> str:
        """Read every byte and compare it, or its hash, with what it has to be; SHA-256 of the whole file."""
        if size_of(self.manifest, members) != self.bytes:
            raise self._damaged("its length")
        self._file.seek(0)
        whole = hashlib.sha256()
        for name, piece in _layout(self.manifest, members):
            if isinstance(piece, bytes):
                if self._file.read(len(piece)) != piece:
                    raise self._damaged(name)
                whole.update(piece)
                continue
            self._offsets[name] = self._file.tell()
            for chunk in _checked(self._file, piece, self._damaged(name)):
                whole.update(chunk)
            progress(len(self._offsets), len(members))
        if self._file.read(1):
            raise self._damaged("its end")
        return whole.hexdigest()

    def copy(self, member: Member, target: Path) -> None:
        """Write a verified member's content to a new file."""
        self._file.seek(self._offsets[member.name])
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            for chunk in _checked(self._file, member, self.changed()):
                out.write(chunk)

    def changed(self) -> CorruptArtifactError:
        """The error of a file that somebody wrote to after it was verified."""
        return CorruptArtifactError(f"{self.path} was changed while it was read; repeat the command.")

    def _read_manifest(self) -> bytes:
        try:
            head = self._file.read(_BLOCK)
            first = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise self._no_bundle("it is no tar archive") from error
        if first.name != MANIFEST:
            raise self._no_bundle(f"it does not begin with {MANIFEST}")
        if not 0 <= first.size <= min(MAX_MANIFEST_BYTES, self.bytes) or head != _header(MANIFEST, first.size):
            raise self._damaged(f"the header of {MANIFEST}")
        manifest = self._file.read(first.size)
        # The seal at the end is looked at before anything is read out of the manifest: damage is called damage.
        end = _end(manifest)
        self._file.seek(max(0, self.bytes - len(end)))
        if self._file.read() != end:
            raise self._damaged(f"{MANIFEST} or {SEAL}")
        return manifest

    def _damaged(self, what: str) -> InvalidDataError:
        return InvalidDataError(
            f"{self.path} is damaged or was tampered with ({what} is not as it was written); copy or export it again."
        )

    def _no_bundle(self, why: str) -> InvalidDataError:
        return InvalidDataError(f"{self.path} is no bundle ({why}); make one with `hubspoke bundle export`.")
