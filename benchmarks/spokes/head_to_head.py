"""One category from its files to a table: every baseline and any variants of the spoke on the same users.

Trainings are versions of a workspace; with `--keep-workspace` a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

import hubspoke
from hubspoke.commands.options import moment, read_config, read_map, read_sessions
from hubspoke.commands.progress import make_progress
from hubspoke.demo.complete_journey import department_events, department_items
from hubspoke.evaluation.lists import DIVERSITY, NOVELTY
from hubspoke.evaluation.protocols import Protocol
from hubspoke.spokes.regimes import deep_merge

from benchmarks.launch_floor import DOMAIN, Clock, interval, machine, mean, publish, seeds, versions

Variants = Mapping[str, Mapping[str, Any]]

BASELINES = ("popularity", "popularity-7d", "item-cf", "als", "product2vec", "sknn", "hub", "hub-recency")
# The library behind a baseline that not every installation has.
NEEDED = {"als": "implicit"}
VARIANTS: Variants = {
    "sasrec": {"model": "sasrec"},
    "sasrec-ids": {"model": "sasrec", "content": []},
    "bert4rec": {"model": "bert4rec"},
    "bert4rec-ids": {"model": "bert4rec", "content": []},
}
POLICIES = {False: "seen items ranked", True: "seen items excluded"}
# Column, slice, metric, format.
COLUMNS = (
    ("HR@10", "all", "hr@10", ".4f"),
    ("NDCG@10", "all", "ndcg@10", ".4f"),
    ("NDCG@10 cold", "cold", "ndcg@10", ".4f"),
    ("coverage@100", "all", "coverage@100", ".3f"),
    ("novelty", "all", NOVELTY, ".2f"),
    ("diversity", "all", DIVERSITY, ".3f"),
)
JUDGED = "ndcg@10"


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        variants: settings of each spoke by name, for a catalog with pictures or without.
        baselines: systems without training of their own kind.
        seeds: one training of each variant per seed.
        refit: whether spokes are refitted on all but the test.
        protocol: `leave-one-out` or `temporal`, with the first moment of the test.
        policies: serving policies, by whether seen items are excluded.
        best: the variant that the others are held against; None takes the best on validation.
    """

    variants: Callable[[bool], Variants]
    baselines: Sequence[str]
    seeds: Sequence[int]
    refit: bool
    protocol: str
    test_from: datetime | None
    policies: Sequence[bool]
    best: str | None = None


def measure(arguments: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """The whole run: data in, hub, the spokes one after the other, one comparison per serving policy."""
    config = read_config(arguments.config, ()) or {}
    clock, progress = Clock(), make_progress(arguments.quiet)
    with (
        workspace_folder(arguments.keep_workspace) as folder,
        hubspoke.open(create=True, progress=progress, workspace=folder, device=arguments.device) as ws,
    ):
        with clock.step("domain add"):
            ws.domain.add(DOMAIN, **data_of(arguments))
        with clock.step("hub"):
            # No domains: an untrained fusion on the encoders, which is what a first launch stands on.
            ws.hub.train(domains=[], config=config.get("hub"))
        with clock.step("hub embed"):
            embedded = ws.hub.embed(DOMAIN)
        variants = plan.variants(embedded.with_image > 0)
        spokes = train_all(ws, plan, variants, config.get("spoke", {}), clock)
        best = best_variant(spokes, plan.best)
        held = next((ref for ref, own in spokes.items() if own["variant"] == best), None)
        compared = {}
        for filtered in plan.policies:
            with clock.step(f"evaluate compare, {POLICIES[filtered]}"):
                found = ws.evaluate.compare(
                    DOMAIN,
                    [*plan.baselines, *spokes],
                    baseline=held,
                    protocol=Protocol(name=plan.protocol, exclude_seen=filtered, test_from=plan.test_from),
                    record=False,
                )
            compared[POLICIES[filtered]] = found.to_dict()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "data": source_of(arguments) | embedded.to_dict() | waterfall(spokes),
        "settings": {"refit": plan.refit, "seeds": list(plan.seeds), "variants": variants, "config": config},
        "best": best,
        "spokes": spokes,
        "compared": compared,
        "steps": clock.steps,
        "seconds": clock.total,
        "machine": machine(arguments.device),
        "versions": versions(),
    }


