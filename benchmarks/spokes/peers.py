"""SASRec here and in other libraries: the same data, model size, threads and machine, one after the other in one run.

Each system trains in a process of its own and hands over scores of the catalog while its clock stands still; all are
ranked by this package's evaluation. A library that is not installed is skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import hubspoke
import numpy as np
from hubspoke.catalog.sequences import Sequences
from hubspoke.evaluation.evaluate import evaluate
from hubspoke.evaluation.protocols import EvaluationSet, Protocol, leave_one_out, training_mask
from hubspoke.hub.cores import usable_cores
from hubspoke.spokes.training.validation import Validation

from benchmarks.launch_floor import interval, machine, publish, versions, write
from benchmarks.spokes.ids import Score, ndcg, read_sequences, validation_users
from benchmarks.spokes.public import STAGES
from benchmarks.spokes.workers.link import HISTORIES, MISSING, SCORES, SETTINGS, TRAINING, write_rows

ROOT = Path(__file__).resolve().parents[2]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class System:
    """One way to train a SASRec.

    Attributes:
        worker: module under `workers`.
        variant: what the worker is told to use of its library.
        loss: for people.
    """

    worker: str
    variant: str
    loss: str


SYSTEMS = {
    "hubspoke": System("own", "", "sampled softmax, shared negatives"),
    "rectools": System("rectools_sasrec", "sampled_softmax", "sampled softmax, negatives per position"),
    "rectools-real": System(
        "rectools_sasrec", "sampled_softmax real", "sampled softmax, negatives per position, none scored for padding"
    ),
    "rectools-softmax": System("rectools_sasrec", "softmax", "full softmax"),
    "replay": System("replay_sasrec", "plain", "sampled softmax, shared negatives"),
    "replay-bucketed": System("replay_sasrec", "bucketed", "sampled softmax, shared negatives, length buckets"),
    "recbole": System("recbole_sasrec", "", "full softmax, a sequence per prefix"),
}
OWN = "hubspoke"
# The scores of the epoch that validation likes best, kept while training goes on.
BEST = "best.npy"


@dataclass
class Judge:
    """Validation scores of one system as they come, and whether it should go on.

    Attributes:
        checked: who is ranked.
        epochs: at most.
        budget: training seconds at most; None for no end.
        patience: validations without a better one before the end.
        curve: one row per validation.
    """

    checked: Validation
    epochs: int
    budget: float | None
    patience: int
    curve: list[dict[str, float]] = field(default_factory=list)

    def judge(self, scores: np.ndarray, epoch: int, seconds: float) -> bool:
        """Rank (U, N) scores of the users; whether the training should go on."""
        score = ndcg(in_order(scores), self.checked.users, self.checked.filter_seen)
        self.curve.append({"epoch": epoch, "seconds": seconds, "score": score})
        since = len(self.curve) - 1 - self._best
        over = self.budget is not None and seconds >= self.budget
        return not (over or epoch >= self.epochs or since >= self.patience)

    @property
    def chosen(self) -> int:
        """The epoch with the best score."""
        return int(self.curve[self._best]["epoch"])

    @property
    def _best(self) -> int:
        return int(np.argmax([point["score"] for point in self.curve]))


def in_order(scores: np.ndarray) -> Score:
    """(U, N) scores as a recommender that is asked for the U users in their order, block by block."""
    start = 0

    def next_block(histories: Sequence[np.ndarray]) -> np.ndarray:
        nonlocal start
        start += len(histories)
        return np.asarray(scores[start - len(histories) : start])

    return next_block


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run; the report is written after each system."""
    sequences = some_users(read_sequences(arguments.file), arguments.users)
    checked = validation_users(sequences, arguments.max_length, arguments.validation_users)
    rows = training_rows(sequences, refit=False)
    tested = tested_users(sequences, checked, refit=False) if arguments.test else None
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "file": Path(arguments.file).name,
        "data": {
            "users": len(sequences),
            "items": sequences.n_items,
            "training_sequences": len(rows),
            "training_events": sum(map(len, rows)),
            "validation_users": len(checked.users),
            "filters_seen": checked.filter_seen,
        },
        "settings": settings(arguments, sequences.n_items),
        "machine": machine("cpu"),
        "versions": versions(),
        "systems": {},
        "skipped": [],
    }
    for name in arguments.systems:
        judge = Judge(checked, arguments.epochs, arguments.budget_seconds, arguments.patience)
        found = train(name, arguments, report["settings"], rows, judge, tested)
        if isinstance(found, str):
            report["skipped"].append(f"{name} ({found})")
            say(arguments, f"{name} is skipped: {found}")
        else:
            steps = judge.curve[-1] if judge.curve else {"epoch": 0, "seconds": 0.0}
            rate = len(rows) * steps["epoch"] / steps["seconds"] if steps["seconds"] else 0.0
            own = found | {"curve": judge.curve, "sequences_per_second": round(rate, 1)}
            if tested is not None:
                own["test"] = {"chosen": found["test"]}
            report["systems"][name] = own
            write(arguments.out, report)
            if arguments.refit:
                own["test"]["refitted"] = refit(name, arguments, report["settings"], sequences, judge)
        write(arguments.out, report)
    return report


