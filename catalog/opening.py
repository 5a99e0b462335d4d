"""What a file is by its content, not by its name, and its content as UTF-8 in blocks of bytes.

Packed files are unpacked on the way, so that a file is never in memory as a whole. What is no table at all is named
with the way out.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from ..errors import InvalidDataError, NotFoundError

BLOCK = 1 << 24
PARQUET = b"PAR1"
PACKINGS = (".gz", ".zip")
MAX_LAYERS = 2  # a gzip file in a zip
# What unpacks to this many times its size is no table that anybody exported.
MAX_RATIO = 200
ALWAYS_UNPACKED = 1 << 28

AS_CSV = "save it as CSV in UTF-8"
AS_TABLE = "give the table itself, as CSV, JSON Lines or Parquet"
# Files of other kinds by their first bytes; those of letters only are looked for where the rest is no text.
FOREIGN = (
    (b"BZh", "a bzip2 file", "unpack it with bunzip2"),
    (b"\xfd7zXZ\x00", "an xz file", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it with unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of the old kind (.xls)", AS_CSV),
    (b"\x89PNG", "a PNG picture", AS_TABLE),
    (b"\xff\xd8\xff", "a JPEG picture", AS_TABLE),
    (b"GIF8", "a GIF picture", AS_TABLE),
    (b"RIFF", "a picture or a recording", AS_TABLE),
    (b"SQLite format 3", "a SQLite database", "export the table as CSV"),
    (b"ARROW1", "an Arrow (Feather) file", "write it as Parquet"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet or JSON Lines"),
    (b"PARE", "an encrypted Parquet file", "write it unencrypted"),
    (b"\x80\x02", "a pickle, which could run code", "write it as Parquet"),
    (b"\x80\x03", "a pickle, which could run code", "write it as Parquet"),
    (b"\x80\x04", "a pickle, which could run code", "write it as Parquet"),
    (b"\x80\x05", "a pickle, which could run code", "write it as Parquet"),
)
FOREIGN_TEXT = (
    (b"%PDF-", "a PDF document", AS_TABLE),
    (b"{\\rtf", "a text document (RTF)", AS_TABLE),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with git lfs pull"),
)
# Archives of which a zip is only the shell, by a member that they have.
SHELLS = (
    ("xl/", "an Excel workbook", f"{AS_CSV} (Save As > CSV UTF-8)"),
    ("word/", "a Word document", AS_TABLE),
    ("ppt/", "a PowerPoint presentation", AS_TABLE),
    ("content.xml", "an OpenDocument file", AS_CSV),
)
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")


@dataclass
class Content:
    """An opened file: `blocks` go through its bytes once, unpacked, as UTF-8 without byte order mark."""

    path: Path
    name: str  # of what is inside: `feed.xml` of `feed.xml.gz`
    head: bytes  # the first block, which `blocks` begin with as well
    blocks: Iterator[bytes]
    notes: list[str]
    packed: bool

    @property
    def suffix(self) -> str:
        """The lower-case suffix of what is inside."""
        return Path(self.name).suffix.lower()


@contextmanager
def open_content(path: Path, encoding: str | None = None) -> Iterator[Content]:
    """The file as a stream of UTF-8 or, where it begins with `PARQUET`, of its own bytes; text is in `encoding`."""
    if path.is_dir():
        raise InvalidDataError(f"{path} is a folder; name a file in it, or a pattern such as {path}/*.csv in quotes.")
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}; check the path.")
    with ExitStack() as stack:
        try:
            stream: io.BufferedReader = stack.enter_context(io.BufferedReader(io.FileIO(path), BLOCK))
        except OSError as error:
            raise InvalidDataError(f"{path} cannot be opened ({error.strerror}); allow reading it.") from error
        name, notes = path.name, list[str]()
        packed = False
        for _ in range(MAX_LAYERS):
            opened = _unpacked(path, name, stream, stack)
            if opened is None:
                break
            stream, inner, kind = opened
            if not name.lower().endswith(kind):
                notes.append(f"{path.name} is a {'gzip' if kind == '.gz' else 'zip'} file and was read as such")
            name, packed = inner, True
        if name.lower().endswith(PACKINGS):
            name = name[: name.rfind(".")]
            notes.append(f"{path.name} is not packed and was read as it is")
        blocks = iter(lambda: stream.read(BLOCK), b"")
        head = next(blocks, b"")
        _refuse_foreign(path, head)
        if not head.startswith(PARQUET):
            if encoding is not None:
                notes.append(f"{path.name} is no UTF-8 and was read as {encoding}")
                blocks = _in_encoding(path, chain([head], blocks), encoding)
                head = next(blocks, b"")
            head, blocks = _as_utf8(path, head, blocks, notes)
        yield Content(path, name, head, chain([head], blocks), notes, packed)


def _unpacked(
    path: Path, name: str, stream: io.BufferedReader, stack: ExitStack
) -> tuple[io.BufferedReader, str, str] | None:
    """The stream inside a gzip or zip stream, the name of what it holds, and its kind."""
    start = stream.peek(4)[:4]
    if start.startswith(b"\x1f\x8b"):
        inner = stack.enter_context(gzip.GzipFile(fileobj=stream))
        plain = name[:-3] if name.lower().endswith(".gz") else name
        return io.BufferedReader(_Unpacking(inner, path, "gzip"), BLOCK), plain, ".gz"
    if not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    if not stream.seekable() or not isinstance(stream.raw, io.FileIO):
        raise InvalidDataError(f"{path} holds a zip inside another packing; unpack it once.")
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
        member = _only_member(path, archive)
        inner_file = stack.enter_context(archive.open(member))
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise InvalidDataError(f"{path} is no readable zip file ({brief(error)}); pack it again.") from error
    return io.BufferedReader(_Unpacking(inner_file, path, "zip"), BLOCK), Path(member.filename).name, ".zip"


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [m for m in archive.infolist() if not m.is_dir()]
    for beginning, what, remedy in SHELLS:
        if any(m.filename.startswith(beginning) for m in members):
            raise InvalidDataError(f"{path} is {what}, not a table as text; {remedy}.")
    # What operating systems add of their own.
    members = [m for m in members if not m.filename.startswith("__MACOSX/") and Path(m.filename).name[:1] != "."]
    if len(members) == 1:
        return members[0]
    if not members:
        raise InvalidDataError(f"{path} is a zip without a file; pack the table into it.")
    names = ", ".join(m.filename for m in members[:10]) + (", ..." if len(members) > 10 else "")
    raise InvalidDataError(f"{path} holds {len(members)} files ({names}); unpack it and name the tables.")


class _Unpacking(io.RawIOBase):
    """What a packed stream holds, in bounds; whatever is wrong with it becomes `InvalidDataError`."""

    def __init__(self, inner: gzip.GzipFile | IO[bytes], path: Path, kind: str) -> None:
        super().__init__()
        self._inner, self._path, self._kind, self._count = inner, path, kind, 0
        self._limit = max(ALWAYS_UNPACKED, MAX_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self._inner.read(len(buffer))
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            message = f"{self._path} is no complete {self._kind} file ({brief(error)}); pack it again."
            raise InvalidDataError(message) from error
        self._count += len(data)
        if self._count > self._limit:
            raise InvalidDataError(
                f"{self._path} unpacks to more than {MAX_RATIO} times its size; unpack it yourself if that is right."
            )
        buffer[: len(data)] = data
        return len(data)


def _refuse_foreign(path: Path, head: bytes) -> None:
    start = head[:512]
    found = [entry for entry in FOREIGN_TEXT if start.startswith(entry[0])]
    if _CONTROLS.search(start) or start.startswith(b"\x80"):
        found += [entry for entry in FOREIGN if start.startswith(entry[0])]
    if start[257:262] == b"ustar":
        found.append((b"", "a tar archive", "unpack it with tar -xf"))
    for _, what, remedy in found:
        raise InvalidDataError(f"{path} is {what}, not a table; {remedy}.")


def _as_utf8(path: Path, head: bytes, blocks: Iterator[bytes], notes: list[str]) -> tuple[bytes, Iterator[bytes]]:
    """The same in UTF-8 with line ends that hold a line feed; bytes that are no UTF-8 stay as they are."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise InvalidDataError(f"{path} is UTF-32; convert it first, for example with iconv -f UTF-32 -t UTF-8.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        notes.append(f"{path.name} is UTF-16 and was read as such")
        blocks = _transcoded(chain([head], blocks))
        head = next(blocks, b"")
    else:
        _refuse_wide(path, head[:4096])
        head = head.removeprefix(codecs.BOM_UTF8)
    if b"\r" in head and b"\n" not in head:
        # Lines that end as those of old Macs; a line feed of a pair is never in the other block.
        head, blocks = head.replace(b"\r", b"\n"), (block.replace(b"\r", b"\n") for block in blocks)
    while not head.strip():
        head = next(blocks, b"")
        if not head:
            raise InvalidDataError(f"{path} is empty; give a file with a header and rows.")
    return head, blocks


