"""A public leave-one-out benchmark with IDs alone: quality with and without the seen filter, and how fast it comes.

The spoke's behavioural part is trained by the package's own training and ranked by its own evaluation. Epochs are
chosen on validation; `--refit` then trains again on everything but the test items, and both are reported.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hubspoke.catalog.sequences import Sequences
from hubspoke.evaluation.evaluate import evaluate
from hubspoke.evaluation.protocols import Protocol, leave_one_out, training_mask
from hubspoke.hub.devices import pick_device
from hubspoke.hub.threads import limit_threads
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.regimes import regime_of
from hubspoke.spokes.training.loop import train_behaviour
from hubspoke.spokes.training.validation import Validation

from benchmarks.launch_floor import COLUMNS, cells, machine, mean_cells, publish, seeds, versions, write
from benchmarks.spokes.ids import IdSpoke, ids_config, make_spoke, ndcg, read_sequences, validation_users

MARKS = (60.0, 300.0, 1200.0)
POLICIES = {False: "seen items ranked", True: "seen items excluded"}
STAGES = {"chosen": "chosen on validation", "refitted": "refitted on all but test"}
POINTS = 12


class OutOfTimeError(Exception):
    """The training has used its time."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights as they were after some epochs, what validation said of them, and when they were there."""

    epoch: int
    score: float
    seconds: float
    weights: dict[str, torch.Tensor]


@dataclass
class Watch:
    """Validates a training, keeps the best weights and those that were best at each mark, and ends it in time.

    Attributes:
        model: in training.
        measure: its validation score.
        budget: wall seconds, validations included; None for no end.
        marks: seconds whose best checkpoint is kept.
        say: told of every validation.
        clock: seconds from any zero.
        curve: one row per validation.
        best: the best checkpoint so far.
        at: the best checkpoint at each mark that has passed.
        epochs: done so far.
        validating: seconds spent on validation.
        ended: seconds when the training ended.
    """

    model: BehaviourModel
    measure: Callable[[BehaviourModel], float]
    budget: float | None
    marks: Sequence[float]
    say: Callable[[str], None]
    clock: Callable[[], float] = time.perf_counter
    curve: list[dict[str, float]] = field(default_factory=list)
    best: Checkpoint | None = None
    at: dict[float, Checkpoint | None] = field(default_factory=dict)
    epochs: int = 0
    validating: float = 0.0
    ended: float = 0.0

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self.clock() - self._started

    def progress(self, done: int, _: int) -> None:
        """After each epoch: where the time is over, validate once more and end.

        Raises:
            OutOfTimeError: it is.
        """
        self.epochs = done
        if self.budget is not None and self.seconds > self.budget:
            self.validate(self.model)
            raise OutOfTimeError

    def validate(self, model: BehaviourModel) -> float:
        """Score the weights as they are, and keep them where they are the best."""
        reached = self.seconds
        self.close(reached)
        score = self.measure(model)
        self.validating += self.seconds - reached
        self.curve.append({"epoch": self.epochs, "seconds": round(reached, 2), "score": score})
        if self.best is None or score > self.best.score:
            weights = {name: weight.clone() for name, weight in model.state_dict().items()}
            self.best = Checkpoint(self.epochs, score, reached, weights)
        self.say(f"epoch {self.epochs}, {reached:.0f} s: validation NDCG@10 {score:.4f}")
        return score

    def end(self) -> None:
        """The training is over; what is best now stays so at all later marks."""
        self.ended = self.seconds
        self.close(float("inf"))

    def close(self, moment: float) -> None:
        """Let pass the marks before a moment: nothing better than the best so far was there by then."""
        for mark in self.marks:
            if mark < moment:
                self.at.setdefault(mark, self.best)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run: read, train and rank once per seed; the report is written after each."""
    limit_threads(arguments.threads)
    sequences = read_sequences(arguments.file)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "file": Path(arguments.file).name,
        "data": {"users": len(sequences), "items": sequences.n_items, "events": len(sequences.items)},
        "settings": {"budget_seconds": arguments.budget_seconds, "validation_users": arguments.validation_users},
        "machine": {**machine(arguments.device), "threads": torch.get_num_threads()},
        "versions": versions(),
        "runs": [],
    }
    for seed in arguments.seeds:
        report["runs"].append(run_seed(arguments, sequences, seed))
        write(arguments.out, report)
    return report


def run_seed(arguments: argparse.Namespace, sequences: Sequences, seed: int) -> dict[str, Any]:
    """Choose on validation, rank the test; refit and rank again where that is asked for."""

    def say(text: str) -> None:
        if not arguments.quiet:
            print(f"seed {seed}, {text}", file=sys.stderr, flush=True)

    transformer = {"max_length": arguments.max_length}
    training = sequences.keep_events(training_mask(sequences, Protocol()))
    regime = regime_of(training)
    config = ids_config(
        arguments.config, arguments.set, regime, model=arguments.model, transformer=transformer, seed=seed
    )
    checked = validation_users(sequences, arguments.max_length, arguments.validation_users)
    device = pick_device(arguments.device)
    spoke = make_spoke(config, training, device)
    watch = choose(spoke, training, checked, arguments.budget_seconds, say)
    found: dict[str, Any] = {
        "seed": seed,
        "regime": regime.name,
        "config": config.model_dump(mode="json"),
        "filters_seen": checked.filter_seen,
        "epochs": {"run": watch.epochs, "best": watch.best.epoch if watch.best else 0},
        "validation": watch.best.score if watch.best else None,
        "curve": watch.curve,
        "seconds": {"choosing": round(watch.ended, 1), "validating": round(watch.validating, 1)},
        "sequences_per_second": speed(training, watch.epochs, watch.ended - watch.validating),
        "time_to_quality": time_to_quality(spoke, sequences, watch, checked),
    }
    if watch.best:
        spoke.model.load_state_dict(watch.best.weights)
    found["results"] = {"chosen": results(spoke, sequences, refit=False)}
    if arguments.refit and watch.best:
        training = sequences.keep_events(training_mask(sequences, Protocol(refit=True)))
        spoke = make_spoke(config, training, device)
        found["seconds"]["refitting"] = refit(spoke, training, watch.best.epoch, say)
        found["results"]["refitted"] = results(spoke, sequences, refit=True)
    return found


def choose(
    spoke: IdSpoke, training: Sequences, checked: Validation, budget: float | None, say: Callable[[str], None]
) -> Watch:
    """Train until validation no longer improves, the epochs are done or the time is over."""

    def score(_: BehaviourModel) -> float:
        return ndcg(spoke.recommender().score, checked.users, checked.filter_seen)

    watch = Watch(spoke.model, score, budget, MARKS, say)
    try:
        train_behaviour(
            spoke.model, spoke.inputs, training, spoke.config, validate=watch.validate, progress=watch.progress
        )
    except OutOfTimeError:
        say(f"stopped after {watch.seconds:.0f} s: {watch.epochs} of {spoke.config.training.max_epochs} epochs")
    watch.end()
    return watch


def refit(spoke: IdSpoke, training: Sequences, epochs: int, say: Callable[[str], None]) -> float:
    """Train from scratch for the epochs chosen before; its wall seconds."""
    started = time.perf_counter()
    train_behaviour(spoke.model, spoke.inputs, training, spoke.config, epochs=epochs)
    seconds = round(time.perf_counter() - started, 1)
    say(f"refitted in {seconds:.0f} s")
    return seconds


def speed(training: Sequences, epochs: int, seconds: float) -> int:
    """Users' training sequences per second of training proper."""
    return round(int((training.lengths >= 2).sum()) * epochs / seconds) if seconds > 0 else 0


