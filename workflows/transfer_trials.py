"""Trials of transfer: short trainings, part on top of part, and the audit of what each part was worth."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import HubspokeError
from ..evaluation.evaluate import evaluate
from ..files import atomic_write
from ..hub.distributed import World
from ..spokes.transfer import SLICES, Policy, UserValues, effects, verdict, worth_taking
from .spoke_plan import Plan, SpokeJob, plan_training
from .spoke_training import SpokeTraining

if TYPE_CHECKING:
    from pathlib import Path

    from ..evaluation.bootstrap import Estimate
    from .context import Context

# In the order in which they are tried.
TRIED = ("text", "image", "fusion", "scorer", "behaviour")
_FILE = "trial.json"


@dataclass(frozen=True)
class Trial:
    """A short training under one policy: what validation users got."""

    policy: Policy
    fingerprint: str
    values: UserValues
    epochs: int
    seconds: float

    def mean(self, name: str) -> float | None:
        """NDCG@10 of a slice, None without users."""
        own = self.values.get(name, {})
        return sum(own.values()) / len(own) if own else None


@dataclass(frozen=True)
class Outcome:
    """What came of all trials of a category."""

    chosen: Trial
    trials: tuple[Trial, ...]
    parts: tuple[dict[str, Any], ...]  # what each part was worth beside what was taken before


def part_by_part(try_out: Callable[[Policy], Trial], available: Policy, expected: Collection[str]) -> Outcome:
    """From nothing on, each part in turn on top of what was taken before; in the end all that is available."""
    chosen = try_out(Policy())
    trials, rows = [chosen], []
    for part in TRIED:
        if part not in available:
            continue
        if part in ("fusion", "scorer") and not {"text", "image"} & {*chosen.policy.parts}:
            continue
        tried = try_out(chosen.policy.plus(part))
        trials.append(tried)
        taken = worth_taking(tried.values, chosen.values, part in expected)
        found = effects(tried.values, chosen.values)
        told = {name: _figures(own) for name, own in found.items()}
        rows.append(
            {
                "part": part,
                "inherited": taken,
                "beside": str(chosen.policy),
                **told,
                "verdict": verdict(part, taken, found),
            }
        )
        chosen = tried if taken else chosen
    if available not in [own.policy for own in trials]:
        trials.append(try_out(available))
    return Outcome(chosen, tuple(trials), tuple(rows))


def audit_of(outcome: Outcome, available: Policy) -> dict[str, Any]:
    """What was tried, the chosen policy against nothing and against everything, and what each part was worth."""
    chosen, trials = outcome.chosen, outcome.trials
    table = [
        {
            "policy": str(own.policy),
            **{name: _rounded(own.mean(name)) for name in SLICES},
            "epochs": own.epochs,
            "seconds": round(own.seconds, 1),
        }
        for own in trials
    ]
    by_policy = {own.policy: own for own in trials}
    against = [
        {"policy": name, **{key: _figures(own) for key, own in effects(chosen.values, other.values).items()}}
        for name, other in (("none", by_policy[Policy()]), ("full", by_policy[available]))
    ]
    users = len(chosen.values.get("all", {}))
    return {
        "metric": "ndcg@10",
        "part": "validation",
        "users": users,
        "trials": table,
        "against": against,
        "parts": list(outcome.parts),
    }


def _figures(effect: Estimate | None) -> dict[str, float] | None:
    if effect is None:
        return None
    return {"difference": round(effect.value, 5), "low": round(effect.low, 5), "high": round(effect.high, 5)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def try_policy(context: Context, job: SpokeJob, policy: Policy) -> Trial:
    """A short training, from the cache where the same was tried before; it leaves no version."""
    plan = plan_training(context, job)
    file = context.cache_dir / "transfer" / plan.recipe.fingerprint / _FILE
    if (known := _read(file, policy, plan.recipe.fingerprint)) is not None:
        return known
    with context.lock(f"train {job.domain}"):
        return _train(context, plan, policy, file)


def _train(context: Context, plan: Plan, policy: Policy, file: Path) -> Trial:
    """A short training, kept in `file`."""
    context.progress.note(f"trying --transfer {policy}")
    started = time.perf_counter()
    training = SpokeTraining(context, plan, World())
    behaviour, mixture, run = training.fit()
    assert mixture is not None
    spoke = training.spoke(behaviour, mixture, plan.split.train)
    users = plan.split.validation
    recommender = spoke.recommender("", training.vectors(spoke), exclude_seen=users.filter_seen)
    asked = replace(users.users, protocol=users.users.protocol.model_copy(update={"exclude_seen": users.filter_seen}))
    measured = evaluate(recommender.score, asked)
    values = {
        name: dict(zip(part.users, part.metrics["ndcg@10"].tolist(), strict=True))
        for name, part in measured.slices.items()
        if name in SLICES
    }
    seconds = training.seconds_before + time.perf_counter() - started
    # For who tries it again; nothing of this call hangs on it.
    with suppress(OSError, HubspokeError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as written:
            json.dump({"values": values, "epochs": run.best_epoch, "seconds": seconds}, written)
    shutil.rmtree(plan.checkpoints, ignore_errors=True)
    return Trial(policy, plan.recipe.fingerprint, values, run.best_epoch, seconds)


def _read(file: Path, policy: Policy, made_of: str) -> Trial | None:
    """A trial of before; None where there is none that can be read."""
    try:
        kept: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return Trial(policy, made_of, kept["values"], int(kept["epochs"]), float(kept["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