def training_rows(sequences: Sequences, *, refit: bool) -> list[np.ndarray]:
    """Training sequences of two events at least: without validation and test, or with a refit without the test."""
    kept = sequences.keep_events(training_mask(sequences, Protocol(refit=refit)))
    return [row for row in kept if len(row) >= 2]


def tested_users(sequences: Sequences, checked: Validation, *, refit: bool) -> EvaluationSet:
    """Whom the test asks, under the policy and history of validation."""
    history = checked.users.protocol.max_history
    settings = Protocol(max_history=history, exclude_seen=checked.filter_seen, refit=refit)
    return leave_one_out(sequences, "test", settings)


def refit(
    name: str, arguments: argparse.Namespace, told: Mapping[str, Any], sequences: Sequences, chosen: Judge
) -> dict[str, Any]:
    """Train once more, on everything but the test and for the epochs chosen; what the test says then."""
    users = tested_users(sequences, chosen.checked, refit=True)
    # Judged once and by any user, when there is nothing left to choose.
    last = Judge(Validation(users.drawn(1, 0), chosen.checked.filter_seen), chosen.chosen, None, 1)
    rows = training_rows(sequences, refit=True)
    found = train(name, arguments, {**told, "validate_every": chosen.chosen}, rows, last, tested=users)
    if isinstance(found, str):
        raise hubspoke.HubspokeError(f"The refit of {name} ended ({found}); run it alone.")
    result: dict[str, Any] = found["test"]
    return result


def some_users(sequences: Sequences, at_most: int | None) -> Sequences:
    """The first users and the items that they met, or all."""
    if at_most is None or at_most >= len(sequences):
        return sequences
    end = sequences.offsets[at_most]
    met, rows = np.unique(sequences.items[:end], return_inverse=True)
    return replace(
        sequences,
        items=rows.astype(np.int64),
        timestamps=sequences.timestamps[:end],
        offsets=sequences.offsets[: at_most + 1],
        users=sequences.users[:at_most],
        user_ids=sequences.user_ids[:at_most],
        n_items=len(met),
    )


def settings(arguments: argparse.Namespace, n_items: int) -> dict[str, Any]:
    """What all systems are told."""
    return {
        "shape": {
            "dimension": arguments.dimension,
            "blocks": arguments.blocks,
            "heads": arguments.heads,
            "expansion": 1,
            "dropout": arguments.dropout,
        },
        "max_length": arguments.max_length,
        "negatives": arguments.negatives,
        "batch": arguments.batch,
        "learning_rate": arguments.learning_rate,
        "epochs": arguments.epochs,
        "validate_every": arguments.validate_every,
        "threads": arguments.threads,
        "seed": arguments.seed,
        "n_items": n_items,
        "own": arguments.set,
    }


def write_task(folder: Path, told: Mapping[str, Any], rows: Sequence[np.ndarray], asked: Sequence[np.ndarray]) -> None:
    """What a worker reads: settings, training sequences, and histories without their targets."""
    (folder / SETTINGS).write_text(json.dumps(told), encoding="utf-8")
    write_rows(folder / TRAINING, rows)
    write_rows(folder / HISTORIES, asked)


def train(
    name: str,
    arguments: argparse.Namespace,
    told: Mapping[str, Any],
    rows: Sequence[np.ndarray],
    judge: Judge,
    tested: EvaluationSet | None = None,
) -> dict[str, Any] | str:
    """One system in its own process: what it says of itself, or why its library cannot be imported.

    Args:
        name: of the system.
        arguments: of the command line.
        told: what all systems are told.
        rows: training sequences.
        judge: of its validation scores.
        tested: whom the test asks with the best epoch's weights; None tests nothing.

    Raises:
        HubspokeError: the process failed.
    """
    histories = [*judge.checked.histories, *(Validation(tested, judge.checked.filter_seen).histories if tested else ())]
    with tempfile.TemporaryDirectory(prefix="hubspoke-peers-") as place:
        folder = Path(place)
        write_task(folder, {**told, "variant": SYSTEMS[name].variant}, rows, histories)
        found = run_worker(name, arguments, folder, judge)
        if tested is not None and not isinstance(found, str):
            scores = np.load(folder / BEST, mmap_mode="r")[len(judge.checked.users) :]
            found["test"] = evaluate(in_order(scores), tested).to_json() | {"epoch": judge.chosen}
    return found