def is_utf8(path: Path) -> bool:
    """Whether a file is text in UTF-8 from its beginning to its end, or no text at all."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_content(path) as content:
        if content.head.startswith(PARQUET):
            return True
        try:
            for block in content.blocks:
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _in_encoding(path: Path, blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        for block in blocks:
            yield decoder.decode(block).encode("utf-8")
        yield decoder.decode(b"", final=True).encode("utf-8")
    except UnicodeDecodeError as error:
        wrong = error.object[error.start : error.start + 1].hex()
        raise InvalidDataError(
            f"{path} is not written in {encoding}, which has no character of byte 0x{wrong}; name another --encoding."
        ) from error


def _transcoded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8")
    yield decoder.decode(b"", final=True).encode("utf-8")


def _refuse_wide(path: Path, start: bytes) -> None:
    """UTF-16 without byte order mark, told by its NUL bytes, and what is no text at all."""
    pairs = max(len(start) // 2, 1)
    low, high = start[0::2].count(0) / pairs, start[1::2].count(0) / pairs
    if max(low, high) > 0.3 and min(low, high) < 0.1:
        name = "UTF-16BE" if low > high else "UTF-16LE"
        raise InvalidDataError(
            f"{path} is UTF-16 without byte order mark; convert it first, for example with iconv -f {name} -t UTF-8."
        )
    if (low + high) / 2 > 0.15:
        raise InvalidDataError(f"{path} is no text, as it is full of NUL bytes; {AS_TABLE}.")


def brief(error: BaseException) -> str:
    """What went wrong in a line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
