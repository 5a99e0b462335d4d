"""One epoch against the number of events: simulated tables of growing size, each step of each in a fresh process.

A table is simulated straight to Parquet, cut into session files, and trained on for one epoch, shard by shard. Seconds
should grow with the events, memory should not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from hubspoke.catalog.sequences import Sequences
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.catalog.streams import SequenceStream, SessionFiles, write_session_files

from benchmarks.launch_floor import machine, versions, write

ROOT = Path(__file__).resolve().parents[2]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS", "POLARS_MAX_THREADS")
EVENTS, FILES = "events.parquet", "sessions"
MIB = 2**20

TOPICS = 100
# Share of a shopper's events that follow their taste, and of those that stay with the topic of the event before.
OWN, SAME = 0.9, 0.7
CHUNK_USERS = 10_000
START_US = 1_700_000_000_000_000
MINUTE_US, DAY_US = 60_000_000, 86_400_000_000
COLUMNS = 64  # of the simulated text vectors


def simulated_users(n_items: int, seed: int, chunk: int) -> pl.DataFrame:
    """Events of one chunk of shoppers, sorted by user and time; a chunk depends on nothing but its number.

    A topic and an item within its topic are popular by Zipf's law. A shopper has a taste for two topics and comes one
    to four times, for three to twelve products.

    Args:
        n_items: of the catalog; item i is the (i // TOPICS)-th of topic i % TOPICS.
        seed: of the simulation.
        chunk: its number.
    """
    rng = np.random.default_rng((seed, chunk))
    visits = rng.integers(1, 5, CHUNK_USERS)
    lengths = rng.integers(3, 13, visits.sum())
    session = np.repeat(np.arange(len(lengths)), lengths)
    user = np.repeat(np.arange(CHUNK_USERS), visits)[session]
    topics = min(TOPICS, n_items)
    tastes = _zipf(rng, topics, (CHUNK_USERS, 2))
    stays = rng.random(len(session)) < SAME
    place = np.arange(len(session))
    # An event that stays takes the draw of the last one that did not, unless a new visit began since.
    begins = np.concatenate([[True], session[1:] != session[:-1]])
    drawn_at = np.maximum.accumulate(np.where(begins | ~stays, place, 0))
    topic = tastes[user, rng.integers(2, size=len(session))[drawn_at]]
    topic = np.where(rng.random(len(session)) < OWN, topic, _zipf(rng, topics, len(session)))
    per_topic = max(1, n_items // topics)
    item = topic + topics * _zipf(rng, per_topic, len(session))
    return pl.DataFrame(
        {
            "user_id": pl.Series(user + chunk * CHUNK_USERS).cast(pl.String).str.zfill(10),
            "item_id": pl.Series(item).cast(pl.String),
            "timestamp": pl.Series(START_US + _times(rng, session, user)).cast(pl.Datetime("us", "UTC")),
            "event_type": pl.Series(np.where(rng.random(len(item)) < 0.1, "purchase", "view")),
        }
    )


def _zipf(rng: np.random.Generator, n: int, size: Any) -> np.ndarray:
    """Numbers below n, number i in proportion to 1 / (i + 1)."""
    cumulated = np.cumsum(1.0 / np.arange(1, n + 1))
    return np.searchsorted(cumulated / cumulated[-1], rng.random(size), side="right").astype(np.int64)


def _times(rng: np.random.Generator, session: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Microseconds since a user's start: minutes between the events of a visit, days between visits."""
    minutes = rng.integers(1, 6, len(session)) * MINUTE_US
    first = np.concatenate([[True], session[1:] != session[:-1]])
    passed = np.cumsum(np.where(first, rng.integers(1, 15, len(session)) * DAY_US, minutes))
    since = np.maximum.accumulate(np.where(np.concatenate([[True], user[1:] != user[:-1]]), passed, 0))
    return passed - since


def simulate(folder: Path, n_events: int, n_items: int, seed: int) -> dict[str, Any]:
    """Write a table of so many events, chunk by chunk; a smaller table is the beginning of a larger one."""
    left, chunk = n_events, 0
    writer: pq.ParquetWriter | None = None
    while left > 0:
        table = simulated_users(n_items, seed, chunk).head(left).to_arrow()
        writer = writer or pq.ParquetWriter(folder / EVENTS, table.schema, compression="zstd")
        writer.write_table(table)
        left, chunk = left - len(table), chunk + 1
    if writer:
        writer.close()
    return {"bytes": (folder / EVENTS).stat().st_size}


def cut(folder: Path, n_items: int) -> dict[str, Any]:
    """Cut the table into session files."""
    files = write_session_files(folder / EVENTS, item_ids(n_items), folder / FILES, SessionSettings(mode="gap"))
    return {"session_events": files.manifest.events, "files": len(files.manifest.parts)}


def item_ids(n_items: int) -> pl.Series:
    """The identifiers of the catalog in row order."""
    return pl.Series("item_id", np.arange(n_items)).cast(pl.String)


def train(
    folder: Path, n_items: int, settings: Sequence[str], threads: int | None, device: str, epochs: int
) -> dict[str, Any]:
    """Train a spoke on all but the last two events of each shopper, as under leave-one-out."""
    from hubspoke.commands.options import read_config
    from hubspoke.evaluation.protocols import Protocol, training_mask
    from hubspoke.hub.devices import pick_device
    from hubspoke.hub.threads import limit_threads
    from hubspoke.spokes.config import SpokeConfig
    from hubspoke.spokes.training.loop import train_behaviour
    from hubspoke.workflows.models import parse_config

    limit_threads(threads)
    config = parse_config(SpokeConfig, read_config(None, tuple(settings)) or {}, "spoke")
    files = SessionFiles.open(folder / FILES)
    if files is None:
        raise SystemExit(f"There are no session files in {folder}.")
    stream = SequenceStream(files, config.training.shard_events).filter(
        lambda shard: shard.keep_events(training_mask(shard, Protocol()))
    )
    make = _spokes(n_items, config, pick_device(device))
    # The first steps of a process are slow whatever they train on; a spoke that is thrown away takes them.
    train_behaviour(*make(), _few(n_items), config, epochs=1)
    before = peak_mib()
    started = time.perf_counter()
    stream.item_counts()
    counting = time.perf_counter() - started
    run = train_behaviour(*make(), stream, config, epochs=epochs)
    lengths, counts = stream.length_counts()
    transitions = int(((lengths - 1) * counts).sum())
    windows = int((-(-(lengths - 1) // config.transformer.max_length) * counts).sum())
    seconds = windows / run.windows_per_second if run.windows_per_second else 0.0
    return {
        "config": config.model_dump(mode="json"),
        "training_events": stream.n_events,
        "transitions": transitions,
        "windows": windows,
        "shards": stream.n_shards,
        "counting_seconds": round(counting, 2),
        "seconds_per_epoch": round(seconds, 6),
        "windows_per_second": round(run.windows_per_second),
        "events_per_second": round(stream.n_events / seconds) if seconds else 0,
        "before_mib": before,
    }


def _spokes(n_items: int, config: Any, device: Any) -> Callable[[], tuple[Any, Any]]:
    """Makes untrained spokes over a catalog whose text says what topic an item is of.

    Every item has an ID residual, whatever its events: a table of another size would change what a step costs.
    """
    from hubspoke.hub.config import FusionConfig, HubConfig
    from hubspoke.hub.content import fit_content_space
    from hubspoke.hub.devices import seed_everything
    from hubspoke.hub.fusion import BaseFusion, EncodedItems
    from hubspoke.spokes.model import BehaviourModel
    from hubspoke.spokes.spoke import id_rows

    rng = np.random.default_rng(config.seed)
    topics = rng.standard_normal((TOPICS, COLUMNS))
    text = topics[np.arange(n_items) % TOPICS] + rng.standard_normal((n_items, COLUMNS))
    encoded = EncodedItems(text.astype(np.float32), np.zeros((n_items, 0), np.float32))
    seed_everything(config.seed)
    fusion = BaseFusion(COLUMNS, 0, FusionConfig())
    space = fit_content_space(fusion.fuse(encoded), HubConfig.model_validate({"image": None}))
    names = item_ids(n_items).to_list()

    def make() -> tuple[Any, Any]:
        seed_everything(config.seed)
        model = BehaviourModel(config, fusion, space, n_items).to(device)
        return model, model.inputs(encoded, id_rows(names, names))

    return make


def _few(n_items: int) -> Sequences:
    rows = np.arange(20 * 50) % n_items
    offsets = np.arange(0, len(rows) + 1, 20)
    users = np.arange(len(offsets) - 1)
    return Sequences(rows, np.arange(len(rows)), offsets, users, tuple(map(str, users)), n_items)


def peak_mib() -> int:
    """The largest resident set of this process so far.

    Linux counts what a process was before it became another program into `getrusage`, so the kernel's own mark of this
    program is read where there is one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024 // MIB
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // MIB


def run_step(step: str, arguments: argparse.Namespace, folder: Path, n_events: int) -> dict[str, Any]:
    """One step, in this process."""
    started = time.perf_counter()
    if step == "simulate":
        found = simulate(folder, n_events, arguments.items, arguments.seed)
    elif step == "cut":
        found = cut(folder, arguments.items)
    else:
        found = train(
            folder, arguments.items, arguments.set, arguments.threads, arguments.device, epochs=arguments.epochs
        )
    return {**found, "seconds": round(time.perf_counter() - started, 2), "peak_mib": peak_mib()}


STEPS = ("simulate", "cut", "train")


def in_fresh_process(step: str, arguments: argparse.Namespace, folder: Path, n_events: int) -> dict[str, Any]:
    """One step, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.spokes.scale", "--step", step, "--folder", str(folder)]
    command += ["--events", str(n_events), "--items", str(arguments.items), "--seed", str(arguments.seed)]
    command += ["--epochs", str(arguments.epochs), "--device", arguments.device]
    command += [part for setting in arguments.set for part in ("--set", setting)]
    environment = dict(os.environ)
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
        environment |= {variable: str(arguments.threads) for variable in THREAD_VARIABLES}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The step {step} with {n_events} events failed (exit code {done.returncode}).")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run; the report is written after each size."""
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "settings": {
            "items": arguments.items,
            "seed": arguments.seed,
            "threads": arguments.threads,
            "set": arguments.set,
            "epochs": arguments.epochs,
        },
        "machine": machine(arguments.device),
        "versions": versions(),
        "sizes": [],
    }
    with tempfile.TemporaryDirectory(prefix="hubspoke-scale-", dir=arguments.folder) as top:
        for n_events in arguments.events:
            folder = Path(top) / str(n_events)
            folder.mkdir()
            row: dict[str, Any] = {"events": n_events}
            for step in STEPS:
                row[step] = in_fresh_process(step, arguments, folder, n_events)
                if not arguments.quiet:
                    told = f"{row[step]['seconds']:g} s, {row[step]['peak_mib']} MiB"
                    print(f"{n_events} events, {step}: {told}", file=sys.stderr, flush=True)
            report["config"] = row["train"].pop("config")
            report["sizes"].append(row)
            write(arguments.out, report)
            for path in _all_files(folder):
                path.unlink()
    return report


def _all_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def markdown(report: Mapping[str, Any]) -> str:
    """The report for a README: a row per size, then what stands behind it."""
    training, shape = report["config"]["training"], report["config"]["transformer"]
    settings, place = report["settings"], report["machine"]
    head = (
        "events",
        "s per epoch",
        "s per million events",
        "windows/s",
        "events/s",
        "peak RSS",
        "shards",
        "cut: s, RSS",
    )
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *map(_line, report["sizes"])]
    facts = (
        f"Simulated: {settings['items']} items in {TOPICS} topics, Zipf popularity, seed {settings['seed']}; the last "
        "two events of each shopper are kept out. Seconds per million and events/s are of those that are trained on.",
        f"{report['config']['model']}, dimension {shape['dimension']}, {shape['blocks']} block(s), {training['loss']}, "
        f"{training['tokens_per_batch']} positions a batch, shards of {training['shard_events']} events at most; every "
        "item has an ID residual.",
        "Peak RSS is that of a fresh process that trains (in brackets: after the libraries, the catalog and a first "
        "small training); a table is simulated and cut in processes of their own.",
        f"Machine: {place['cpu']}, {settings['threads'] or place['cores']} of {place['cores']} cores, "
        f"{place['memory_gib']:g} GiB, on {place['device']}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report['versions'].items())}.",
        f"Date: {report['date']}.",
    )
    return "\n".join(lines) + "\n\n" + "\n".join(f"- {fact}" for fact in facts)


def _line(row: Mapping[str, Any]) -> str:
    trained, made = row["train"], row["cut"]
    seconds = trained["seconds_per_epoch"]
    cells = (
        f"{row['events']:,}",
        f"{seconds:.1f}",
        f"{seconds / trained['training_events'] * 1e6:.0f}" if trained["training_events"] else "-",
        f"{trained['windows_per_second']:,}",
        f"{trained['events_per_second']:,}",
        f"{trained['peak_mib']} MiB ({trained['before_mib']})",
        str(trained["shards"]),
        f"{made['seconds']:.1f} s, {made['peak_mib']} MiB",
    )
    return f"| {' | '.join(cells)} |"


def _numbers(text: str) -> list[int]:
    return [int(float(part)) for part in text.split(",")]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [10_000, 100_000, 1_000_000, 10_000_000]
    parser.add_argument("--events", type=_numbers, default=sizes, metavar="A,B,C", help="sizes (default: 1e4,...,1e7)")
    parser.add_argument("--items", type=int, default=20_000, metavar="N", help="items of the catalog (default 20000)")
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="epochs that a second is the mean of")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the spoke")
    parser.add_argument("--threads", type=int, metavar="N", help="arithmetic threads (default: one per core)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default 0)")
    parser.add_argument("--folder", metavar="DIR", help="where the tables are written, and removed again")
    parser.add_argument("--out", metavar="FILE", help="where the JSON report goes")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    # What the script calls itself with, in a fresh process.
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.step is None and arguments.out is None:
        parser.error("the following arguments are required: --out")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report; or do one step of it."""
    arguments = parse(argv)
    if arguments.step:
        (n_events,) = arguments.events
        print(json.dumps(run_step(arguments.step, arguments, Path(arguments.folder), n_events)))
        return
    print(markdown(measure(arguments)))


if __name__ == "__main__":
    main()