def time_to_quality(
    spoke: IdSpoke, sequences: Sequences, watch: Watch, checked: Validation
) -> list[dict[str, float | None]]:
    """At each mark the best validation score by then, and what that checkpoint reaches on the test."""
    users = leave_one_out(sequences, "test", checked.users.protocol)
    test: dict[int, float] = {}
    found = []
    for mark in MARKS:
        best = watch.at[mark]
        if best and best.epoch not in test:
            spoke.model.load_state_dict(best.weights)
            test[best.epoch] = ndcg(spoke.recommender().score, users, checked.filter_seen)
        found.append(
            {
                "after": mark,
                "epoch": best.epoch if best else None,
                "validation": best.score if best else None,
                "test": test[best.epoch] if best else None,
            }
        )
    return found


def results(spoke: IdSpoke, sequences: Sequences, *, refit: bool) -> dict[str, Any]:
    """The test under both serving policies, as the package reports it."""
    recommender = spoke.recommender()
    found = {}
    for filtered, name in POLICIES.items():
        length = spoke.config.transformer.max_length
        settings = Protocol(exclude_seen=filtered, refit=refit, max_history=length)
        found[name] = evaluate(recommender.score, leave_one_out(sequences, "test", settings)).to_json()
    return found


def markdown(report: Mapping[str, Any]) -> str:
    """A table per serving policy, the time to quality, the curves, and the facts behind them."""
    runs, place, data = report["runs"], report["machine"], report["data"]
    budget = report["settings"]["budget_seconds"]
    facts = (
        f"{report['file']}: {data['users']} users, {data['items']} items, {data['events']} events; IDs only.",
        f"{runs[0]['config']['model']}, {_shape(runs[0])}; chosen on NDCG@10 of "
        f"{report['settings']['validation_users']} validation users at most, {POLICIES[runs[0]['filters_seen']]}"
        f"{f'; training ends after {budget:g} s' if budget is not None else ''}.",
        *(f"Seed {run['seed']}: {_seconds(run)}." for run in runs),
        f"Machine: {place['cpu']}, {place['threads']} of {place['cores']} cores, {place['memory_gib']:g} GiB, on "
        f"{place['device']}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report['versions'].items())}.",
        f"Date: {report['date']}.",
    )
    tables = [_policy_table(runs, policy) for policy in POLICIES.values()]
    return "\n\n".join([*tables, _quality_table(runs), _curves(runs), "\n".join(f"- {fact}" for fact in facts)])


