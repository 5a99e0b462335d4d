"""How a re-ranker is trained: spokes of the past, labelled candidates, trees, the judgement, the past of today.

Top to bottom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import BoolArray
from ..catalog.sequences import Sequences
from ..errors import InvalidDataError
from ..evaluation.comparison import compare
from ..evaluation.evaluate import evaluate
from ..evaluation.protocols import EvaluationSet, Protocol, evaluation_set, leave_one_out, microseconds, training_mask
from ..ranking.counts import Counts
from ..ranking.features import FEATURES
from ..ranking.forest import Forest
from ..ranking.neighbours import Neighbours
from ..ranking.reranker import Past, Reranker
from ..ranking.trees import Examples, choose, fit, xgboost_library
from ..registry.kinds import Relation
from ..registry.records import Parent
from ..spokes.training.splits import held_out_fingerprint
from .datasets import time_kind
from .models import ModelResult, Trained, prepare, train_once
from .ranker import Reranked
from .reranked import SPOKE_PART, SpokeOver, examples, spoke_over
from .reranking_plan import LEAST, RerankJob, RerankPlan, plan_reranking
from .spoke_training import train_spoke
from .steps import Steps

if TYPE_CHECKING:
    from .context import Context

METRICS = ("ndcg@10", "hr@10", "mrr")
# Of the requests, so many at least are for early stopping.
LEAST_CHECKED = 5
# Shoppers whose catalogs are scored at once.
BATCH = 128


def train_reranker(context: Context, job: RerankJob, *, force: bool = False, dry_run: bool = False) -> ModelResult:
    """Train what a job says, unless the same was trained before."""
    prepare(context)
    plan = plan_reranking(context, job)
    kind, domain, fingerprint = plan.recipe.kind, plan.recipe.domain, plan.recipe.fingerprint
    if dry_run or (not force and context.registry.models.find_ready(kind, domain, fingerprint)):
        return train_once(context, plan.recipe, _never, force=False, dry_run=dry_run)
    xgboost_library()  # wanted only at the end, missed before anything is trained
    run = RerankTraining(context, plan)
    # Each is a training of its own, under the lock that this one takes next.
    run.train_spokes()
    return train_once(context, plan.recipe, run.train, force=force, dry_run=False)


def _never() -> Trained:
    raise AssertionError("a version that is known, or only planned, is not trained")


class RerankTraining:
    """One training on its way."""

    def __init__(self, context: Context, plan: RerankPlan) -> None:
        self._context, self._plan, self._config = context, plan, plan.config
        self._dataset, self.steps = plan.dataset, Steps()
        self._events = plan.dataset.sequences
        self._item_ids = tuple(plan.dataset.items["item_id"].to_list())
        assert plan.dataset.event_snapshot is not None
        self._kind = time_kind(plan.dataset.event_snapshot)
        self._spokes: list[str] = []  # of each origin, and of the test

    def train_spokes(self) -> None:
        """The serving spoke as it would have been at each origin, and before the test."""
        *_, last = jobs = self._plan.spoke_jobs()
        for job in jobs:
            result = train_spoke(self._context, job)
            until = "what is tested" if job is last else "what is learned"
            self.steps.add(f"spoke before {until}", result.ref, result.cached)
            self._spokes.append(str(result.ref))

    def train(self) -> Trained:
        """Learn, judge, and look at everything once more for serving."""
        trees, about = self._learn()
        self.steps.add("trees", None, False)
        judged, recall = self._judge(trees)
        self.steps.add("judgement", None, False)
        reranker = self._reranker(self._over(self._plan.spoke.ref), self._past(self._kept()), trees)
        summary = {**about, **recall, **self._verdict(judged), **self._seen(reranker), "steps": self.steps.done}
        summary["table"] = _importances(trees)
        return Trained(reranker.save, str(self._plan.spoke.space_fingerprint), summary, self._parents())

    # ---- what is learned ----

    def _learn(self) -> tuple[Forest, dict[str, Any]]:
        learned, checked = self._labels()
        asked = len(learned.sizes) + len(checked.sizes)
        if asked < LEAST or min(len(learned.sizes), len(checked.sizes)) < LEAST_CHECKED:
            raise InvalidDataError(
                f"Only {asked} requests of {self._plan.job.domain} had a candidate that was taken, of {LEAST} that are "
                "needed; train again with more events."
            )
        growth, chosen, scores = choose(self._config, learned, checked)
        every = Examples.together([learned, checked]).sampled(self._config.negatives, self._config.seed)
        trees, _ = fit(self._config, every, growth, trees=chosen)
        about = {"trees": len(trees), "margin": growth.margin, "bound": growth.bound, "validation_ndcg@10": scores}
        return trees, {**about, "requests": len(every.sizes), "candidates_learned_from": len(every.taken)}

    def _labels(self) -> tuple[Examples, Examples]:
        """What is learned from before the number of trees is chosen, and what it is chosen by."""
        periods, events = self._plan.periods, self._events
        if periods is None:
            protocol = Protocol(part="validation")
            past = self._past(training_mask(events, protocol))
            return self._parted(self._examples(self._spokes[0], leave_one_out(events, "validation"), past, None))
        found = []
        for spoke, protocol in zip(self._spokes, periods.labels, strict=False):
            moment = microseconds(protocol.window()[0])
            past = self._past(events.timestamps < moment)
            found.append(self._examples(spoke, evaluation_set(events, protocol), past, moment))
        return (Examples.together(found[:-1]), found[-1]) if len(found) > 1 else self._parted(found[0])

    def _parted(self, examples: Examples) -> tuple[Examples, Examples]:
        """Four fifths of the requests of one origin, and the last fifth."""
        drawn = np.random.default_rng(self._config.seed).permutation(len(examples.sizes))
        return tuple(examples.only(np.sort(own)) for own in np.split(drawn, [4 * len(drawn) // 5]))  # type: ignore[return-value]

    def _examples(self, spoke: str, users: EvaluationSet, past: Past, moment: int | None) -> Examples:
        """Candidates of the requests of one origin where one at least was taken."""
        users, over = users.drawn(self._config.requests, self._config.seed), self._over(spoke)
        reranked = over.reranked(self._reranker(over, past, Forest()), self._plan.exclude_seen, moment)
        progress, parts = self._context.progress.stage("candidates"), [Examples.none()]
        for start in range(0, len(users), BATCH):
            part = users.only(range(start, min(start + BATCH, len(users))))
            histories = [history[-self._config.history :] for history in part.histories]
            parts += examples(reranked, histories, part.targets)
            progress(start + len(part), len(users))
        return Examples.together(parts)

    # ---- how it is judged ----

    def _judge(self, trees: Forest) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The re-ranked lists beside the spoke's own, under both policies, and what candidates could reach at best."""
        over, periods = self._over(self._spokes[-1]), self._plan.periods
        protocols = [
            self._plan.judged_by(exclude) for exclude in (self._plan.exclude_seen, not self._plan.exclude_seen)
        ]
        past = self._past(training_mask(self._events, protocols[0]))
        moment = None if periods is None else microseconds(periods.test_from)
        judged: list[dict[str, Any]] = []
        recall: dict[str, Any] = {}
        for protocol in protocols:
            users = evaluation_set(self._events, protocol)
            if _askable(users) >= LEAST:
                reranked = over.reranked(self._reranker(over, past, trees), protocol.exclude_seen, moment)
                judged += self._compared(over, reranked, users)
                recall = recall or self._recall(reranked, users)
            elif protocol is protocols[0]:
                raise InvalidDataError(
                    f"Too few shoppers of {self._plan.job.domain} have events to judge a re-ranker by ({LEAST} are "
                    "needed); train again with more events, or an earlier --test-from."
                )
        return judged, {"candidates": recall}

    def _compared(self, over: SpokeOver, reranked: Reranked, users: EvaluationSet) -> list[dict[str, Any]]:
        """The re-ranked lists beside the spoke's own, paired by user."""
        exclude_seen, progress = users.protocol.exclude_seen, self._context.progress.stage("judging")
        alone = over.spoke.recommender("spoke", over.served.vectors, exclude_seen=exclude_seen)
        found = {one.name: evaluate(one.score, users, progress=progress) for one in (alone, reranked)}
        words = users.protocol.describe()
        return [
            {"protocol": words, **_row(row, found["spoke"].mean(row.metric, row.slice))}
            for row in compare(found, "spoke", METRICS)
            if row.model != "spoke"
        ]

    def _recall(self, reranked: Reranked, users: EvaluationSet) -> dict[str, Any]:
        """How many candidates a request has and which share of its targets is among them: no order can do better."""
        users, inside, alone, sizes = users.drawn(2000, self._config.seed), [], [], []
        limit = users.protocol.max_history
        for start in range(0, len(users), BATCH):
            part = users.only(range(start, min(start + BATCH, len(users))))
            _, found = reranked.found([history[-limit:] for history in part.histories])
            for targets, (_, rows) in zip(part.targets, found, strict=True):
                inside.append(np.isin(targets, rows).mean())
                alone.append(np.isin(targets, rows[: self._config.spoke_candidates]).mean())
                sizes.append(len(rows))
        means = {"recall": inside, "recall_of_the_spoke_alone": alone}
        return {"mean": round(float(np.mean(sizes)), 1), **{k: round(float(np.mean(v)), 4) for k, v in means.items()}}

    def _verdict(self, judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """It is kept where lists are clearly better under the category's policy, and not clearly worse otherwise."""
        own, *other = [row for row in judged if row["slice"] == "all" and row["metric"] == METRICS[0]]
        wins = own["low"] > 0 and not any(row["high"] < 0 for row in other)
        return {"wins": bool(wins), "judged": list(judged)}

    # ---- what it is made of ----

    def _over(self, spoke: str) -> SpokeOver:
        return spoke_over(self._context, spoke, self._dataset)

    def _reranker(self, over: SpokeOver, past: Past, trees: Forest) -> Reranker:
        return Reranker(self._config, trees, past, over.floor)

    def _past(self, mask: BoolArray, neighbours: Neighbours | None = None) -> Past:
        """What is known of the items from some of the events (E,)."""
        known: Sequences = self._events.keep_events(mask)
        near = neighbours or Neighbours.fit(known.by_user()).nearest(self._config.neighbours)
        return Past(self._item_ids, Counts.of(known, self._kind != "order"), near, self._kind == "real")

    def _kept(self) -> BoolArray:
        """(E,) events that may be looked at for serving: all that the spoke beside it was not kept from."""
        own = self._plan.kept_out
        if own["name"] == "all":
            return np.ones(len(self._events.items), np.bool_)
        return training_mask(self._events, self._plan.judged_by(False))

    def _seen(self, reranker: Reranker) -> dict[str, Any]:
        """Of what the re-ranker has seen, what evaluations ask."""
        kept = self._plan.kept_out
        tested = held_out_fingerprint(self._events, self._item_ids) if kept["name"] == "leave-one-out" else None
        return {
            "spoke": self._plan.spoke.ref,
            "split": dict(kept),
            "held_out": tested,
            "training_end": reranker.past.counts.moment,
        }

    def _parents(self) -> list[Parent]:
        plan = self._plan
        return [
            Parent(plan.spoke.ref, Relation.BUILT_FROM, SPOKE_PART),
            Parent(plan.hub, Relation.BUILT_FROM, "hub"),
            Parent(plan.dataset.item_snapshot.ref, Relation.TRAINED_ON, "items"),
            Parent(str(plan.job.events), Relation.TRAINED_ON, "events"),
            *(
                Parent(ref, Relation.TRAINED_ON, "scores of the past", "the same spoke before what it is to predict")
                for ref in dict.fromkeys(self._spokes)
                if ref != plan.spoke.ref
            ),
        ]


def _askable(users: EvaluationSet) -> int:
    """Shoppers with a target that may be ranked."""
    if not users.protocol.exclude_seen:
        return len(users)
    pairs = zip(users.targets, users.histories, strict=True)
    return sum(not np.isin(targets, history.items).all() for targets, history in pairs)


def _row(row: Any, alone: float) -> dict[str, Any]:
    """One line of a comparison."""
    return {
        "slice": row.slice,
        "metric": row.metric,
        "users": row.n_users,
        "spoke": round(alone, 5),
        "re-ranked": round(row.value, 5),
        "difference": round(row.difference, 5),
        "low": round(row.difference_low, 5),
        "high": round(row.difference_high, 5),
    }


def _importances(trees: Forest) -> list[dict[str, Any]]:
    """Every feature by its share of what the splits gained."""
    by_name = {feature.name: feature for feature in FEATURES}
    found = [(by_name[name], gain) for name, gain in trees.gains.items()]
    return [
        {"feature": own.name, "gain": round(gain, 4), "monotone": own.monotone, "says": own.says} for own, gain in found
    ]
