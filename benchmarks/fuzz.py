"""The properties of `tests/fuzz` on ever other command lines, references, configs, bundles, artifacts and feeds.

Every round draws by a seed of its own, which a failure names. What fails belongs into `tests/fuzz` as a case.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.registry import about

ROOT = Path(__file__).resolve().parents[1]


def round_of(seed: int, examples: int, chosen: str) -> tuple[Counter[str], list[str]]:
    """One round: how many examples of each property passed, and what the failing ones said."""
    options = ["-q", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}", "--hypothesis-show-statistics"]
    options += ["--timeout=0", "-o", "faulthandler_timeout=0"]  # so many examples take as long as they take
    command = [sys.executable, "-m", "pytest", *options, "-k", chosen, str(ROOT / "tests" / "fuzz")]
    environment = os.environ | {"FUZZ_EXAMPLES": str(examples)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    passed: Counter[str] = Counter()
    name = ""
    for line in ended.stdout.splitlines():
        if (found := re.search(r"::(test_\w+):$", line)) is not None:
            name = found[1]
        if (found := re.search(r"(\d+) passing", line)) is not None:
            passed[name] += int(found[1])
    failed = [
        line for line in ended.stdout.splitlines() if re.match("E  +(Assertion|Falsifying|.*->)|FAILED|ERROR", line)
    ]
    if ended.returncode not in (0, 1):
        raise SystemExit(ended.stdout[-3000:] + ended.stderr[-3000:])
    return passed, failed if ended.returncode else []


def fuzz(minutes: float, examples: int, seed: int, chosen: str) -> dict[str, Any]:
    """Rounds until the time is over."""
    passed: Counter[str] = Counter()
    failures: dict[int, list[str]] = {}
    started, rounds = time.monotonic(), 0
    while not rounds or time.monotonic() - started < 60 * minutes:
        own, failed = round_of(seed + rounds, examples, chosen)
        passed.update(own)
        if failed:
            failures[seed + rounds] = failed
            print(f"seed {seed + rounds}:", *failed, sep="\n  ", file=sys.stderr, flush=True)
        rounds += 1
    spent = round((time.monotonic() - started) / 60, 1)
    size = {"seed": seed, "rounds": rounds, "examples": examples, "minutes": spent}
    return {"passed": dict(passed), "failed": failures, "protocol": size, **about()}


def main() -> int:
    """Parse, draw, print; 1 where a property does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--examples", type=int, default=200, help="of each property in a round")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next ones count on")
    parser.add_argument("-k", dest="chosen", default="", help="which properties, as pytest's -k")
    parser.add_argument("--out", metavar="FILE", help="write the report as JSON too")
    options = parser.parse_args()
    report = fuzz(options.minutes, options.examples, options.seed, options.chosen)
    lines = ["| property | examples that hold |", "|---|---:|"]
    lines += [f"| {name.removeprefix('test_').replace('_', ' ')} | {n:,} |" for name, n in report["passed"].items()]
    size = report["protocol"]
    rounds = f"{len(report['failed'])} of {size['rounds']} rounds failed"
    versions = ", ".join(f"{k} {v}" for k, v in report["versions"].items())
    lines += ["", f"- {rounds}; {size['minutes']} minutes, seeds from {size['seed']}."]
    lines += [f"- {report['machine']}; {versions}; {report['date']}."]
    print("\n".join(lines))
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(bool(report["failed"]))


if __name__ == "__main__":
    sys.exit(main())
