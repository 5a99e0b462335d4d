"""Which recorded assessments speak for a candidate at a gate: of space and index, of drift from live, of business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..evaluation.catalogue import DRIFT, SIMULATED, find

if TYPE_CHECKING:
    from ..registry.records import EvaluationRecord
    from .context import Context

# Names of their protocols.
QUALITY_PROTOCOL, DRIFT_PROTOCOL = "quality", "drift"
BUSINESS_PROTOCOL, SIMULATION_PROTOCOL = "business", "simulation"


@dataclass(frozen=True)
class Assessments:
    """What the registry has recorded of a candidate's space, index and drift."""

    context: Context
    domain: str
    versions: Sequence[str]  # what embeds for the candidate, and its index where it has one
    live: Sequence[str] = ()  # the same of the version in service

    @property
    def names(self) -> str:
        """The versions in words."""
        return " or ".join(self.versions)

    def of(self, metric: str) -> list[EvaluationRecord]:
        """The recorded assessments that a metric can stand in, the newest first."""
        wanted = _protocol_of(metric)
        store = self.context.registry.evaluations
        found = [record for version in self.versions for record in store.list(self.domain, version)]
        found = [record for record in found if record.protocol.get("name") == wanted]
        if wanted == DRIFT_PROTOCOL:
            found = [record for record in found if record.protocol.get("against") in self.live]
        return sorted(found, key=lambda record: record.version, reverse=True)

    def command(self, metric: str) -> str:
        """What measures a metric."""
        hub = f" --domain {self.domain}" if self.versions[0].startswith("hub:") else ""
        if metric in DRIFT:
            return f"hubspoke evaluate drift {self.live[0]} {self.versions[0]}{hub}"
        if _protocol_of(metric) in (BUSINESS_PROTOCOL, SIMULATION_PROTOCOL):
            log = " --log FILE" if _protocol_of(metric) == BUSINESS_PROTOCOL else ""
            return f"hubspoke evaluate business {self.versions[0]}{hub}{log}"
        return f"hubspoke evaluate quality {self.versions[0]}{hub}"


def _protocol_of(metric: str) -> str:
    if metric in DRIFT:
        return DRIFT_PROTOCOL
    if metric.startswith(SIMULATED):
        return SIMULATION_PROTOCOL
    found = find(metric)
    return BUSINESS_PROTOCOL if found is not None and found.dimension == "business" else QUALITY_PROTOCOL
