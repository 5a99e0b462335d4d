"""Files and folders that appear whole or not at all: written under a temporary name, flushed, then renamed.

A reader sees what was there before or what is there now; a killed process leaves a temporary name behind, which the
next writer of the same target removes.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import HubspokeError

# Nobody writes one file or folder for this long; what is older was left by a killed process.
STALE_SECONDS = 24 * 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A stream whose content becomes `path` when the block ends well; otherwise `path` stays as it was.

    Args:
        path: the file; its folder must exist.
        mode: `w` for UTF-8 text, `wb` for bytes.

    Raises:
        OSError: the folder is missing, full or not writable; `file_faults` turns it into a sentence.
    """
    remove_stale(path)
    temporary = _temporary(path)
    encoding = None if "b" in mode else "utf-8"
    try:
        with temporary.open(mode, encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    flush(path.parent)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """An empty folder whose files become `folder` when the block ends well; its parent is made where it is missing.

    Raises:
        OSError: something lies at `folder` already when the block ends, or the disk is full or not writable.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(folder)
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        for inner in temporary.rglob("*"):
            flush(inner)
        flush(temporary)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush(folder.parent)


def flush(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, durable: a power cut cannot leave a name without its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(path: Path) -> None:
    """Remove what killed writers of `path` left under temporary names."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):  # somebody else may be as tidy
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def no_space(where: object) -> HubspokeError:
    """The error of a full disk."""
    return HubspokeError(f"No space is left on the disk that holds {where}; free some and repeat the command.")


def not_writable(where: object) -> HubspokeError:
    """The error of a place that this user may not write."""
    return HubspokeError(f"{where} cannot be written; give this user write access to it, or set another one.")


@contextmanager
def file_faults(where: Path) -> Iterator[None]:
    """Translate a full disk and a lack of permission inside the block; any other OSError passes."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise no_space(where) from error
        if error.errno in _FORBIDDEN:
            raise not_writable(error.filename or where) from error
        raise
