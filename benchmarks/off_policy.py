"""Off-policy estimates where the truth is known, and experiments that are looked at every day.

A simulated marketplace with a policy in service and a better one: how often each estimate's 95 % interval holds what
the better one really earns per impression. Then experiments without any difference, looked at daily: how often one is
seen. `--python` is the interpreter of a venv with obp 0.4.1, whose estimates of one log are put beside these. Prints a
Markdown table and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hubspoke.errors import InvalidDataError
from hubspoke.evaluation.bootstrap import mean_interval
from hubspoke.evaluation.off_policy import Weighted, as_logged, doubly_robust, ips, snips, weigh
from hubspoke.evaluation.ratios import Measured, sequential_quantile

from benchmarks.launch_floor import publish, versions

WORKER = Path(__file__).parent / "spokes" / "workers" / "off_policy_obp.py"
SEED, RUNS, LEVEL = 11, 500, 0.95
KINDS, PRODUCTS, SHOPPERS, VISITS = 6, 20, 2000, 5
EXPERIMENTS, DAYS, DAILY = 500, 28, 200  # shoppers of a variant and day


@dataclass(frozen=True)
class Marketplace:
    """Shoppers of a few kinds, who buy products with chances and at prices that are known."""

    buys: np.ndarray  # (kinds, products) chance of a purchase
    prices: np.ndarray  # (products,)
    service: np.ndarray  # (kinds, products) what is shown, by the policy in service
    better: np.ndarray

    @classmethod
    def simulated(cls, rng: np.random.Generator) -> Marketplace:
        """The one in service goes by popularity alone, the better one by what each kind likes; both explore."""
        liking = rng.normal(0, 1, (KINDS, PRODUCTS))
        popular = np.exp(liking.mean(axis=0, keepdims=True)).repeat(KINDS, axis=0)
        buys = 0.02 + 0.18 / (1 + np.exp(-2 * liking))
        return cls(buys, rng.lognormal(3, 0.5, PRODUCTS), _explored(popular), _explored(np.exp(liking)))

    @property
    def earned(self) -> np.ndarray:
        """(kinds, products) revenue to be expected of an impression."""
        return self.buys * self.prices

    def truth(self, policy: np.ndarray) -> float:
        """Revenue per impression of a policy."""
        return float((policy * self.earned).sum(axis=1).mean())

    def visits(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A log of the policy in service: shoppers, kinds, what was shown and what it earned."""
        shoppers = np.arange(SHOPPERS).repeat(VISITS)
        kinds = rng.integers(KINDS, size=SHOPPERS)[shoppers]
        shown = (rng.random((len(kinds), 1)) > np.cumsum(self.service[kinds], axis=1)).sum(axis=1)
        shown = np.minimum(shown, PRODUCTS - 1)
        bought = rng.random(len(kinds)) < self.buys[kinds, shown]
        return {"shoppers": shoppers, "kinds": kinds, "shown": shown, "rewards": bought * self.prices[shown]}


