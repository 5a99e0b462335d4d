"""The service without HTTP: a workspace, what of it is in memory, threads that answer, and who follows the aliases."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ..errors import HubspokeError
from ..hub.cores import usable_cores
from ..registry.references import LIVE
from ..workflows.workspace import Workspace
from .events import Feeds
from .executor import Executor
from .experiments import Assignment, ExposureWriter, assign
from .keys import KeyRing
from .limits import RateLimiter
from .loading import load_resident, warm_up_search
from .metrics import Metrics
from .releases import Heads, Place, Version, read_heads
from .residents import Resident, Residents
from .sessions import LiveSessions, SessionLimits
from .settings import ServeSettings

Result = TypeVar("Result")
MEGABYTE = 1_000_000
_log = logging.getLogger("hubspoke.serving")


class Service:
    """One process of the service; `start` before the first request, `stop` after the last."""

    def __init__(self, workspace: Workspace, settings: ServeSettings) -> None:
        settings.require_safe()
        self.workspace, self.settings = workspace, settings
        self.keys = KeyRing(settings.keys) if settings.keys else None
        self.metrics = Metrics()
        self.limiter = RateLimiter(settings.rate)
        self.executor = Executor(settings.threads or usable_cores(), settings.queue)
        self.residents = Residents(self._load, settings.resident_mb * MEGABYTE)
        self.sessions = LiveSessions(SessionLimits(bytes=settings.session_mb * MEGABYTE))
        self.feeds = Feeds(workspace.settings.events_dir, self.sessions)
        self.exposures = ExposureWriter(workspace.settings.exposures_dir, self.metrics)
        # Loading reads files and the registry; it has a thread of its own, so that nobody waits for it.
        self._background = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._following: asyncio.Task[None] | None = None
        self._replaying: asyncio.Task[None] | None = None
        self.preloaded = False

    def check(self) -> None:
        """Refuse a category that does not exist, before anything is served."""
        for name in self.settings.domains:
            self.workspace.registry.domains.get(name)

    async def start(self) -> None:
        """Look where the aliases point, and begin to load and to follow; answers may be asked for at once."""
        self.check()
        self.residents.heads = await self._aside(self._heads)
        self._replaying = asyncio.create_task(asyncio.to_thread(self._replay))
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop following and loading; what is under way ends."""
        for task in filter(None, (self._following, self._replaying)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.residents.close()
        await asyncio.to_thread(self._background.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(self.executor.close)
        await asyncio.to_thread(self.feeds.close)
        await asyncio.to_thread(self.exposures.close)

    async def look(self) -> None:
        """Bring everything up to where aliases, data and keys are now."""
        heads = await self._aside(self._heads)
        if self.keys is not None:
            await self._aside(self.keys.refresh)
        await self.residents.follow(heads)

    def assigned(self, domain: str, alias: str, shopper: str | None) -> Assignment | None:
        """The arm of a shopper who asks for an alias; None where no experiment has them."""
        experiment = self.residents.heads.experiments.get(domain)
        if experiment is None or shopper is None or alias != LIVE:
            return None
        live = self.residents.peek(Place(domain))
        if live is not None and live.version.release != experiment.control:
            return None  # the alias has only just moved, and the control is on its way
        return assign(experiment, shopper)

    async def answering(self, domain: str, alias: str, assignment: Assignment | None = None) -> Resident:
        """Who answers for an alias, or in the candidate's arm the candidate; live where that cannot be loaded."""
        if assignment is not None and assignment.arm == "candidate":
            place = Place.candidate(self.residents.heads.experiments[domain])
            with suppress(Exception):  # it was logged when it could not be loaded
                if place not in self.residents.failures or self.residents.peek(place):
                    return await self.residents.get(place.domain, place.alias)
            self.metrics.unserved_candidates.labels(domain).inc()
        return await self.residents.get(domain, alias)

    async def _follow(self) -> None:
        first = [place for place in self.residents.heads.versions if place.alias == LIVE or place.is_candidate]
        loads = (self.residents.get(place.domain, place.alias) for place in first)
        await asyncio.gather(*loads, return_exceptions=True)  # failures are kept, told and tried again
        self.preloaded = True
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            try:
                await self.look()
            except HubspokeError as error:
                _log.error("the registry cannot be asked, everything serves on as it is: %s", error)
            except Exception:
                _log.exception("the aliases cannot be followed, everything serves on as it is")

    def _replay(self) -> None:
        """Remember what shoppers did before this process began, as far as it waits in the log."""
        for domain in sorted(self.residents.heads.domains):
            try:
                count = self.feeds.of(domain).replay()
            except OSError as error:
                _log.error("the event log of %s cannot be read, its sessions begin anew: %s", domain, error)
            else:
                _log.info("%d events of %s are remembered from its log", count, domain)

    def _heads(self) -> Heads:
        return read_heads(self.workspace.registry, self.settings.domains)

    async def _load(self, place: Place, version: Version) -> Resident:
        before = self.residents.peek(place)
        started = time.perf_counter()
        try:
            made = await self._aside(partial(load_resident, self.workspace, place, version))
        except Exception:
            self.metrics.failed_loads.labels(place.domain).inc()
            raise
        self.metrics.loads.labels(place.domain).observe(time.perf_counter() - started)
        if before is not None:
            self.metrics.swaps.labels(place.domain).inc()
        _log.info("%s serves %s after %.2f s", version.release, place, made.seconds)
        if self.settings.search:
            self._background.submit(warm_up_search, made.recommender)  # when it serves already
        return made

    async def _aside(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._background, work)

    @property
    def ready(self) -> bool:
        """Whether everything that is served was loaded once, as far as it can be, and something answers."""
        return self.preloaded and (len(self.residents) > 0 or not self.residents.heads.versions)

    def gauges(self) -> None:
        """Tell the metrics what is in memory and what waits."""
        self.metrics.pending.set(self.executor.pending)
        self.metrics.residents.set(len(self.residents))
        self.metrics.resident_bytes.set(self.residents.bytes)
        self.metrics.sessions.set(len(self.sessions))
        self.metrics.session_bytes.set(self.sessions.bytes)
