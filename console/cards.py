"""The quality card of a version from what was recorded: its newest numbers by dimension, with what each is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..evaluation.catalogue import DIMENSIONS, Definition, find
from ..registry.records import EvaluationRecord, MetricRecord

SHOWN_K = "@10"  # of metrics that there are at several lengths


@dataclass(frozen=True)
class CardLine:
    """One number of a card."""

    metric: MetricRecord
    definition: Definition
    evaluation: str

    @property
    def met(self) -> bool | None:
        """Whether it meets the threshold of the catalogue; None without one."""
        return self.definition.meets(self.metric.value)


def unmet(card: Mapping[str, Sequence[CardLine]]) -> list[CardLine]:
    """The lines of a card that do not meet what they are held to."""
    return [line for lines in card.values() for line in lines if line.met is False]


def card_of(evaluations: Sequence[EvaluationRecord], versions: Sequence[str]) -> Mapping[str, Sequence[CardLine]]:
    """Dimension to the newest number of each metric that was recorded of some versions, over all users and items."""
    newest: dict[str, CardLine] = {}
    for own in sorted((one for one in evaluations if one.subject in versions), key=lambda one: one.version):
        for metric in own.metrics:
            definition = find(metric.name)
            if (
                definition is None
                or metric.slice != "all"
                or ("@" in metric.name and not metric.name.endswith(SHOWN_K))
            ):
                continue
            newest[metric.name] = CardLine(metric, definition, own.ref)
    lines = {name: [one for one in newest.values() if one.definition.dimension == name] for name in DIMENSIONS}
    return {dimension: own for dimension, own in lines.items() if own}
