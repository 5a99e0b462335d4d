"""How many arithmetic threads a piece of work runs on: those asked for, else what it is worth, on cores left free.

The threads of one product wait for each other: where another process holds up one of them all stand still, and small
products take several times as long as on one thread. What is worth more than one is given free cores alone.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from ..errors import UsageError

Batch = TypeVar("Batch")
Result = TypeVar("Result")

# Multiply-adds of one training step that pay for one more thread.
GRAIN = 32_000_000
_STAT, _QUOTA = Path("/proc/stat"), Path("/sys/fs/cgroup/cpu.max")
_WATCHED_SECONDS = 0.2


def usable_cores() -> int:
    """Cores this process may use: its affinity mask where the system has one, else all, up to its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _QUOTA.read_text().partition(" ") if _QUOTA.is_file() else ("max", "", "")
    return max(1, cores if quota == "max" else min(cores, int(quota) // int(period)))


def free_cores() -> int:
    """Usable cores that other processes leave free just now, at least one; all where the system does not say."""
    cores = usable_cores()
    if cores == 1 or not _STAT.is_file():
        return cores
    # Not the load average: this process has its share of that, and a minute ago it was encoding.
    busy, own, began = busy_seconds(), time.process_time(), time.perf_counter()
    time.sleep(_WATCHED_SECONDS)
    others = (busy_seconds() - busy - (time.process_time() - own)) / (time.perf_counter() - began)
    return max(1, min(cores, round((os.cpu_count() or cores) - others)))


def busy_seconds() -> float:
    """Seconds that all cores of the machine have worked since it started, those that a hypervisor took included."""
    user, nice, system, _, _, interrupts, soft, stolen, *_ = _STAT.read_text().split()[1:]
    return sum(map(int, (user, nice, system, interrupts, soft, stolen))) / os.sysconf("SC_CLK_TCK")


def asked_threads(setting: int | None) -> int | None:
    """What the user asks for: the setting, else OMP_NUM_THREADS up to the usable cores; None where neither is given."""
    asked = os.environ.get("OMP_NUM_THREADS", "")  # a launcher of several processes sets it
    if setting is None and asked.isdecimal() and int(asked):
        return min(int(asked), usable_cores())
    return setting


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
