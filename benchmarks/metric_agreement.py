"""Whether other libraries' metrics agree with this package's on the same lists: RecTools and ranx, in their own venv.

`--python` is the interpreter of a venv with `pip install rectools ranx`. Scores of 500 simulated users over 200 items
without ties; every number is compared. Prints a Markdown table and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hubspoke.evaluation.evaluate import evaluate
from hubspoke.evaluation.protocols import EvaluationSet, Protocol

from benchmarks.launch_floor import publish, versions

WORKER = Path(__file__).parent / "spokes" / "workers" / "metric_agreement.py"
N_USERS, N_ITEMS, SEED = 500, 200, 7
# How far two ways of adding up the same numbers may be apart.
TOLERANCE = 1e-6


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The same lists measured here and in the other venv."""
    scores, given = _simulated()
    found = evaluate(lambda histories: scores[[int(history[0]) for history in histories]], given)
    ours = {name: found.mean(name) for name in ("hr@10", "recall@10", "ndcg@10", "mrr")}
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        file = Path(folder) / "lists.npz"
        top = np.argsort(-scores, axis=1)  # (U, N), best first
        targets = np.array(given.targets)
        np.savez(file, top=top, targets=targets)
        asked = [arguments.python, str(WORKER), str(file)]
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"The other venv did not answer: {answer.stderr.strip().splitlines()[-1:]}")
    theirs = json.loads(answer.stdout)
    rows = [
        {"library": library, "metric": name, "theirs": value, "ours": ours[name], "agree": _agree(value, ours[name])}
        for library, values in theirs["values"].items()
        for name, value in values.items()
    ]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "users": N_USERS,
        "items": N_ITEMS,
        "rows": rows,
        "versions": {**versions(), **theirs["versions"]},
    }


def _agree(theirs: float, ours: float) -> bool:
    return abs(theirs - ours) <= TOLERANCE * max(1.0, abs(ours))


def _simulated() -> tuple[np.ndarray, EvaluationSet]:
    """Scores (U, N) without ties, and two targets of each user that are likelier near the top."""
    rng = np.random.default_rng(SEED)
    scores = rng.permuted(np.tile(np.arange(N_ITEMS, dtype=np.float64), (N_USERS, 1)), axis=1)
    chances = np.exp(scores / 25)
    chances /= chances.sum(axis=1, keepdims=True)
    targets = [rng.choice(N_ITEMS, 2, replace=False, p=own) for own in chances]
    counts = rng.integers(0, 50, N_ITEMS)
    histories = [np.array([user]) for user in range(N_USERS)]  # the row of the scores, nothing else
    names = [f"u{user}" for user in range(N_USERS)]
    return scores, EvaluationSet(histories, targets, names, counts, 0, Protocol())


def markdown(report: Mapping[str, Any]) -> str:
    """The table of a report."""
    lines = ["| library | metric | there | here | agree |", "|---|---|---|---|---|"]
    for row in report["rows"]:
        agree = "yes" if row["agree"] else "**no**"
        numbers = f"{row['theirs']:.6f} | {row['ours']:.6f}"
        lines.append(f"| {row['library']} | {row['metric']} | {numbers} | {agree} |")
    found = ", ".join(
        f"{name} {report['versions'][name]}" for name in ("rectools", "ranx") if name in report["versions"]
    )
    return "\n".join([*lines, "", f"{report['users']} users, {report['items']} items; {found}; {report['date']}."])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, metavar="FILE", help="interpreter of a venv with rectools and ranx")
    parser.add_argument("--out", metavar="FILE")
    arguments = parser.parse_args(argv)
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
