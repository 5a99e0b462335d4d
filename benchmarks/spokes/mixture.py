"""How behaviour and content are best mixed: alone, by fixed, chosen or learned weights.

All weights are chosen or fitted on validation; the test is only looked at. One spoke is trained, and every mixture is
read from the same trained parts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import hubspoke
import numpy as np
import torch
from hubspoke.arrays import FloatArray, IntArray
from hubspoke.catalog.sequences import Histories
from hubspoke.commands.options import read_config
from hubspoke.commands.progress import make_progress
from hubspoke.evaluation.evaluate import Evaluation, evaluate
from hubspoke.evaluation.protocols import EvaluationSet, Protocol, leave_one_out
from hubspoke.spokes.mixture import Mixture, MixtureWeights
from hubspoke.spokes.recommender import VectorRecommender
from hubspoke.spokes.selection import CONTENT_WEIGHTS
from hubspoke.spokes.spoke import Spoke
from hubspoke.spokes.training.splits import SplitSettings, split
from hubspoke.spokes.training.validation import Validation
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.loading import over_catalog

from benchmarks.launch_floor import DOMAIN, Clock, machine, publish, versions
from benchmarks.spokes.head_to_head import (
    add_data_options,
    check,
    data_of,
    source_of,
    workspace_folder,
)

FIXED = (2.0, 3.0, 5.0)
# Training events from which on an item gets the next weight of a count-aware mixture.
BUCKETS = (1, 2, 5, 10, 20, 50, 100)
STEPS, RATE, SHRINKAGE = 60, 0.05, 1e-3
COLUMNS = (("all", "hr@10"), ("all", "ndcg@10"), ("warm", "ndcg@10"), ("cold", "ndcg@10"))


@dataclass(frozen=True)
class Parts:
    """A trained spoke over its catalog, taken apart.

    Attributes:
        spoke: as it was chosen.
        vectors: (N, D) item vectors.
        counts: (N,) training events of each item.
        filtered: whether seen items are filtered, as the data suggests.
    """

    spoke: Spoke
    vectors: FloatArray
    counts: IntArray
    filtered: bool

    @property
    def weights(self) -> MixtureWeights:
        """The weights that were chosen for the policy."""
        return self.spoke.mixture.weights(self.filtered)

    @property
    def behaviour(self) -> FloatArray:
        """(N, D') behavioural part of the item vectors, without the cold flag."""
        return np.ascontiguousarray(self.vectors[:, : self.spoke.width])

    @property
    def content(self) -> FloatArray:
        """(N, R) content part."""
        return self.vectors[:, self.spoke.behaviour_dimension :]

    def queries(self, histories: Histories) -> FloatArray:
        """(B, R) content queries with the chosen recency and share of pictures."""
        chosen = self.weights
        own = chosen.reader(self.spoke.space).read(self.content, histories)
        return own * self.spoke.space.modality_weights(chosen.image_share)

    def with_weights(self, **weights: float) -> VectorRecommender:
        """The spoke with other weights."""
        own = self.weights.model_copy(update=weights)
        spoke = replace(self.spoke, mixture=Mixture(seen_ranked=own, seen_filtered=own))
        return spoke.recommender("mixture", self.vectors, exclude_seen=self.filtered)

    def by_count(self, content: FloatArray, bias: FloatArray) -> VectorRecommender:
        """Behaviour plus (N,) content weights and (N,) biases of the items' own."""
        vectors = np.concatenate([self.behaviour, bias[:, None], content[:, None] * self.content], axis=1)

        def encode(histories: Histories) -> FloatArray:
            sessions = self.spoke.behaviour_sessions(self.vectors, histories)
            return np.concatenate([sessions, np.ones((len(sessions), 1), np.float32), self.queries(histories)], axis=1)

        return VectorRecommender("by count", vectors.astype(np.float32), encode)


def mixtures(parts: Parts, checked: Validation) -> Iterator[tuple[str, VectorRecommender]]:
    """Every mixture by name, its weights fitted on validation where they are not fixed."""
    behaviour = parts.spoke.behaviour_sessions(parts.vectors, checked.histories) @ parts.behaviour.T
    content = parts.queries(checked.histories) @ parts.content.T
    plain = {"cold": 0.0, "trend": 0.0, "repeat": 0.0}
    yield "behaviour alone", parts.with_weights(behaviour=1.0, content=0.0, **plain)
    yield "content alone", parts.with_weights(behaviour=0.0, content=1.0, **plain)
    for weight in FIXED:
        yield f"fixed, content {weight:g}", parts.with_weights(behaviour=1.0, content=weight, **plain)
    best = max(
        CONTENT_WEIGHTS, key=lambda weight: float(checked.ndcg(behaviour + weight * content, parts.filtered).mean())
    )
    yield f"best content on validation ({best:g})", parts.with_weights(behaviour=1.0, content=best, **plain)
    chosen = parts.weights
    named = f"content {chosen.content:g}, cold bias {chosen.cold:g}, trend {chosen.trend:g}"
    if chosen.repeat:
        yield "served, but for what was taken before", parts.with_weights(repeat=0.0)
    yield f"served: one standard error and cold guard ({named})", parts.with_weights()
    for name, shared, biased in (
        ("learned, one weight", True, False),
        ("learned, a weight per number of events", False, False),
        ("learned, a weight and a bias per number of events", False, True),
    ):
        yield name, parts.by_count(*learn(parts, checked, behaviour, content, shared=shared, biased=biased))


def learn(
    parts: Parts, checked: Validation, behaviour: FloatArray, content: FloatArray, *, shared: bool, biased: bool
) -> tuple[FloatArray, FloatArray]:
    """(N,) content weights and (N,) biases that make validation targets likely under a softmax of all scores.

    Args:
        parts: the spoke.
        checked: validation users, U.
        behaviour: (U, N) scores.
        content: (U, N) scores.
        shared: one weight for all items, else one per bucket of training events.
        biased: whether buckets have a bias too.
    """
    bucket = torch.from_numpy(np.searchsorted(BUCKETS, parts.counts, side="right"))
    n = len(BUCKETS) + 1
    targets = torch.tensor([int(own[0]) for own in checked.users.targets])
    hidden = torch.zeros(behaviour.shape, dtype=torch.bool)
    if parts.filtered:
        for user, history in enumerate(checked.users.histories):
            hidden[user, torch.from_numpy(np.asarray(history))] = True
        hidden[torch.arange(len(targets)), targets] = False
    scale = torch.zeros(1, requires_grad=True)
    weight = torch.ones(1 if shared else n, requires_grad=True)
    bias = torch.zeros(n, requires_grad=biased)
    optimiser = torch.optim.Adam([own for own in (scale, weight, bias) if own.requires_grad], lr=RATE)
    b, c = torch.from_numpy(behaviour), torch.from_numpy(content)
    for _ in range(STEPS):
        scores = (b + c * weight.exp().expand(n)[bucket] + bias[bucket]) * scale.exp()
        loss = torch.nn.functional.cross_entropy(scores.masked_fill(hidden, -1e9), targets)
        loss = loss + SHRINKAGE * (((weight - weight.mean()) ** 2).sum() + (bias**2).sum())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return weight.exp().expand(n)[bucket].numpy(), bias[bucket].numpy()


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run: data in, hub, a spoke, every mixture of it."""
    base = (read_config(arguments.config, ()) or {}).get("spoke", {})
    hub_config = (read_config(arguments.config, ()) or {}).get("hub")
    clock = Clock()
    with (
        workspace_folder(arguments.keep_workspace) as folder,
        hubspoke.open(
            create=True, progress=make_progress(arguments.quiet), workspace=folder, device=arguments.device
        ) as ws,
    ):
        with clock.step("data and hub"):
            ws.domain.add(DOMAIN, **data_of(arguments))
            ws.hub.train(domains=[], config=hub_config)
            embedded = ws.hub.embed(DOMAIN)
        dataset = load_dataset(ws, DOMAIN)
        with clock.step("spoke and mixtures"):
            trained = ws.spoke.train(DOMAIN, config=base, index=False)
            spoke, encoded = over_catalog(ws, ws.registry.models.get(trained.ref), dataset)
            parts_of = split(dataset.sequences, SplitSettings(), spoke.behaviour.config)
            vectors = spoke.embed_items(dataset.items["item_id"].to_list(), encoded, dataset.items)
            filtered = parts_of.validation.filter_seen
            parts = Parts(spoke, vectors, parts_of.train.item_counts(), filtered)
            test = leave_one_out(dataset.sequences, "test", Protocol(exclude_seen=filtered))
            checked = parts_of.checkpoint_users(spoke.behaviour.config)
            rows = [row(name, own, test) for name, own in mixtures(parts, checked)]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "data": source_of(arguments) | embedded.to_dict(),
        "protocol": test.protocol.describe(),
        "rows": rows,
        "steps": clock.steps,
        "seconds": clock.total,
        "machine": machine(arguments.device),
        "versions": versions(),
    }


def row(name: str, recommender: VectorRecommender, test: EvaluationSet) -> dict[str, Any]:
    """What one mixture reaches on the test."""
    report: Evaluation = evaluate(recommender.score, test)
    found = report.to_json()
    return {
        "mixture": name,
        "n_users": report.n_users,
        "metrics": {f"{metric} {part}": found["metrics"].get(part, {}).get(metric) for part, metric in COLUMNS},
        "intervals": {f"{metric} {part}": found["intervals"].get(part, {}).get(metric) for part, metric in COLUMNS},
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The report for a document: one table, then what stands behind it."""
    place, data = report["machine"], report["data"]
    lines = [
        f"{report['protocol']}; {report['rows'][0]['n_users']} users; 95 % intervals in brackets.",
        "",
        "| mixture | HR@10 | NDCG@10 | NDCG@10 warm | NDCG@10 cold |",
        "|---|---|---|---|---|",
    ]
    for own in report["rows"]:
        cells = [_cell(own, f"{metric} {part}") for part, metric in COLUMNS]
        lines.append(f"| {own['mixture']} | {' | '.join(cells)} |")
    facts = (
        f"{data['source']}: {data['n_items']} items.",
        f"Machine: {place['cpu']}, {place['cores']} cores, {place['memory_gib']:g} GiB, on {place['device']}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report['versions'].items())}.",
        f"Date: {report['date']}.",
    )
    return "\n".join([*lines, "", *(f"- {fact}" for fact in facts)])


def _cell(own: Mapping[str, Any], name: str) -> str:
    value, interval = own["metrics"][name], own["intervals"][name]
    return "no target" if value is None else f"{value:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_options(parser)
    arguments = parser.parse_args(argv)
    check(parser, arguments)
    if arguments.protocol != "leave-one-out" or arguments.refit or arguments.seeds != [0]:
        parser.error("mixtures are compared under leave-one-out, with one seed and before any refit")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    arguments = parse(argv)
    publish(partial(measure_all, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
