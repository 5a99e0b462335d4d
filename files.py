"""Files and folders that appear whole or not at all: written under a temporary name, flushed, then renamed.

A reader sees what was there before or what is there now; a killed process leaves a temporary name behind, which the
next writer of the same target removes.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any

from .errors import HubspokeError, NotFoundError, UsageError

# Whether a process of another machine lives cannot be asked; nothing is staged for as long as this.
FOREIGN_SECONDS = 24 * 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# Libraries tell the system's answer in words: those written in Rust by its number, those in C++ by its text. Numpy
# tells only that less was written than asked for.
_NUMBERED = re.compile(r"\(os error (\d+)\)")
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")
_WORDED = {os.strerror(number): number for number in (*_FULL, *_FORBIDDEN, errno.EFBIG)}
_STAGED = re.compile(r"\.(?P<target>.+)\.(?P<writer>\w+-\d+-\d+-[0-9a-f]{8})\.tmp", re.DOTALL)


@contextmanager
def atomic_write(path: Path, mode: str = "w", private: bool = False) -> Iterator[IO[Any]]:
    """A stream (`w` UTF-8 text, `wb` bytes) whose content becomes `path` when the block ends well, else `path` stays.

    A `private` file is readable by its owner alone.
    """
    with atomic_path(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A free name beside `path`; the file that is written under it becomes `path` when the block ends well."""
    temporary = _temporary(path)
    try:
        with _disk_faults(path.parent):
            yield temporary
            flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    flush(path.parent)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """An empty folder whose files become `folder` when the block ends well; its parent is made where it is missing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        with _disk_faults(folder.parent):
            yield temporary
            for inner in temporary.rglob("*"):
                flush(inner)
            flush(temporary)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush(folder.parent)


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """An empty folder whose files come to lie in `folder` together when the block ends well, over those of their names.

    Where `folder`, or one above it, is missing it is made, and gone again where the block fails.
    """
    if not folder.exists():
        with _missing_folders(folder.parent), atomic_folder(folder) as temporary:
            yield temporary
        return
    # Inside, as `folder` may be a disk of its own.
    temporary = _temporary(folder / "files")
    temporary.mkdir()
    try:
        with _disk_faults(folder):
            yield temporary
            for inner in temporary.iterdir():
                flush(inner)
        for inner in temporary.iterdir():
            inner.replace(folder / inner.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    flush(folder)


@contextmanager
def _missing_folders(folder: Path) -> Iterator[None]:
    """Make a folder and those above it where they are missing; what was made goes again where the block fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:  # the innermost first
            with suppress(OSError):  # somebody else may have put something there
                path.rmdir()
        raise


def flush(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, durable: a power cut cannot leave a name without its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    """A free name beside `path`, written out; what killed writers of `path` left under such names is removed."""
    path = path.absolute()  # libraries take `file:x` for a URL, and write to another place
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):  # somebody else may be as tidy
            # A file of somebody else's may end so too.
            if (writer := staged_for(left)) and is_stale(left, writer):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return path.with_name(f".{path.name}.{new_name()}.tmp")


def staged_for(path: Path) -> str | None:
    """The name of the process that writes, or wrote, what is to become another file or folder; None for all else."""
    found = _STAGED.fullmatch(path.name)
    return found["writer"] if found else None


def new_name() -> str:
    """A temporary name that no other has, and that tells which process writes under it."""
    return f"{_me()}-{secrets.token_hex(4)}"


def is_stale(path: Path, name: str | None = None) -> bool:
    """Whether nobody writes any more into what has a name of `new_name`, by default the file name of `path`."""
    machine, pid, start = [*(name or path.name).split("-"), "", "", ""][:3]
    if machine == _me().split("-")[0] and pid.isdigit():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives, as another user's
        return _start_of(int(pid)) != start
    # A long write deep inside changes the files, not the folder.
    newest = max((stat.st_mtime for stat in _stats(path)), default=None)
    return newest is not None and newest < time.time() - FOREIGN_SECONDS


