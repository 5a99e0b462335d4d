"""As many threads as were asked for, a queue with an end, and a 503 beyond it."""

import asyncio
import threading

import pytest
from hubspoke.serving.executor import Executor
from hubspoke.serving.problems import ProblemError


def test_what_is_beyond_threads_and_queue_is_asked_to_come_again() -> None:
    async def run() -> None:
        executor, go = Executor(threads=2, queue=1), threading.Event()

        def work() -> bool:
            return go.wait(30)

        tasks = [asyncio.create_task(executor.run(work)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as refused:
            await executor.run(work)
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        go.set()
        assert await asyncio.gather(*tasks) == [True] * 3
        assert await executor.run(lambda: 5) == 5  # there is room again
        executor.close()
        assert executor.pending == 0

    asyncio.run(run())


def test_work_that_fails_gives_its_place_back_and_its_error_on() -> None:
    async def run() -> None:
        executor = Executor(threads=1, queue=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await executor.run(lambda: 1 // 0)
        executor.close()

    asyncio.run(run())