@contextmanager
def workspace_folder(kept: str | None) -> Iterator[Path]:
    """The folder that was asked for, or one that is gone afterwards."""
    if kept is not None:
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        yield Path(folder)


def data_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `domain add` reads."""
    sessions = read_sessions(arguments.sessions)
    if arguments.department:
        tables = {"items": department_items(arguments.department), "events": department_events(arguments.department)}
        return {**tables, "sessions": sessions}
    return {
        "items": arguments.items,
        "events": arguments.events,
        "images": arguments.images,
        "item_map": read_map(arguments.map, "items"),
        "event_map": read_map(arguments.event_map, "events"),
        "sessions": sessions,
    }


def source_of(arguments: argparse.Namespace) -> dict[str, str]:
    """What the data is called: names of files, never the folders they lie in."""
    if arguments.department:
        return {"source": arguments.name or f"Complete Journey, department {arguments.department}"}
    files = f"{Path(arguments.items).name}, {Path(arguments.events).name}"
    return {"source": f"{arguments.name} ({files})" if arguments.name else files}


def train_all(
    ws: Any, plan: Plan, variants: Variants, base: Mapping[str, Any], clock: Clock
) -> dict[str, dict[str, Any]]:
    """Every variant with every seed: what each is and says of itself, by its version."""
    spokes = {}
    for name, own in variants.items():
        for seed in plan.seeds:
            with clock.step(f"{name}, seed {seed}"):
                trained = ws.spoke.train(
                    DOMAIN,
                    config=deep_merge(base, own) | {"seed": seed},
                    refit=plan.refit,
                    split=plan.protocol,
                    test_from=plan.test_from,
                    index=False,
                )
            if trained.ref in spokes:
                raise hubspoke.UsageError(f"{name} is {spokes[trained.ref]['variant']} once more; leave one out.")
            spokes[trained.ref] = {"variant": name, "seed": seed, "summary": trained.to_dict()["summary"]}
    return spokes


def best_variant(spokes: Mapping[str, Mapping[str, Any]], asked: str | None) -> str | None:
    """The variant with the best validation score, as a mean over its seeds; never chosen on the test."""
    scores: dict[str, list[float]] = {}
    for own in spokes.values():
        scores.setdefault(own["variant"], []).append(own["summary"]["validation_ndcg@10"])
    if asked is not None and asked not in scores:
        raise hubspoke.UsageError(
            f"There is no variant {asked} to hold others against; name one of {', '.join(scores)}."
        )
    return asked or max(scores, key=lambda name: fmean(scores[name]), default=None)


def waterfall(spokes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Events and users that are left of the data in sessions, as the first spoke says."""
    steps = next((own["summary"]["waterfall"] for own in spokes.values()), [])
    return {"events": steps[-1]["rows_out"]} if steps else {}


def markdown(report: Mapping[str, Any]) -> str:
    """The report for a README: one table per serving policy, then what stands behind it."""
    tables = [policy_table(compared, report) for compared in report["compared"].values()]
    place, data = report["machine"], report["data"]
    training = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in training_seconds(report["spokes"]).items())
    events = f", {data['events']} events in sessions" if "events" in data else ""
    facts = (
        f"{data['source']}: {data['n_items']} items ({data['with_text']} with text, {data['with_image']} with "
        f"pictures){events}.",
        f"Held against {report['best']}, the best spoke on validation: worse or better where the 95 % interval of the "
        "paired difference in NDCG@10 leaves zero out, else tied.",
        f"Training, mean of seeds {', '.join(map(str, report['settings']['seeds']))}"
        f"{', refit included' if report['settings']['refit'] else ''}: {training}.",
        f"Machine: {place['cpu']}, {place['cores']} cores, {place['memory_gib']:g} GiB, on {place['device']}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report['versions'].items())}.",
        f"Date: {report['date']}.",
    )
    return "\n\n".join([*tables, "\n".join(f"- {fact}" for fact in facts)])