def _explored(weights: np.ndarray) -> np.ndarray:
    return 0.8 * weights / weights.sum(axis=1, keepdims=True) + 0.2 / PRODUCTS


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All three parts."""
    rng = np.random.default_rng(SEED)
    market = Marketplace.simulated(rng)
    # The model is wrong on purpose: what a product earns of all kinds alike, a fifth too much.
    said = 1.2 * market.earned.mean(axis=0, keepdims=True).repeat(KINDS, axis=0)
    policies = {name: market.truth(getattr(market, name)) for name in ("service", "better")}
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "policies": policies,
        **_coverage(market, said, rng),
        "peeking": _peeking(rng),
        "versions": versions(),
    }
    if arguments.python:
        theirs = _of_obp(arguments.python, market, said, rng)
        report |= {"agreement": theirs["rows"], "versions": {**report["versions"], **theirs["versions"]}}
    return report


def _estimates(market: Marketplace, said: np.ndarray, log: Mapping[str, np.ndarray]) -> dict[str, Measured]:
    kinds, shown, rewards = log["kinds"], log["shown"], log["rewards"]
    logged, target = market.service[kinds, shown], market.better[kinds, shown]

    def weighted(clip: float | None = None) -> Weighted:
        return weigh(log["shoppers"], logged, target, clip=clip)

    expected = (market.better * said).sum(axis=1)[kinds]
    return {
        "unweighted": as_logged(weighted(), rewards),
        "ips": ips(weighted(), rewards),
        "ips, clip 2": ips(weighted(2.0), rewards),
        "snips": snips(weighted(), rewards),
        "dr": doubly_robust(weighted(), rewards, said[kinds, shown], expected),
    }


def _coverage(market: Marketplace, said: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """What each estimate says, log by log, beside the truth; a sound log is refused once in a thousand times."""
    truth, refused = market.truth(market.better), 0
    found: dict[str, list[Measured]] = {}
    for _ in range(RUNS):
        try:
            estimates = _estimates(market, said, market.visits(rng))
        except InvalidDataError:
            refused += 1
            continue
        for name, one in estimates.items():
            found.setdefault(name, []).append(one)
    return {"refused": refused, "rows": [_covered(name, measured, truth) for name, measured in found.items()]}


def _covered(name: str, measured: Sequence[Measured], truth: float) -> dict[str, Any]:
    intervals = [one.estimate(LEVEL) for one in measured]
    held = np.array([own.low <= truth <= own.high for own in intervals], dtype=float)
    share = mean_interval(held)
    return {
        "estimate": name,
        "mean": float(np.mean([one.value for one in measured])),
        "bias": float(np.mean([one.value for one in measured])) - truth,
        "width": float(np.mean([own.high - own.low for own in intervals])),
        "holds": share.value,
        "holds_low": share.low,
        "holds_high": share.high,
    }


def _peeking(rng: np.random.Generator) -> dict[str, float]:
    """The share of experiments without a difference in which one is seen on any of the days."""
    sums = np.zeros((2, 2, EXPERIMENTS, DAYS))  # by variant, of values and of squares
    for variant in range(2):
        for run in range(EXPERIMENTS):
            bought = rng.random((DAYS, DAILY)) < 0.05
            revenue = np.where(bought, rng.lognormal(3, 0.5, bought.shape), 0)
            sums[variant, :, run] = [np.cumsum((revenue**power).sum(axis=1)) for power in (1, 2)]
    n = DAILY * np.arange(1, DAYS + 1)
    means = sums[:, 0] / n
    variances = (sums[:, 1] / n - means**2) / (n - 1)  # of the means
    distance = np.abs(means[1] - means[0]) / np.sqrt(variances.sum(axis=0))  # (experiments, days)
    allowed = np.array([sequential_quantile(2 * int(own), 2 * DAILY * DAYS, LEVEL) for own in n])
    return {
        "fixed sample, one look": float((distance[:, -1] > 1.96).mean()),
        "fixed sample, daily": float((distance > 1.96).any(axis=1).mean()),
        "confidence sequence, daily": float((distance > allowed).any(axis=1).mean()),
    }


def _of_obp(python: str, market: Marketplace, said: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Estimates of one log here and by obp."""
    log = market.visits(rng)
    ours = _estimates(market, said, log)
    kinds = log["kinds"]
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        file = Path(folder) / "log.npz"
        logged = market.service[kinds, log["shown"]]
        np.savez(file, **log, logged=logged, target=market.better[kinds], said=said[kinds])
        answer = subprocess.run([python, str(WORKER), str(file)], capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"The other venv did not answer: {answer.stderr.strip().splitlines()[-1:]}")
    theirs = json.loads(answer.stdout)
    rows = [
        {"estimate": name, "theirs": value, "ours": ours[name].value, "agree": abs(value - ours[name].value) < 1e-9}
        for name, value in theirs["values"].items()
    ]
    return {"rows": rows, "versions": theirs["versions"]}


def markdown(report: Mapping[str, Any]) -> str:
    """The tables of a report."""
    policies = report["policies"]
    lines = ["| estimate | mean | bias | width of the interval | holds the truth |", "|---|---|---|---|---|"]
    for row in report["rows"]:
        numbers = " | ".join(f"{row[name]:.3f}" for name in ("mean", "bias", "width"))
        held = f"{row['holds']:.1%} ({row['holds_low']:.1%} to {row['holds_high']:.1%})"
        lines.append(f"| {row['estimate']} | {numbers} | {held} |")
    lines += [
        "",
        f"Revenue per impression: {policies['service']:.3f} in service, {policies['better']:.3f} by the better policy, "
        f"which is the truth. {RUNS} logs of {SHOPPERS} shoppers with {VISITS} impressions each, of which "
        f"{report['refused']} were refused.",
        "",
        f"| {EXPERIMENTS} experiments without a difference, {DAYS} days | a difference is seen |",
        "|---|---|",
        *(f"| {name} | {share:.1%} |" for name, share in report["peeking"].items()),
    ]
    if "agreement" in report:
        lines += ["", "| estimate of one log | obp | here | agree |", "|---|---|---|---|"]
        for row in report["agreement"]:
            agree = "yes" if row["agree"] else "**no**"
            lines.append(f"| {row['estimate']} | {row['theirs']:.9f} | {row['ours']:.9f} | {agree} |")
    named = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return "\n".join([*lines, "", f"{named}; {report['date']}."])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", metavar="FILE", help="interpreter of a venv with obp")
    parser.add_argument("--out", metavar="FILE")
    arguments = parser.parse_args(argv)
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
