"""What Prometheus is told of the service; where PROMETHEUS_MULTIPROC_DIR is set, of all of its processes together."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LOAD_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self.requests = Counter(
            "hubspoke_requests_total", "Requests by route and status.", ("route", "domain", "status"), registry=own
        )
        self.seconds = Histogram(
            "hubspoke_request_seconds", "From a request to its answer.", ("route", "domain"), buckets=SECONDS,
            registry=own,
        )  # fmt: skip
        self.fallbacks = Counter(
            "hubspoke_fallbacks_total", "Answers to whom nothing is known of.", ("domain", "reason"), registry=own
        )
        self.loads = Histogram(
            "hubspoke_load_seconds", "Loading and warming up a release.", ("domain",), buckets=LOAD_SECONDS,
            registry=own,
        )  # fmt: skip
        self.failed_loads = Counter(
            "hubspoke_load_failures_total", "Releases that could not be loaded.", ("domain",), registry=own
        )
        self.swaps = Counter(
            "hubspoke_swaps_total", "Releases that took the place of another.", ("domain",), registry=own
        )
        self.events = Counter(
            "hubspoke_events_total", "Events of shoppers by what became of them.", ("domain", "outcome"), registry=own
        )
        self.exposures = Counter(
            "hubspoke_exposures_total", "Lists of an experiment that were logged.", ("domain", "arm"), registry=own
        )
        self.lost_exposures = Counter(
            "hubspoke_exposures_lost_total", "Lists of an experiment that could not be logged.", ("domain",),
            registry=own,
        )  # fmt: skip
        self.unserved_candidates = Counter(
            "hubspoke_experiment_fallbacks_total", "Answers of live to whom the candidate could not answer.",
            ("domain",), registry=own,
        )  # fmt: skip
        self.pending = self._gauge("hubspoke_pending", "Requests under way or waiting for a thread.")
        self.residents = self._gauge("hubspoke_residents", "Recommenders in memory.")
        self.resident_bytes = self._gauge("hubspoke_resident_bytes", "What they take beside their hub.")
        self.sessions = self._gauge("hubspoke_sessions", "Shoppers whose events are remembered.")
        self.session_bytes = self._gauge("hubspoke_session_bytes", "What their events and states take.")

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self._registry, multiprocess_mode="livesum")

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        if not os.environ.get(MULTIPROCESS):
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