def run_worker(name: str, arguments: argparse.Namespace, folder: Path, judge: Judge) -> dict[str, Any] | str:
    """The process of one system, from its start to its end; as above."""
    python = sys.executable if name == OWN else arguments.python.get(name.partition("-")[0], sys.executable)
    threads = {variable: str(arguments.threads) for variable in THREAD_VARIABLES}
    outer = os.environ.get("PYTHONPATH")
    found: dict[str, Any] = {"loss": SYSTEMS[name].loss}
    with (
        (folder / "log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(
            [python, "-m", f"benchmarks.spokes.workers.{SYSTEMS[name].worker}", str(folder)],
            cwd=folder,  # libraries leave logs where they run
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), outer)))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            converse(name, arguments, folder, process, judge, found)
        except BaseException:
            process.kill()
            raise
        status = process.wait()
        log.seek(0)
        last = log.read().strip().splitlines()[-1:] or ["no message"]
    if status == MISSING:
        return last[0]
    if status:
        raise hubspoke.HubspokeError(f"The training of {name} ended with status {status} ({last[0]}); run it alone.")
    return found


def converse(
    name: str,
    arguments: argparse.Namespace,
    folder: Path,
    process: subprocess.Popen[str],
    judge: Judge,
    found: dict[str, Any],
) -> None:
    """Hear what a worker says and answer, until it ends."""
    assert process.stdin is not None and process.stdout is not None
    for line in process.stdout:
        message = json.loads(line)
        if message.pop("event") == "start":
            found.update(message)
            continue
        # Before anything was scored, so that it is the memory of training.
        found.setdefault("peak_mib", message["peak_mib"])
        scores = np.load(folder / SCORES, mmap_mode="r")
        found["cpu_seconds_an_epoch"] = round(message["cpu_seconds"] / message["epoch"], 6)
        onward = judge.judge(scores[: len(judge.checked.users)], message["epoch"], message["seconds"])
        point = judge.curve[-1]
        if judge.chosen == point["epoch"]:
            (folder / SCORES).replace(folder / BEST)
        say(arguments, f"{name}, epoch {point['epoch']}, {point['seconds']:.0f} s: NDCG@10 {point['score']:.4f}")
        if process.poll() is None:
            process.stdin.write("go\n" if onward else "stop\n")
            process.stdin.flush()


def say(arguments: argparse.Namespace, text: str) -> None:
    """Progress on stderr."""
    if not arguments.quiet:
        print(text, file=sys.stderr, flush=True)


def seconds_to(curve: Sequence[Mapping[str, float]], target: float) -> float | None:
    """Training seconds until validation first reached a score; None where it never did."""
    return next((point["seconds"] for point in curve if point["score"] >= target), None)


def best(system: Mapping[str, Any]) -> float:
    """The best validation score of a system."""
    return max((point["score"] for point in system["curve"]), default=0.0)


def targets(systems: Mapping[str, Mapping[str, Any]], asked: Sequence[float]) -> list[float]:
    """The scores whose time is shown: those asked for, else what every system reached, and what the best peer did."""
    if asked:
        return list(asked)
    if not systems:
        return []
    shared = min(best(system) for system in systems.values())
    return sorted({shared, max((best(system) for name, system in systems.items() if name != OWN), default=shared)})


