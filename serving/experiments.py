"""Who sees what in an experiment, and the exposures that follow, written behind the answers."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread

from ..catalog.exposures import Arm, Exposure
from ..catalog.line_log import LineLog
from ..evaluation.experiments import is_treated
from ..registry.records import ExperimentRecord
from .metrics import Metrics

# Between two writes; what a killed process loses.
WRITE_SECONDS = 0.25
# Exposures that may wait to be written; a disk that is slower than the answers loses what is beyond.
WAITING = 10_000
_log = logging.getLogger("hubspoke.serving")


@dataclass(frozen=True)
class Assignment:
    """The arm of a shopper."""

    experiment: str
    shopper: str
    arm: Arm
    propensity: float  # of the arm

    def told(self) -> dict[str, str]:
        """What an answer says of it."""
        return {"ref": self.experiment, "arm": self.arm}

    def exposure(self, recommendation_id: str, release: str, items: Sequence[str]) -> Exposure:
        """What is logged of an answer that was made just now."""
        return Exposure(
            recommendation_id=recommendation_id,
            at=datetime.now(UTC),
            experiment=self.experiment,
            shopper=self.shopper,
            arm=self.arm,
            propensity=self.propensity,
            release=release,
            items=tuple(items),
        )


def assign(experiment: ExperimentRecord, shopper: str) -> Assignment:
    """The arm of a shopper in an experiment, the same in every process and for as long as it runs."""
    if is_treated(shopper, experiment.salt, experiment.share):
        return Assignment(experiment.ref, shopper, "candidate", experiment.share)
    return Assignment(experiment.ref, shopper, "control", 1 - experiment.share)


class ExposureWriter:
    """Takes exposures at once and writes them a moment later, by a thread of its own; what it cannot write is lost.

    An answer never waits for it and never fails by it: a full queue or a full disk is counted and told of.
    """

    def __init__(self, folder: Path, metrics: Metrics, waiting: int = WAITING) -> None:
        self._folder, self._metrics = folder, metrics
        self._queue: Queue[tuple[str, Exposure]] = Queue(waiting)
        self._logs: dict[str, LineLog] = {}
        self._failing: set[str] = set()  # categories whose last write failed
        self._closed = Event()
        self._thread: Thread | None = None

    def add(self, domain: str, exposure: Exposure) -> None:
        """Take one, on the event loop alone."""
        if self._thread is None:
            self._thread = Thread(target=self._keep_writing, name="exposures", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((domain, exposure))
        except Full:
            self._lose(domain, 1, "more wait than can be written")

    def close(self) -> None:
        """Write what waits, and seal the logs."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        for domain, log in self._logs.items():
            try:
                log.close()
            except OSError as error:
                _log.error("the exposures of %s may not outlive a power cut: %s", domain, error)

    def _keep_writing(self) -> None:
        while not self._closed.wait(WRITE_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        """Write all that waits."""
        waiting: dict[str, list[Exposure]] = defaultdict(list)
        for _ in range(self._queue.qsize()):
            try:
                domain, exposure = self._queue.get_nowait()
            except Empty:
                break
            waiting[domain].append(exposure)
        for domain, exposures in waiting.items():
            self._append(domain, exposures)

    def _append(self, domain: str, exposures: list[Exposure]) -> None:
        log = self._logs.setdefault(domain, LineLog(self._folder / domain))
        try:
            log.append(exposures)
        except Exception as error:
            self._lose(domain, len(exposures), error)
            return
        for arm, count in Counter(own.arm for own in exposures).items():
            self._metrics.exposures.labels(domain, arm).inc(count)
        if domain in self._failing:
            self._failing.remove(domain)
            _log.info("exposures of %s are logged again", domain)

    def _lose(self, domain: str, count: int, why: object) -> None:
        self._metrics.lost_exposures.labels(domain).inc(count)
        if domain not in self._failing:
            self._failing.add(domain)
            _log.error("exposures of %s are lost, its experiment knows less: %s", domain, why)
