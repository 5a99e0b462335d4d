"""The clock of a launch: one category in an empty workspace, by the command line, and the same command once more.

Prints a Markdown table and writes the same as JSON; the second launch finds everything made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.launch_floor import machine, versions, write


def launch(folder: str, catalog: Path) -> dict[str, Any]:
    """One launch in a process of its own: the command's seconds, those to the first recommendation, and each step's."""
    command = [
        sys.executable,
        "-m",
        "hubspoke.cli",
        "launch",
        "category",
        "--catalog",
        str(catalog),
        "--json",
        "--quiet",
    ]
    began = time.perf_counter()
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    found = json.loads(answer)
    steps = {step["step"]: step["seconds"] for step in found["steps"]}
    return {"command": round(time.perf_counter() - began, 1), "first recommendation": found["seconds"], **steps}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", required=True, help="a Parquet catalog")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        catalog = Path(folder) / "items.parquet"
        table = pl.read_parquet(arguments.items, glob=False).head(arguments.rows)
        table.write_parquet(catalog)
        runs = {"cold": launch(folder, catalog), "again": launch(folder, catalog)}
    report = {"date": datetime.now(UTC).date().isoformat(), "items": table.height, "runs": runs}
    report |= {"machine": machine("cpu"), "versions": versions()}
    if arguments.out:
        write(arguments.out, report)
    names = list(runs["cold"])
    lines = [f"| launch | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(str(run.get(step, '')) for step in names)} |" for name, run in runs.items()]
    sys.stdout.write(f"{table.height} items, {report['machine']['cores']} cores\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