def markdown(report: Mapping[str, Any], asked: Sequence[float] = ()) -> str:
    """One row per system, then its curve, then the facts."""
    systems, told, place, data = report["systems"], report["settings"], report["machine"], report["data"]
    goals = targets(systems, asked)
    lines = [
        "| system | loss | training sequences/s | CPU seconds an epoch | best validation NDCG@10 | "
        + "".join(f"seconds to {goal:.4f} | " for goal in goals)
        + "peak memory, MiB | parameters |",
        f"|---|---|{'---|' * (len(goals) + 5)}",
    ]
    for name, own in systems.items():
        reached = [seconds_to(own["curve"], goal) for goal in goals]
        cells = [
            name,
            own["loss"],
            f"{own['sequences_per_second']:g}",
            f"{own.get('cpu_seconds_an_epoch', 0.0):.1f}",
            f"{best(own):.4f}",
            *("not reached" if found is None else f"{found:.1f}" for found in reached),
            str(own.get("peak_mib", "")),
            f"{own['parameters']:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    curves = [f"- {name}: {_curve(own['curve'])}" for name, own in systems.items()]
    shape = told["shape"]
    versions_of = {name: number for own in systems.values() for name, number in own["versions"].items()}
    policy = "seen items excluded" if data["filters_seen"] else "seen items ranked"
    facts = (
        f"{report['file']}: {data['users']} users, {data['items']} items; {data['training_sequences']} training "
        f"sequences, {data['training_events']} events; NDCG@10 of {data['validation_users']} validation users, full "
        f"ranking, {policy}, one evaluator for all.",
        f"Dimension {shape['dimension']}, {shape['blocks']} block(s), {shape['heads']} head(s), dropout "
        f"{shape['dropout']:g}, length {told['max_length']}, {told['negatives']} negatives where they are sampled, "
        f"learning rate {told['learning_rate']:g}, seed {told['seed']}; {told['batch']} users a batch in RecTools and "
        "RePlay, the default batches of the others.",
        "Sequences are users' training sequences; seconds are of training proper, loading of batches included, "
        "validation and preparation left out; CPU seconds, over all threads, do not grow on a busy machine. Peak "
        "memory is that of the process after its first epoch.",
        *(f"Skipped: {name}." for name in report["skipped"]),
        f"Machine: {place['cpu']}, {told['threads']} threads for each, {place['memory_gib']:g} GiB.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in sorted(versions_of.items()))}.",
        f"Date: {report['date']}.",
    )
    parts = ["\n".join(lines), "Validation NDCG@10 (epoch, seconds):", "\n".join(curves)]
    return "\n\n".join([*parts, *_test_table(systems), "\n".join(f"- {fact}" for fact in facts)])


def _test_table(systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        f"| {name} | {STAGES[stage]} | {result['epoch']} | {interval(result, 'all', 'hr@10')} | "
        f"{interval(result, 'all', 'ndcg@10')} |"
        for name, own in systems.items()
        for stage, result in own.get("test", {}).items()
    ]
    head = ["Test of the weights that validation likes best:", "", "| system | trained | epochs | HR@10 | NDCG@10 |"]
    return ["\n".join([*head, "|---|---|---|---|---|", *rows])] if rows else []


def _curve(curve: Sequence[Mapping[str, float]]) -> str:
    shown = sorted({round(i * (len(curve) - 1) / 9) for i in range(10)}) if curve else []
    return " · ".join(f"{curve[i]['epoch']}, {curve[i]['seconds']:.0f} s: {curve[i]['score']:.4f}" for i in shown)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in SYSTEMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is not one of {', '.join(SYSTEMS)}")
    return names


def _python(text: str) -> tuple[str, str]:
    library, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"{text!r} names no interpreter; write replay=PATH")
    return library, path


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", required=True, help="benchmark file: `user item item ...` or `user item` a line")
    parser.add_argument("--systems", type=_names, default=list(SYSTEMS), metavar="A,B,C", help=", ".join(SYSTEMS))
    parser.add_argument(
        "--python",
        type=_python,
        action="append",
        default=[],
        metavar="LIBRARY=PATH",
        help="interpreter whose environment has rectools, replay or recbole; repeatable",
    )
    parser.add_argument("--users", type=int, metavar="N", help="the first N users only")
    parser.add_argument("--dimension", type=int, default=64, metavar="D")
    parser.add_argument("--blocks", type=int, default=1, metavar="N")
    parser.add_argument("--heads", type=int, default=1, metavar="N")
    parser.add_argument("--dropout", type=float, default=0.2, metavar="P")
    parser.add_argument("--max-length", type=int, default=50, metavar="N")
    parser.add_argument("--negatives", type=int, default=256, metavar="N")
    parser.add_argument("--batch", type=int, default=128, metavar="N", help="users, in RecTools and RePlay")
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="LR")
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="at most (default: 30)")
    parser.add_argument("--budget-seconds", type=float, metavar="S", help="training seconds of each system, at most")
    parser.add_argument("--patience", type=int, default=5, metavar="N", help="validations (default: 5)")
    parser.add_argument("--validate-every", type=int, default=1, metavar="N", help="epochs (default: 1)")
    parser.add_argument("--validation-users", type=int, default=4000, metavar="N", help="at most (default: 4000)")
    parser.add_argument("--test", action="store_true", help="rank the test too, with the best weights on validation")
    parser.add_argument("--refit", action="store_true", help="and once more trained on everything but the test")
    parser.add_argument("--target", type=float, action="append", default=[], help="NDCG@10 whose time is shown")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of hubspoke's spoke")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the JSON report goes")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    arguments = parser.parse_args(argv)
    arguments.python = dict(arguments.python)
    arguments.test = arguments.test or arguments.refit
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    arguments = parse(argv)
    publish(partial(measure, arguments), lambda report: markdown(report, arguments.target))


if __name__ == "__main__":
    main()
