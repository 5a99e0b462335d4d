"""Files to numbers: add one category to a fresh workspace, train its spoke, and rank it beside the launch floor.

Prints a Markdown table with the protocol, the machine and the versions behind it, and writes the same as JSON. The
workspace is temporary, so that nothing is reused from an earlier run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

import hubspoke
from hubspoke.commands.options import read_config
from hubspoke.commands.progress import make_progress
from hubspoke.evaluation.protocols import Protocol

PACKAGES = ("torch", "faiss-cpu", "faiss-gpu", "transformers", "peft", "open_clip_torch", "polars", "numpy")
BASELINES = ("popularity", "item-cf", "hub")
COLUMNS = (("HR@10", "all", "hr@10"), ("NDCG@10", "all", "ndcg@10"), ("NDCG@10 cold", "cold", "ndcg@10"))
DOMAIN = "category"


class Clock:
    """Wall seconds of each step and since the start."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self._started = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return round(time.perf_counter() - self._started, 1)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times what happens inside."""
        started = time.perf_counter()
        yield
        self.steps.append({"step": name, "seconds": round(time.perf_counter() - started, 1)})


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run: data in, hub, one spoke per seed, one comparison per serving policy."""
    config = read_config(arguments.config, ()) or {}
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        settings = {"workspace": folder, "device": arguments.device}
        with hubspoke.open(create=True, progress=make_progress(arguments.quiet), **settings) as ws:
            with clock.step("domain add"):
                ws.domain.add(DOMAIN, items=arguments.items, events=arguments.events, images=arguments.images)
            with clock.step("hub"):
                # No domains: an untrained fusion on the encoders, which is what a first launch stands on.
                hub = ws.hub.train(domains=[], config=config.get("hub"))
            with clock.step("hub embed"):
                embedded = ws.hub.embed(DOMAIN)
            spokes = {}
            for seed in arguments.seeds:
                with clock.step(f"spoke train, seed {seed}"):
                    trained = ws.spoke.train(
                        DOMAIN, config={**config.get("spoke", {}), "seed": seed}, refit=arguments.refit
                    )
                spokes[trained.ref] = {"seed": seed, "summary": trained.summary}
            compared = {}
            for filtered in (True,) if arguments.exclude_seen else (False, True):
                policy = "seen items excluded" if filtered else "seen items ranked"
                with clock.step(f"evaluate compare, {policy}"):
                    models = [*BASELINES, *spokes]
                    compared[policy] = ws.evaluate.compare(
                        DOMAIN, models, protocol=Protocol(exclude_seen=filtered)
                    ).to_dict()
            return {
                "date": datetime.now(UTC).date().isoformat(),
                "files": {name: Path(path).name for name, path in _files(arguments).items()},
                "settings": {"refit": arguments.refit, "seeds": arguments.seeds, "config": config},
                "data": embedded.to_dict() | {"events": trained.to_dict()["summary"]["waterfall"][-1]["rows_out"]},
                "hub": hub.to_dict(),
                "spokes": spokes,
                "compared": compared,
                "steps": clock.steps,
                "seconds": clock.total,
                "machine": machine(arguments.device),
                "versions": versions(),
            }


def _files(arguments: argparse.Namespace) -> dict[str, str]:
    given = {"items": arguments.items, "events": arguments.events, "images": arguments.images}
    return {name: path for name, path in given.items() if path}


def machine(device: str) -> dict[str, Any]:
    """Processor, usable cores, memory and the device that models ran on."""
    import torch
    from hubspoke.hub.cores import usable_cores
    from hubspoke.hub.devices import pick_device

    chosen = pick_device(device)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(memory / 2**30, 1),
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "CPU",
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


def versions() -> dict[str, str]:
    """Versions of this package, Python and what numbers may depend on."""
    found = {"hubspoke": hubspoke.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write(path: str, report: Mapping[str, Any]) -> None:
    """The report as JSON."""
    text = json.dumps(report, indent=2, ensure_ascii=False, default=str)
    Path(path).write_text(text + "\n", encoding="utf-8")


def publish(measure: Callable[[], Any], markdown: Callable[[Any], str], out: str | None = None) -> None:
    """Measure, write the report to `out` and print it; what the package refuses ends as its commands do."""
    try:
        report = measure()
    except hubspoke.HubspokeError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if out:
        write(out, report)
    print(markdown(report))


def markdown(report: Mapping[str, Any]) -> str:
    """The report for a README: one table per serving policy, then what stands behind it."""
    tables = [_policy_table(compared, report["spokes"]) for compared in report["compared"].values()]
    place, data = report["machine"], report["data"]
    steps = ", ".join(f"{step['step']} {step['seconds']:g} s" for step in report["steps"])
    facts = (
        f"{', '.join(report['files'].values())}: {data['n_items']} items ({data['with_text']} with text, "
        f"{data['with_image']} with pictures), {data['events']} events in sessions.",
        f"Files to numbers: {report['seconds']:g} s wall for {len(report['spokes'])} spoke(s) ({steps}).",
        f"Machine: {place['cpu']}, {place['cores']} cores, {place['memory_gib']:g} GiB, on {place['device']}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report['versions'].items())}.",
        f"Date: {report['date']}.",
    )
    return "\n\n".join([*tables, "\n".join(f"- {fact}" for fact in facts)])


def _policy_table(compared: Mapping[str, Any], spokes: Mapping[str, Mapping[str, Any]]) -> str:
    results = compared["results"]
    lines = [
        f"{compared['protocol']['description']}; {compared['n_users']} users; 95 % intervals in brackets.",
        "",
        f"| system | {' | '.join(name for name, _, _ in COLUMNS)} | coverage@100 |",
        f"|---|{'---|' * (len(COLUMNS) + 1)}",
        *(_line(_label(result["model"], spokes), cells(result)) for result in results),
    ]
    own = [result for result in results if result["model"] in spokes]
    if len(own) > 1:
        lines.append(_line(f"spoke, mean of {len(own)} seeds (lowest to highest)", mean_cells(own)))
    return "\n".join(lines)


def _label(model: str, spokes: Mapping[str, Mapping[str, Any]]) -> str:
    if model in spokes:
        return f"spoke, seed {spokes[model]['seed']}"
    return "hub alone" if model.startswith("hub") else model


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def cells(result: Mapping[str, Any]) -> list[str]:
    """What a table says of one system, interval by interval."""
    return [
        *(interval(result, part, metric) for _, part, metric in COLUMNS),
        f"{result['metrics']['all']['coverage@100']:.3f}",
    ]


def interval(result: Mapping[str, Any], part: str, metric: str) -> str:
    """A metric on one slice with its 95 % interval."""
    if part not in result["metrics"]:
        return "no target"
    low, high = result["intervals"][part][metric]
    return f"{result['metrics'][part][metric]:.4f} [{low:.4f}, {high:.4f}]"


def mean_cells(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same of several seeds: mean, lowest, highest."""
    wanted = [(part, metric, ".4f") for _, part, metric in COLUMNS] + [("all", "coverage@100", ".3f")]
    return [
        mean(results, lambda own, p=part, m=metric: own["metrics"].get(p, {}).get(m), f) for part, metric, f in wanted
    ]


def mean(results: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float | None], form: str) -> str:
    """Mean, lowest and highest of a value over results; those that lack it are passed over."""
    values = [found for result in results if (found := value(result)) is not None]
    if not values:
        return "no target"
    return f"{fmean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def seeds(text: str) -> list[int]:
    """The numbers of `0,1,2`."""
    return list(dict.fromkeys(int(part) for part in text.split(",")))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", required=True, metavar="FILE", help="catalog: CSV, TSV, JSON Lines or Parquet")
    parser.add_argument("--events", required=True, metavar="FILE", help="events on these items")
    parser.add_argument("--images", metavar="DIR", help="folder of the pictures (default: the folder of the items)")
    parser.add_argument("--refit", action="store_true", help="refit spokes on everything but the test item")
    parser.add_argument(
        "--exclude-seen", action="store_true", help="measure with seen items excluded only (default: both policies)"
    )
    parser.add_argument("--seeds", type=seeds, default=[0], metavar="A,B,C", help="one spoke per seed (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the JSON report goes")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    # For machines without weights and for tests: YAML or JSON with `hub:` and `spoke:` settings.
    parser.add_argument("--config", metavar="FILE", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    arguments = parse(argv)
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
