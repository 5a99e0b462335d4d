import os
import threading

import pytest
import torch
from hubspoke.errors import UsageError
from hubspoke.hub import cores as counted
from hubspoke.hub import threads


@pytest.fixture
def cores(monkeypatch, tmp_path):
    """Three cores of eight, no quota, nothing asked for; torch's own count is given back."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(counted, "_QUOTA", tmp_path / "cpu.max")
    yield
    torch.set_num_threads(before)


@pytest.fixture
def others(cores, monkeypatch, tmp_path):
    """Makes other processes keep so many of eight cores busy: what is counted of them moves while the clock does."""

    def busy(n: float) -> None:
        ticks, clock = os.sysconf("SC_CLK_TCK"), [0.0]
        stat = tmp_path / "stat"

        def show() -> None:
            worked = round(clock[0] * n * ticks)
            # user nice system idle iowait irq softirq steal guest guest_nice: a fifth is stolen, waiting counts as free
            stat.write_text(f"cpu {worked - worked // 5} 0 0 999 {worked} 0 0 {worked // 5} 7 0\ncpu0 5 5 5\n")

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            show()

        monkeypatch.setattr(counted, "_STAT", stat)
        monkeypatch.setattr(counted.time, "sleep", sleep)
        monkeypatch.setattr(counted.time, "perf_counter", lambda: clock[0])
        monkeypatch.setattr(counted.time, "process_time", lambda: 0.0)
        show()

    return busy


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 3), ("200000 100000", 2), ("50000 100000", 1)])
def test_a_container_has_the_cores_of_its_quota(cores, tmp_path, quota, expected):
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert counted.usable_cores() == expected


@pytest.mark.parametrize("asked", [None, "1", "100000", "many", "0"])
def test_the_default_cap_is_what_a_launcher_asks_for_but_never_more_than_the_cores(cores, monkeypatch, asked):
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads.limit_threads() == (1 if asked == "1" else 3) == torch.get_num_threads()
    assert threads.limit_threads(1) == 1 == torch.get_num_threads()
    with pytest.raises(UsageError, match="cap of 0"):
        threads.limit_threads(0)


@pytest.mark.parametrize(("busy", "free"), [(0.0, 3), (5.4, 3), (5.6, 2), (7.2, 1), (8.0, 1)])
def test_free_is_what_others_leave_of_the_machine_up_to_the_own_cores(others, busy, free):
    others(busy)
    assert counted.free_cores() == free


def test_where_the_system_does_not_say_all_usable_cores_count_as_free(cores, monkeypatch, tmp_path):
    monkeypatch.setattr(counted, "_STAT", tmp_path / "none")
    assert counted.free_cores() == 3


def test_small_work_takes_one_thread_large_work_the_free_cores_and_a_wish_wins(others, monkeypatch):
    others(6.0)
    small, large, huge = threads.GRAIN, 2 * threads.GRAIN, 90 * threads.GRAIN
    assert [threads.threads_worth(step) for step in (0, small, large, huge)] == [1, 1, 2, 2]
    assert threads.threads_worth(small, 3) == 3 and threads.threads_worth(huge, 1) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads.threads_worth(small) == 3 and threads.threads_worth(small, 2) == 2


def test_the_number_of_threads_is_given_back_after_an_error_too(cores):
    torch.set_num_threads(3)
    with pytest.raises(KeyError), threads.arithmetic_threads(2):
        assert torch.get_num_threads() == 2
        raise KeyError
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("n", [1, 2, 5])
def test_batches_run_side_by_side_on_one_thread_each_and_come_in_order(cores, n):
    torch.set_num_threads(3)
    seen, met = set(), threading.Barrier(n)

    def work(batch: int) -> int:
        if batch < n:
            met.wait(timeout=30)  # passed only if `n` batches are under way at a time
        seen.add(torch.get_num_threads())
        return batch * batch

    assert list(threads.side_by_side(work, iter(range(10)), n)) == [batch * batch for batch in range(10)]
    assert seen == {1} and torch.get_num_threads() == 3


@pytest.mark.parametrize("n", [1, 2])
def test_a_batch_that_fails_ends_the_work(cores, n):
    def work(batch: int) -> int:
        if batch == 3:
            raise ValueError("batch 3")
        return batch

    done, left = [], iter(range(1000))
    with pytest.raises(ValueError, match="batch 3"):
        done.extend(threads.side_by_side(work, left, n))
    assert next(left) <= 3 + 1 + n
