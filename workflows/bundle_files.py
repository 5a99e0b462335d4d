"""The file of a bundle: an uncompressed tar of a fixed form, which only one sequence of bytes has for a given content.

`bundle.json` comes first and names everything, then the artifacts' files, last `bundle.sha256`. Whoever reads predicts
every byte of every header from `bundle.json`, so no name, link or size of the archive is ever trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ..errors import CorruptArtifactError, InvalidDataError, NotFoundError, UsageError
from ..files import file_faults, flush
from ..registry.artifacts.staging import is_stale, new_name

MANIFEST = "bundle.json"
SEAL = "bundle.sha256"
# Hundreds of thousands of rows take less; what is larger is no bundle, and is not read into memory.
MAX_MANIFEST_BYTES = 1 << 28
_BLOCK = 512
_PART = ".part"
_WRITER = re.compile(r"[A-Za-z0-9_]+-[0-9]+-[0-9]+-[0-9a-f]{8}")
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
    """The content of `bundle.json`.

    Raises:
        InvalidDataError: it holds a number or text that JSON in UTF-8 has no word for.
    """
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:  # UnicodeEncodeError is one
        raise InvalidDataError(
            f"A row of the registry cannot be written as JSON ({error}); make that version again."
        ) from error


def size_of(manifest: bytes, members: Sequence[Member]) -> int:
    """Bytes of the whole file."""
    sizes = ((MANIFEST, len(manifest)), *((member.name, member.size) for member in members))
    return sum(len(_header(name, size)) + size + len(_padding(size)) for name, size in sizes) + len(_end(manifest))


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


# ---- write ----


def write_bundle(path: Path, manifest: bytes, members: Sequence[Member], source: Callable[[Member], Path]) -> str:
    """Write a bundle to a temporary name beside its place, flush and rename it; its SHA-256.

    The file is readable by its owner alone, since it holds the data of shoppers.

    Args:
        path: its place; a file that is there is replaced.
        manifest: content of `bundle.json`.
        members: every file of every artifact, in the order of their names.
        source: where the content of each lies.

    Raises:
        NotFoundError: there is no such folder.
        CorruptArtifactError: a file is not what its member says.
        HubspokeError: the disk is full, or the folder cannot be written.
    """
    with file_faults(path.parent), _temporary(path) as file:
        out = _Writer(file)
        out.member(MANIFEST, len(manifest), iter([manifest]))
        for member in members:
            with source(member).open("rb") as content:
                out.member(member.name, member.size, _chunks(content, member.size), member.sha256)
        out.write(_end(manifest))
        return out.digest.hexdigest()


@contextmanager
def _temporary(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes its place at the end, or is gone; what a killed export of the same file left goes too."""
    if not path.parent.is_dir():
        raise NotFoundError(f"There is no folder {path.parent}; make it, or give another --output.")
    ending = f".{path.name}{_PART}"
    for left in path.parent.iterdir():
        # A file of somebody else's may end so too.
        ours = left.name.endswith(ending) and _WRITER.fullmatch(left.name.removesuffix(ending))
        if ours and is_stale(left):
            left.unlink(missing_ok=True)
    written = path.with_name(f"{new_name()}{ending}")
    try:
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)
    flush(path.parent)


class _Writer:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self.digest.update(content)

    def member(self, name: str, size: int, chunks: Iterator[bytes], sha256: str | None = None) -> None:
        self.write(_header(name, size))
        own, written = hashlib.sha256(), 0
        for chunk in chunks:
            self.write(chunk)
            own.update(chunk)
            written += len(chunk)
        if written != size or sha256 not in (None, own.hexdigest()):
            raise CorruptArtifactError(f"{name} changed while it was read; run `hubspoke doctor --verify`.")
        self.write(_padding(size))


def _chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The next `size` bytes, or what there is of them."""
    while size and (chunk := file.read(min(_CHUNK, size))):
        size -= len(chunk)
        yield chunk


# ---- read ----


class BundleFile:
    """A bundle opened for reading; use it with `with`.

    Raises:
        NotFoundError: there is no such file.
        InvalidDataError: it is no bundle, or its `bundle.json` is damaged.
    """

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def document(self) -> Any:
        """What `bundle.json` says.

        Raises:
            InvalidDataError: it is no JSON as this package writes it.
        """
        try:
            said = json.loads(self.manifest)
            # Keys given twice, numbers beyond all bounds and the like have no place in what this package writes.
            if encode(said) == self.manifest:
                return said
        except (ValueError, TypeError, RecursionError, InvalidDataError):
            pass
        raise self.damaged(MANIFEST)

    def verify(self, members: Sequence[Member], progress: Callable[[int, int], None]) -> str:
        """Read every byte and compare it, or its hash, with what it has to be; SHA-256 of the whole file.

        Raises:
            InvalidDataError: something is missing, changed, or there too much.
        """
        if size_of(self.manifest, members) != self.bytes:
            raise self.damaged("its length")
        self._file.seek(0)
        whole = hashlib.sha256()
        self._expect(_header(MANIFEST, len(self.manifest)) + self.manifest + _padding(len(self.manifest)), whole)
        for done, member in enumerate(members):
            self._expect(_header(member.name, member.size), whole, member.name)
            self._offsets[member.name] = self._file.tell()
            own = hashlib.sha256()
            for chunk in _chunks(self._file, member.size):
                own.update(chunk)
                whole.update(chunk)
            if own.hexdigest() != member.sha256:
                raise self.damaged(member.name)
            self._expect(_padding(member.size), whole, member.name)
            progress(done + 1, len(members))
        self._expect(_end(self.manifest), whole, SEAL)
        if self._file.read(1):
            raise self.damaged("its end")
        return whole.hexdigest()

    def copy(self, member: Member, target: Path) -> None:
        """Write a verified member's content to a file; what it belongs to is hashed when it is committed."""
        self._file.seek(self._offsets[member.name])
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            for chunk in _chunks(self._file, member.size):
                out.write(chunk)

    def damaged(self, what: str) -> InvalidDataError:
        """The error of a file that is not as it was written."""
        return InvalidDataError(
            f"{self.path} is damaged or was tampered with ({what} is not as it was written); copy or export it again."
        )

    def _read_manifest(self) -> bytes:
        try:
            head = self._file.read(_BLOCK)
            first = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise self._no_bundle("it is no tar archive") from error
        if first.name != MANIFEST:
            raise self._no_bundle(f"it does not begin with {MANIFEST}")
        if not 0 <= first.size <= min(MAX_MANIFEST_BYTES, self.bytes) or head != _header(MANIFEST, first.size):
            raise self.damaged(f"the header of {MANIFEST}")
        manifest = self._file.read(first.size)
        # Looked at before anything is read out of the manifest, so that damage is told as damage.
        end = _end(manifest)
        self._file.seek(max(0, self.bytes - len(end)))
        if self._file.read() != end:
            raise self.damaged(f"{MANIFEST} or {SEAL}")
        return manifest

    def _expect(self, content: bytes, whole: Any, what: str = MANIFEST) -> None:
        found = self._file.read(len(content))
        if found != content:
            raise self.damaged(what)
        whole.update(found)

    def _no_bundle(self, why: str) -> InvalidDataError:
        return InvalidDataError(f"{self.path} is no bundle ({why}); make one with `hubspoke bundle export`.")


def check_sha256(text: str) -> str:
    """The SHA-256 in lower case.

    Raises:
        UsageError: it is none.
    """
    digest = text.strip().lower()
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise UsageError(f"{text!r} is no SHA-256; give the 64 hex digits that `hubspoke bundle export` printed.")
    return digest
