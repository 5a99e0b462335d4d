"""Threads of our own for arithmetic: as many as cores, a queue with an end, and a plain no when it is full.

The event loop's own pool has forty threads, which would all want the same cores, and a queue without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from .problems import busy

Result = TypeVar("Result")


class Executor:
    """Runs work on `threads` threads; up to `queue` more may wait."""

    def __init__(self, threads: int, queue: int) -> None:
        self.threads, self._limit = threads, threads + queue
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._lock = Lock()
        self.pending = 0  # under way and waiting

    async def run(self, work: Callable[[], Result]) -> Result:
        """What `work` gives; a 503 that asks to come again where too many wait already."""
        with self._lock:
            if self.pending >= self._limit:
                raise busy("Too many requests wait for an answer; send this one again in a second.")
            self.pending += 1
        future = self._pool.submit(work)
        # Counted when the work ends, not when whoever waits for it goes away.
        future.add_done_callback(self._ended)
        return await asyncio.wrap_future(future)

    def _ended(self, _: Future[Any]) -> None:
        with self._lock:
            self.pending -= 1

    def close(self) -> None:
        """Let what is under way end; what waits is not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)
