"""What does not survive a fork, put right in the child: locks that somebody held, connections, pools of threads.

A child has one thread, and a copy of everything else. It takes new locks and leaves its parent's connections alone;
FAISS and torch work on one thread in it. The threads of polars are gone and cannot be made anew, so that a child of a
process that has read tables cannot read any: it is told so rather than left to hang.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from .errors import HubspokeError

Owner = TypeVar("Owner")
_renewed: WeakKeyDictionary[object, Callable[..., object]] = WeakKeyDictionary()
_THREADS = Path("/proc/self/task")
_lost_threads = _had_threads = False


def renew_in_child(owner: Owner, renew: Callable[[Owner], object]) -> None:
    """Have `renew` called with `owner` in every forked child, as long as it lives; it must not hold the owner."""
    _renewed[owner] = renew


class Lock:
    """A lock between threads that is free in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        renew_in_child(self, Lock._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def require_tables() -> None:
    """Refuse to read tables in a child of a process that did."""
    if _lost_threads:
        raise HubspokeError(
            f"Process {os.getpid()} was forked from one that had read tables, and cannot read any itself; start it by "
            'multiprocessing\'s "spawn" or "forkserver", or fork before the first question is asked.'
        )


def _before() -> None:
    global _had_threads
    _had_threads = _has_threads_of_polars()


def _in_child() -> None:
    global _lost_threads
    _lost_threads = _lost_threads or _had_threads
    for owner, renew in list(_renewed.items()):
        renew(owner)
    # Not imports: only what the parent had loaded can have had threads.
    if (faiss := sys.modules.get("faiss")) is not None:
        faiss.omp_set_num_threads(1)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def _has_threads_of_polars() -> bool:
    """Whether polars has started its threads; where that cannot be seen, whether it is loaded."""
    if "polars" not in sys.modules:
        return False
    try:
        names = [(task / "comm").read_text().strip() for task in _THREADS.iterdir()]
    except OSError:
        return True
    # `polars-0` and so on; one with a word for a number tidies up, and lives from the import on.
    return any(name.removeprefix("polars-").isdigit() for name in names)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)
