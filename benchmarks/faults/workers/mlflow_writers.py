"""The same question asked of MLflow, by its own interpreter: what is acknowledged by processes that write at once.

    VENV/bin/python benchmarks/faults/workers/mlflow_writers.py FOLDER PROCESSES COMMANDS SEED

Each process logs runs, registers versions of one model and sets aliases of it, in a fresh SQLite tracking store. The
report is JSON on stdout: calls, acknowledged, refused with the first errors, and what was acknowledged and is missing.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any


def write(url: str, name: str, commands: int, seed: int, send: Any) -> None:
    """Run so many commands and send what came of each."""
    from mlflow import MlflowClient

    random, kept, errors = Random(f"{seed} {name}"), [], []
    for number in range(commands):
        kind, mark = random.choice(["run", "version", "alias"]), f"{name}_{number}"
        try:
            client = MlflowClient(tracking_uri=url, registry_uri=url)
            if kind == "run":
                run = client.create_run("0")
                client.log_param(run.info.run_id, "mark", mark)
                client.set_terminated(run.info.run_id)
                kept.append((kind, run.info.run_id, mark))
            elif kind == "version":
                made = client.create_model_version("garden", source="/nowhere", tags={"mark": mark})
                kept.append((kind, made.version, mark))
            else:
                client.set_registered_model_alias("garden", mark, "1")
                kept.append((kind, "1", mark))
        except Exception as error:
            errors.append(f"{kind}: {type(error).__name__}: {' '.join(str(error).split())[:160]}")
    send.send((kept, errors))


def main() -> None:
    """Write at once, then look for everything."""
    folder, processes, commands, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    spawn = multiprocessing.get_context("spawn")
    import mlflow
    from mlflow import MlflowClient
    from sqlalchemy import URL

    url = URL.create("sqlite", database=str(folder / "mlflow.db")).render_as_string()
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    client.create_registered_model("garden")
    client.create_model_version("garden", source="/nowhere")
    pipes, begun = [], []
    for number in range(processes):
        ours, theirs = spawn.Pipe(duplex=False)
        begun.append(spawn.Process(target=write, args=(url, f"w{number}", commands, seed, theirs)))
        begun[-1].start()
        pipes.append(ours)
    found = [pipe.recv() for pipe in pipes]
    for process in begun:
        process.join()
    kept = [one for own, _ in found for one in own]
    errors = [error for _, own in found for error in own]
    aliases = client.get_registered_model("garden").aliases
    lost = 0
    for kind, key, mark in kept:
        if kind == "run":
            lost += client.get_run(key).data.params.get("mark") != mark
        elif kind == "version":
            lost += client.get_model_version("garden", key).tags.get("mark") != mark
        else:
            lost += str(aliases.get(mark)) != key
    numbers = sorted(int(version.version) for version in client.search_model_versions("name='garden'"))
    report = {
        "mlflow": mlflow.__version__,
        "attempts": processes * commands,
        "acknowledged": len(kept),
        "refused": len(errors),
        "lost": lost,
        "gaps": numbers != list(range(1, len(numbers) + 1)),
        "errors": Counter(error.split("(")[0][:60] for error in errors).most_common(5),
        "examples": errors[:3],
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
