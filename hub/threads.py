"""How many arithmetic threads a piece of work runs on: those asked for, else what it is worth, on cores left free.

The threads of one product wait for each other: where another process holds up one of them all stand still, and small
products take several times as long as on one thread. What is worth more than one is given free cores alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from ..errors import UsageError
from .cores import asked_threads, free_cores, usable_cores

Batch = TypeVar("Batch")
Result = TypeVar("Result")

# Multiply-adds of one training step that pay for one more thread.
GRAIN = 32_000_000


def limit_threads(setting: int | None = None) -> int:
    """Cap torch's arithmetic threads at what is asked for, by default the usable cores; returns the cap."""
    # Torch counts the machine's cores, not those that the process may use.
    n = asked_threads(setting)
    n = usable_cores() if n is None else n
    if n < 1:
        raise UsageError(f"A thread cap of {n} leaves no thread to work with; give 1 or more.")
    torch.set_num_threads(n)
    return n


def threads_worth(step: int, setting: int | None = None) -> int:
    """Threads for work in steps of so many multiply-adds: those asked for, else one per `GRAIN` on the free cores."""
    if (asked := asked_threads(setting)) is not None:
        return asked
    return min(wanted, free_cores()) if (wanted := max(1, step // GRAIN)) > 1 else 1


@contextmanager
def arithmetic_threads(n: int) -> Iterator[None]:
    """Torch computes on `n` threads inside, and on as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(work: Callable[[Batch], Result], batches: Iterable[Batch], n: int) -> Iterator[Result]:
    """What `work` makes of each batch, in their order: `n` batches at a time, each on one arithmetic thread.

    No thread waits for another, so that a busy neighbour costs no more than it takes; and no result depends on `n`.
    """
    with arithmetic_threads(1):
        if n == 1:
            yield from map(work, batches)
            return
        pool, ahead = ThreadPoolExecutor(n, thread_name_prefix="batch"), deque[Future[Result]]()
        try:
            for batch in batches:
                ahead.append(pool.submit(work, batch))
                if len(ahead) > n:  # one waits, so that no worker has to
                    yield ahead.popleft().result()
            yield from (future.result() for future in ahead)
        finally:  # after a batch that failed, or when the caller stops early
            pool.shutdown(cancel_futures=True)