def training_seconds(spokes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Mean seconds of a variant's trainings, as the versions remember them."""
    found: dict[str, list[float]] = {}
    for own in spokes.values():
        found.setdefault(own["variant"], []).append(own["summary"]["seconds"])
    return {name: fmean(seconds) for name, seconds in found.items()}


def policy_table(compared: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """All systems under one serving policy."""
    spokes, results = report["spokes"], {result["model"]: result for result in compared["results"]}
    lines = [
        f"{compared['protocol']['description']}; {compared['n_users']} users; 95 % intervals in brackets.",
        "",
        f"| system | {' | '.join(name for name, *_ in COLUMNS)} | against {report['best']} | training, s |",
        f"|---|{'---|' * (len(COLUMNS) + 2)}",
    ]
    for model, result in results.items():
        seconds = f"{spokes[model]['summary']['seconds']:.0f}" if model in spokes else ""
        cells = [*(_cell(result, *column[1:]) for column in COLUMNS), verdict(compared, model), seconds]
        lines.append(f"| {label(model, spokes)} | {' | '.join(cells)} |")
    if len(report["settings"]["seeds"]) > 1:
        lines += [_mean_line(name, results, spokes) for name in report["settings"]["variants"]]
    return "\n".join(lines)


def label(model: str, spokes: Mapping[str, Mapping[str, Any]]) -> str:
    """What a system is called in tables."""
    if model in spokes:
        return f"{spokes[model]['variant']}, seed {spokes[model]['seed']}"
    return "hub alone" if model.startswith("hub:") else model


def verdict(compared: Mapping[str, Any], model: str) -> str:
    """Whether a system is worse, better or tied, by the paired bootstrap, on all items and on cold ones."""
    if model == compared["baseline"]:
        return "-"
    words = []
    for part in ("all", "cold"):
        row = next(
            (r for r in compared["rows"] if (r["model"], r["slice"], r["metric"]) == (model, part, JUDGED)), None
        )
        if row is None:
            continue
        word = ("better" if row["difference"] > 0 else "worse") if row["clear"] else "tied"
        words.append(f"{'cold ' if part == 'cold' else ''}{word} ({row['difference']:+.4f})")
    return ", ".join(words)


def _cell(result: Mapping[str, Any], part: str, metric: str, form: str) -> str:
    if form == ".4f":
        return interval(result, part, metric)
    value = result["metrics"][part].get(metric)
    return "not measured" if value is None else f"{value:{form}}"


def _mean_line(name: str, results: Mapping[str, Any], spokes: Mapping[str, Mapping[str, Any]]) -> str:
    own = [result for model, result in results.items() if model in spokes and spokes[model]["variant"] == name]
    cells = [
        mean(own, lambda one, p=part, m=metric: one["metrics"].get(p, {}).get(m), form)
        for _, part, metric, form in COLUMNS
    ]
    seconds = training_seconds({model: spokes[model] for model in spokes if spokes[model]["variant"] == name})[name]
    return f"| {name}, mean of {len(own)} seeds (lowest to highest) | {' | '.join(cells)} | | {seconds:.0f} |"


def available(baselines: Sequence[str], quiet: bool) -> list[str]:
    """The baselines whose libraries are installed; the others are named."""
    missing = [name for name in baselines if name in NEEDED and find_spec(NEEDED[name]) is None]
    for name in missing if not quiet else ():
        print(f"{name} is left out: {NEEDED[name]} is not installed", file=sys.stderr)
    return [name for name in baselines if name not in missing]


def variant(text: str) -> tuple[str, dict[str, Any]]:
    """`NAME=key.path=value,key.path=value` as a name and nested settings; commas inside brackets part nothing."""
    name, equals, rest = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} sets nothing; write NAME=key.path=value,key.path=value")
    settings = tuple(part.strip() for part in re.split(r",(?![^\[{]*[\]}])", rest) if part.strip())
    try:
        return name, read_config(None, settings) or {}
    except hubspoke.HubspokeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def names(text: str) -> list[str]:
    """The parts of `a,b,c`."""
    return [part.strip() for part in text.split(",") if part.strip()]


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Options that every script over a category has."""
    parser.add_argument("--items", metavar="FILE", help="catalog: CSV, TSV, JSON Lines or Parquet")
    parser.add_argument("--events", metavar="FILE", help="events on these items")
    parser.add_argument("--images", metavar="DIR", help="folder of the pictures (default: the folder of the items)")
    parser.add_argument("--map", metavar="MAP", help="item columns, as `domain add --map` takes them")
    parser.add_argument("--event-map", metavar="MAP", help="event columns, likewise")
    parser.add_argument("--sessions", choices=("auto", "gap", "per_user", "given"), help="as `domain add` takes it")
    parser.add_argument("--department", metavar="NAME", help="a Complete Journey department instead of files")
    parser.add_argument("--name", metavar="NAME", help="what the data is called in the report")
    parser.add_argument("--protocol", choices=("leave-one-out", "temporal"), default="leave-one-out")
    parser.add_argument("--test-from", type=moment, metavar="DATE", help="with temporal: first moment of the test")
    parser.add_argument("--refit", action="store_true", help="refit spokes on everything but the test")
    parser.add_argument("--seeds", type=seeds, default=[0], metavar="A,B,C", help="trainings per variant (default: 0)")
    parser.add_argument("--keep-workspace", metavar="DIR", help="work there, and go on with what is there already")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the JSON report goes")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--config", metavar="FILE", help="`hub:` and `spoke:` settings under all variants")


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if not arguments.department and not (arguments.items and arguments.events):
        parser.error("give --items and --events, or --department")
    if (arguments.protocol == "temporal") != (arguments.test_from is not None):
        parser.error("--protocol temporal and --test-from go together")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_options(parser)
    parser.add_argument(
        "--variants", type=names, default=list(VARIANTS), metavar="A,B,C", help=f"of {', '.join(VARIANTS)}"
    )
    parser.add_argument(
        "--variant",
        type=variant,
        action="append",
        default=[],
        metavar="NAME=KEY=VALUE,...",
        help="one more variant, or settings of a known one; repeatable",
    )
    parser.add_argument("--baselines", type=names, default=list(BASELINES), metavar="A,B,C", help="(default: all)")
    parser.add_argument("--best", metavar="VARIANT", help="held against the others (default: best on validation)")
    parser.add_argument(
        "--policy", choices=("both", "ranked", "excluded"), default="both", help="what of seen items (default: both)"
    )
    arguments = parser.parse_args(argv)
    check(parser, arguments)
    unknown = [name for name in arguments.variants if name not in VARIANTS]
    if unknown:
        parser.error(f"--variants knows {', '.join(VARIANTS)}, not {unknown[0]}; describe it with --variant")
    return arguments


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    variants = {name: dict(VARIANTS[name]) for name in arguments.variants}
    for name, own in arguments.variant:
        variants[name] = deep_merge(variants.get(name, VARIANTS.get(name, {})), own)
    policies = {"both": (False, True), "ranked": (False,), "excluded": (True,)}
    return Plan(
        variants=lambda _: variants,
        baselines=available(arguments.baselines, arguments.quiet),
        seeds=arguments.seeds,
        refit=arguments.refit,
        protocol=arguments.protocol,
        test_from=arguments.test_from,
        policies=policies[arguments.policy],
        best=arguments.best,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    arguments = parse(argv)
    publish(lambda: measure(arguments, plan_of(arguments)), markdown, arguments.out)


if __name__ == "__main__":
    main()
