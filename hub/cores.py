"""Cores that a process may use, and those that others leave free; no torch."""

from __future__ import annotations

import os
import time
from pathlib import Path

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