def _shape(run: Mapping[str, Any]) -> str:
    shape, training = run["config"]["transformer"], run["config"]["training"]
    return (
        f"dimension {shape['dimension']}, {shape['blocks']} block(s), {shape['heads']} head(s), {training['loss']}, "
        f"learning rate {training['learning_rate']:g} (regime {run['regime']} unless set)"
    )


def _seconds(run: Mapping[str, Any]) -> str:
    seconds = run["seconds"]
    refitted = f", refit {seconds['refitting']:g} s" if "refitting" in seconds else ""
    return (
        f"{run['epochs']['run']} epochs, the best {run['epochs']['best']}, in {seconds['choosing']:g} s "
        f"({seconds['validating']:g} s of them validation){refitted}; {run['sequences_per_second']} training "
        "sequences/s"
    )


def _policy_table(runs: Sequence[Mapping[str, Any]], policy: str) -> str:
    shown = runs[0]["results"]["chosen"][policy]
    lines = [
        f"{shown['protocol']['description']}; {shown['n_users']} users; 95 % intervals in brackets.",
        "",
        f"| seed | trained | {' | '.join(name for name, _, _ in COLUMNS)} | coverage@100 |",
        f"|---|---|{'---|' * (len(COLUMNS) + 1)}",
    ]
    for stage, name in STAGES.items():
        own = [(run["seed"], run["results"][stage][policy]) for run in runs if stage in run["results"]]
        lines += [f"| {seed} | {name} | {' | '.join(cells(found))} |" for seed, found in own]
        if len(own) > 1:
            lines.append(f"| mean (lowest to highest) | {name} | {' | '.join(mean_cells([f for _, f in own]))} |")
    return "\n".join(lines)


def _quality_table(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "Time to quality: best validation NDCG@10 by then, and the test NDCG@10 of that checkpoint.",
        "",
        f"| seed | {' | '.join(f'{mark / 60:g} min' for mark in MARKS)} | ended after |",
        f"|---|{'---|' * (len(MARKS) + 1)}",
    ]
    for run in runs:
        reached = " | ".join(map(_reached, run["time_to_quality"]))
        lines.append(f"| {run['seed']} | {reached} | {run['seconds']['choosing']:.0f} s |")
    return "\n".join(lines)


def _reached(row: Mapping[str, float | None]) -> str:
    if row["validation"] is None:
        return "not validated yet"
    return f"{row['validation']:.4f}, test {row['test']:.4f} (epoch {row['epoch']})"


def _curves(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = ["Validation NDCG@10 over wall time (epoch, seconds: NDCG@10):", ""]
    for run in runs:
        curve = run["curve"]
        shown = sorted({round(i * (len(curve) - 1) / (POINTS - 1)) for i in range(POINTS)}) if curve else []
        points = (f"{curve[i]['epoch']}, {curve[i]['seconds']:.0f} s: {curve[i]['score']:.4f}" for i in shown)
        lines.append(f"- seed {run['seed']}: {' · '.join(points)}")
    return "\n".join(lines)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", required=True, help="benchmark file: `user item item ...` or `user item` a line")
    parser.add_argument("--model", choices=("sasrec", "bert4rec"), default="sasrec")
    parser.add_argument("--max-length", type=int, default=50, metavar="N", help="events looked at (default: 50)")
    parser.add_argument("--seeds", type=seeds, default=[0], metavar="A,B,C", help="one training per seed (default: 0)")
    parser.add_argument(
        "--budget-seconds", type=float, metavar="S", help="end the choosing training cleanly after this wall time"
    )
    parser.add_argument("--refit", action="store_true", help="train again on everything but the test items")
    parser.add_argument("--validation-users", type=int, default=4000, metavar="N", help="at most (default: 4000)")
    parser.add_argument("--config", metavar="FILE", help="settings of the spoke as YAML or JSON")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="arithmetic threads (default: usable cores)")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the JSON report goes")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    arguments = parse(argv)
    publish(partial(measure, arguments), markdown)


if __name__ == "__main__":
    main()
