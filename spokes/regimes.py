"""The default configuration of a spoke: one per data regime, chosen by a rule on the size and shape of its events.

What a config says wins over the regime; a regime fills in what it leaves open. The rule reads training events alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..catalog.streams import SequenceSource

WIDE_EVENTS = 100_000  # of training, from which on a wider model pays for its time
LONG_SEQUENCE = 80.0  # mean events of a training sequence from which on a window of 50 would cut most of them
SPARSE_EVENTS = 5.0  # per item of the catalog, below which most have too few for an ID residual of their own

SMALL: Mapping[str, Any] = {}
# The step is shorter by as much as the width has grown: a step moves a score by its rate times the width.
WIDE: Mapping[str, Any] = {"transformer": {"dimension": 128}, "training": {"learning_rate": 5e-4}}
# Negatives are shared by a batch: one of many positions can afford more of them, and learns more from them than from a
# wider model, in less time. An epoch of batches four times as long has a quarter of the steps, so there are four times
# as many, and four times the patience.
LONG: Mapping[str, Any] = {
    "transformer": {"max_length": 200, "blocks": 2},
    "training": {"tokens_per_batch": 4096, "negatives": 1024, "max_epochs": 160, "patience": 12},
}
# What little is known of an item's demand is read beside its content, where an ID would have to learn it.
SPARSE: Mapping[str, Any] = {"statistics": {}}
# IDs start as small as noise: without content SASRec would know little but the places they stand at. BERT4Rec, whose
# mask token stands among them, learns no better from it.
IDS_ALONE: Mapping[str, Any] = {"transformer": {"scale_inputs": True}}
# An epoch asks BERT4Rec for a fifth of the events, where SASRec is asked for all of them.
CLOZE: Mapping[str, Any] = {"training": {"max_epochs": 120, "patience": 6}}
LONG_CLOZE: Mapping[str, Any] = {"training": {"max_epochs": 240}}


@dataclass(frozen=True)
class Regime:
    """A kind of data and what suits it."""

    name: str  # `small` or `wide`, with `-long` and `-sparse` where they hold
    config: Mapping[str, Any]  # keys of `SpokeConfig` that differ from its defaults, nested as there
    cloze: Mapping[str, Any] = field(default_factory=lambda: CLOZE)  # those that differ from `config` for a BERT4Rec

    def fill(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """`config` with what it leaves open taken from what suits its model, then from the regime."""
        suits = {} if config.get("content", True) else IDS_ALONE
        if config.get("model", "sasrec") == "bert4rec":
            suits = self.cloze
        return deep_merge(deep_merge(self.config, suits), config)


def regime_of(events: SequenceSource) -> Regime:
    """The regime of a domain's training events."""
    name, config = ("wide", WIDE) if events.n_events >= WIDE_EVENTS else ("small", SMALL)
    cloze = CLOZE
    lengths, sequences = events.length_counts()
    if sequences.sum() and np.average(lengths, weights=sequences) >= LONG_SEQUENCE:
        # In the place of width, not beside it.
        name, config, cloze = f"{name}-long", LONG, LONG_CLOZE
    if events.n_events < SPARSE_EVENTS * events.n_items:
        name, config = f"{name}-sparse", deep_merge(config, SPARSE)
    return Regime(name, config, cloze)


def deep_merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`, key by key down to the values that are no mappings."""
    merged = dict(base)
    for key, value in top.items():
        under = merged.get(key)
        merged[key] = deep_merge(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged
