"""Experiments through the service: shoppers whose taste is known come at a steady rate, and the effect is to be found.

A made-up category is served by `hubspoke serve`. A shopper sends a session, looks at place r of the list with a chance
of 1 / log2(1 + r), clicks what they like of it and buys some of that; events name the list. What both releases show to
each taste is asked beforehand, so that the expected difference is known without a draw. Two experiments: `same`, whose
candidate has rules that change nothing, and `boost`, whose candidate lifts a brand that all shoppers like. What
`hubspoke experiment report` says is held against the truth. `--overhead` asks the service as fast as it answers, in
turns with and without an experiment, and then kills it to count what was answered and not logged.

    python -m benchmarks.experiment --out benchmarks/results/experiment.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hubspoke
import polars as pl
from hubspoke.catalog.exposures import read_exposures
from hubspoke.commands.progress import make_progress
from hubspoke.demo.simulation import MarketplaceSettings, simulate_category
from hubspoke.workflows.workspace import Workspace

from benchmarks.categories import add_common
from benchmarks.experiment_client import examination
from benchmarks.launch_floor import machine, publish, versions
from benchmarks.serving import Served, serving
from benchmarks.serving_client import Connection, encoded

ROOT = Path(__file__).resolve().parents[1]
DOMAIN, K = "lamps", 10
HUB: dict[str, Any] = {"image": None, "contrastive": {"steps": 0}}
TASTES = 400
# The chance that a shopper likes what they look at: of anything, more for each attribute of their taste, and for a
# brand that all of them like and that no list knows of.
LIKING, BY_TASTE, BY_BRAND, BUYING = 0.06, 0.12, 0.20, 0.3
ATTRIBUTES, BRAND = ("style", "material", "room"), "Tindra"
RULES: dict[str, dict[str, Any]] = {
    "same": {"max_per_brand": 1000},
    "boost": {"boost": [{"by": 1.0, "brands": [BRAND]}]},
}
NUMBERS = ("clicks", "purchases", "buyers", "revenue")
KILL_SECONDS, ROUNDS = 3.0, 5
Taste = dict[str, Any]


def prepare(ws: Workspace, folder: Path, items: int) -> list[Taste]:
    """A category that is live by its content alone, and shoppers' tastes."""
    settings = MarketplaceSettings(items_per_category=items, users=200, image_size=16)
    files = simulate_category(DOMAIN, settings, folder)
    ws.domain.add(DOMAIN, str(files.items), str(files.events))
    ws.hub.train(domains=[], config=HUB)
    ws.promote(str(ws.index.build("hub:1", domain=DOMAIN).ref))
    products = json.loads(files.truth.read_text(encoding="utf-8"))["items"]
    prices = dict(pl.read_csv(files.items, glob=False).select("item_id", "price").iter_rows())
    return [taste_of(products, prices, random.Random(number)) for number in range(TASTES)]


def taste_of(products: Mapping[str, Mapping[str, str]], prices: Mapping[str, float], rng: random.Random) -> Taste:
    """A shopper who likes one value of each attribute, and has seen two products that have some of them."""
    liked = {name: rng.choice(sorted({own[name] for own in products.values()})) for name in ATTRIBUTES}
    matches = {item: sum(own[name] == value for name, value in liked.items()) for item, own in products.items()}
    best = sorted(products, key=lambda item: (-matches[item], rng.random()))
    attraction = {
        item: LIKING + BY_TASTE * matches[item] + BY_BRAND * (own["brand"] == BRAND) for item, own in products.items()
    }
    return {"session": best[:2], "attraction": attraction, "price": prices}


def expected(items: list[str], taste: Taste, buying: float = BUYING) -> dict[str, float]:
    """What a list brings on average of a shopper of that taste."""
    clicks = [examination(rank) * taste["attraction"][item] for rank, item in enumerate(items, 1)]
    nothing = 1.0
    for own in clicks:
        nothing *= 1 - buying * own
    revenue = sum(buying * own * taste["price"][item] for own, item in zip(clicks, items, strict=True))
    return {"clicks": sum(clicks), "purchases": buying * sum(clicks), "buyers": 1 - nothing, "revenue": revenue}


def truth(tastes: list[Taste], shoppers: list[int]) -> dict[str, dict[str, float]]:
    """The mean of each number over all shoppers, were all shown the control, or the candidate."""
    of = {arm: [expected(own["lists"][arm], own) for own in tastes] for arm in ("control", "candidate")}
    means = {arm: {n: statistics.fmean(found[t][n] for t in shoppers) for n in NUMBERS} for arm, found in of.items()}
    return {**means, "difference": {n: means["candidate"][n] - means["control"][n] for n in NUMBERS}}


def nominate(ws: Workspace, name: str) -> None:
    """Make what is live, under these rules, the candidate."""
    index = ws.registry.releases.get(f"{DOMAIN}@live").index
    ws.promote(index, "candidate", rules=ws.rules.set(DOMAIN, RULES[name]).ref)


def lists_of(served: Served, tastes: list[Taste]) -> None:
    """Ask both releases for the list of every taste."""
    with Connection(served.port) as connection:
        for taste in tastes:
            taste["lists"] = {}
            for arm, alias in (("control", "live"), ("candidate", "candidate")):
                body = {"session": taste["session"], "alias": alias, "k": K, "fields": []}
                _, answer = connection.ask(encoded(f"/v1/domains/{DOMAIN}/recommend", body))
                taste["lists"][arm] = [own["item_id"] for own in json.loads(answer)["items"]]


def lean(taste: Taste) -> Taste:
    """A taste as a shopper needs it: of the items that may be shown alone."""
    shown = {item for own in taste["lists"].values() for item in own}
    return taste | {name: {item: taste[name][item] for item in shown} for name in ("attraction", "price")}


def cli(ws: Workspace, *arguments: str) -> Any:
    """What a command of hubspoke says in JSON."""
    command = [sys.executable, "-m", "hubspoke.cli", *arguments, "--json", "--workspace", str(ws.settings.workspace)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def start(ws: Workspace, served: Served, shoppers: int, window: float) -> str:
    """Start an experiment on the release that the alias `candidate` points at, and wait until the service has it."""
    how: dict[str, Any] = {"metric": "purchases", "planned": shoppers, "window": timedelta(seconds=window)}
    begun = ws.experiments.start(DOMAIN, f"{DOMAIN}@candidate", **how).experiment
    _until(served, begun.ref)
    return begun.ref


def stop(ws: Workspace, served: Served) -> None:
    """Stop it, and wait until the service has let it go."""
    ws.experiments.stop(DOMAIN)
    _until(served, None)


def _until(served: Served, ref: str | None) -> None:
    address = f"http://127.0.0.1:{served.port}/v1/domains/{DOMAIN}"
    while True:
        with urllib.request.urlopen(address) as answer:
            found = json.loads(answer.read())["experiment"]
        if (found["ref"] if found else None) == ref:
            return
        time.sleep(0.05)


def compare(ws: Workspace, tastes: list[Taste], name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One experiment from its start to its report."""
    nominate(ws, name)
    count = round(arguments.rate * arguments.seconds)
    rng = random.Random(arguments.seed)
    shoppers = [rng.randrange(len(tastes)) for _ in range(count)]
    with serving(ws, DOMAIN) as served:
        lists_of(served, tastes)
        ref = start(ws, served, count, arguments.window)
        how = {"port": served.port, "domain": DOMAIN, "rate": arguments.rate, "clients": arguments.clients}
        how |= {"seed": arguments.seed, "k": K, "buying": BUYING, "shoppers": shoppers}
        before = served.cpu_seconds()
        came = _client(how | {"tastes": [lean(own) for own in tastes]})
        came["service_cpu_share"] = round((served.cpu_seconds() - before) / came["seconds"], 3)
        time.sleep(arguments.window)  # of the last shopper
        reported = cli(ws, "experiment", "report", ref)
        stop(ws, served)
    rows = exposures_of(ws, ref)
    changed = statistics.fmean(own["lists"]["control"] != own["lists"]["candidate"] for own in tastes)
    return {
        "experiment": ref,
        "changed_lists": round(changed, 4),
        "came": came,
        "logged": {"exposures": rows.height, "shoppers": rows["shopper"].n_unique()},
        "arms": {own["arm"]: own["counted"] for own in reported["arms"]},
        "waiting": reported["waiting"],
        "mismatch_p": reported["mismatch_p"],
        "outcome": reported["outcome"],
        "verdict": reported["verdict"],
        "numbers": judged(reported, truth(tastes, shoppers)),
    }


def judged(reported: Mapping[str, Any], known: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """What was found beside what is true."""
    found, rows = {own["metric"]: own for own in reported["metrics"]}, []
    for number in NUMBERS:
        own, true = found[number], known["difference"][number]
        row = {"number": number, "truth": true, "found": own["difference"], "clear": own["clear"]}
        for kind in ("once", "always"):
            row |= {kind: own[kind], f"truth_in_{kind}": own[kind][0] <= true <= own[kind][1]}
        for arm in ("control", "candidate"):
            row |= {f"{arm}_truth": known[arm][number], f"{arm}_found": own[arm]}
        rows.append(row)
    return rows


def _client(told: Mapping[str, Any]) -> Any:
    command = [sys.executable, "-m", "benchmarks.experiment_client"]
    ended = subprocess.run(command, input=json.dumps(told), capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(ended.stdout)


def overhead(ws: Workspace, tastes: list[Taste], arguments: argparse.Namespace) -> dict[str, Any]:
    """Latency in turns without an experiment and with one whose lists are the same; then what a kill loses."""
    index = ws.registry.releases.get(f"{DOMAIN}@live").index
    for alias, most in (("live", 999), ("candidate", 1000)):  # rules take time, here that of both releases
        ws.promote(index, alias, rules=ws.rules.set(DOMAIN, {"max_per_brand": most}).ref)
    path = f"/v1/domains/{DOMAIN}/recommend"
    asked = [(path, {"session": own["session"], "shopper": f"s{n}", "k": K}) for n in range(5) for own in tastes]
    found: dict[str, list[Any]] = {"without": [], "with": []}
    with serving(ws, DOMAIN) as served:
        served.load(asked, arguments.clients, 1.0)
        for _ in range(ROUNDS):
            found["without"].append(served.load(asked, arguments.clients, arguments.overhead))
            start(ws, served, 1000, 1.0)
            found["with"].append(served.load(asked, arguments.clients, arguments.overhead))
            stop(ws, served)
        lost = _killed(ws, served, start(ws, served, 1000, 1.0), asked)
        ws.experiments.stop(DOMAIN)
    numbers = ("per_second", "p50", "p99", "cpu_ms")
    medians = {case: {n: statistics.median(own[n] for own in runs) for n in numbers} for case, runs in found.items()}
    return {"clients": arguments.clients, "rounds": ROUNDS, "seconds": arguments.overhead, **medians, "kill": lost}


def _killed(ws: Workspace, served: Served, ref: str, asked: list[Any]) -> dict[str, Any]:
    """Kill the service under one client; of the lists that had come, those that were not logged."""
    came, requests = list[tuple[float, str]](), [encoded(*own) for own in asked]
    with Connection(served.port) as connection:
        end = time.perf_counter() + KILL_SECONDS
        while time.perf_counter() < end:
            _, body = connection.ask(requests[len(came) % len(requests)])
            came.append((time.perf_counter(), json.loads(body)["recommendation_id"]))
        served.process.kill()
        killed = time.perf_counter()
        served.process.wait()
    kept = set(exposures_of(ws, ref)["recommendation_id"])
    lost = [moment for moment, own in came if own not in kept]
    return {"lists": len(came), "lost": len(lost), "oldest_lost_seconds": round(killed - min(lost), 3) if lost else 0.0}


def exposures_of(ws: Workspace, ref: str) -> pl.DataFrame:
    """What was logged of an experiment; no line may be damaged."""
    found = read_exposures(ws.settings.exposures_dir / DOMAIN)
    if found.damaged:
        raise SystemExit(f"{found.damaged} lines of the log are no exposures")
    return found.exposures.filter(experiment=ref)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, on a workspace of its own."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        progress = make_progress(arguments.quiet)
        with hubspoke.open(create=True, progress=progress, workspace=f"{folder}/w", device=arguments.device) as ws:
            tastes = prepare(ws, Path(folder) / "market", arguments.items)
            wanted = RULES if arguments.seconds else ()
            report: dict[str, Any] = {name: compare(ws, tastes, name, arguments) for name in wanted}
            if arguments.overhead:
                report["overhead"] = overhead(ws, tastes, arguments)
    told = {name: getattr(arguments, name) for name in ("items", "rate", "seconds", "window", "clients", "seed")}
    made = {"machine": machine("cpu"), "versions": versions(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    return {"settings": told | {"tastes": len(tastes)}, **report, **made}


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1000, help="of the category")
    parser.add_argument("--rate", type=float, default=200.0, help="shoppers a second")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each experiment; 0 leaves them out")
    parser.add_argument("--window", type=float, default=5.0, help="seconds that count of each shopper")
    parser.add_argument("--clients", type=int, default=8, help="connections")
    parser.add_argument("--overhead", type=float, default=6.0, help="seconds of each round; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=0)
    add_common(parser)
    arguments = parser.parse_args(argv)
    publish(lambda: measure(arguments), markdown, arguments.out)


CAME = {"shoppers/s": "per_second", "p50 ms": "p50", "p99 ms": "p99", "late at most, s": "late_seconds"}


def markdown(report: Mapping[str, Any]) -> str:
    """A row per experiment, a row per number of each, then what stands beside it."""
    came, numbers = [], []
    for name in filter(report.__contains__, RULES):
        own = report[name]
        arms = [str(own["arms"][arm]) for arm in ("control", "candidate")]
        came.append([name, *(f"{own['came'][key]:g}" for key in CAME.values()), *arms, f"{own['mismatch_p']:.3g}"])
        for row in own["numbers"]:
            once, always = (f"{row[kind][0]:+.4f} to {row[kind][1]:+.4f}" for kind in ("once", "always"))
            told = [f"{row['truth']:+.4f}", f"{row['found']:+.4f}", once, always, "yes" if row["clear"] else "no"]
            numbers.append([name, row["number"], *told])
    tables = (
        table(("experiment", *CAME, "control", "candidate", "p of the split"), came),
        table(("experiment", "number", "truth", "found", "one look", "any look", "clear"), numbers),
        "\n".join(f"- {fact}" for fact in _facts(report)),
    )
    return "\n\n".join(tables)


def table(headers: tuple[str, ...], rows: list[list[str]]) -> str:
    """Rows of Markdown."""
    lines = [f"| {' | '.join(headers)} |", "|---" * len(headers) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _facts(report: Mapping[str, Any]) -> list[str]:
    told, place = report["settings"], report["machine"]
    found = [
        f"{told['items']} items made up, {told['tastes']} tastes, lists of {K}, {told['clients']} connections on the "
        f"same machine; {told['seconds']:g} s each, window {told['window']:g} s. Truth and found are means per "
        "shopper, candidate less control."
    ]
    for name in filter(report.__contains__, RULES):
        own, came = report[name], report[name]["came"]
        found.append(
            f"{name}: {own['changed_lists']:.1%} of the lists differ; {came['shoppers']} lists were answered, "
            f"{own['logged']['exposures']} logged, {came['wrong_lists']} not those of their arm; the service took "
            f"{came['service_cpu_share']:.0%} of a core. {own['verdict']}"
        )
    if "overhead" in report:
        found += _costs(report["overhead"])
    found.append(f"Machine: {place['cpu']}, {place['cores']} cores, {place['memory_gib']:g} GiB.")
    found.append(f"Versions: {', '.join(f'{name} {number}' for name, number in report['versions'].items())}.")
    return [*found, f"Date: {report['date']}."]


def _costs(own: Mapping[str, Any]) -> list[str]:
    cases = [
        f"{case} an experiment {own[case]['per_second']:g}/s, p50 {own[case]['p50']:g} ms, p99 {own[case]['p99']:g} ms"
        f", {own[case]['cpu_ms']:g} ms of CPU"
        for case in ("without", "with")
    ]
    kill = own["kill"]
    return [
        f"As fast as it answers, medians of {own['rounds']} turns: {'; '.join(cases)}.",
        f"Killed after {kill['lists']} lists: {kill['lost']} not logged, the oldest of them from "
        f"{kill['oldest_lost_seconds']:g} s before.",
    ]


if __name__ == "__main__":
    main()