def file_sha256(path: Path) -> str:
    """SHA-256 of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder; one that vanishes meanwhile counts nothing."""
    return sum(stat.st_size for stat in _stats(folder) if S_ISREG(stat.st_mode))


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Of a folder and all that is in it; the folder belongs to another process, which may remove it at any moment."""
    # Unlike Path.rglob, os.walk passes over a folder that vanishes under it.
    inner = (Path(where, name) for where, folders, files in os.walk(folder) for name in (*folders, *files))
    for path in (folder, *inner):
        with suppress(FileNotFoundError):
            yield path.lstat()


def _me() -> str:
    """Machine, process and its start: tells a live process from a dead one whose number was given again."""
    machine = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())
    return f"{machine}-{os.getpid()}-{_start_of(os.getpid())}"


def _start_of(pid: int) -> str:
    """Clock ticks at the process's start, `0` where the system does not say (no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "0"
    # The command's name, in parentheses, may hold spaces; the start is field 22, the 20th after it.
    return stat.rpartition(")")[2].split()[19]


def no_space(where: object) -> HubspokeError:
    """The error of a full disk; None where nothing says which."""
    on = "" if where is None else f" that holds {where}"
    return HubspokeError(f"No space is left on the disk{on}; free some and repeat the command.")


def not_writable(where: object) -> HubspokeError:
    """The error of a place that this user may not write."""
    return HubspokeError(f"{where} cannot be written; give this user write access to it, or set another one.")


def too_large(where: object) -> HubspokeError:
    """The error of a file that a limit does not let grow."""
    return HubspokeError(
        f"A file in {where} would be larger than its file system or `ulimit -f` allows; raise that and repeat the "
        "command."
    )


def system_error(error: BaseException) -> int | None:
    """What the system answered, as a number of `errno`, where an error of Python or of a library tells of it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if numbered := _NUMBERED.search(str(error)):
        return int(numbered[1])
    if _CUT_SHORT.fullmatch(str(error)):
        return errno.ENOSPC
    return next((number for words, number in _WORDED.items() if words in str(error)), None)


def why(error: BaseException) -> str:
    """What went wrong with a file, in a few words without an end."""
    number = system_error(error)
    return os.strerror(number) if number is not None else str(error).splitlines()[0].rstrip(".")


def disk_fault(error: BaseException, where: object) -> HubspokeError | None:
    """The error of a full disk, a limit or a lack of permission; None where it is about none of these."""
    if isinstance(error, HubspokeError):
        return None
    number = system_error(error)
    if number in _FULL:
        return no_space(where)
    if number == errno.EFBIG:
        return too_large(where)
    return not_writable(getattr(error, "filename", None) or where) if number in _FORBIDDEN else None


@contextmanager
def file_faults(where: object) -> Iterator[None]:
    """Translate what `disk_fault` knows inside the block; any other error passes."""
    try:
        yield
    except Exception as error:
        fault = disk_fault(error, where)
        if fault is None:
            raise
        raise fault from error


@contextmanager
def _disk_faults(where: Path) -> Iterator[None]:
    """As `file_faults`, of what only who writes is told: inside the block other files may be read, and denied."""
    try:
        yield
    except Exception as error:
        if system_error(error) not in (*_FULL, errno.EFBIG):
            raise
        with file_faults(where):
            raise


def file_fault(error: OSError) -> HubspokeError:
    """What the system refused, as one sentence with its cause and remedy."""
    where = error.filename if isinstance(error.filename, str) else None
    named = where or "A file"
    match error.errno:
        case errno.EFBIG:
            return too_large(where or "this folder")
        case errno.ENOSPC | errno.EDQUOT:
            return no_space(where)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return HubspokeError(f"{named} may not be read or written by this user; give access to it, or use another.")
        case errno.ENOENT:
            return NotFoundError(f"{named} does not exist; check the path.")
        case errno.ENOTDIR:
            return UsageError(f"{named} leads through a file, where a folder is needed; check the path.")
        case errno.EISDIR:
            return UsageError(f"{named} is a folder, where a file is needed; check the path.")
        case errno.EEXIST:
            return UsageError(f"{named} is there already and is no folder; remove it, or use another path.")
        case errno.ENAMETOOLONG:
            return UsageError(f"{_start(named)} is longer than a file name may be; use a shorter one.")
        case errno.ELOOP:
            return UsageError(f"{named} is a link that leads to itself; mend the link, or use another path.")
        case errno.EMFILE | errno.ENFILE:
            return HubspokeError("Too many files are open; raise the limit (`ulimit -n`) and repeat the command.")
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return HubspokeError(f"{f'{where}: ' if where else ''}{reason}; see to it and repeat the command.")


def _start(text: str, letters: int = 60) -> str:
    return text if len(text) <= letters else f"{text[:letters]}..."
