"""Staging folders: named after the process that writes into them, which tells a dead one's from a live one's."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

# Whether a process of another machine lives cannot be asked; nothing is staged for as long as this.
FOREIGN_SECONDS = 24 * 3600.0


def new_name() -> str:
    """A name that no other staging folder has."""
    return f"{_me()}-{secrets.token_hex(4)}"


def is_stale(folder: Path) -> bool:
    """Whether nobody writes into a staging folder any more."""
    machine, pid, start = [*folder.name.split("-"), "", "", ""][:3]
    if machine == _me().split("-")[0] and pid.isdigit():
        return not _is_alive(int(pid)) or _start_of(int(pid)) != start
    newest = _newest_change(folder)
    return newest is not None and newest < time.time() - FOREIGN_SECONDS


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder; one that vanishes meanwhile counts nothing."""
    return sum(stat.st_size for stat in _stats(folder) if S_ISREG(stat.st_mode))


def _newest_change(folder: Path) -> float | None:
    # A long write deep inside changes the files, not the folder.
    return max((stat.st_mtime for stat in _stats(folder)), default=None)


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


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
