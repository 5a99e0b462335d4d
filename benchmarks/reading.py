"""How long reading takes and what memory it needs: made-up events and products as CSV, JSON Lines and Parquet.

Tables of a number of rows in every format, and with `--gigabytes` text files of that size. Each reading runs in a
process of its own, whose peak memory is read at the end (on Linux). Prints a Markdown table and writes the same as
JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hubspoke.catalog.readers import read_events, read_items

from benchmarks.launch_floor import machine, versions, write

FORMATS = ("parquet", "csv", "jsonl")
START = datetime(2024, 1, 1, tzinfo=UTC)
PART = {"events": 500_000, "items": 50_000}  # rows that a large file grows by


def events(rows: int, part: int = 0) -> pl.DataFrame:
    """Events of shoppers on 20,000 products over a year, two columns of which no canonical name reads."""
    rng = np.random.default_rng(part)
    seconds = rng.integers(0, 365 * 86_400, rows)
    return pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in rng.integers(0, rows // 20 + 1, rows)],
            "item_id": [f"sku-{n:06}" for n in rng.integers(0, 20_000, rows)],
            "timestamp": pl.Series(seconds).cast(pl.Duration("ms")) * 1000 + pl.Series([START]).first(),
            "event_type": rng.choice(["view", "cart", "purchase"], rows, p=[0.8, 0.12, 0.08]),
            "value": rng.uniform(1, 200, rows).round(2),
            "device": rng.choice(["phone", "desktop"], rows),
            "page": [f"/p/{n}" for n in rng.integers(0, 20_000, rows)],
        }
    )


def items(rows: int, part: int = 0) -> pl.DataFrame:
    """Products with descriptions of a hundred words; their ids go on from part to part."""
    rng = np.random.default_rng(part)
    words = np.array([f"word{n}" for n in range(5000)])
    return pl.DataFrame(
        {
            "item_id": [f"sku-{n:08}" for n in range(part * rows, (part + 1) * rows)],
            "title": [" ".join(words[rng.integers(0, 5000, 6)]) for _ in range(rows)],
            "description": [" ".join(words[rng.integers(0, 5000, 100)]) for _ in range(rows)],
            "category_path": rng.choice(["Garden > Hoses", "Garden > Tools", "Kitchen > Pots"], rows),
            "price": rng.uniform(1, 200, rows).round(2),
            "colour": rng.choice(["red", "green", "blue"], rows),
        }
    )


MAKERS = {"events": events, "items": items}


def read(kind: str, path: str) -> None:
    """Read one file and say what it took, on stdout; the work of a child process."""
    began, busy = time.perf_counter(), time.process_time()
    found = (read_events if kind == "events" else read_items)(path)
    spent = {"seconds": round(time.perf_counter() - began, 1), "cpu_seconds": round(time.process_time() - busy, 1)}
    # Not what getrusage says, which counts what the parent held when it forked.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    sys.stdout.write(json.dumps({"rows": found.frame.height, **spent, "peak_mib": round(peak)}))


def write_table(kind: str, rows: int, path: Path) -> None:
    """One table in the format of the suffix."""
    table = MAKERS[kind](rows)
    if path.suffix == ".jsonl":
        table.write_ndjson(path)
    else:
        (table.write_csv if path.suffix == ".csv" else table.write_parquet)(path)


def write_large(kind: str, size: float, path: Path) -> None:
    """Rows as CSV or JSON Lines, part by part, until the file has so many bytes."""
    part = 0
    with path.open("wb") as stream:
        while stream.tell() < size:
            table = MAKERS[kind](PART[kind], part)
            if path.suffix == ".jsonl":
                table.write_ndjson(stream)
            else:
                table.write_csv(stream, include_header=part == 0)
            part += 1


def measure(kind: str, name: str, make: Callable[[Path], None]) -> dict[str, Any]:
    """What reading the file that `make` leaves at a path takes."""
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        path = Path(folder) / f"table.{name}"
        make(path)
        command = [sys.executable, "-m", "benchmarks.reading", "--read", kind, str(path)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {"kind": kind, "format": name, "mb": round(path.stat().st_size / 1e6), **json.loads(answer)}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_460_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--gigabytes", type=float, default=0, help="of each text file that is read as well")
    parser.add_argument("--out")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(*arguments.read)
        return
    sizes = {"events": arguments.events, "items": arguments.items}
    rows = [
        measure(kind, name, partial(write_table, kind, size))
        for kind, size in sizes.items()
        if size
        for name in FORMATS
    ]
    if arguments.gigabytes:
        size = arguments.gigabytes * 1e9
        rows += [measure(kind, name, partial(write_large, kind, size)) for kind in MAKERS for name in FORMATS[1:]]
    report = {"date": datetime.now(UTC).date().isoformat(), "rows": rows}
    report |= {"machine": machine("cpu"), "versions": versions()}
    if arguments.out:
        write(arguments.out, report)
    lines = ["| table | format | MB | rows | seconds | CPU seconds | peak MiB |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {r['kind']} | {r['format']} | {r['mb']:,} | {r['rows']:,} | {r['seconds']} | {r['cpu_seconds']} "
        f"| {r['peak_mib']:,} |"
        for r in rows
    ]
    sys.stdout.write("\n".join(lines) + f"\n\n{report['machine']['cpu']}, {report['machine']['cores']} cores\n")


if __name__ == "__main__":
    main()
